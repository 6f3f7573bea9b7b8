//! Sequence, delivery and fields: S1 to S9, E1, E2.

use simvisor::{BackoffSource, EventKind};

use super::state::Now;
use super::{Liberty, Report, Rule};
use crate::trace::{EventNote, HandlerEnd, Header, Held, Text, Texts, kind_name};

/// How many events back a receiver or a subscriber may be: what bus and queues hold, and some.
pub(super) fn reach(header: &Header) -> u64 {
    let queues = header.subscribers.iter().map(|&(_, capacity)| capacity).max().unwrap_or(0);
    queues.saturating_add(header.config.bus_capacity).saturating_add(4096).min(REACH_MAX)
}

/// The furthest reach.
const REACH_MAX: u64 = 1 << 20;

/// Task of the notices of a lagging listener.
const LISTENER: &str = "subscriber_listener";

#[derive(Debug, Default)]
pub(super) struct Delivery {
    capacity: u64,
    next_seq: u64,
    /// Stamp and delivery are two steps; then this is what is on the bus, in order.
    disorder: bool,
    bus: Vec<u64>,
    /// Events that are not about a subscriber.
    ordinary: u64,
    wall_ns: i64,
    /// Numbers of events about a subscriber. Few, as a rule.
    about: Late,
    /// Numbers of the listener's notices, which are not on the bus.
    notices: Late,
    /// What the listener said it lost, in all.
    listener_lost: u64,
    receivers: Vec<Receiver>,
    subscribers: Vec<Subscriber>,
    /// A receiver, the listener or a queue lost something.
    lost: bool,
    /// Some subscriber's panic is not reported yet.
    panicking: bool,
}

/// Numbers in order, the latest of them by themselves and the others by their count.
#[derive(Debug, Default)]
struct Late {
    numbers: Vec<u64>,
    gone: u64,
    reach: u64,
}

impl Late {
    fn clear(&mut self, reach: u64) {
        self.numbers.clear();
        self.gone = 0;
        self.reach = reach;
    }

    fn push(&mut self, number: u64) {
        let reach = self.reach as usize;
        if self.numbers.len() >= 2 * reach.max(1) {
            self.gone += (self.numbers.len() - reach) as u64;
            self.numbers.drain(..self.numbers.len() - reach);
        }
        self.numbers.push(number);
    }

    /// How many there were.
    fn count(&self) -> u64 {
        self.gone + self.numbers.len() as u64
    }

    fn count_below(&self, number: u64) -> u64 {
        self.gone + self.numbers.partition_point(|&known| known < number) as u64
    }

    /// As a rule there are none, or it is later than all of them.
    #[inline]
    fn has(&self, number: u64) -> bool {
        match self.numbers.last() {
            Some(&last) if number < last => self.numbers.binary_search(&number).is_ok(),
            last => last == Some(&number),
        }
    }
}

#[derive(Debug)]
struct Receiver {
    name: Text,
    /// Place on the bus of the event that comes next.
    next: u64,
    /// The first event that it is owed, and those that it got: kept where they may come out of order.
    from_seq: u64,
    got: Vec<u64>,
    lost: u64,
}

#[derive(Debug)]
struct Subscriber {
    name: Text,
    capacity: u64,
    /// The event being handled.
    in_hand: Option<u64>,
    last_entered: Option<u64>,
    entered: u64,
    entered_ordinary: u64,
    done: u64,
    panicked: u64,
    /// Overflows reported for it.
    overflows: u64,
    /// The panic that must be reported at once.
    owes_panic: Option<Text>,
    /// Panics whose reports may still come ([`Liberty::LateReports`]), by their messages.
    late_panics: Vec<(Text, u64)>,
}

impl Subscriber {
    /// A panic was not reported at once, which may be let pass.
    fn may_report_later(&mut self, message: Text, report: &mut Report) -> bool {
        if !report.allows(Liberty::LateReports) {
            return false;
        }
        match self.late_panics.iter_mut().find(|(late, _)| *late == message) {
            Some((_, times)) => *times += 1,
            None => self.late_panics.push((message, 1)),
        }
        true
    }

    /// A panic is reported: one that may be reported late, if there is one with this message.
    fn takes_late(&mut self, message: Option<Text>) -> bool {
        let place = self.late_panics.iter().position(|(late, _)| Some(*late) == message);
        let Some(place) = place else { return false };
        self.late_panics[place].1 -= 1;
        if self.late_panics[place].1 == 0 {
            self.late_panics.swap_remove(place);
        }
        true
    }
}

impl Delivery {
    pub(super) fn reset(&mut self, header: &Header) {
        self.capacity = header.config.bus_capacity.max(1);
        self.next_seq = 0;
        self.disorder = header.config.disorder;
        self.bus.clear();
        self.ordinary = 0;
        self.wall_ns = i64::MIN;
        self.about.clear(reach(header));
        self.notices.clear(reach(header));
        self.listener_lost = 0;
        self.receivers.clear();
        self.lost = false;
        self.panicking = false;
        self.subscribers.clear();
        self.subscribers.extend(header.subscribers.iter().map(|&(name, capacity)| Subscriber {
            name,
            capacity: capacity.max(1),
            in_hand: None,
            last_entered: None,
            entered: 0,
            entered_ordinary: 0,
            done: 0,
            panicked: 0,
            overflows: 0,
            owes_panic: None,
            late_panics: Vec::new(),
        }));
    }

    /// Events so far.
    pub(super) fn published(&self) -> u64 {
        self.next_seq
    }

    pub(super) fn hold(&self, held: &mut Held) {
        held.hold_all(self.receivers.iter().map(|receiver| receiver.name));
        for subscriber in &self.subscribers {
            held.hold(subscriber.name);
            held.hold_all(subscriber.owes_panic);
            held.hold_all(subscriber.late_panics.iter().map(|(message, _)| *message));
        }
    }

    /// Whether anything was lost anywhere, reports of it apart.
    pub(super) fn has_lost(&self) -> bool {
        self.lost
    }

    pub(super) fn has_subscribers(&self) -> bool {
        !self.subscribers.is_empty()
    }

    pub(super) fn wall_set(&mut self) {
        self.wall_ns = i64::MIN;
    }

    /// Events on the bus so far.
    fn bus_end(&self) -> u64 {
        if self.disorder { self.bus.len() as u64 } else { self.next_seq.saturating_sub(self.notices.count()) }
    }

    #[inline]
    fn is_about_subscriber(&self, seq: u64) -> bool {
        self.about.has(seq)
    }

    pub(super) fn event(&mut self, event: &EventNote, now: &Now<'_>, report: &mut Report) {
        report.witness(Rule::S1);
        if event.seq != self.next_seq {
            report.breaks(Rule::S1, || {
                format!("event {} was published where {} comes next", event.seq, self.next_seq)
            });
        }
        self.next_seq = event.seq.saturating_add(1);

        report.witness(Rule::S2);
        if event.wall_ns < self.wall_ns {
            let back = self.wall_ns.abs_diff(event.wall_ns);
            report
                .breaks(Rule::S2, || format!("the wall clock of event {} went back by {back} ns", event.seq));
        }
        self.wall_ns = event.wall_ns;

        fields(event, now, report);

        match event.kind {
            EventKind::SubscriberOverflow => self.overflow(event, now, report),
            EventKind::SubscriberPanicked => self.panic_report(event, now, report),
            _ => {
                self.ordinary += u64::from(!self.disorder);
                if self.lost && is_vital(event) {
                    report.witness(Rule::S4);
                }
            }
        }
    }

    fn overflow(&mut self, event: &EventNote, now: &Now<'_>, report: &mut Report) {
        self.about.push(event.seq);
        self.lost = true;
        let (Some(task), Some(reason)) = (event.task, event.reason) else { return }; // E2 has said so
        let (name, reason) = (now.texts.get(task), now.texts.get(reason));
        if name == LISTENER {
            self.notices.push(event.seq);
            report.witness(Rule::S8);
            let lost = reason.strip_prefix("lagged(").and_then(|rest| rest.strip_suffix(')'));
            match lost.and_then(|lost| lost.parse::<u64>().ok()) {
                Some(lost) if lost > 0 => {
                    self.listener_lost = self.listener_lost.saturating_add(lost);
                    if self.listener_lost.saturating_add(self.capacity) > self.bus_end() {
                        let (all, end) = (self.listener_lost, self.bus_end());
                        report.breaks(
                            Rule::S8,
                            || format!("the listener says that it lost {all} of {end} events, but a bus of {} keeps the newest", self.capacity),
                        );
                    }
                }
                _ => report
                    .breaks(Rule::S8, || format!("a lagging listener says `{reason}`, expected `lagged(N)`")),
            }
            return;
        }
        report.witness(Rule::S5);
        let on_the_bus = self.to_subscribers() - u64::from(!self.disorder);
        let outstanding = on_the_bus.saturating_sub(self.listener_lost);
        let ordinary = self.ordinary;
        let Some(subscriber) = self.subscribers.iter_mut().find(|subscriber| subscriber.name == task) else {
            report.breaks(Rule::S5, || format!("an overflow is reported for `{name}`, who is no subscriber"));
            return;
        };
        let why = reason
            .strip_prefix("subscriber=")
            .and_then(|rest| rest.strip_prefix(name))
            .and_then(|rest| rest.strip_prefix(" reason="));
        if !matches!(why, Some("full" | "closed")) {
            report.breaks(Rule::S5, || {
                format!("an overflow says `{reason}`, expected `subscriber={name} reason=full` or `closed`")
            });
        }
        let waiting = outstanding.saturating_sub(subscriber.entered + subscriber.overflows);
        if why == Some("full") && waiting <= subscriber.capacity {
            report.breaks(Rule::S5, || {
                format!(
                    "an event for `{name}` was dropped though at most {} were waiting in its queue of {}",
                    waiting.saturating_sub(1),
                    subscriber.capacity
                )
            });
        }
        subscriber.overflows += 1;
        if subscriber.overflows > ordinary.saturating_sub(subscriber.entered_ordinary) {
            report.breaks(
                Rule::S5,
                || format!("{} overflows of `{name}` are reported, but only {} events that are not such reports can have been dropped",
                    subscriber.overflows, ordinary.saturating_sub(subscriber.entered_ordinary)),
            );
        }
    }

    fn panic_report(&mut self, event: &EventNote, now: &Now<'_>, report: &mut Report) {
        self.about.push(event.seq);
        let Some(task) = event.task else { return };
        let name = now.texts.get(task);
        let mut owed = self.subscribers.iter_mut().find(|subscriber| subscriber.name == task);
        if owed.as_mut().is_some_and(|subscriber| subscriber.takes_late(event.reason)) {
            return;
        }
        match owed.and_then(|subscriber| subscriber.owes_panic.take()) {
            Some(message) if event.reason == Some(message) => {}
            Some(message) => {
                let (said, was) =
                    (event.reason.map_or("", |reason| now.texts.get(reason)), now.texts.get(message));
                report.breaks(Rule::S7, || format!("the panic `{was}` of `{name}` is reported as `{said}`"));
            }
            None => report.breaks(Rule::S7, || {
                format!(
                    "a panic of `{name}` is reported that never was, or that came over the report of another"
                )
            }),
        }
    }

    /// Events that went to the subscribers, notices and double deliveries included.
    fn to_subscribers(&self) -> u64 {
        self.bus_end() + self.notices.count()
    }

    pub(super) fn delivered(&mut self, seq: u64, now: &Now<'_>, report: &mut Report) {
        if !self.disorder {
            return;
        }
        if seq >= self.next_seq || self.notices.has(seq) {
            report.breaks(Rule::S10, || {
                format!("event {seq} was put on the bus at {} ns and does not belong there", now.at_ns)
            });
            return;
        }
        self.bus.push(seq);
        self.ordinary += u64::from(!self.is_about_subscriber(seq));
    }

    pub(super) fn opened(&mut self, receiver: Text) {
        let (next, from_seq) = (self.bus_end(), self.next_seq);
        self.receivers.push(Receiver { name: receiver, next, from_seq, got: Vec::new(), lost: 0 });
    }

    pub(super) fn received(&mut self, receiver: Text, seq: u64, now: &Now<'_>, report: &mut Report) {
        let name = now.texts.get(receiver);
        let notices_before = self.notices.count_below(seq);
        if self.notices.has(seq) {
            report.breaks(Rule::S8, || {
                format!("bus receiver `{name}` got event {seq}, a notice that goes to subscribers alone")
            });
            return;
        }
        let place_of_next = |next: u64| self.bus.get(next as usize).copied();
        let Some(receiver) = self.receivers.iter_mut().find(|known| known.name == receiver) else { return };
        report.witness(Rule::S3);
        if self.disorder {
            if place_of_next(receiver.next) != Some(seq) {
                report.breaks(Rule::S3, || {
                    format!("bus receiver `{name}` got event {seq}, which is not the next on the bus")
                });
            }
            receiver.got.push(seq);
            receiver.next += 1;
            return;
        }
        let place = seq.saturating_sub(notices_before);
        if seq >= self.next_seq {
            report.breaks(Rule::S3, || {
                format!("bus receiver `{name}` got event {seq}, which was not published")
            });
        } else if place < receiver.next {
            report.breaks(Rule::S3, || {
                format!("bus receiver `{name}` got event {seq} again, or after a later one")
            });
        } else if place > receiver.next {
            let skipped = place - receiver.next;
            report.breaks(Rule::S3, || {
                format!(
                    "bus receiver `{name}` was not told of {skipped} events that it lost before event {seq}"
                )
            });
        }
        receiver.next = receiver.next.max(place.saturating_add(1));
    }

    pub(super) fn lagged(&mut self, receiver: Text, lost: u64, now: &Now<'_>, report: &mut Report) {
        self.lost = true;
        let (end, capacity) = (self.bus_end(), self.capacity);
        let name = now.texts.get(receiver);
        let Some(receiver) = self.receivers.iter_mut().find(|known| known.name == receiver) else { return };
        report.witness(Rule::S3);
        let overrun = end.saturating_sub(capacity).saturating_sub(receiver.next);
        if lost == 0 || lost > overrun {
            report.breaks(
                Rule::S3,
                || format!("bus receiver `{name}` was told that it lost {lost} events, but a bus of {capacity} has overwritten {overrun}"),
            );
        }
        receiver.next += lost.min(end.saturating_sub(receiver.next));
        receiver.lost = receiver.lost.saturating_add(lost);
    }

    pub(super) fn closed(&mut self, receiver: Text, now: &Now<'_>, report: &mut Report) {
        let end = self.bus_end();
        let Some(index) = self.receivers.iter().position(|known| known.name == receiver) else { return };
        let mut receiver = self.receivers.swap_remove(index);
        if self.disorder && receiver.lost == 0 {
            report.witness(Rule::S10);
            receiver.got.sort_unstable();
            receiver.got.dedup();
            let is_notice = |seq: &u64| self.notices.has(*seq);
            let owed = (receiver.from_seq..self.next_seq).filter(|seq| !is_notice(seq));
            if let Some(missing) = owed
                .clone()
                .zip(receiver.got.iter().copied().chain(std::iter::repeat(u64::MAX)))
                .find(|(owed, got)| owed != got)
            {
                let name = now.texts.get(receiver.name);
                report.breaks(Rule::S10, || {
                    format!("bus receiver `{name}` never got event {}, in whatever order", missing.0)
                });
            }
        }
        if receiver.next < end {
            let name = now.texts.get(receiver.name);
            report.breaks(
                Rule::S3,
                || format!("bus receiver `{name}` was told that nothing more comes, but never got the last {} events", end - receiver.next),
            );
        }
    }

    pub(super) fn handler_entered(&mut self, name: Text, seq: u64, now: &Now<'_>, report: &mut Report) {
        let about = self.is_about_subscriber(seq);
        let is_notice = about && self.notices.has(seq);
        let Some(subscriber) = self.subscribers.iter_mut().find(|subscriber| subscriber.name == name) else {
            return;
        };
        let name = || now.texts.get(name);
        if let Some(message) = subscriber.owes_panic.take()
            && !subscriber.may_report_later(message, report)
        {
            let (name, message) = (name(), now.texts.get(message));
            report.breaks(Rule::S7, || {
                format!("the panic `{message}` of `{name}` was not reported before its next event")
            });
        }
        if let Some(earlier) = subscriber.in_hand {
            report.breaks(Rule::S5, || {
                format!("`{}` was given event {seq} while it was handling {earlier}", name())
            });
        }
        if seq >= self.next_seq {
            report
                .breaks(Rule::S5, || format!("`{}` was given event {seq}, which was not published", name()));
        }
        // A notice overtakes what is still on the bus ([S8]).
        if !is_notice && !self.disorder && subscriber.last_entered.is_some_and(|last| last >= seq) {
            let last = subscriber.last_entered.unwrap_or_default();
            report.breaks(Rule::S5, || {
                format!(
                    "`{}` was given event {seq} after {last}: its queue is not first in, first out",
                    name()
                )
            });
        }
        subscriber.in_hand = Some(seq);
        if !is_notice {
            subscriber.last_entered = Some(seq);
        }
        subscriber.entered += 1;
        subscriber.entered_ordinary += u64::from(!about);
    }

    pub(super) fn handler_left(
        &mut self,
        name: Text,
        seq: u64,
        how: HandlerEnd,
        drained_until: Option<u64>,
        now: &Now<'_>,
        report: &mut Report,
    ) {
        let about = matches!(how, HandlerEnd::Panic(_)) && self.is_about_subscriber(seq);
        let Some(subscriber) = self.subscribers.iter_mut().find(|subscriber| subscriber.name == name) else {
            return;
        };
        subscriber.in_hand = None;
        match how {
            HandlerEnd::Done => subscriber.done += 1,
            HandlerEnd::Panic(message) => {
                subscriber.panicked += 1;
                report.witness(Rule::S7);
                if !about {
                    subscriber.owes_panic = Some(message);
                    self.panicking = true;
                }
            }
            HandlerEnd::Dropped => {
                if drained_until.is_none_or(|until| now.at_ns < until) {
                    let name = now.texts.get(name);
                    report.breaks(Rule::S9, || {
                        format!(
                            "`{name}` was handling event {seq} when it was dropped, before the end of grace"
                        )
                    });
                }
            }
        }
    }

    /// `cut_short`: the drain used up its grace, so something may have been left.
    pub(super) fn counters(
        &mut self,
        name: Text,
        [handled, panicked, dropped, lagged]: [u64; 4],
        cut_short: bool,
        now: &Now<'_>,
        report: &mut Report,
    ) {
        let (published, ordinary) = (self.to_subscribers(), self.ordinary);
        let Some(index) = self.subscribers.iter().position(|subscriber| subscriber.name == name) else {
            return;
        };
        let subscriber = &self.subscribers[index];
        let name = now.texts.get(name);
        report.witness(Rule::S6);
        // A foreign trace may hold any numbers.
        let sum = handled.saturating_add(panicked).saturating_add(dropped).saturating_add(lagged);
        if sum != published {
            report.breaks(
                Rule::S6,
                || format!("`{name}` counted {handled} handled, {panicked} panicked on, {dropped} dropped and {lagged} lost to lag, \
                    {sum} in all, of {published} published"),
            );
        }
        if lagged != self.listener_lost {
            report.breaks(Rule::S6, || {
                format!("`{name}` counted {lagged} lost to lag, the notices say {}", self.listener_lost)
            });
        }
        if subscriber.entered == 0 && (handled > 0 || panicked > 0) {
            return; // its handler is not observed
        }
        if (handled, panicked) != (subscriber.done, subscriber.panicked) {
            report.breaks(
                Rule::S6,
                || format!("`{name}` counted {handled} handled and {panicked} panicked on, but its handler returned {} times and \
                    panicked {} times", subscriber.done, subscriber.panicked),
            );
        }
        let missed = ordinary.saturating_sub(subscriber.entered_ordinary);
        if subscriber.overflows > missed {
            report.breaks(
                Rule::S5,
                || format!("{} overflows of `{name}` are reported, but it missed only {missed} events that are not such reports",
                    subscriber.overflows),
            );
        }
        if let Some(last) = subscriber.last_entered.filter(|_| !self.disorder) {
            let about_before = self.about.count_below(last);
            let about_last = u64::from(self.is_about_subscriber(last));
            let entered_before = subscriber.entered_ordinary.saturating_sub(1 - about_last);
            let skipped = last.saturating_sub(about_before).saturating_sub(entered_before);
            let accounted = subscriber.overflows.saturating_add(lagged);
            if skipped > accounted {
                report.breaks(
                    Rule::S5,
                    || format!("{skipped} events before event {last} never came to `{name}`, but only {} overflows are reported and {lagged} \
                        lost to lag", subscriber.overflows),
                );
            }
        }
        report.witness(Rule::S9);
        let reported = subscriber.overflows.saturating_add(lagged);
        if !cut_short && missed > reported {
            let unreported = missed - reported;
            report.breaks(Rule::S9, || format!("{unreported} events for `{name}` were dropped at the end, though its grace was not used up"));
        }
    }

    /// The instant is over.
    pub(super) fn settle(&mut self, report: &mut Report, texts: &Texts) {
        if !std::mem::take(&mut self.panicking) {
            return;
        }
        for subscriber in &mut self.subscribers {
            if let Some(message) = subscriber.owes_panic.take()
                && !subscriber.may_report_later(message, report)
            {
                let (name, message) = (texts.get(subscriber.name), texts.get(message));
                report.breaks(Rule::S7, || format!("the panic `{message}` of `{name}` was not reported"));
            }
        }
    }
}

/// Restarts, cleanups and ends: what lost events must not cost.
fn is_vital(event: &EventNote) -> bool {
    match event.kind {
        EventKind::TaskStarting => event.attempt.is_some_and(|attempt| attempt > 1),
        EventKind::TaskRemoved | EventKind::AllStoppedWithinGrace | EventKind::GraceExceeded => true,
        _ => false,
    }
}

const TASK: u8 = 1;
const REASON: u8 = 2;
const ATTEMPT: u8 = 4;
const TIMEOUT: u8 = 8;
const DELAY: u8 = 16;
const SOURCE: u8 = 32;

/// The fields that a kind has, and those that it may have: the table of contract section 2.
fn fields_of(event: &EventNote) -> (u8, u8) {
    match event.kind {
        EventKind::ShutdownRequested | EventKind::AllStoppedWithinGrace | EventKind::GraceExceeded => (0, 0),
        EventKind::TaskStarting => (TASK | ATTEMPT, 0),
        EventKind::TaskStopped
        | EventKind::TaskAddRequested
        | EventKind::TaskAdded
        | EventKind::TaskRemoved => (TASK, 0),
        EventKind::TimeoutHit => (TASK | ATTEMPT | TIMEOUT, 0),
        EventKind::BackoffScheduled => {
            let reason = if event.source == Some(BackoffSource::Success) { 0 } else { REASON };
            (TASK | ATTEMPT | DELAY | SOURCE | reason, 0)
        }
        EventKind::TaskRemoveRequested => (TASK, REASON),
        EventKind::TaskFailed | EventKind::ActorExhausted | EventKind::ActorDead => {
            (TASK | ATTEMPT | REASON, 0)
        }
        EventKind::SubscriberPanicked | EventKind::SubscriberOverflow => (TASK | REASON, 0),
        EventKind::ControllerRejected
        | EventKind::ControllerSubmitted
        | EventKind::ControllerSlotTransition => (TASK | REASON, 0),
    }
}

fn fields(event: &EventNote, now: &Now<'_>, report: &mut Report) {
    let bit = |set: bool, bit: u8| if set { bit } else { 0 };
    let set = bit(event.task.is_some(), TASK)
        | bit(event.reason.is_some(), REASON)
        | bit(event.attempt.is_some(), ATTEMPT)
        | bit(event.timeout_ms.is_some(), TIMEOUT)
        | bit(event.delay_ms.is_some(), DELAY)
        | bit(event.source.is_some(), SOURCE);
    let (must, may) = fields_of(event);
    report.witness(Rule::E1);
    report.witness(Rule::E2);
    let surplus = set & !(must | may);
    if surplus != 0 {
        report.breaks(Rule::E1, || {
            format!("{} {} carries {}", kind_name(event.kind), event.seq, field_names(surplus))
        });
    }
    let missing = must & !set;
    if missing != 0 {
        report.breaks(Rule::E2, || {
            format!("{} {} lacks {}", kind_name(event.kind), event.seq, field_names(missing))
        });
    }
    if event.kind == EventKind::TaskRemoveRequested
        && let Some(reason) = event.reason
        && now.texts.get(reason) != "manual_cancel"
    {
        let reason = now.texts.get(reason);
        report
            .breaks(Rule::E1, || format!("TaskRemoveRequested {} carries the reason `{reason}`", event.seq));
    }
}

fn field_names(bits: u8) -> String {
    let names = [
        (TASK, "task"),
        (REASON, "reason"),
        (ATTEMPT, "attempt"),
        (TIMEOUT, "timeout_ms"),
        (DELAY, "delay_ms"),
        (SOURCE, "backoff_source"),
    ];
    let named: Vec<_> = names.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| *name).collect();
    named.join(" and ")
}
