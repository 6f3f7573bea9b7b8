//! Choices and the tape.
//!
//! Every decision of a run that is not forced goes through one `Chooser`, at a named [`Site`], and is recorded as
//! (site, arity, value). Zero is always the dullest outcome; past the end of a tape every choice is zero. A schedule
//! choice names a stable identity (a lane), not a place in the ready list, so that what it means does not depend on
//! earlier choices; naming a lane that cannot run now is a step without effect.

use std::sync::{Arc, Mutex, PoisonError};

use simvisor::runtime::PreemptPoint;

use crate::rng::Numbers;
use crate::schedule::{Detail, Footprint, Strategy, gives_way_freely, walk};
use crate::world::LaneKind;

/// Where a choice is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Site {
    /// Which ready future runs: 0 the oldest, otherwise a lane.
    Schedule,
    /// Whether a timer that is due together with others waits for its own turn: 0 no.
    TimerTie,
    /// A draw for backoff jitter: 0 the shortest delay.
    Jitter,
    /// Whether the logic is interrupted before it publishes `TaskStarting`: 0 no. Likewise below.
    BeforeAttempt,
    /// … between a body's end and its event.
    AfterBody,
    /// … between the end of an attempt and what follows it.
    AfterAttempt,
    /// … between an actor's last event and its report to the registry.
    ActorExit,
    /// … between reading a message to the registry and acting on it.
    RegistryMessage,
    /// … between receiving an event from the bus and handing it to the subscribers.
    ListenerReceived,
    /// … between taking an event from a queue and handling it.
    WorkerTook,
    /// … between finding that the run may end and ending it.
    BeforeEnd,
    /// … between seeing a message to the controller and acting on it.
    ControllerMessage,
    /// … between having room in the controller's queue and taking a place there.
    BeforeSubmit,
    /// How an event gets from its stamp to the bus: 0 at once, 1 late, 2 twice.
    Delivery,
    /// A number that a user's program asks for: 0 the lowest.
    Random,
    /// Whether a named fault of a user's program is possible in this run: 0 no.
    Armed,
    /// Whether a named fault that is possible happens here: 0 no.
    Strikes,
}

/// Every site with its name in case files.
pub const SITES: [(Site, &str); 17] = [
    (Site::Schedule, "schedule"),
    (Site::TimerTie, "timer-tie"),
    (Site::Jitter, "jitter"),
    (Site::BeforeAttempt, "preempt-before-attempt"),
    (Site::AfterBody, "preempt-after-body"),
    (Site::AfterAttempt, "preempt-after-attempt"),
    (Site::ActorExit, "preempt-actor-exit"),
    (Site::RegistryMessage, "preempt-registry-message"),
    (Site::ListenerReceived, "preempt-listener-received"),
    (Site::WorkerTook, "preempt-worker-took"),
    (Site::BeforeEnd, "preempt-before-end"),
    (Site::ControllerMessage, "preempt-controller-message"),
    (Site::BeforeSubmit, "preempt-before-submit"),
    (Site::Delivery, "delivery"),
    (Site::Random, "random"),
    (Site::Armed, "armed"),
    (Site::Strikes, "strikes"),
];

impl Site {
    /// The site's name in case files.
    #[must_use]
    pub fn name(self) -> &'static str {
        SITES[self as usize].1
    }

    /// The site of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        SITES.iter().find(|(_, known)| *known == name).map(|&(site, _)| site)
    }

    /// Whether this is a place where the logic may be interrupted.
    #[must_use]
    pub fn is_preemption(self) -> bool {
        (Self::BeforeAttempt as u8..=Self::BeforeSubmit as u8).contains(&(self as u8))
    }
}

impl From<PreemptPoint> for Site {
    fn from(point: PreemptPoint) -> Self {
        match point {
            PreemptPoint::BeforeAttempt => Self::BeforeAttempt,
            PreemptPoint::AfterBody => Self::AfterBody,
            PreemptPoint::AfterAttempt => Self::AfterAttempt,
            PreemptPoint::ActorExit => Self::ActorExit,
            PreemptPoint::RegistryMessage => Self::RegistryMessage,
            PreemptPoint::ListenerReceived => Self::ListenerReceived,
            PreemptPoint::WorkerTook => Self::WorkerTook,
            PreemptPoint::BeforeEnd => Self::BeforeEnd,
            PreemptPoint::ControllerMessage => Self::ControllerMessage,
            PreemptPoint::BeforeSubmit => Self::BeforeSubmit,
        }
    }
}

/// One choice that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// Where.
    pub site: Site,
    /// How many outcomes there were; at least 2.
    pub arity: u32,
    /// Which outcome, below `arity`.
    pub value: u32,
}

/// The choices of a run, in order.
pub type Tape = Vec<Choice>;

/// How a tape is replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// Every choice must come at the recorded site with the recorded arity; the first that does not is reported.
    Strict,
    /// Values are taken in order, whatever they were recorded for.
    Lenient,
}

/// The first choice at which a strict replay left its tape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// Number of the choice, from 0.
    pub index: usize,
    /// What the tape has there; `None` where it has come to its end.
    pub recorded: Option<Choice>,
    /// What the run asked for; `None` where the run ended first.
    pub asked: Option<(Site, u32)>,
}

impl std::fmt::Display for Misfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "choice {}: the tape has ", self.index)?;
        match self.recorded {
            Some(choice) => write!(f, "{} = {} of {}", choice.site.name(), choice.value, choice.arity)?,
            None => write!(f, "nothing more")?,
        }
        match self.asked {
            Some((site, arity)) => write!(f, ", the run asked for {} of {arity}", site.name()),
            None => write!(f, ", the run had come to its end"),
        }
    }
}

/// Where choices come from.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // one per world, and the large one is the usual one
pub enum Source {
    /// A strategy draws them.
    Drawn(Box<Strategy>, Numbers),
    /// A tape has them.
    Replayed(Tape, Fit),
    /// A search decides them one by one.
    Guided(Arc<Mutex<dyn Guide>>),
}

/// A strategy that drew the choices of a run, and its numbers.
pub type Drawn = (Box<Strategy>, Numbers);

/// The lane of the virtual clock.
pub const CLOCK_LANE: u32 = 1;

/// Decides every choice of a run, knowing what could run and what each step touched.
pub trait Guide: std::fmt::Debug + Send {
    /// Which of the ready lanes, the oldest first, runs; `None` gives the run up. Also asked where only one is ready.
    fn picks(&mut self, ready: &[u32]) -> Option<u32>;

    /// How another choice comes out, where this many lanes are ready besides the running one.
    fn decides(&mut self, site: Site, arity: u32, ready: u32) -> u32;

    /// As [`Guide::decides`], for a choice that is told by a name of its own and not by who runs.
    fn decides_at(&mut self, site: Site, _name: &str, arity: u32, ready: u32) -> u32 {
        self.decides(site, arity, ready)
    }

    /// Time has come to this instant.
    fn instant(&mut self, _now_ns: u64) {}

    /// A choice came out as 0 without being asked for, because it is calm.
    fn is_spared(&mut self, _site: Site) {}

    /// A future of this role and name was spawned on `lane`; `twin` tells those of one role and name apart.
    fn spawned(&mut self, _lane: u32, _kind: LaneKind, _name: &Arc<str>, _twin: u32) {}

    /// `lane` was woken, whether it was ready already or not.
    fn woken(&mut self, _lane: u32) {}

    /// A timer is due that wakes `lane`, or an unknown one (0). It fires now, or a choice says whether it does.
    fn due(&mut self, _lane: u32) {}

    /// The step of `lane` has ended and has touched this.
    fn ended(&mut self, _lane: u32, _footprint: Footprint) {}

    /// Whether it wants to know what steps touch.
    fn wants_footprints(&self) -> bool {
        false
    }
}

fn lock(guide: &Mutex<dyn Guide>) -> std::sync::MutexGuard<'_, dyn Guide + 'static> {
    guide.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes and records choices.
#[derive(Debug)]
pub(crate) struct Chooser {
    source: Source,
    next: usize,
    made: Tape,
    misfit: Option<Misfit>,
    calm: bool,
    /// Whether the source cares for anything but being asked. Most of what happens is told to nobody.
    heeds: bool,
    /// Whether a random walk draws the choices, which is asked by shorter ways.
    walks: bool,
    /// The lane that is running, or 0, and what it has touched so far.
    running: u32,
    footprint: Footprint,
}

/// Which ready future a schedule choice names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Named {
    /// The oldest.
    Oldest,
    /// The one at this place among the ready ones.
    Place(u32),
    /// The one on this lane, if it is ready.
    Lane(u32),
}

impl Chooser {
    pub(crate) fn new(source: Source, mut made: Tape) -> Self {
        made.clear();
        let heeds = match &source {
            Source::Drawn(strategy, _) => strategy.heeds(),
            Source::Replayed(..) => false,
            Source::Guided(_) => true,
        };
        let walks = matches!(&source, Source::Drawn(strategy, _) if strategy.walks());
        Self {
            source,
            next: 0,
            made,
            misfit: None,
            calm: false,
            heeds,
            walks,
            running: 0,
            footprint: Footprint::NONE,
        }
    }

    /// From now on no drawn choice interrupts the logic.
    pub(crate) fn calm_down(&mut self) {
        self.calm = true;
    }

    /// How much anybody wants to know of what steps touch, if at all.
    pub(crate) fn detail(&self) -> Option<Detail> {
        match &self.source {
            Source::Drawn(strategy, _) => strategy.wants_footprints().then_some(Detail::Coarse),
            Source::Replayed(..) => None,
            Source::Guided(guide) => lock(guide).wants_footprints().then_some(Detail::Fine),
        }
    }

    /// Whether the source cares for anything but being asked.
    pub(crate) fn heeds(&self) -> bool {
        self.heeds
    }

    /// Whether a search picks what runs.
    pub(crate) fn is_guided(&self) -> bool {
        matches!(self.source, Source::Guided(_))
    }

    /// Time has come to this instant.
    #[inline]
    pub(crate) fn instant(&mut self, now_ns: u64) {
        if self.heeds {
            self.heed_instant(now_ns);
        }
    }

    fn heed_instant(&mut self, now_ns: u64) {
        match &mut self.source {
            Source::Drawn(strategy, _) => strategy.instant(now_ns),
            Source::Replayed(..) => {}
            Source::Guided(guide) => lock(guide).instant(now_ns),
        }
    }

    /// The running future, or nobody, has spawned one on `lane`.
    pub(crate) fn spawned(&mut self, lane: u32) {
        if let Source::Drawn(strategy, numbers) = &mut self.source {
            strategy.spawned(lane, numbers);
        }
    }

    /// As [`Guide::spawned`].
    pub(crate) fn named(&mut self, lane: u32, kind: LaneKind, name: &Arc<str>, twin: u32) {
        if let Source::Guided(guide) = &self.source {
            lock(guide).spawned(lane, kind, name, twin);
        }
    }

    /// A lane has become ready.
    #[inline]
    pub(crate) fn readied(&mut self, lane: u32) {
        if self.heeds {
            self.heed_readied(lane);
        }
    }

    fn heed_readied(&mut self, lane: u32) {
        if let Source::Drawn(strategy, numbers) = &mut self.source {
            strategy.readied(lane, numbers);
        }
    }

    /// As [`Guide::woken`].
    pub(crate) fn woken(&mut self, lane: u32) {
        if let Source::Guided(guide) = &self.source {
            lock(guide).woken(lane);
        }
    }

    /// As [`Guide::due`].
    pub(crate) fn due(&mut self, lane: u32) {
        if let Source::Guided(guide) = &self.source {
            lock(guide).due(lane);
        }
    }

    /// A lane is not ready any more.
    #[inline]
    pub(crate) fn rested(&mut self, lane: u32) {
        if self.heeds
            && let Source::Drawn(strategy, _) = &mut self.source
        {
            strategy.rested(lane);
        }
    }

    /// A lane begins a turn and touches this.
    #[inline]
    pub(crate) fn begins(&mut self, lane: u32, footprint: Footprint) {
        if self.heeds {
            self.heed_begins(lane, footprint);
        }
    }

    fn heed_begins(&mut self, lane: u32, footprint: Footprint) {
        self.running = lane;
        self.footprint = footprint;
        if let Source::Drawn(strategy, _) = &mut self.source {
            strategy.begins(lane);
        }
    }

    /// The running lane touches this.
    pub(crate) fn touches(&mut self, footprint: Footprint) {
        self.footprint.add(footprint);
    }

    /// The turn has ended.
    #[inline]
    pub(crate) fn ended(&mut self) {
        if self.heeds {
            self.heed_ended();
        }
    }

    fn heed_ended(&mut self) {
        match &mut self.source {
            Source::Drawn(strategy, numbers) => strategy.ended(self.footprint, numbers),
            Source::Replayed(..) => {}
            Source::Guided(guide) => lock(guide).ended(self.running, self.footprint),
        }
        self.running = 0;
    }

    /// Which lane a search wants to run.
    pub(crate) fn guided(&mut self, ready: &[u32]) -> Option<u32> {
        let Source::Guided(guide) = &self.source else { unreachable!("nothing else is guided") };
        lock(guide).picks(ready)
    }

    /// Whether the running lane gives way at a preemption point, where `ready` others are ready: a choice of its own,
    /// because a run makes more of these than of all others.
    #[inline]
    pub(crate) fn gives_way(&mut self, site: Site, ready: u32) -> bool {
        let value = match self.source {
            Source::Drawn(..) if self.calm => 0,
            Source::Drawn(..) if self.walks => gives_way_freely(ready),
            _ => return self.choose(site, None, 2, ready) == 1,
        };
        self.made.push(Choice { site, arity: 2, value });
        value == 1
    }

    /// A value below `arity`, where `ready` lanes are ready besides the running one. Where only one value is possible
    /// no choice is made. `name` tells the choice apart where who runs does not matter.
    #[inline]
    pub(crate) fn choose(&mut self, site: Site, name: Option<&str>, arity: u32, ready: u32) -> u32 {
        if arity < 2 {
            return 0;
        }
        let value = match &mut self.source {
            Source::Drawn(..) if self.calm && site != Site::Jitter => 0,
            Source::Guided(guide) if self.calm && site != Site::Jitter => {
                lock(guide).is_spared(site);
                0
            }
            Source::Drawn(strategy, numbers) => {
                strategy.decide(numbers, site, arity, ready, &mut self.footprint)
            }
            Source::Replayed(..) => self.replay(site, arity),
            Source::Guided(guide) => match name {
                Some(name) => lock(guide).decides_at(site, name, arity, ready),
                None => lock(guide).decides(site, arity, ready),
            },
        };
        debug_assert!(value < arity, "{} drew {value} of {arity}", site.name());
        self.made.push(Choice { site, arity, value });
        value
    }

    /// Whether one of several timers due at one instant waits for its own turn, where `ready` lanes are ready: a choice of its
    /// own, because few sleepers on a coarse clock make more of these than of most others.
    #[inline]
    pub(crate) fn holds_back(&mut self, ready: u32) -> bool {
        let site = Site::TimerTie;
        match &mut self.source {
            Source::Drawn(strategy, numbers) if self.walks && !self.calm => {
                let value = strategy.decides(numbers, site, 2);
                self.made.push(Choice { site, arity: 2, value });
                value == 1
            }
            _ => self.choose(site, None, 2, ready) == 1,
        }
    }

    /// The place of the future that runs, under a random walk. Where only one is ready none is drawn.
    #[inline]
    pub(crate) fn walks(&mut self, ready: u32) -> Option<u32> {
        match &mut self.source {
            Source::Drawn(_, numbers) if self.walks => {
                Some(if ready == 1 { 0 } else { walk(numbers, ready) })
            }
            _ => None,
        }
    }

    /// Which of `ready` ready futures runs, of several. The caller tells with [`Chooser::scheduled`] what came of it.
    #[inline]
    pub(crate) fn schedule(&mut self, ready: u32, lanes: u32) -> Named {
        match &mut self.source {
            Source::Drawn(strategy, numbers) => strategy.pick(numbers, ready),
            Source::Replayed(..) => match self.replay(Site::Schedule, lanes + 1) {
                0 => Named::Oldest,
                lane => Named::Lane(lane),
            },
            Source::Guided(_) => unreachable!("a guide is asked by itself"),
        }
    }

    /// The place of the future that will be chosen of `ready` ones after `later` other turns, as far as that is known:
    /// a guess, since it is not known how many will be ready by then.
    pub(crate) fn schedules_soon(&self, later: usize, ready: u32) -> Option<u32> {
        match &self.source {
            Source::Drawn(strategy, numbers) => strategy.picks_soon(numbers, later, ready),
            _ => None,
        }
    }

    /// Records a schedule choice: 0, or the lane that ran.
    #[inline]
    pub(crate) fn scheduled(&mut self, lane: u32, lanes: u32) {
        self.made.push(Choice { site: Site::Schedule, arity: lanes + 1, value: lane });
    }

    /// The schedule choice just replayed named a lane that was not ready.
    pub(crate) fn named_in_vain(&mut self, lanes: u32) {
        self.misfit(Some((Site::Schedule, lanes + 1)), self.next - 1);
    }

    fn replay(&mut self, site: Site, arity: u32) -> u32 {
        let Source::Replayed(tape, fit) = &self.source else { unreachable!("only tapes are replayed") };
        let index = self.next;
        self.next += 1;
        let recorded = tape.get(index).copied();
        let fits = recorded.is_some_and(|choice| choice.site == site && choice.arity == arity);
        // The end of a tape stands for zeros without end.
        if !fits && recorded.is_some() && *fit == Fit::Strict {
            self.misfit(Some((site, arity)), index);
        }
        if self.misfit.is_some() {
            return 0;
        }
        recorded.map_or(0, |choice| if choice.value < arity { choice.value } else { choice.value % arity })
    }

    fn misfit(&mut self, asked: Option<(Site, u32)>, index: usize) {
        let Source::Replayed(tape, Fit::Strict) = &self.source else { return };
        if self.misfit.is_none() {
            self.misfit = Some(Misfit { index, recorded: tape.get(index).copied(), asked });
        }
    }

    /// What was chosen, where a strict replay left its tape, and what drew it.
    pub(crate) fn finish(mut self) -> (Tape, Option<Misfit>, Option<Drawn>) {
        if let Source::Replayed(tape, Fit::Strict) = &self.source
            && tape.len() > self.next
        {
            self.misfit(None, self.next);
        }
        let drawn = match self.source {
            Source::Drawn(mut strategy, mut numbers) => {
                strategy.close(&mut numbers);
                Some((strategy, numbers))
            }
            _ => None,
        };
        (self.made, self.misfit, drawn)
    }
}
