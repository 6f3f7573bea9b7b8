//! A trace of a subject, judged.

use std::io::{BufRead, Read as _};
use std::path::Path;

use serde::Deserialize;
use simvisor_sim::conform::{self, Dialect, DialectError, Excused, Judge, Switches};
use simvisor_sim::oracle::RULES;
use simvisor_sim::scenario::Scenario;
use thiserror::Error;
use xxhash_rust::xxh3::xxh3_64;

use crate::play::{Play, PlayError, Playing};
use crate::stage::{GOES_ON, STARVES};

/// Stands for a rule's id where the run did not end.
pub const HANG: &str = "hang";

/// How many of the last lines are kept.
const TAIL: usize = 10;
/// A line that is longer is not read to its end.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// In which words, and with what let pass.
#[derive(Debug, Clone)]
pub struct Terms {
    /// The dialect.
    pub dialect: Dialect,
    /// Its deviations that are on.
    pub switches: Switches,
}

/// Why a run cannot be judged.
#[derive(Debug, Error)]
pub enum JudgeError {
    /// There is no process.
    #[error(transparent)]
    Play(#[from] PlayError),
    /// The terms make no sense.
    #[error(transparent)]
    Terms(#[from] DialectError),
}

/// Something that the contract does not allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Departure {
    /// The rule's id, `monitor` for what the reference monitor found; [`HANG`] where no rule names it.
    pub rule: &'static str,
    /// What happened, in words.
    pub message: String,
    /// When, in nanoseconds of virtual time.
    pub at_ns: u64,
    /// What could have come instead, and when, where the monitor says so.
    pub instead: Vec<String>,
    /// The rules that are involved, where the monitor says so.
    pub involved: Vec<&'static str>,
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
    /// Deviations of the dialect that were needed.
    pub excused: Vec<Excused>,
    /// How often each rule was put to the test, in the order of [`RULES`].
    pub witnesses: Vec<u64>,
    /// The number of the first event that nobody could see, because the runtime's bus lost it.
    pub lost_from: Option<u64>,
    /// What is odd about the trace.
    pub oddities: Vec<String>,
    /// Lines of the trace.
    pub lines: u64,
    /// Hash of the trace's text.
    pub trace_hash: u64,
    /// The last lines.
    pub tail: Vec<String>,
}

/// Runs a play in a process and judges its trace; `watch` sees each line.
///
/// # Errors
/// If there is no process, or the terms make no sense.
pub fn judge(
    program: &Path,
    play: &Play,
    terms: &Terms,
    mut watch: impl FnMut(&str),
) -> Result<Outcome, JudgeError> {
    let mut playing = Playing::start(program, play)?;
    let mut gist = Gist::default();
    let mut trace = playing.trace();
    let mut line = Vec::new();
    loop {
        line.clear();
        // What cannot be read any more is as good as over.
        let length = trace.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line).unwrap_or(0);
        if length == 0 {
            break;
        }
        watch(String::from_utf8_lossy(&line).trim_end());
        gist.take(&line);
    }
    let was_killed = playing.finish()?;
    let mut judge = Judge::new(terms.dialect.clone(), &terms.switches)?;
    let checked = conform::check(&play.subject, &gist.sound[..], &mut judge);
    Ok(gist.close(checked.ok(), &play.scenario, was_killed))
}

/// What of a line needs to be known before it is judged.
#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    at_ns: u64,
    event: Option<Event>,
    end: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Event {
    seq: Option<u64>,
    task: Option<String>,
    reason: Option<String>,
}

/// A trace as far as it can be judged, and how it ended.
///
/// A bus may lose events, and then nobody can know what it did. So records are held back until the next event shows
/// that none was lost before it, and a trace is judged up to its first gap.
#[derive(Default)]
struct Gist {
    /// Lines without a gap.
    sound: Vec<u8>,
    /// Of these, the header.
    header_bytes: usize,
    /// Lines since the last event.
    unsure: Vec<u8>,
    next_seq: u64,
    lost_from: Option<u64>,
    /// The runtime said that a part of it that it needs lost events.
    lossy: Option<Departure>,
    end: Option<serde_json::Value>,
    last_ns: u64,
    lines: u64,
    hash: u64,
    tail: Vec<String>,
}

impl Gist {
    fn take(&mut self, text: &[u8]) {
        self.lines += 1;
        if self.lines == 1 {
            self.sound.extend_from_slice(text);
            self.header_bytes = text.len();
        } else {
            self.unsure.extend_from_slice(text);
        }
        self.hash = xxh3_64(&[&self.hash.to_le_bytes(), text].concat());
        if self.tail.len() == TAIL {
            self.tail.remove(0);
        }
        self.tail.push(String::from_utf8_lossy(text).trim_end().to_owned());
        let Ok(line) = serde_json::from_slice::<Line>(text) else { return };
        self.last_ns = line.at_ns;
        let is_sure = line.event.is_some() || line.end.is_some();
        if let Some(Event { seq: Some(seq), task, reason }) = line.event {
            if seq > self.next_seq && self.lost_from.is_none() {
                self.lost_from = Some(self.next_seq);
            }
            self.next_seq = self.next_seq.max(seq + 1);
            // Those that were lost before the first one that was seen leave no gap.
            let is_notice = reason.as_deref().is_some_and(|reason| reason.starts_with("lagged"));
            if is_notice && self.lost_from.is_none() {
                self.lost_from = Some(0);
                self.sound.truncate(self.header_bytes);
            }
            if task.as_deref() == Some("registry") && self.lossy.is_none() {
                let reason = reason.unwrap_or_default();
                let message =
                    format!("what the registry needs to know travels over a bus that lost it: {reason}");
                self.lossy = Some(Departure {
                    rule: "S4",
                    message,
                    at_ns: line.at_ns,
                    instead: Vec::new(),
                    involved: Vec::new(),
                });
            }
        }
        if line.end.as_ref().is_some_and(|end| matches!(ending(end).0, "livelock" | "limit")) {
            // It was cut off, and what was told of the last events may be missing.
            self.unsure = text.to_vec();
        }
        self.end = line.end.or(self.end.take());
        if is_sure && self.lost_from.is_none() {
            self.sound.append(&mut self.unsure);
        }
    }

    fn close(self, checked: Option<conform::Checked>, scenario: &Scenario, was_killed: bool) -> Outcome {
        let (verdict, detail) = match &self.end {
            Some(end) => ending(end),
            None if was_killed => {
                (HANG, Some("the process that played the case had to be killed".to_owned()))
            }
            None => ("crash", Some("the process that played the case ended without a word".to_owned())),
        };
        let words = detail.clone().unwrap_or_default();
        let own = |rule, message| Departure {
            rule,
            message,
            at_ns: self.last_ns,
            instead: Vec::new(),
            involved: Vec::new(),
        };
        let (mut departures, mut excused, mut oddities) = (Vec::new(), Vec::new(), Vec::new());
        let mut witnesses = vec![0; RULES.len()];
        if let Some(checked) = checked {
            let judgement = checked.judgement;
            departures.extend(judgement.departures.into_iter().map(|departure| Departure {
                rule: departure.rule,
                message: departure.message,
                at_ns: departure.at_ns,
                instead: departure.instead,
                involved: departure.involved,
            }));
            excused = judgement.excused;
            for (sum, (_, count)) in witnesses.iter_mut().zip(&judgement.coverage.rules) {
                *sum = *count;
            }
            oddities = checked.oddities.seen().iter().map(|oddity| oddity.what.clone()).collect();
        }
        departures.extend(self.lossy);
        let starves = words.contains(STARVES);
        if starves {
            // A task may restart at once, but not so that nobody else runs.
            departures.retain(|departure| departure.rule != "R6");
            departures.push(own("R6", words.clone()));
        }
        let did_end = match verdict {
            "done" => true,
            "livelock" => scenario.may_spin(),
            // Nothing says that its tasks end.
            "limit" => words.contains(GOES_ON) && scenario.calm_at.is_none() && !scenario.asks_for_shutdown(),
            _ => false,
        };
        if !did_end && self.lost_from.is_some() {
            departures.push(own(
                "S4",
                format!("events were lost to a lagging bus, and the run did not end; {words}"),
            ));
        } else if !did_end && departures.is_empty() {
            departures.push(own(HANG, words));
        }
        Outcome {
            verdict,
            detail,
            departures,
            excused,
            witnesses,
            lost_from: self.lost_from,
            oddities,
            lines: self.lines,
            trace_hash: self.hash,
            tail: self.tail,
        }
    }
}

/// The verdict of a trace's last record, and why.
fn ending(end: &serde_json::Value) -> (&'static str, Option<String>) {
    let list = |waiters: &serde_json::Value| {
        let text =
            |waiter: &serde_json::Value, key: &str| waiter[key].as_str().unwrap_or_default().to_owned();
        let waiters = waiters.as_array().map_or(&[][..], Vec::as_slice);
        let each = waiters.iter().map(|waiter| format!("{} ({})", text(waiter, "who"), text(waiter, "what")));
        each.collect::<Vec<_>>().join(", ")
    };
    match end {
        serde_json::Value::Object(fields) => match fields.iter().next() {
            Some((kind, waiters)) if kind == "deadlock" => {
                ("deadlock", Some(format!("these never ended: {}", list(waiters))))
            }
            Some((kind, waiters)) if kind == "livelock" => {
                ("livelock", Some(format!("time does not move: {}", list(waiters))))
            }
            Some((_, text)) => ("limit", text.as_str().map(str::to_owned)),
            None => ("limit", None),
        },
        _ => ("done", None),
    }
}
