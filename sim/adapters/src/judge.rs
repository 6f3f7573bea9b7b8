//! A trace of a subject, judged as it comes in.

use std::collections::VecDeque;
use std::path::Path;

use simvisor_sim::oracle::{Monitor, Rules};
use simvisor_sim::scenario::Scenario;
use simvisor_sim::trace::{EndNote, Header, Record, Sink, Texts, TraceHash, TraceReader, What, record_line};

use crate::play::{Play, PlayError, Playing};
use crate::stage::STARVES;

/// Stands for a rule's id where the run did not end.
pub const HANG: &str = "hang";
/// Stands for a rule's id in a finding of the reference monitor.
pub const MONITOR: &str = simvisor_sim::search::MONITOR;

/// How many of the last records are kept.
const TAIL: usize = 8;

/// Something that the contract does not allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Departure {
    /// The rule's id; [`MONITOR`] or [`HANG`] where no rule names it.
    pub rule: String,
    /// What happened, in words.
    pub message: String,
    /// When, in nanoseconds of virtual time.
    pub at_ns: u64,
}

/// A run on a subject, and what the judges say of it.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// How it ended, in one word: done, deadlock, livelock, limit, hang or crash.
    pub verdict: &'static str,
    /// Why it ended so, where that needs words.
    pub detail: Option<String>,
    /// What the contract does not allow, the first first.
    pub departures: Vec<Departure>,
    /// The number of the first event that nobody could see, because the runtime's bus lost it.
    pub lost_from: Option<u64>,
    /// Records in the trace.
    pub records: u64,
    /// Hash of the trace.
    pub trace_hash: u64,
    /// The last records, as lines.
    pub tail: VecDeque<String>,
}

/// Runs a play in a process and judges its trace; `watch` sees each record.
///
/// # Errors
/// If there is no process.
pub fn judge(
    program: &Path,
    play: &Play,
    mut watch: impl FnMut(&Header, Option<&Record>, &Texts),
) -> Result<Outcome, PlayError> {
    let mut playing = Playing::start(program, play)?;
    let mut court = Court::default();
    let trace = playing.trace();
    let result = TraceReader::open(&play.subject, trace).and_then(|mut reader| {
        court.begin(reader.header(), reader.texts());
        watch(reader.header(), None, reader.texts());
        while let Some(record) = reader.next_record()? {
            court.record(&record, reader.texts());
            watch(reader.header(), Some(&record), reader.texts());
        }
        Ok(())
    });
    let was_killed = playing.finish()?;
    if let Err(error) = result {
        court.verdict = if was_killed { HANG } else { "crash" };
        court.detail = Some(match was_killed {
            true => format!("the process that played the case was killed after {} ms", play.patience_ms),
            false => format!("the process that played the case came to a bad end: {error}"),
        });
    }
    Ok(court.close(&play.scenario))
}

/// The judges, and what they need no rule for.
struct Court {
    rules: Rules,
    monitor: Monitor,
    hash: TraceHash,
    verdict: &'static str,
    detail: Option<String>,
    /// An actor kept everybody else from running.
    starves: bool,
    next_seq: u64,
    /// Records since the last event. Only the next one tells whether something was lost before it.
    unsure: Vec<Record>,
    lost_from: Option<u64>,
    /// The runtime said that a part of it that it needs lost events.
    lossy: Option<Departure>,
    last_ns: u64,
    records: u64,
    tail: VecDeque<String>,
}

impl Default for Court {
    fn default() -> Self {
        Self {
            rules: Rules::new(),
            monitor: Monitor::new(),
            hash: TraceHash::new(),
            verdict: "crash",
            detail: None,
            starves: false,
            next_seq: 0,
            unsure: Vec::new(),
            lost_from: None,
            lossy: None,
            last_ns: 0,
            records: 0,
            tail: VecDeque::new(),
        }
    }
}

impl Court {
    fn begin(&mut self, header: &Header, texts: &Texts) {
        self.hash.begin(header, texts);
        self.rules.begin(header, texts);
        self.monitor.begin(header, texts);
    }

    fn record(&mut self, record: &Record, texts: &Texts) {
        self.hash.record(record, texts);
        self.records += 1;
        self.last_ns = record.at_ns;
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        self.tail.push_back(record_line(record, texts));
        match &record.what {
            What::Event(event) => {
                if self.lost_from.is_none() && event.seq > self.next_seq {
                    self.lost_from = Some(self.next_seq);
                }
                self.next_seq = self.next_seq.max(event.seq + 1);
                let text = |text| texts.get(text);
                let (task, reason) = (event.task.map(text), event.reason.map(text));
                if task == Some("registry") && self.lossy.is_none() {
                    let message = format!(
                        "what the registry needs to know travels over a bus that lost it: {}",
                        reason.unwrap_or("no reason")
                    );
                    self.lossy = Some(Departure { rule: "S4".to_owned(), message, at_ns: record.at_ns });
                }
            }
            What::End(end) => self.note_end(end, texts),
            _ => {}
        }
        // What was lost cannot be judged, nor what follows from it.
        if self.lost_from.is_none() {
            self.unsure.push(record.clone());
            if matches!(record.what, What::Event(_) | What::End(_)) {
                for record in std::mem::take(&mut self.unsure) {
                    self.rules.record(&record, texts);
                    self.monitor.record(&record, texts);
                }
            }
        }
    }

    fn note_end(&mut self, end: &EndNote, texts: &Texts) {
        let list = |waiters: &[simvisor_sim::trace::Waiter]| {
            let each = waiters
                .iter()
                .map(|waiter| format!("{} ({})", texts.get(waiter.who), texts.get(waiter.what)));
            each.collect::<Vec<_>>().join(", ")
        };
        (self.verdict, self.detail) = match end {
            EndNote::Done => ("done", None),
            EndNote::Deadlock(waiters) => ("deadlock", Some(format!("these never ended: {}", list(waiters)))),
            EndNote::Livelock(waiters) => {
                self.starves = waiters.iter().any(|waiter| texts.get(waiter.what).starts_with(STARVES));
                ("livelock", Some(format!("time does not move: {}", list(waiters))))
            }
            EndNote::Limit(text) => ("limit", Some(texts.get(*text).to_owned())),
        };
    }

    fn close(mut self, scenario: &Scenario) -> Outcome {
        let mut departures: Vec<_> = self
            .rules
            .violations()
            .iter()
            .map(|violation| Departure {
                rule: violation.rule.to_owned(),
                message: violation.message.clone(),
                at_ns: violation.at_ns,
            })
            .collect();
        if let Some(unexplained) = self.monitor.unexplained() {
            departures.push(Departure {
                rule: MONITOR.to_owned(),
                message: unexplained.to_string(),
                at_ns: unexplained.at_ns,
            });
        }
        departures.extend(self.lossy);
        let detail = self.detail.clone().unwrap_or_default();
        let did_end = self.verdict == "done" || self.verdict == "livelock" && scenario.may_spin();
        if self.starves || self.verdict == "livelock" && !scenario.may_spin() {
            let at_ns = self.last_ns;
            departures.push(Departure { rule: "R6".to_owned(), message: detail.clone(), at_ns });
        }
        if !did_end && self.lost_from.is_some() {
            let message = format!("events were lost to a lagging bus, and the run did not end: {detail}");
            departures.push(Departure { rule: "S4".to_owned(), message, at_ns: self.last_ns });
        } else if !did_end && departures.is_empty() {
            departures.push(Departure { rule: HANG.to_owned(), message: detail, at_ns: self.last_ns });
        }
        Outcome {
            verdict: self.verdict,
            detail: self.detail,
            departures,
            lost_from: self.lost_from,
            records: self.records,
            trace_hash: self.hash.digest(),
            tail: self.tail,
        }
    }
}
