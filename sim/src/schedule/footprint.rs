//! Footprints: what a step had to do with, so that it can be told whether the order of two steps matters.
//!
//! A footprint is a set of *classes* and the set of classes that these conflict with. Publishing is one class and
//! receiving another, so that they conflict with each other and not with themselves; waking a future conflicts with a
//! step of that future and not with waking it again. Numbers of lanes, names and deadlines share a limited number of
//! classes, so two footprints may seem to conflict that do not, and never the other way round.
//!
//! A search of every schedule wants few conflicts, and gets footprints of more detail than strategies, for which a
//! conflict is a hint where a bug may be. Where the order of two steps matters in some states only, as that of
//! sending to a queue and receiving from it, the step that finds such a state says so: it is the one with the class of
//! the other among those that it conflicts with. What it finds must then not depend on steps that it does not
//! conflict with.

use std::hash::BuildHasher;

use rustc_hash::FxBuildHasher;
use simvisor::runtime::{Shared, WaitsFor};

use crate::world::LaneKind;

/// How much footprints tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// What strategies want to know.
    Coarse,
    /// What a search wants to know.
    Fine,
}

/// What a step had to do with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Footprint {
    does: u128,
    against: u128,
}

/// Something that steps contend for: the bus, the registry, a task, … Named by one of its classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Resource(u32);

impl Resource {
    /// There are fewer than this many.
    pub(super) const COUNT: usize = 128;

    fn of_class(class: u32) -> Self {
        Self(match class {
            PUBLISH_UNHEARD | RECEIVE => PUBLISH,
            TAKE => FEED,
            class if (WAKE..DEADLINE).contains(&class) => class - WAKE + STEP,
            class => class,
        })
    }

    pub(super) fn index(self) -> usize {
        self.0 as usize
    }

    /// All of its classes.
    pub(super) fn classes(self) -> u128 {
        match self.0 {
            PUBLISH => 1 << PUBLISH | 1 << PUBLISH_UNHEARD | 1 << RECEIVE,
            FEED => 1 << FEED | 1 << TAKE,
            class if (STEP..WAKE).contains(&class) => 1 << class | 1 << (class - STEP + WAKE),
            class => 1 << class,
        }
    }
}

const EVERYTHING: u32 = 0;
const PUBLISH: u32 = 1;
const PUBLISH_UNHEARD: u32 = 2;
const RECEIVE: u32 = 3;
const REGISTRY: u32 = 4;
const PERMITS: u32 = 5;
const FEED: u32 = 6;
const TAKE: u32 = 7;
const SLOTS: u32 = 8;
/// Where the classes of lanes that make a step begin, those of lanes that are woken, and those of deadlines.
const STEP: u32 = 9;
const WAKE: u32 = STEP + LANES;
const DEADLINE: u32 = WAKE + LANES;
const LANES: u32 = 40;
const DEADLINES: u32 = 128 - DEADLINE;
/// In footprints for searches, classes of what they alone tell apart, of names and of deadlines are where those of
/// deadlines are in others.
const BUS_END: u32 = DEADLINE;
const TELL: u32 = DEADLINE + 1;
const NAMES: u32 = DEADLINE + 2;
const SEND: u32 = DEADLINE + 3;
const DRIVE: u32 = DEADLINE + 4;
const QUEUE_END: u32 = DEADLINE + 5;
const ENTRY: u32 = DEADLINE + 6;
const ENTRIES: u32 = 19;
const FINE_DEADLINE: u32 = ENTRY + ENTRIES;
const FINE_DEADLINES: u32 = 128 - FINE_DEADLINE;

/// The place of a number among so many.
fn place(number: u64, places: u32) -> u32 {
    (number % u64::from(places)) as u32
}

impl Footprint {
    /// There are this many classes.
    pub(super) const CLASSES: usize = 128;

    /// A step that has to do with nothing.
    pub const NONE: Self = Self { does: 0, against: 0 };

    /// A step that may have to do with anything.
    pub const EVERYTHING: Self = Self { does: 1 << EVERYTHING, against: u128::MAX };

    const fn class(class: u32, against: u128) -> Self {
        Self { does: 1 << class, against: against | 1 << EVERYTHING }
    }

    /// Publishes while somebody listens.
    pub const PUBLISHES: Self = Self::class(PUBLISH, 1 << PUBLISH | 1 << PUBLISH_UNHEARD | 1 << RECEIVE);
    /// Publishes while nobody listens.
    pub const PUBLISHES_UNHEARD: Self = Self::class(PUBLISH_UNHEARD, 1 << PUBLISH | 1 << RECEIVE);
    /// Reads what was published.
    pub const RECEIVES: Self = Self::class(RECEIVE, 1 << PUBLISH | 1 << PUBLISH_UNHEARD);
    /// Reads or changes the registry or its inbox.
    pub const REGISTRY: Self = Self::class(REGISTRY, 1 << REGISTRY);
    /// Reads or changes the controller's slots or its inbox.
    pub const SLOTS: Self = Self::class(SLOTS, 1 << SLOTS);
    /// Takes, gives back or waits for a permit.
    pub const PERMITS: Self = Self::class(PERMITS, 1 << PERMITS);
    /// Hands events on to the subscribers.
    pub const FEEDS: Self = Self::class(FEED, 1 << FEED | 1 << TAKE);
    /// Takes from one subscriber's queue.
    pub const TAKES: Self = Self::class(TAKE, 1 << FEED);

    /// What a future of the logic shares with others.
    pub(crate) fn of_shared(what: Shared<'_>, detail: Detail, actor: impl Fn(&str) -> Option<u32>) -> Self {
        use Detail::{Coarse, Fine};
        match (what, detail) {
            (Shared::Everything, _) => Self::EVERYTHING,
            (Shared::Slots, _) => Self::SLOTS,
            (Shared::Permits, _) => Self::PERMITS,
            // Nothing was spawned under a name that no lane has.
            (Shared::Task(name), _) => actor(name).map_or(Self::NONE, Self::of_lane),
            (Shared::Bus | Shared::FullBus, Coarse) => Self::PUBLISHES,
            (Shared::DeafBus, Coarse) => Self::PUBLISHES_UNHEARD,
            (Shared::Told, Coarse) => Self::RECEIVES,
            (Shared::Registry | Shared::Names | Shared::Entry(_) | Shared::Inbox, Coarse) => Self::REGISTRY,
            // The lanes that find these have footprints of their own.
            (Shared::BusEnd | Shared::InboxEnd | Shared::Idle | Shared::Driver, Coarse)
            | (Shared::Queues | Shared::FullQueue | Shared::Queue | Shared::QueueEnd, Coarse) => Self::NONE,
            (Shared::Bus, Fine) => Self::class(PUBLISH, 1 << PUBLISH | 1 << PUBLISH_UNHEARD),
            (Shared::FullBus, Fine) => {
                Self::class(PUBLISH, 1 << PUBLISH | 1 << PUBLISH_UNHEARD | 1 << RECEIVE)
            }
            (Shared::DeafBus, Fine) => Self::class(PUBLISH_UNHEARD, 0),
            (Shared::BusEnd, Fine) => Self::class(BUS_END, 1 << PUBLISH),
            (Shared::Told, Fine) => Self::class(TELL, 1 << PUBLISH | 1 << PUBLISH_UNHEARD),
            (Shared::Registry, Fine) => Self::class(REGISTRY, 1 << NAMES),
            (Shared::Names, Fine) => Self::class(NAMES, 0),
            (Shared::Entry(name), Fine) => {
                let class = ENTRY + place(FxBuildHasher.hash_one(name), ENTRIES);
                Self::class(class, 1 << class)
            }
            (Shared::Inbox, Fine) => Self::class(SEND, 1 << SEND),
            (Shared::InboxEnd, Fine) => Self { does: 0, against: 1 << EVERYTHING | 1 << SEND },
            (Shared::Idle, Fine) => {
                Self { does: 0, against: 1 << EVERYTHING | 1 << NAMES | 1 << SLOTS | 1 << DRIVE }
            }
            (Shared::Driver, Fine) => Self::class(DRIVE, 0),
            (Shared::Queues, Fine) => Self::class(FEED, 0),
            (Shared::FullQueue, Fine) => Self::class(FEED, 1 << TAKE),
            (Shared::Queue, Fine) => Self::class(TAKE, 0),
            (Shared::QueueEnd, Fine) => Self::class(QUEUE_END, 1 << FEED),
        }
    }

    /// What every step of a future on a lane of this kind touches, besides the lane.
    pub(crate) fn of_kind(kind: LaneKind, detail: Detail) -> Self {
        match (kind, detail) {
            (LaneKind::Other | LaneKind::Courier, _) | (LaneKind::Run, Detail::Coarse) => Self::EVERYTHING,
            (LaneKind::Controller, _) => Self::SLOTS,
            (LaneKind::Receiver, Detail::Coarse) => Self::RECEIVES,
            // Most of its steps find the end of the bus.
            (LaneKind::Receiver, Detail::Fine) => Self::class(RECEIVE, 1 << PUBLISH),
            (LaneKind::Registry, Detail::Coarse) => Self::REGISTRY,
            (LaneKind::Listener, Detail::Coarse) => Self::FEEDS,
            (LaneKind::Worker, Detail::Coarse) => Self::TAKES,
            // They tell what they touch. What the clock wakes says which timers fired.
            (LaneKind::Run | LaneKind::Registry | LaneKind::Listener | LaneKind::Worker, Detail::Fine)
            | (LaneKind::Clock | LaneKind::Actor | LaneKind::Operation, _) => Self::NONE,
        }
    }

    /// What waiting for something touches.
    pub(crate) fn of_wait(what: WaitsFor, detail: Detail) -> Self {
        match (what, detail) {
            (WaitsFor::Permit, _) => Self::PERMITS,
            (WaitsFor::Bus, Detail::Coarse) => Self::RECEIVES,
            (WaitsFor::Bus, Detail::Fine) => Self::class(RECEIVE, 0),
            _ => Self::NONE,
        }
    }

    /// A step of the future on `lane`, or of another incarnation of it.
    #[must_use]
    pub fn of_lane(lane: u32) -> Self {
        let lane = lane % LANES;
        Self::class(STEP + lane, 1 << (STEP + lane) | 1 << (WAKE + lane))
    }

    /// Wakes the future on `lane`.
    #[must_use]
    pub fn wakes(lane: u32) -> Self {
        let lane = lane % LANES;
        Self::class(WAKE + lane, 1 << (STEP + lane))
    }

    /// Sets a timer: timers of one instant fire in the order in which they were set. A search knows which of them to
    /// [mind](Footprint::mind).
    #[must_use]
    pub(crate) fn sets_timer(deadline_ns: u64, detail: Detail) -> Self {
        let spread = deadline_ns.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        match detail {
            Detail::Coarse => {
                let class = DEADLINE + place(spread, DEADLINES);
                Self::class(class, 1 << class)
            }
            Detail::Fine => Self::class(FINE_DEADLINE + place(spread, FINE_DEADLINES), 0),
        }
    }

    /// Conflicts with all that have any of `classes`, as far as it has them itself.
    pub(crate) fn mind(&mut self, classes: u128) {
        self.against |= self.does & classes;
    }

    /// Both together.
    pub fn add(&mut self, other: Self) {
        self.does |= other.does;
        self.against |= other.against;
    }

    /// Whether the order of the two steps may matter.
    #[must_use]
    pub fn conflicts(self, other: Self) -> bool {
        (self.does & other.against) | (self.against & other.does) != 0
    }

    /// The numbers of the classes that it has.
    pub(super) fn classes(self) -> impl Iterator<Item = u32> {
        Self::bits(self.does)
    }

    /// The classes that it has, one bit each.
    pub(crate) fn class_bits(self) -> u128 {
        self.does
    }

    /// The numbers of the classes among `bits` that it conflicts with.
    pub(super) fn opposed_among(self, bits: u128) -> impl Iterator<Item = u32> {
        Self::bits(self.against & bits)
    }

    /// The numbers of the bits that are set.
    pub(super) fn bits(mut set: u128) -> impl Iterator<Item = u32> {
        std::iter::from_fn(move || {
            let bit = (set != 0).then(|| set.trailing_zeros())?;
            set &= set - 1;
            Some(bit)
        })
    }

    /// The numbers of the classes that it has and `other` conflicts with.
    pub(super) fn classes_opposed_by(self, other: Self) -> impl Iterator<Item = u32> {
        Self::bits(self.does & other.against)
    }

    /// What it touches, without being a step of `lane`, as a number that others which touch the same have as well.
    pub(super) fn besides(self, lane: u32) -> u128 {
        self.does & !Self::of_lane(lane).does
    }

    /// Without the conflicts that come from publishing alone: all that tells those steps apart is the order of events
    /// of different futures.
    pub(super) fn without_order_of_events(mut self) -> Self {
        self.against &= !(1 << PUBLISH | 1 << PUBLISH_UNHEARD) | u128::from(self.receives()) << PUBLISH;
        self
    }

    /// The resources that it has to do with, other than as a step of `lane`. [`Footprint::EVERYTHING`] is none.
    pub(super) fn resources(self, lane: u32) -> impl Iterator<Item = Resource> {
        self.resources_but(lane, 0)
    }

    /// As [`Footprint::resources`], without those of these classes.
    pub(super) fn resources_but(self, lane: u32, classes: u128) -> impl Iterator<Item = Resource> {
        let mut rest = self.besides(lane) & !(1 << EVERYTHING | classes);
        std::iter::from_fn(move || {
            let class = (rest != 0).then(|| rest.trailing_zeros())?;
            let resource = Resource::of_class(class);
            rest &= !resource.classes();
            Some(resource)
        })
    }

    /// Whether the order of two steps may matter to what they do with one resource.
    pub(super) fn conflicts_over(self, other: Self, resource: Resource) -> bool {
        self.does & other.against & resource.classes() != 0
    }

    /// Without the waking of `lane`, which comes with its spawn.
    pub(super) fn without_wake(mut self, lane: u32) -> Self {
        self.does &= !Self::wakes(lane).does;
        self
    }

    fn receives(self) -> bool {
        self.does >> RECEIVE & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coarse_timer(deadline_ns: u64) -> Footprint {
        Footprint::sets_timer(deadline_ns, Detail::Coarse)
    }

    fn fine(what: Shared<'_>) -> Footprint {
        Footprint::of_shared(what, Detail::Fine, |_| None)
    }

    const SHARED: [Shared<'_>; 10] = [
        Shared::Bus,
        Shared::DeafBus,
        Shared::BusEnd,
        Shared::Told,
        Shared::Registry,
        Shared::Names,
        Shared::Entry("a"),
        Shared::Inbox,
        Shared::Idle,
        Shared::Driver,
    ];

    fn all() -> Vec<Footprint> {
        let mut all = vec![
            Footprint::EVERYTHING,
            Footprint::PUBLISHES,
            Footprint::PUBLISHES_UNHEARD,
            Footprint::RECEIVES,
            Footprint::REGISTRY,
            Footprint::PERMITS,
            Footprint::FEEDS,
            Footprint::TAKES,
        ];
        all.extend((1..4).flat_map(|lane| [Footprint::of_lane(lane), Footprint::wakes(lane)]));
        all.extend((1..4).map(coarse_timer));
        all.extend(SHARED.map(fine));
        all
    }

    #[test]
    fn a_conflict_is_one_from_both_sides_and_everything_conflicts_with_all() {
        for one in all() {
            assert!(one.conflicts(Footprint::EVERYTHING));
            for other in all() {
                assert_eq!(one.conflicts(other), other.conflicts(one), "{one:?} {other:?}");
            }
        }
        assert!(!Footprint::NONE.conflicts(Footprint::PUBLISHES));
    }

    #[test]
    fn what_may_change_places_does() {
        let pairs = [
            (Footprint::wakes(3), Footprint::wakes(3)),
            (Footprint::RECEIVES, Footprint::RECEIVES),
            (Footprint::PUBLISHES_UNHEARD, Footprint::PUBLISHES_UNHEARD),
            (Footprint::TAKES, Footprint::TAKES),
            (Footprint::of_lane(1), Footprint::of_lane(2)),
            (coarse_timer(5), coarse_timer(6)),
        ];
        for (one, other) in pairs {
            assert!(!one.conflicts(other), "{one:?} {other:?}");
        }
        let pairs = [
            (Footprint::wakes(3), Footprint::of_lane(3)),
            (Footprint::of_lane(3), Footprint::of_lane(3)),
            (Footprint::PUBLISHES, Footprint::PUBLISHES),
            (Footprint::PUBLISHES_UNHEARD, Footprint::RECEIVES),
            (Footprint::FEEDS, Footprint::TAKES),
            (coarse_timer(5), coarse_timer(5)),
        ];
        for (one, other) in pairs {
            assert!(one.conflicts(other), "{one:?} {other:?}");
        }
    }

    #[test]
    fn a_send_and_a_receive_of_one_queue_change_places_unless_it_was_empty_or_full() {
        let receives = Footprint::of_wait(WaitsFor::Bus, Detail::Fine);
        for (one, other) in [
            (fine(Shared::Bus), receives),
            (fine(Shared::Queues), fine(Shared::Queue)),
            (fine(Shared::Inbox), Footprint::of_lane(1)),
        ] {
            assert!(!one.conflicts(other) && !other.conflicts(one), "{one:?} {other:?}");
        }
        for (one, other) in [
            (fine(Shared::Bus), fine(Shared::BusEnd)),
            (fine(Shared::FullBus), receives),
            (fine(Shared::Queues), fine(Shared::QueueEnd)),
            (fine(Shared::FullQueue), fine(Shared::Queue)),
            (fine(Shared::Inbox), fine(Shared::InboxEnd)),
            (fine(Shared::Inbox), fine(Shared::Inbox)),
        ] {
            assert!(one.conflicts(other) && other.conflicts(one), "{one:?} {other:?}");
        }
    }

    #[test]
    fn tasks_of_different_names_have_nothing_to_do_with_each_other_until_somebody_asks_for_all() {
        assert!(!fine(Shared::Entry("a")).conflicts(fine(Shared::Entry("b"))));
        assert!(!fine(Shared::Names).conflicts(fine(Shared::Names)));
        for (one, other) in [
            (Shared::Entry("a"), Shared::Entry("a")),
            (Shared::Registry, Shared::Names),
            (Shared::Idle, Shared::Names),
            (Shared::Idle, Shared::Driver),
        ] {
            assert!(fine(one).conflicts(fine(other)), "{one:?} {other:?}");
        }
    }

    #[test]
    fn the_order_of_timers_counts_where_it_is_minded() {
        let timer = Footprint::sets_timer(5, Detail::Fine);
        assert!(!timer.conflicts(timer));
        let mut minded = timer;
        minded.mind(timer.class_bits());
        assert!(minded.conflicts(timer) && timer.conflicts(minded));
        assert!(!minded.conflicts(Footprint::sets_timer(6, Detail::Fine)));
    }
}
