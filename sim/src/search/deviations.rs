//! Schedules written as deviations from the plain one.
//!
//! The plain schedule runs the oldest ready future, interrupts nobody, fires timers together and draws the shortest
//! jitter. A *deviation* is a choice that comes out otherwise. It is told by where it is made: the site, the future
//! that runs or whose turn it would have been, and how many choices of this kind this future had before. So it keeps
//! its meaning when other deviations, tasks or operations are taken away; a place on a tape does not.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::choice::{Choice, Guide, Site, Tape};
use crate::rng::Numbers;
use crate::world::LaneKind;

/// A future by role and name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Who {
    pub(crate) kind: LaneKind,
    pub(crate) name: Arc<str>,
    /// Tells those of one role and name apart.
    pub(crate) twin: u32,
}

/// Where a choice is made.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) site: Site,
    /// Who runs, or would have run.
    pub(crate) who: Who,
    /// How many choices at this site `who` had before.
    pub(crate) nth: u32,
}

/// What a choice comes out as.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum To {
    Runs(Who),
    Value(u32),
}

/// A choice that comes out otherwise than in the plain schedule.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Deviation {
    pub(crate) at: Place,
    pub(crate) to: To,
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &*self.name {
            "" => write!(f, "{}", self.kind.as_str())?,
            name => write!(f, "{} {name}", self.kind.as_str())?,
        }
        if self.twin > 0 { write!(f, " (no. {} of that name)", self.twin + 1) } else { Ok(()) }
    }
}

impl std::fmt::Display for Deviation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { at: Place { site, who, .. }, to } = self;
        match (site, to) {
            (_, To::Runs(other)) if other == who => write!(f, "{who} runs, the oldest that is ready"),
            (_, To::Runs(other)) => write!(f, "{other} runs before {who}"),
            (Site::TimerTie, To::Value(0)) => {
                write!(f, "a timer fires together with the others of its instant")
            }
            (Site::TimerTie, To::Value(_)) => write!(f, "a timer fires later than others of its instant"),
            (Site::Delivery, To::Value(0)) => write!(f, "an event of {who} is delivered at once"),
            (Site::Delivery, To::Value(1)) => write!(f, "an event of {who} is delivered late"),
            (Site::Delivery, To::Value(_)) => write!(f, "an event of {who} is delivered twice"),
            (Site::Random, To::Value(value)) => write!(f, "{who} draws {value} at random"),
            (Site::Armed, To::Value(0)) => write!(f, "the fault `{}` is not possible", who.name),
            (Site::Armed, To::Value(_)) => write!(f, "the fault `{}` is possible", who.name),
            (Site::Strikes, To::Value(0)) => write!(f, "the fault `{}` does not happen", who.name),
            (Site::Strikes, To::Value(_)) => write!(f, "the fault `{}` happens", who.name),
            (Site::Jitter, To::Value(value)) => write!(f, "{who} draws {value} for its jitter"),
            (site, To::Value(0)) => write!(f, "{who} is not interrupted ({})", site.name()),
            (site, To::Value(_)) => write!(f, "{who} is interrupted ({})", site.name()),
        }
    }
}

impl Deviation {
    /// How far from the plain choice.
    pub(crate) fn size(&self) -> u64 {
        match self.to {
            To::Runs(_) => 1,
            To::Value(value) => u64::from(value),
        }
    }
}

/// A choice of a run and what else it could have been.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Point {
    pub(crate) at: Place,
    pub(crate) others: Vec<To>,
}

/// What decides.
#[derive(Debug)]
enum Plan {
    /// Deviations, by site, number of `who` and `nth`.
    Deviations(FxHashMap<(Site, u32, u32), To>),
    /// A tape, and past its end `rest`.
    Tape(Tape, usize, Rest),
}

/// What follows a tape.
#[derive(Debug)]
pub(crate) enum Rest {
    /// The plain schedule.
    Plain,
    /// A random one.
    Random(Box<Numbers>),
}

/// Guides a run by deviations or by a tape, and tells where it deviated.
#[derive(Debug)]
pub(crate) struct Pilot {
    plan: Plan,
    /// Everybody who was ever met, and their numbers here.
    people: Vec<Who>,
    numbers: FxHashMap<Who, u32>,
    /// Who is on each lane of this world.
    lanes: Vec<u32>,
    asked: FxHashMap<(Site, u32), u32>,
    running: u32,
    now_ns: u64,
    made: Vec<Deviation>,
    /// When each of `made` was made, in nanoseconds.
    made_at_ns: Vec<u64>,
    /// What else could have been, if that is wanted.
    points: Option<Vec<Point>>,
    /// Every choice, if they are wanted.
    log: Option<Vec<Deviation>>,
}

const NOBODY: u32 = 0;

impl Pilot {
    pub(crate) fn new() -> Self {
        let nobody = Who { kind: LaneKind::Clock, name: Arc::from(""), twin: 0 };
        Self {
            plan: Plan::Deviations(FxHashMap::default()),
            people: vec![nobody.clone()],
            numbers: FxHashMap::from_iter([(nobody, NOBODY)]),
            lanes: Vec::new(),
            asked: FxHashMap::default(),
            running: NOBODY,
            now_ns: 0,
            made: Vec::new(),
            made_at_ns: Vec::new(),
            points: None,
            log: None,
        }
    }

    fn begin(&mut self) {
        self.lanes.clear();
        self.lanes.resize(2, NOBODY); // nobody, and the clock
        self.asked.clear();
        self.running = NOBODY;
        self.now_ns = 0;
        self.made.clear();
        self.made_at_ns.clear();
        self.points = None;
        self.log = None;
    }

    /// The next run deviates so. With `points` it tells of every choice.
    pub(crate) fn deviate(&mut self, deviations: &[Deviation], points: bool) {
        self.begin();
        self.points = points.then(Vec::new);
        let keyed = deviations.iter().map(|Deviation { at, to }| {
            let who = self.number(&at.who);
            ((at.site, who, at.nth), to.clone())
        });
        self.plan = Plan::Deviations(keyed.collect());
    }

    /// The next run follows a tape, and then `rest`.
    pub(crate) fn follow(&mut self, tape: Tape, rest: Rest) {
        self.begin();
        self.plan = Plan::Tape(tape, 0, rest);
    }

    /// The next run tells of every choice.
    pub(crate) fn keep_log(&mut self) {
        self.log = Some(Vec::new());
    }

    /// Every choice of the last run, if it was wanted.
    pub(crate) fn log(&mut self) -> Vec<Deviation> {
        self.log.take().unwrap_or_default()
    }

    /// Where the last run deviated, in order.
    pub(crate) fn made(&self) -> &[Deviation] {
        &self.made
    }

    /// When each of [`Pilot::made`] was made, in nanoseconds.
    pub(crate) fn made_at_ns(&self) -> &[u64] {
        &self.made_at_ns
    }

    /// Whether the last run came to this choice.
    pub(crate) fn came_to(&self, place: &Place) -> bool {
        let who = self.numbers.get(&place.who);
        who.and_then(|&who| self.asked.get(&(place.site, who))).is_some_and(|&asked| asked > place.nth)
    }

    /// What else could have been in the last run, if it was wanted.
    pub(crate) fn points(&mut self) -> Vec<Point> {
        self.points.take().unwrap_or_default()
    }

    fn number(&mut self, who: &Who) -> u32 {
        if let Some(&number) = self.numbers.get(who) {
            return number;
        }
        let number = u32::try_from(self.people.len()).expect("people are numbered in 32 bits");
        self.people.push(who.clone());
        self.numbers.insert(who.clone(), number);
        number
    }

    fn on_lane(&self, lane: u32) -> u32 {
        self.lanes.get(lane as usize).copied().unwrap_or(NOBODY)
    }

    fn nth(&mut self, site: Site, who: u32) -> u32 {
        let count = self.asked.entry((site, who)).or_default();
        *count += 1;
        *count - 1
    }

    fn next_of_tape(&mut self) -> Option<Choice> {
        let Plan::Tape(tape, next, _) = &mut self.plan else { return None };
        *next += 1;
        tape.get(*next - 1).copied()
    }

    /// A value below `bound`, or 0.
    fn rest(&mut self, bound: u32) -> u32 {
        match &mut self.plan {
            Plan::Tape(_, _, Rest::Random(numbers)) => numbers.below(bound),
            _ => 0,
        }
    }

    fn place(&self, site: Site, who: u32, nth: u32) -> Place {
        Place { site, who: self.people[who as usize].clone(), nth }
    }

    fn who_on(&self, lane: u32) -> Who {
        self.people[self.on_lane(lane) as usize].clone()
    }

    fn decides_for(&mut self, site: Site, who: u32, arity: u32, ready: u32) -> u32 {
        let nth = self.nth(site, who);
        // An interruption that nobody makes use of is none.
        let is_idle = site.is_preemption() && ready == 0;
        if !is_idle && let Some(mut points) = self.points.take() {
            // Of many values, the far end stands for all.
            let others = if arity <= 3 { (1..arity).collect() } else { vec![arity - 1] };
            let others = others.into_iter().map(To::Value).collect();
            points.push(Point { at: self.place(site, who, nth), others });
            self.points = Some(points);
        }
        let value = if let Plan::Tape(..) = self.plan {
            match self.next_of_tape() {
                Some(choice) => choice.value.min(arity - 1),
                None if is_idle => 0,
                None => self.rest(arity),
            }
        } else {
            match self.wanted(site, who, nth) {
                Some(To::Value(value)) => value.min(arity - 1),
                _ => 0,
            }
        };
        if value > 0 || self.log.is_some() {
            let deviation = Deviation { at: self.place(site, who, nth), to: To::Value(value) };
            if value > 0 {
                self.made.push(deviation.clone());
                self.made_at_ns.push(self.now_ns);
            }
            self.log.iter_mut().for_each(|log| log.push(deviation.clone()));
        }
        value
    }

    fn wanted(&self, site: Site, who: u32, nth: u32) -> Option<To> {
        let Plan::Deviations(deviations) = &self.plan else { return None };
        if deviations.is_empty() { None } else { deviations.get(&(site, who, nth)).cloned() }
    }
}

impl Guide for Pilot {
    fn picks(&mut self, ready: &[u32]) -> Option<u32> {
        let (&oldest, others) = ready.split_first()?;
        if others.is_empty() {
            self.running = self.on_lane(oldest);
            return Some(oldest);
        }
        let who = self.on_lane(oldest);
        let nth = self.nth(Site::Schedule, who);
        if let Some(mut points) = self.points.take() {
            let others = others.iter().map(|&lane| To::Runs(self.who_on(lane))).collect();
            points.push(Point { at: self.place(Site::Schedule, who, nth), others });
            self.points = Some(points);
        }
        let lane = if let Plan::Tape(..) = self.plan {
            match self.next_of_tape() {
                Some(choice) if choice.value > 0 && others.contains(&choice.value) => choice.value,
                Some(_) => oldest,
                None => ready[self.rest(u32::try_from(ready.len()).unwrap_or(u32::MAX)) as usize],
            }
        } else {
            match self.wanted(Site::Schedule, who, nth) {
                Some(To::Runs(who)) => {
                    let number = self.number(&who);
                    others.iter().copied().find(|&lane| self.on_lane(lane) == number).unwrap_or(oldest)
                }
                _ => oldest,
            }
        };
        if lane != oldest || self.log.is_some() {
            let deviation =
                Deviation { at: self.place(Site::Schedule, who, nth), to: To::Runs(self.who_on(lane)) };
            if lane != oldest {
                self.made.push(deviation.clone());
                self.made_at_ns.push(self.now_ns);
            }
            self.log.iter_mut().for_each(|log| log.push(deviation.clone()));
        }
        self.running = self.on_lane(lane);
        Some(lane)
    }

    fn decides(&mut self, site: Site, arity: u32, ready: u32) -> u32 {
        self.decides_for(site, self.running, arity, ready)
    }

    fn decides_at(&mut self, site: Site, name: &str, arity: u32, ready: u32) -> u32 {
        // The site is part of the key, so this is never taken for a future of the same name.
        let who = self.number(&Who { kind: LaneKind::Other, name: Arc::from(name), twin: 0 });
        self.decides_for(site, who, arity, ready)
    }

    fn instant(&mut self, now_ns: u64) {
        self.now_ns = now_ns;
    }

    fn spawned(&mut self, lane: u32, kind: LaneKind, name: &Arc<str>, twin: u32) {
        let who = self.number(&Who { kind, name: Arc::clone(name), twin });
        if self.lanes.len() <= lane as usize {
            self.lanes.resize(lane as usize + 1, NOBODY);
        }
        self.lanes[lane as usize] = who;
    }

    fn is_spared(&mut self, site: Site) {
        let _ = self.next_of_tape();
        if self.log.is_some() {
            let deviation = Deviation { at: self.place(site, self.running, 0), to: To::Value(0) };
            self.log.iter_mut().for_each(|log| log.push(deviation.clone()));
        }
    }

    fn ended(&mut self, _: u32, _: crate::schedule::Footprint) {
        self.running = NOBODY;
    }
}
