//! The settings of a scenario as dials: numbers of which zero is the default and a lower one is simpler.
//!
//! Every edit of a setting is then an edit of a number, every scenario has its place in one order, and all small
//! scenarios of one shape can be counted off. What is added to the types of a scenario has to be added here: the
//! patterns are exhaustive on purpose.

use crate::scenario::{
    Action, Admission, Backoff, Behaviour, Config, Controller, Disorder, Ending, Jitter, Mode, OnCancel,
    Operation, ReceiverDecl, Restart, Scenario, Span, Step, SubscriberDecl, TaskDecl,
};

/// One setting.
#[derive(Debug)]
pub(super) enum Dial<'a> {
    Flag(&'a mut bool),
    /// A span with its default.
    Span(&'a mut Span, Span),
    MaybeSpan(&'a mut Option<Span>),
    /// A number with its default and the least that makes a difference.
    Number(&'a mut u32, u32, u32),
    Factor(&'a mut f64),
    Wall(&'a mut i64),
    Mode(&'a mut Mode),
    Disorder(&'a mut Disorder),
    Controller(&'a mut Option<Controller>),
    Restart(&'a mut Restart),
    Jitter(&'a mut Jitter),
    /// An ending with its default.
    Ending(&'a mut Ending, Ending),
    OnCancel(&'a mut OnCancel),
    Behaviour(&'a mut Behaviour),
    Admission(&'a mut Admission),
}

/// A variant stands above this bit, what it carries below.
const VARIANT: u32 = 44;
/// Marks a value that is no round number.
const ODD: u64 = 1 << 43;
const MS: u64 = 1_000_000;

/// The endings, the simplest first.
const ENDINGS: [Ending; 6] =
    [Ending::Ok, Ending::Fail, Ending::Canceled, Ending::Fatal, Ending::Panic, Ending::Never];
const JITTERS: [Jitter; 4] = [Jitter::None, Jitter::Full, Jitter::Equal, Jitter::Decorrelated];
const DISORDERS: [Disorder; 3] = [Disorder::None, Disorder::Late, Disorder::LateAndTwice];
const ADMISSIONS: [Admission; 3] = [Admission::Queue, Admission::Replace, Admission::DropIfRunning];

fn place<T: PartialEq>(all: &[T], value: &T) -> u64 {
    all.iter().position(|one| one == value).unwrap_or(all.len()) as u64
}

fn at<T: Copy>(all: &[T], rank: u64) -> T {
    all[usize::try_from(rank).unwrap_or(usize::MAX).min(all.len() - 1)]
}

/// Whole milliseconds are round.
fn of_span(span: Span) -> u64 {
    let ns = span.ns();
    let ms = ns / MS;
    if ns.is_multiple_of(MS) && ms < ODD { ms } else { ODD | ns.min(ODD - 1) }
}

fn to_span(rank: u64) -> Span {
    if rank & ODD == 0 { Span::from_millis(rank) } else { Span(rank & (ODD - 1)) }
}

fn with(variant: u64, carries: u64) -> u64 {
    variant << VARIANT | carries
}

fn parts(rank: u64) -> (u64, u64) {
    (rank >> VARIANT, rank & ((1 << VARIANT) - 1))
}

impl Dial<'_> {
    /// Where it stands.
    pub(super) fn rank(&self) -> u64 {
        match self {
            Self::Flag(flag) => u64::from(**flag),
            Self::Span(span, plain) if *span == plain => 0,
            Self::Span(span, _) => 1 + of_span(**span),
            Self::MaybeSpan(span) => span.map_or(0, |span| 1 + of_span(span)),
            Self::Number(number, plain, _) if *number == plain => 0,
            Self::Number(number, _, least) if **number >= *least => 1 + u64::from(**number - *least),
            Self::Number(number, ..) => ODD | u64::from(**number),
            Self::Factor(factor) if **factor == 1.0 => 0,
            Self::Factor(factor) if factor.fract() == 0.0 && (0.0..1e9).contains(*factor) => {
                **factor as u64 + 1
            }
            Self::Factor(factor) => ODD | factor.to_bits() >> 22,
            Self::Wall(by_ms) => by_ms.unsigned_abs().min(ODD / 4) * 2 + u64::from(**by_ms < 0),
            Self::Mode(mode) => u64::from(**mode == Mode::Serve),
            Self::Disorder(disorder) => place(&DISORDERS, disorder),
            Self::Controller(controller) => u64::from(controller.is_some()),
            Self::Restart(Restart::OnFailure) => 0,
            Self::Restart(Restart::Never) => with(1, 0),
            Self::Restart(Restart::Always { every: None }) => with(2, 0),
            Self::Restart(Restart::Always { every: Some(every) }) => with(3, of_span(*every)),
            Self::Jitter(jitter) => place(&JITTERS, jitter),
            Self::Ending(ending, plain) if *ending == plain => 0,
            Self::Ending(ending, _) => 1 + place(&ENDINGS, ending),
            Self::OnCancel(OnCancel::Ignore) => 1,
            Self::OnCancel(OnCancel::End { .. }) => 0,
            Self::Behaviour(Behaviour::Quick) => 0,
            Self::Behaviour(Behaviour::Stuck { after }) => with(1, u64::from(*after)),
            Self::Behaviour(Behaviour::Panics { every }) => with(2, u64::from(*every)),
            Self::Behaviour(Behaviour::Slow { each }) => with(3, of_span(*each)),
            Self::Admission(admission) => place(&ADMISSIONS, admission),
        }
    }

    /// Turns it.
    pub(super) fn turn(&mut self, rank: u64) {
        let number = |rank: u64| u32::try_from(rank & (ODD - 1)).unwrap_or(u32::MAX);
        match self {
            Self::Flag(flag) => **flag = rank > 0,
            Self::Span(span, plain) => **span = if rank == 0 { *plain } else { to_span(rank - 1) },
            Self::MaybeSpan(span) => **span = rank.checked_sub(1).map(to_span),
            Self::Number(value, plain, least) => {
                **value = match rank {
                    0 => *plain,
                    odd if odd & ODD > 0 => number(odd),
                    rank => least.saturating_add(number(rank - 1)),
                };
            }
            Self::Factor(factor) if rank & ODD > 0 => **factor = f64::from_bits((rank & (ODD - 1)) << 22),
            Self::Factor(factor) => **factor = if rank == 0 { 1.0 } else { (rank - 1) as f64 },
            Self::Wall(by_ms) => {
                let size = i64::try_from(rank / 2).unwrap_or(i64::MAX);
                **by_ms = if rank.is_multiple_of(2) { size } else { -size };
            }
            Self::Mode(mode) => **mode = if rank == 0 { Mode::Run } else { Mode::Serve },
            Self::Disorder(disorder) => **disorder = at(&DISORDERS, rank),
            Self::Controller(controller) => **controller = (rank > 0).then(Controller::default),
            Self::Restart(restart) => {
                **restart = match parts(rank) {
                    (0, _) => Restart::OnFailure,
                    (1, _) => Restart::Never,
                    (2, _) => Restart::Always { every: None },
                    (_, every) => Restart::Always { every: Some(to_span(every)) },
                };
            }
            Self::Jitter(jitter) => **jitter = at(&JITTERS, rank),
            Self::Ending(ending, plain) => **ending = if rank == 0 { *plain } else { at(&ENDINGS, rank - 1) },
            Self::OnCancel(on_cancel) => {
                **on_cancel = if rank == 0 { OnCancel::default() } else { OnCancel::Ignore };
            }
            Self::Behaviour(behaviour) => {
                **behaviour = match parts(rank) {
                    (0, _) => Behaviour::Quick,
                    (1, after) => Behaviour::Stuck { after: number(after) },
                    (2, every) => Behaviour::Panics { every: number(every) },
                    (_, each) => Behaviour::Slow { each: to_span(each) },
                };
            }
            Self::Admission(admission) => **admission = at(&ADMISSIONS, rank),
        }
    }

    /// The simplest places besides zero that are worth a try, in order. What is left out here changes how a scenario
    /// is driven, or shows nothing that the others do not.
    fn steps(&self) -> Vec<u64> {
        match self {
            Self::Controller(_) | Self::Jitter(_) | Self::Wall(_) => Vec::new(),
            Self::Flag(_) | Self::Mode(_) | Self::OnCancel(_) | Self::Number(..) => vec![1],
            Self::Factor(_) => vec![1, 3],
            Self::Span(_, plain) if *plain > Span::from_secs(1) => vec![1],
            Self::Span(_, plain) if !plain.is_zero() => vec![1, 2],
            Self::Span(..) | Self::MaybeSpan(_) => vec![2, 3],
            Self::Disorder(_) | Self::Admission(_) => vec![1, 2],
            Self::Restart(_) => vec![with(1, 0), with(2, 0), with(3, 1)],
            Self::Ending(_, plain) => {
                let others = (1..).zip(ENDINGS).filter(|(_, ending)| ending != plain);
                others.map(|(rank, _)| rank).collect()
            }
            Self::Behaviour(_) => vec![with(1, 0), with(2, 1), with(3, 1)],
        }
    }

    fn span(&mut self) -> Option<&mut Span> {
        match self {
            Self::Span(span, _) => Some(span),
            Self::MaybeSpan(span) => span.as_mut(),
            Self::Restart(Restart::Always { every }) => every.as_mut(),
            Self::Behaviour(Behaviour::Slow { each }) => Some(each),
            _ => None,
        }
    }
}

/// Shows all dials in a fixed order.
pub(super) fn visit(scenario: &mut Scenario, see: &mut dyn FnMut(Dial<'_>)) {
    let Scenario {
        name: _,
        story: _,
        mode,
        run_at,
        calm_at,
        config,
        tasks,
        subscribers,
        receivers,
        operations,
    } = scenario;
    see(Dial::Mode(mode));
    see(Dial::Span(run_at, Span::ZERO));
    see(Dial::MaybeSpan(calm_at));
    let plain = Config::default();
    let Config { grace, max_concurrent, bus_capacity, timeout, controller, disorder } = config;
    see(Dial::Span(grace, plain.grace));
    see(Dial::Number(max_concurrent, plain.max_concurrent, 1));
    see(Dial::Number(bus_capacity, plain.bus_capacity, 1));
    see(Dial::Span(timeout, plain.timeout));
    see(Dial::Disorder(disorder));
    see(Dial::Controller(controller));
    if let Some(Controller { queue_capacity, slot_capacity }) = controller {
        let plain = Controller::default();
        see(Dial::Number(queue_capacity, plain.queue_capacity, 1));
        see(Dial::Number(slot_capacity, plain.slot_capacity, 0));
    }
    tasks.iter_mut().for_each(|task| visit_task(task, see));
    for SubscriberDecl { name: _, capacity, behaviour } in subscribers {
        see(Dial::Number(capacity, 1024, 1));
        see(Dial::Behaviour(behaviour));
    }
    for ReceiverDecl { name: _, pause } in receivers {
        see(Dial::Span(pause, Span::ZERO));
    }
    for Operation { at, action } in operations {
        see(Dial::Span(at, Span::ZERO));
        match action {
            Action::Cancel { task: _, wait } => see(Dial::MaybeSpan(wait)),
            Action::SetWall { by_ms } => see(Dial::Wall(by_ms)),
            Action::Submit { task: _, how, at_once } => {
                see(Dial::Admission(how));
                see(Dial::Flag(at_once));
            }
            Action::Add(_)
            | Action::Remove(_)
            | Action::List
            | Action::Snapshot
            | Action::IsAlive(_)
            | Action::WaitReady
            | Action::Shutdown => {}
        }
    }
}

fn visit_task(task: &mut TaskDecl, see: &mut dyn FnMut(Dial<'_>)) {
    let TaskDecl { name: _, key: _, start, restart, backoff, timeout, script } = task;
    see(Dial::Flag(start));
    see(Dial::Restart(restart));
    let plain = Backoff::default();
    let Backoff { first, max, factor, jitter } = backoff;
    see(Dial::Span(first, plain.first));
    see(Dial::Span(max, plain.max));
    see(Dial::Factor(factor));
    see(Dial::Jitter(jitter));
    see(Dial::MaybeSpan(timeout));
    for Step { run, then, on_cancel } in script {
        see(Dial::Span(run, Span::ZERO));
        see(Dial::Ending(then, Ending::Ok));
        see(Dial::OnCancel(on_cancel));
        if let OnCancel::End { after, then } = on_cancel {
            see(Dial::Span(after, Span::ZERO));
            see(Dial::Ending(then, Ending::Canceled));
        }
    }
}

/// Where all dials stand.
pub(super) fn ranks(scenario: &Scenario) -> Vec<u64> {
    let mut ranks = Vec::new();
    visit(&mut scenario.clone(), &mut |dial| ranks.push(dial.rank()));
    ranks
}

/// The scenario with some dials turned, by their places.
pub(super) fn turned(scenario: &Scenario, turns: &[(usize, u64)]) -> Scenario {
    let mut other = scenario.clone();
    let mut turns = turns.to_vec();
    // A turn may bring or take away dials behind it.
    turns.sort_unstable_by_key(|(place, _)| std::cmp::Reverse(*place));
    for (wanted, rank) in turns {
        let mut place = 0;
        visit(&mut other, &mut |mut dial| {
            if place == wanted {
                dial.turn(rank);
            }
            place += 1;
        });
    }
    other
}

/// All turns of one dial to one of its simplest places.
pub(super) fn turns(scenario: &Scenario) -> Vec<(usize, u64)> {
    let mut turns = Vec::new();
    let mut place = 0;
    visit(&mut scenario.clone(), &mut |dial| {
        turns.extend(dial.steps().into_iter().map(|rank| (place, rank)));
        place += 1;
    });
    turns
}

/// The scenario with all dials at zero, apart from what brings a task in.
pub(super) fn zeroed(scenario: &Scenario) -> Scenario {
    let mut other = scenario.clone();
    for task in &mut other.tasks {
        task.script = vec![Step::default()];
    }
    visit(&mut other, &mut |mut dial| {
        if !matches!(dial, Dial::Flag(_) | Dial::Mode(_) | Dial::Controller(_) | Dial::Admission(_)) {
            dial.turn(0);
        }
    });
    other
}

/// As [`zeroed`], of one task alone.
pub(super) fn zeroed_task(scenario: &Scenario, task: usize) -> Scenario {
    let mut other = scenario.clone();
    let decl = &mut other.tasks[task];
    decl.script = vec![Step::default()];
    visit_task(decl, &mut |mut dial| {
        if !matches!(dial, Dial::Flag(_)) {
            dial.turn(0);
        }
    });
    other
}

/// Places of the dials of one task.
pub(super) fn places_of_task(scenario: &Scenario, task: usize) -> std::ops::Range<usize> {
    let count = |tasks: usize| {
        let mut without = Scenario { tasks: scenario.tasks[..tasks].to_vec(), ..scenario.clone() };
        (without.subscribers, without.receivers, without.operations) = (Vec::new(), Vec::new(), Vec::new());
        ranks(&without).len()
    };
    count(task)..count(task + 1)
}

/// How far from zero, and how odd.
pub(super) fn weight(rank: u64) -> u64 {
    let (variant, carries) = parts(rank);
    variant + if carries & ODD > 0 { 1_000 + (carries & (ODD - 1)) / MS } else { carries }
}

/// Simpler places than this, the simplest first.
pub(super) fn lower(rank: u64) -> Vec<u64> {
    let (variant, carries) = parts(rank);
    let mut all: Vec<u64> = Vec::new();
    for before in 0..variant {
        all.extend([with(before, 0), with(before, 1), with(before, carries)]);
    }
    if carries & ODD > 0 {
        let ms = (carries & (ODD - 1)) / MS;
        all.extend([0, 1, 2, ms, ms + 1, ms + 2].map(|carries| with(variant, carries)));
    } else {
        let parts = [3, 6, 9, 12].map(|size| carries - (carries >> size));
        let steps = [0, 1, 2, 3, 4, 6, 11, carries / 2 + 1].into_iter().chain(parts);
        let steps = steps.chain([carries.saturating_sub(1)]);
        all.extend(steps.filter(|&step| step < carries).map(|step| with(variant, step)));
    }
    let mut seen = Vec::new();
    all.retain(|&other| {
        let is_new = weight(other) < weight(rank) && !seen.contains(&other);
        seen.push(other);
        is_new
    });
    all
}

/// Changes every span.
pub(super) fn spans(scenario: &mut Scenario, see: &mut dyn FnMut(&mut Span)) {
    visit(scenario, &mut |mut dial| {
        let is_plain = dial.rank() == 0;
        if !is_plain && let Some(span) = dial.span() {
            see(span);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::generate;

    /// Of generated scenarios every dial goes back to where it was, through all simpler places.
    #[test]
    fn a_dial_that_is_turned_to_a_rank_stands_there() {
        let mut seen = 0;
        for seed in 0..300 {
            let mut scenario = generate(seed);
            let before = ranks(&scenario);
            visit(&mut scenario, &mut |mut dial| {
                let rank = dial.rank();
                for other in lower(rank) {
                    dial.turn(other);
                    assert!(weight(dial.rank()) <= weight(other), "{dial:?}: {other:#x}");
                }
                dial.turn(rank);
                assert_eq!(dial.rank(), rank, "{dial:?}");
                seen += usize::from(rank > 0);
            });
            assert_eq!(ranks(&scenario).len(), before.len());
        }
        assert!(seen > 5_000, "{seen}");
    }

    #[test]
    fn lower_ranks_are_simpler_and_end_at_the_default() {
        for rank in [1, 2, 3, 17, 1_000, ODD | 1_000_001, with(2, 5), with(3, ODD | 999_999)] {
            let lower = lower(rank);
            assert_eq!(lower.first(), Some(&0), "{rank:#x}");
            assert!(lower.iter().all(|&other| weight(other) < weight(rank)), "{rank:#x} {lower:x?}");
        }
    }
}
