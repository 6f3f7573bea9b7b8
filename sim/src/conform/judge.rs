//! Both judges behind a dialect, and what they say in the end.

use serde::Serialize;

use super::dialect::{Dialect, DialectError, Switches};
use super::foreign::ForeignRecord;
use super::translate::{Fate, Translator};
use crate::oracle::{Excuse, Monitor, RULES, Rules};
use crate::search::MONITOR;
use crate::trace::{EndNote, Header, Held, Record, Restart, Sink, SpecNote, Texts, What};

/// Something that the runtime did and the contract does not allow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Departure {
    /// The rule that was broken; for what the reference monitor found, `monitor`.
    pub rule: &'static str,
    /// What happened, and what should have.
    pub message: String,
    /// When, in nanoseconds on the runtime's clock.
    pub at_ns: u64,
    /// Line of the trace at which it was found, if there are lines.
    pub line: Option<u64>,
    /// Number of the event at which it was found, in the words of the contract, if it was an event.
    pub seq: Option<u64>,
    /// What the runtime may have been doing just before; the monitor's alone.
    pub before: Vec<String>,
    /// What could have come instead, and when; the monitor's alone.
    pub instead: Vec<String>,
    /// Rules involved; the monitor's alone.
    pub involved: Vec<&'static str>,
}

/// A deviation that was needed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Excused {
    /// Its name.
    pub deviation: String,
    /// As the end of "It conforms, except that …".
    pub sentence: String,
    /// How often it was needed.
    pub times: u64,
}

/// How much of the contract was put to the test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// Each rule with its witnesses: how often its premise came true.
    pub rules: Vec<(&'static str, u64)>,
    /// Each state of the reference monitor, with how often it was entered.
    pub states: Vec<(&'static str, u64)>,
    /// Rules that the dialect leaves out, and why.
    pub not_judged: Vec<(String, String)>,
}

impl Coverage {
    /// Rules that were put to the test.
    pub fn tested(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.rules.iter().filter(|(_, witnesses)| *witnesses > 0).map(|(rule, _)| *rule)
    }

    /// Rules that were not.
    pub fn untested(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.rules.iter().filter(|(_, witnesses)| *witnesses == 0).map(|(rule, _)| *rule)
    }

    /// States that were never visited.
    pub fn unvisited(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.states.iter().filter(|(_, visits)| *visits == 0).map(|(state, _)| *state)
    }
}

/// What is to be said of a trace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Judgement {
    /// What is not allowed, in the order of discovery; each rule once.
    pub departures: Vec<Departure>,
    /// Deviations that were needed.
    pub excused: Vec<Excused>,
    /// Deviations that are on and were not needed.
    pub unneeded: Vec<String>,
    /// How much could be judged.
    pub coverage: Coverage,
    /// Records and events, in the words of the contract.
    pub records: u64,
    /// Of these, events.
    pub events: u64,
    /// How the trace says that the run ended: `done`, `livelock`, `deadlock`, `limit`, or nothing.
    pub end: Option<&'static str>,
}

impl Judgement {
    /// Nothing was found that is not let pass, which says little if the judgement [is empty](Self::is_empty).
    #[must_use]
    pub fn conforms(&self) -> bool {
        self.departures.is_empty()
    }

    /// No rule was put to the test and nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.conforms() && self.coverage.tested().next().is_none()
    }
}

/// Whose an excuse is.
#[derive(Debug, Clone, Copy)]
enum Owner {
    Deviation(usize),
    NotJudged,
}

/// Judges the traces of a runtime that speaks a dialect, one after the other, as they are made.
#[derive(Debug)]
pub struct Judge {
    translator: Translator,
    on: Vec<bool>,
    /// Whose the excuses are that both judges were told of.
    owners: Vec<Owner>,
    rules: Rules,
    monitor: Monitor,
    departures: Vec<Departure>,
    /// Findings that are departures already: of the rules, and of the monitor.
    taken: (usize, bool),
    out: Vec<Record>,
    may_spin: bool,
    records: u64,
    events: u64,
    end: Option<&'static str>,
}

impl Judge {
    /// A judge of this dialect.
    ///
    /// # Errors
    /// If a deviation is switched that the dialect does not have.
    pub fn new(dialect: Dialect, switches: &Switches) -> Result<Self, DialectError> {
        let on = dialect.switched(switches)?;
        let (mut excuses, mut owners) = (Vec::new(), Vec::new());
        for rule in dialect.not_judged.iter().flat_map(|not_judged| &not_judged.rules) {
            excuses.push(Excuse::Finding { rule: rule.clone(), saying: None });
            owners.push(Owner::NotJudged);
        }
        for (index, deviation) in dialect.deviations.iter().enumerate().filter(|(index, _)| on[*index]) {
            for excuse in &deviation.excuse {
                excuses.push(Excuse::Finding { rule: excuse.rule.clone(), saying: excuse.saying.clone() });
                owners.push(Owner::Deviation(index));
            }
            for &liberty in &deviation.liberties {
                excuses.push(Excuse::Liberty(liberty));
                owners.push(Owner::Deviation(index));
            }
        }
        let (mut rules, mut monitor) = (Rules::new(), Monitor::new());
        rules.excuse(excuses.clone());
        monitor.excuse(excuses);
        Ok(Self {
            translator: Translator::new(dialect, on.clone()),
            on,
            owners,
            rules,
            monitor,
            departures: Vec::new(),
            taken: (0, false),
            out: Vec::new(),
            may_spin: false,
            records: 0,
            events: 0,
            end: None,
        })
    }

    /// The dialect that is judged in.
    #[must_use]
    pub fn dialect(&self) -> &Dialect {
        self.translator.dialect()
    }

    /// A trace begins.
    pub fn begin(&mut self, header: &Header, texts: &Texts) {
        self.translator.begin(header);
        self.rules.begin(header, texts);
        self.monitor.begin(header, texts);
        self.departures.clear();
        self.taken = (0, false);
        self.may_spin = false;
        self.records = 0;
        self.events = 0;
        self.end = None;
    }

    /// The next record, which stands on this line of the trace.
    pub fn record(&mut self, record: &ForeignRecord, line: Option<u64>, texts: &mut Texts) -> Fate {
        let mut out = std::mem::take(&mut self.out);
        let fate = self.translator.record(record, texts, &mut out);
        for record in out.drain(..) {
            self.judge(&record, line, texts);
        }
        self.out = out;
        fate
    }

    fn judge(&mut self, record: &Record, line: Option<u64>, texts: &Texts) {
        self.records += 1;
        match &record.what {
            What::Event(_) => self.events += 1,
            What::Call { call, .. } => self.look_for_spinning(call),
            What::End(end) => self.ends(end, record.at_ns, line),
            _ => {}
        }
        self.rules.record(record, texts);
        self.monitor.record(record, texts);
        self.collect(line);
    }

    /// What the judges found at the latest record.
    fn collect(&mut self, line: Option<u64>) {
        let violations = self.rules.violations();
        for violation in &violations[self.taken.0..] {
            self.departures.push(Departure {
                rule: violation.rule,
                message: violation.message.clone(),
                at_ns: violation.at_ns,
                line,
                seq: violation.seq,
                before: Vec::new(),
                instead: Vec::new(),
                involved: Vec::new(),
            });
        }
        self.taken.0 = violations.len();
        if let Some(unexplained) = self.monitor.unexplained().filter(|_| !self.taken.1) {
            self.taken.1 = true;
            self.departures.push(Departure {
                rule: MONITOR,
                message: unexplained.what.clone(),
                at_ns: unexplained.at_ns,
                line,
                seq: unexplained.seq,
                before: unexplained.before.clone(),
                instead: unexplained.instead.clone(),
                involved: unexplained.rules.clone(),
            });
        }
    }

    fn ends(&mut self, end: &EndNote, at_ns: u64, line: Option<u64>) {
        self.end = Some(match end {
            EndNote::Done => "done",
            EndNote::Livelock(_) => "livelock",
            EndNote::Deadlock(_) => "deadlock",
            EndNote::Limit(_) => "limit",
        });
        if matches!(end, EndNote::Livelock(_)) && !self.may_spin {
            self.departures.push(Departure {
                rule: "R6",
                message: "time could not advance any more, though every restart takes time".to_owned(),
                at_ns,
                line,
                seq: None,
                before: Vec::new(),
                instead: Vec::new(),
                involved: Vec::new(),
            });
        }
    }

    /// A task that may restart without any time passing may keep time from advancing.
    fn look_for_spinning(&mut self, call: &crate::trace::Call) {
        use crate::trace::Call;
        let spins = |spec: &SpecNote| match spec.restart {
            Restart::Never => false,
            Restart::OnFailure => spec.backoff.first_ns == 0 || spec.backoff.max_ns == 0,
            Restart::Always { interval_ns } => interval_ns.is_none_or(|ns| ns == 0),
        };
        self.may_spin |= match call {
            Call::Run(specs) => specs.iter().any(spins),
            Call::Add(spec) | Call::Submit { spec, .. } => spins(spec),
            _ => false,
        };
    }

    /// Forgets tasks that are gone, and every text that nobody speaks of any more: numbers of texts from before mean
    /// something else afterwards. Call it between two records; a name that comes back is one that was never there.
    pub fn forget_gone(&mut self, texts: &mut Texts) {
        let mut held = Held::default();
        self.rules.forget_gone(&mut held);
        self.monitor.forget_gone(&mut held);
        self.translator.forget_gone(&mut held);
        texts.forget_all_but(&held);
    }

    /// How many tasks are remembered, by whoever remembers most.
    #[must_use]
    pub fn remembers(&self) -> usize {
        self.rules.remembers().max(self.monitor.remembers()).max(self.translator.remembers())
    }

    /// The trace is over.
    #[must_use]
    pub fn finish(&mut self, _texts: &Texts) -> Judgement {
        self.collect(None);
        let dialect = self.translator.dialect();
        let mut times = self.translator.used().to_vec();
        let uses = self.rules.excused().iter().zip(self.monitor.excused());
        for (owner, (by_rules, by_monitor)) in self.owners.iter().zip(uses) {
            if let Owner::Deviation(index) = owner {
                times[*index] += by_rules.max(by_monitor);
            }
        }
        let (mut excused, mut unneeded) = (Vec::new(), Vec::new());
        for ((deviation, &times), _) in
            dialect.deviations.iter().zip(&times).zip(&self.on).filter(|(_, on)| **on)
        {
            if times == 0 {
                unneeded.push(deviation.id.clone());
            } else {
                let (deviation, sentence) = (deviation.id.clone(), deviation.sentence.clone());
                excused.push(Excused { deviation, sentence, times });
            }
        }
        let rules = RULES.iter().zip(self.rules.witnesses());
        let not_judged = dialect.not_judged.iter().flat_map(|not_judged| {
            not_judged.rules.iter().map(|rule| (rule.clone(), not_judged.because.clone()))
        });
        Judgement {
            departures: self.departures.clone(),
            excused,
            unneeded,
            coverage: Coverage {
                rules: rules.map(|(rule, &witnesses)| (rule.id, witnesses)).collect(),
                states: self.monitor.visits().collect(),
                not_judged: not_judged.collect(),
            },
            records: self.records,
            events: self.events,
            end: self.end,
        }
    }
}
