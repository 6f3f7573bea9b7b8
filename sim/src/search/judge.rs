//! One run, judged: case → world → trace → verdict.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use super::canary::Canary;
use super::novelty::Novelty;
use super::unseen::Unseen;
use crate::case::{Case, FORMAT, Origin, Shown, VERSION};
use crate::choice::{Drawn, Fit, Misfit, Source, Tape};
use crate::oracle::{Coverage, Monitor, Rules, Violation};
use crate::rng::{Numbers, Stream};
use crate::scenario::{Notebook, Scenario, drive, generate};
use crate::schedule::{Profile, Strategy, StrategyKind, Wanted};
use crate::trace::{EndNote, Header, Record, Sink, Texts, TraceHash, Waiter, What};
use crate::world::{Engine, Finished, Limits};

/// How a world ended, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// Everything came to its end.
    Done,
    /// Time could not advance.
    Livelock,
    /// Nothing could run.
    Deadlock,
    /// A limit on turns or virtual time was reached.
    Limit,
}

impl Verdict {
    /// All verdicts.
    pub const ALL: [Self; 4] = [Self::Done, Self::Livelock, Self::Deadlock, Self::Limit];

    /// The verdict as a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Livelock => "livelock",
            Self::Deadlock => "deadlock",
            Self::Limit => "limit",
        }
    }
}

/// Stands in a finding of the reference monitor for a rule's id.
pub const MONITOR: &str = "monitor";

/// A broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule's id.
    pub rule: &'static str,
    /// What happened.
    pub message: String,
    /// When, in nanoseconds of virtual time.
    pub at_ns: u64,
}

/// A run and what the judges say of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// How the world ended.
    pub verdict: Verdict,
    /// Why it ended so, where that needs words: who waits for what since when.
    pub detail: Option<String>,
    /// Broken rules, the first first.
    pub findings: Vec<Finding>,
    /// Only one of the two judges found something.
    pub judges_differ: bool,
    /// Hash of the trace.
    pub trace_hash: u64,
    /// Events that were published.
    pub events: u64,
    /// Records in the trace.
    pub records: u64,
    /// The choices that were made.
    pub tape: Tape,
    /// Where a strict replay left its tape.
    pub misfit: Option<Misfit>,
    /// A waker was used where no replay could repeat it.
    pub stray_wake: bool,
    /// Virtual time at the end, in nanoseconds.
    pub time_ns: u64,
    /// Turns of the executor.
    pub turns: u64,
}

/// A run that can be repeated: scenario and result.
#[derive(Debug, Clone, PartialEq)]
pub struct CaseRun {
    /// What was run.
    pub scenario: Scenario,
    /// What came of it.
    pub judged: Judged,
}

impl CaseRun {
    /// The run as a case.
    #[must_use]
    pub fn into_case(self, seed: Option<u64>, strategy: &str) -> Case {
        let finding = self.judged.findings.first();
        Case {
            format: FORMAT.to_owned(),
            version: VERSION,
            origin: Origin {
                simvisor: env!("CARGO_PKG_VERSION").to_owned(),
                seed,
                strategy: strategy.to_owned(),
                found_in: None,
            },
            shown: Shown {
                verdict: self.judged.verdict.name().to_owned(),
                rule: finding.map(|finding| finding.rule.to_owned()),
                message: finding.map(|finding| finding.message.clone()),
                trace_hash: Some(format!("{:#018x}", self.judged.trace_hash)),
            },
            scenario: self.scenario,
            tape: self.judged.tape,
        }
    }
}

/// Everything that reads the trace of a run as it is made.
#[derive(Debug, Default)]
pub(crate) struct Judges {
    pub(crate) hash: TraceHash,
    pub(crate) rules: Rules,
    pub(crate) monitor: Monitor,
    canary: Option<Canary>,
    coverage: Option<Coverage>,
    events: u64,
    records: u64,
    end: Option<Verdict>,
    detail: Option<String>,
}

impl Judges {
    fn tell(&mut self, records: &[Record], texts: &Texts) {
        self.rules.record_all(records, texts);
        self.monitor.record_all(records, texts);
    }
}

impl Sink for Judges {
    fn begin(&mut self, header: &Header, texts: &Texts) {
        self.hash.begin(header, texts);
        self.rules.begin(header, texts);
        self.monitor.begin(header, texts);
        if let Some(canary) = &mut self.canary {
            canary.begin();
        }
        if let Some(coverage) = &mut self.coverage {
            coverage.begin(header, texts);
        }
        self.events = 0;
        self.records = 0;
        self.end = None;
        self.detail = None;
    }

    fn record(&mut self, record: &Record, texts: &Texts) {
        self.record_all(std::slice::from_ref(record), texts);
    }

    fn record_all(&mut self, records: &[Record], texts: &Texts) {
        self.hash.record_all(records, texts);
        match self.canary {
            None => self.tell(records, texts),
            Some(_) => records.iter().for_each(|record| {
                let lie = self.canary.as_mut().and_then(|canary| canary.lie(record));
                self.tell(std::slice::from_ref(lie.as_ref().unwrap_or(record)), texts);
            }),
        }
        if let Some(coverage) = &mut self.coverage {
            coverage.record_all(records, texts);
        }
        self.records += records.len() as u64;
        self.events += records.iter().filter(|record| matches!(record.what, What::Event(_))).count() as u64;
        if let Some(Record { what: What::End(end), .. }) = records.last() {
            let (verdict, detail) = explain_end(end, texts);
            self.end = Some(verdict);
            self.detail = detail;
        }
    }

    fn is_patient(&self) -> bool {
        true
    }
}

/// The verdict of an end, and who waits for what since when.
fn explain_end(end: &EndNote, texts: &Texts) -> (Verdict, Option<String>) {
    let list = |waiters: &[Waiter], verb: &str| {
        let each = waiters.iter().map(|waiter| {
            let since = humantime::format_duration(std::time::Duration::from_nanos(waiter.since_ns));
            format!("{} {verb} {} (since {since})", texts.get(waiter.who), texts.get(waiter.what))
        });
        each.collect::<Vec<_>>().join("; ")
    };
    match end {
        EndNote::Done => (Verdict::Done, None),
        EndNote::Livelock(waiters) => (
            Verdict::Livelock,
            Some(format!("time cannot advance: {}", list(waiters, "keeps running, last for"))),
        ),
        EndNote::Deadlock(waiters) => {
            (Verdict::Deadlock, Some(format!("nothing can run: {}", list(waiters, "waits for"))))
        }
        EndNote::Limit(text) => (Verdict::Limit, Some(format!("given up after {}", texts.get(*text)))),
    }
}

/// A rule of one's own, beside those of the contract: it reads the trace, and says after the run whether it was broken.
pub trait Invariant: Sink {
    /// What was broken in the run whose trace was read last.
    fn broken(&self) -> Option<Finding>;
}

/// A run whose trace may be known.
pub(super) enum Seen {
    /// It was not, and was judged.
    First(Judged),
    /// A run of the same trace broke no rule.
    Before { tape: Tape, turns: u64, stray_wake: bool },
}

/// Runs and judges worlds, one after the other, on one thread.
pub struct Runner {
    invariant: Option<Rc<RefCell<dyn Invariant>>>,
    engine: Engine,
    notebook: Rc<Notebook>,
    judges: Rc<RefCell<Judges>>,
    limits: Limits,
    /// Strategies whose memory is used again: of a seed, and of the run that counts for it.
    spare: Option<Box<Strategy>>,
    counting: Option<Box<Strategy>>,
    /// What drew the choices of the last run.
    drawn: Option<Drawn>,
    runs: u64,
}

impl std::fmt::Debug for Runner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runner").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Default for Runner {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl Runner {
    /// A runner with these limits.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let (notebook, judges) = (Rc::default(), Rc::default());
        Self {
            invariant: None,
            engine: Engine::new(),
            notebook,
            judges,
            limits,
            spare: None,
            counting: None,
            drawn: None,
            runs: 0,
        }
    }

    /// Holds every run against a rule of one's own as well.
    #[must_use]
    pub fn with_invariant(self, invariant: Rc<RefCell<dyn Invariant>>) -> Self {
        Self { invariant: Some(invariant), ..self }
    }

    /// A runner to which a case shows what it showed before: a planted violation is planted again.
    #[must_use]
    pub fn for_case(case: &Case, limits: Limits) -> Self {
        let runner = Self::new(limits);
        if case.shown.rule.as_deref() == Some(super::CANARY) { runner.with_canary() } else { runner }
    }

    /// Plants a violation in every run, see [`super::has_canary`].
    #[must_use]
    pub fn with_canary(self) -> Self {
        self.judges.borrow_mut().canary = Some(Canary::default());
        self
    }

    /// Looks at what runs have shown, for [`Runner::add_coverage`].
    #[must_use]
    pub fn with_coverage(self) -> Self {
        self.judges.borrow_mut().coverage = Some(Coverage::default());
        self
    }

    /// The run of a seed.
    pub fn seed(&mut self, seed: u64, strategy: StrategyKind) -> CaseRun {
        let scenario = Rc::new(generate(seed));
        let source = seeded_into(self.spare.take().unwrap_or_default(), seed, strategy);
        let judged = self.run(&scenario, source, &self.sink());
        CaseRun { scenario: Rc::unwrap_or_clone(scenario), judged }
    }

    /// Runs a scenario on choices of `source` and judges it.
    pub fn judge(&mut self, scenario: &Scenario, source: Source) -> Judged {
        self.run(&Rc::new(scenario.clone()), source, &self.sink())
    }

    /// All that judges.
    fn sink(&self) -> Rc<RefCell<dyn Sink>> {
        let judges: Rc<RefCell<dyn Sink>> = Rc::clone(&self.judges) as _;
        match &self.invariant {
            None => judges,
            Some(invariant) => {
                let invariant: Rc<RefCell<dyn Sink>> = Rc::clone(invariant) as _;
                Rc::new(RefCell::new(Both(judges, invariant)))
            }
        }
    }

    /// As [`Runner::judge`]; `sink` sees the trace as well.
    pub fn watch(&mut self, scenario: &Scenario, source: Source, sink: Rc<RefCell<dyn Sink>>) -> Judged {
        self.run(&Rc::new(scenario.clone()), source, &self.both(sink))
    }

    fn both(&self, sink: Rc<RefCell<dyn Sink>>) -> Rc<RefCell<dyn Sink>> {
        Rc::new(RefCell::new(Both(self.sink(), sink)))
    }

    /// For [`Runner::judge_unseen`]; `sink` sees the traces that are judged.
    pub(super) fn unseen(&self, sink: Rc<RefCell<dyn Sink>>) -> Rc<RefCell<Unseen>> {
        Rc::new(RefCell::new(Unseen::new(self.both(sink))))
    }

    /// As [`Runner::judge`], of a run that is no campaign; where its trace was found clean before, it is not judged again.
    pub(super) fn judge_unseen(
        &mut self,
        scenario: &Rc<Scenario>,
        source: Source,
        unseen: &Rc<RefCell<Unseen>>,
    ) -> Seen {
        let sink: Rc<RefCell<dyn Sink>> = Rc::clone(unseen) as _;
        let finished = drive(&mut self.engine, scenario, source, &self.limits, &self.notebook, &sink);
        if unseen.borrow().is_known() {
            let Finished { tape, turns, stray_wake, .. } = finished;
            return Seen::Before { tape, turns, stray_wake };
        }
        Seen::First(self.judged(scenario, finished))
    }

    fn run(&mut self, scenario: &Rc<Scenario>, source: Source, sink: &Rc<RefCell<dyn Sink>>) -> Judged {
        let (source, before) = settled(source, |source| {
            let sink = self.sink();
            let judged = self.once(scenario, source, &sink);
            let drawn = self.drawn.take();
            Settling { is_enough: !judged.findings.is_empty() || judged.stray_wake, tape: judged.tape, drawn }
        });
        let judged = self.once(scenario, source, sink);
        self.runs = before.max(1);
        self.spare = self.drawn.take().map(|(strategy, _)| strategy).or(self.spare.take());
        judged
    }

    fn once(&mut self, scenario: &Rc<Scenario>, source: Source, sink: &Rc<RefCell<dyn Sink>>) -> Judged {
        let source = self.profiled(scenario, source);
        let finished = drive(&mut self.engine, scenario, source, &self.limits, &self.notebook, sink);
        self.judged(scenario, finished)
    }

    /// What the judges say of a run that they have seen.
    fn judged(&mut self, scenario: &Scenario, finished: Finished) -> Judged {
        self.drawn = finished.drawn;
        let mut judges = self.judges.borrow_mut();
        let verdict = judges.end.expect("a world records its end");
        let mut findings: Vec<_> = judges
            .rules
            .violations()
            .iter()
            .map(|violation| Finding {
                rule: violation.rule,
                message: violation.message.clone(),
                at_ns: violation.at_ns,
            })
            .collect();
        let by_rules = !findings.is_empty();
        if let Some(unexplained) = judges.monitor.unexplained() {
            let (message, at_ns) = (unexplained.to_string(), unexplained.at_ns);
            findings.push(Finding { rule: MONITOR, message, at_ns });
        }
        let judges_differ = by_rules != judges.monitor.unexplained().is_some();
        if verdict == Verdict::Livelock && !scenario.may_spin() {
            let why = judges.detail.clone().unwrap_or_default();
            let message = format!("livelock, though every restart in this scenario takes time; {why}");
            findings.push(Finding { rule: "R6", message, at_ns: finished.time_ns });
        }
        findings.extend(self.invariant.as_ref().and_then(|invariant| invariant.borrow().broken()));
        if let Some(canary) = &judges.canary {
            findings = canary.findings(findings);
        }
        Judged {
            verdict,
            detail: judges.detail.take(),
            findings,
            judges_differ,
            trace_hash: judges.hash.digest(),
            events: judges.events,
            records: judges.records,
            tape: finished.tape,
            misfit: finished.misfit,
            stray_wake: finished.stray_wake,
            time_ns: finished.time_ns,
            turns: finished.turns,
        }
    }

    /// Gives a strategy the profile that it wants.
    fn profiled(&mut self, scenario: &Rc<Scenario>, source: Source) -> Source {
        let Source::Drawn(mut strategy, mut numbers) = source else { return source };
        if strategy.wants() != Wanted::Nothing {
            let mut counting = self.counting.take().unwrap_or_default();
            counting.count(strategy.wants());
            let source = Source::Drawn(counting, Numbers::new(0, Stream::Schedule));
            let deaf: Rc<RefCell<dyn Sink>> = Rc::new(RefCell::new(Deaf));
            let counted = drive(&mut self.engine, scenario, source, &self.limits, &self.notebook, &deaf);
            strategy.learn(&counted.profile().unwrap_or_default(), &mut numbers);
            self.engine.recycle(counted.tape);
            self.counting = counted.drawn.map(|(counting, _)| counting);
        }
        Source::Drawn(strategy, numbers)
    }

    /// How many runs of its scenario the last seed took: more than one for a campaign.
    #[must_use]
    pub fn runs(&self) -> u64 {
        self.runs
    }

    /// How often each rule was put to the test in the last run, in the order of [`crate::oracle::RULES`].
    pub fn add_witnesses(&self, sums: &mut [u64]) {
        for (sum, count) in sums.iter_mut().zip(self.judges.borrow().rules.witnesses()) {
            *sum += count;
        }
    }

    /// Adds what the last run has shown, if that was looked at.
    pub fn add_coverage(&self, novelty: &mut Novelty) {
        if let Some(coverage) = &self.judges.borrow().coverage {
            novelty.add(coverage);
        }
    }

    /// The first rule that the last run broke, also if it was cut off by a panic.
    #[must_use]
    pub fn first_violation(&self) -> Option<Finding> {
        let judges = self.judges.try_borrow().ok()?;
        let Violation { rule, message, at_ns, .. } = judges.rules.violations().first()?.clone();
        Some(Finding { rule, message, at_ns })
    }

    /// The choices of the last run, if it was cut off by a panic. Nothing can be run afterwards.
    #[must_use]
    pub fn cut_off(mut self) -> Tape {
        self.engine.take_tape()
    }

    /// Gives the memory of a tape back.
    pub fn recycle(&mut self, tape: Tape) {
        self.engine.recycle(tape);
    }
}

/// The choices of a seed.
#[must_use]
pub fn seeded(seed: u64, strategy: StrategyKind) -> Source {
    seeded_into(Box::default(), seed, strategy)
}

/// As [`seeded`], with the memory of a strategy that is no longer used.
fn seeded_into(mut memory: Box<Strategy>, seed: u64, strategy: StrategyKind) -> Source {
    let mut numbers = Numbers::new(seed, Stream::Schedule);
    memory.prepare(strategy, &mut numbers);
    Source::Drawn(memory, numbers)
}

/// Gives a strategy the profile that it wants: `count` runs the same world on the choices that it is given.
pub fn profiled(source: Source, count: impl FnOnce(Source) -> Option<Arc<Profile>>) -> Source {
    let Source::Drawn(mut strategy, mut numbers) = source else { return source };
    if strategy.wants() != Wanted::Nothing {
        let counting = Strategy::counting(strategy.wants());
        let fifo = Source::Drawn(counting, Numbers::new(0, Stream::Schedule));
        strategy.learn(&count(fifo).unwrap_or_default(), &mut numbers);
    }
    Source::Drawn(strategy, numbers)
}

/// One run of a campaign.
pub(crate) struct Settling {
    /// It shows something, so that no other is needed.
    pub(crate) is_enough: bool,
    pub(crate) tape: Tape,
    pub(crate) drawn: Option<Drawn>,
}

/// Makes the runs of a campaign; gives the choices of the first that shows something, or of the last, and how many
/// runs there were. What is no campaign is given back.
pub(crate) fn settled(mut source: Source, mut run: impl FnMut(Source) -> Settling) -> (Source, u64) {
    let runs = match &source {
        Source::Drawn(strategy, _) => strategy.runs(),
        _ => 1,
    };
    if runs == 1 {
        return (source, 0);
    }
    for number in 1..=runs {
        let Settling { is_enough, tape, drawn } = run(source);
        match drawn {
            Some((mut strategy, mut numbers)) if !is_enough && number < runs => {
                strategy.go_on(&mut numbers);
                source = Source::Drawn(strategy, numbers);
            }
            _ => return (replayed(tape, Fit::Strict), u64::from(number)),
        }
    }
    unreachable!("a campaign has a last run")
}

/// The choices of a tape.
#[must_use]
pub fn replayed(tape: Tape, fit: Fit) -> Source {
    Source::Replayed(tape, fit)
}

/// Listens to nothing.
struct Deaf;

impl Sink for Deaf {
    fn begin(&mut self, _: &Header, _: &Texts) {}
    fn record(&mut self, _: &Record, _: &Texts) {}
    fn is_deaf(&self) -> bool {
        true
    }
}

struct Both(Rc<RefCell<dyn Sink>>, Rc<RefCell<dyn Sink>>);

impl Sink for Both {
    fn begin(&mut self, header: &Header, texts: &Texts) {
        self.0.borrow_mut().begin(header, texts);
        self.1.borrow_mut().begin(header, texts);
    }

    fn record(&mut self, record: &Record, texts: &Texts) {
        self.0.borrow_mut().record(record, texts);
        self.1.borrow_mut().record(record, texts);
    }
}
