//! Delivery: the bus with its receivers, and subscribers with their queues. Contract section 3.
//!
//! What a queue holds is not observed; how many events can have come to it, and how many it has handed on, is.

use std::collections::VecDeque;

use super::complaint::{Fits, expected, unexplained};
use crate::trace::{EventNote, HandlerEnd, Header, Held, Text, Texts};
use simvisor::EventKind;

/// Events whose nature is kept: further back than any queue reaches. A power of two.
const RECENT_MAX: usize = 1 << 20;

/// Starts, ends, reports and notices that are kept beyond what bus and queues hold.
const SPARE: u64 = 4096;

/// What an event is to subscribers: bits.
const REPORT: u8 = 1;
const NOTICE: u8 = 2;

/// The nature of the latest events, by their numbers. Most are ordinary, and nothing is kept of what comes after the
/// last that is not.
#[derive(Debug, Default)]
struct Recent {
    /// A ring, as long as it had to become so far.
    natures: Vec<u8>,
    next_seq: u64,
}

impl Recent {
    fn clear(&mut self) {
        self.natures.clear();
        self.next_seq = 0;
    }

    /// An event that is not ordinary. Numbers that are left out stand for events that are.
    fn push(&mut self, seq: u64, nature: u8) {
        if seq >= self.next_seq {
            if seq < RECENT_MAX as u64 {
                self.natures.resize(seq as usize + 1, 0);
            } else {
                for skipped in self.next_seq.max(seq - (RECENT_MAX as u64 - 1))..=seq {
                    *self.at(skipped) = 0;
                }
            }
            self.next_seq = seq.saturating_add(1);
        }
        *self.at(seq) |= nature;
    }

    fn at(&mut self, seq: u64) -> &mut u8 {
        let place = seq as usize % RECENT_MAX;
        if self.natures.len() <= place {
            self.natures.resize(place + 1, 0);
        }
        &mut self.natures[place]
    }

    /// What it is; ordinary, if it is long past or has not come.
    #[inline]
    fn of(&self, seq: u64) -> u8 {
        if seq < self.next_seq { self.known(seq) } else { 0 }
    }

    fn known(&self, seq: u64) -> u8 {
        if self.next_seq - seq <= RECENT_MAX as u64 {
            self.natures.get(seq as usize % RECENT_MAX).copied().unwrap_or(0)
        } else {
            0
        }
    }
}

/// A receiver on the bus.
#[derive(Debug)]
struct Ear {
    name: Text,
    /// How many events on the bus it has got or been told that it lost.
    heard: u64,
    /// Where numbers may come out of order: from which number on it is owed all, and those that it got.
    from_seq: u64,
    got: Vec<u64>,
    lost: u64,
    /// What it heard last of each task by number: the number, and whether that was a start.
    heard_of: Vec<(Text, u64, bool)>,
    /// How many deeds it has passed, those included that are not kept any more.
    passed: u64,
}

impl Ear {
    /// The deed of this number, if it is one that is kept. As a rule it is the one after those that were passed, or none.
    fn deed(&mut self, seq: u64, deeds: &VecDeque<Deed>, gone: u64) -> Option<Deed> {
        let passed = self.passed.saturating_sub(gone) as usize;
        let next = deeds.get(passed);
        let is_before =
            passed.checked_sub(1).and_then(|last| deeds.get(last)).is_none_or(|last| last.seq < seq);
        let place = if is_before && next.is_none_or(|next| next.seq >= seq) {
            passed
        } else {
            deeds.partition_point(|deed| deed.seq < seq)
        };
        let deed = deeds.get(place).copied().filter(|deed| deed.seq == seq);
        self.passed = gone + (place + usize::from(deed.is_some())) as u64;
        deed
    }
}

/// Why a subscriber should not have been given an event.
#[derive(Debug, Clone, Copy)]
pub(super) enum Misled {
    /// It had panicked with this message; whether the event comes in order.
    Panicked(Text, bool),
    /// It was handling this one.
    Busy(u64),
    OutOfOrder,
}

impl Misled {
    pub(super) fn complaint(self, name: Text, seq: u64, texts: &Texts) -> Fits {
        let what = format!("`{}` was given event {seq}", texts.get(name));
        match self {
            Self::Panicked(..) => expected(&["S7"], what, "SubscriberPanicked first".to_owned()),
            Self::Busy(before) => {
                expected(&["S5"], what, format!("the end of its handler of event {before} first"))
            }
            Self::OutOfOrder => expected(&["S5"], what, "an event that was published, in order".to_owned()),
        }
    }
}

/// A start or an end of an attempt or task.
#[derive(Debug, Clone, Copy)]
struct Deed {
    seq: u64,
    task: Text,
    start: bool,
}

#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    /// Handlers that were entered, for any event and for one that is no report.
    entered: u64,
    entered_plain: u64,
    done: u64,
    panicked: u64,
    /// Overflows that were reported.
    overflows: u64,
}

#[derive(Debug)]
struct Subscriber {
    name: Text,
    capacity: u64,
    tally: Tally,
    in_hand: Option<u64>,
    latest: Option<u64>,
    /// A panic that is not reported yet.
    panic: Option<Text>,
    /// Reports of panics may be late, or missing.
    late_reports: bool,
    /// Panics that were not reported at once, by their messages and how often: their reports may still come.
    unreported: Vec<(Text, u64)>,
}

#[derive(Debug, Default)]
pub(super) struct Delivery {
    capacity: u64,
    /// How many starts, ends, reports and notices are kept: who hears of them is not further behind.
    kept_max: usize,
    /// Stamp and delivery are two steps; then this is what is on the bus.
    disorder: bool,
    bus: Vec<u64>,
    published: u64,
    recent: Recent,
    /// Events for subscribers that are no reports.
    plain: u64,
    /// Numbers of reports about subscribers, and of the listener's notices among them, the latest ones.
    reports: VecDeque<u64>,
    notices: VecDeque<u64>,
    /// Reports and notices that are not kept any more.
    reports_gone: u64,
    notices_gone: u64,
    /// What the listener lost in all.
    lagged: u64,
    ears: Vec<Ear>,
    /// Of receivers that are gone: their memory is used again.
    spare: Vec<Ear>,
    /// The latest deeds in order of number, kept while somebody hears of them, and how many are not kept any more.
    deeds: VecDeque<Deed>,
    deeds_gone: u64,
    subscribers: Vec<Subscriber>,
    /// Some subscriber's panic is not reported yet.
    panicking: bool,
}

impl Subscriber {
    /// A panic was not reported at once; whether its report may still come.
    #[cold]
    fn may_report_late(&mut self, message: Text) -> bool {
        if !self.late_reports {
            return false;
        }
        match self.unreported.iter_mut().find(|unreported| unreported.0 == message) {
            Some(unreported) => unreported.1 += 1,
            None => self.unreported.push((message, 1)),
        }
        true
    }

    /// Takes the report of a panic that was not reported at once, if there was one with this message.
    fn reports_late(&mut self, message: Option<Text>) -> bool {
        let late = self.unreported.iter_mut().find(|unreported| Some(unreported.0) == message);
        let is_late = late.map(|unreported| unreported.1 -= 1).is_some();
        self.unreported.retain(|unreported| unreported.1 > 0);
        is_late
    }
}

impl Delivery {
    /// `late_reports`: reports of panics may be late, or missing.
    pub(super) fn reset(&mut self, header: &Header, late_reports: bool) {
        self.capacity = header.config.bus_capacity.max(1);
        let queues = header.subscribers.iter().map(|(_, capacity)| *capacity).max().unwrap_or(0);
        let behind = queues.saturating_add(header.config.bus_capacity).saturating_add(SPARE);
        self.kept_max = behind.min(RECENT_MAX as u64) as usize;
        self.disorder = header.config.disorder;
        self.bus.clear();
        self.published = 0;
        self.recent.clear();
        self.plain = 0;
        self.reports.clear();
        self.notices.clear();
        self.reports_gone = 0;
        self.notices_gone = 0;
        self.lagged = 0;
        self.spare.append(&mut self.ears);
        self.deeds.clear();
        self.deeds_gone = 0;
        self.panicking = false;
        self.subscribers.clear();
        self.subscribers.extend(header.subscribers.iter().map(|&(name, capacity)| Subscriber {
            name,
            capacity: capacity.max(1),
            tally: Tally::default(),
            in_hand: None,
            latest: None,
            panic: None,
            late_reports,
            unreported: Vec::new(),
        }));
    }

    /// Ends that were told of long ago are as if nobody had heard of their tasks.
    pub(super) fn forget_gone(&mut self) {
        let from_seq = self.published.saturating_sub(self.kept_max as u64);
        for ear in &mut self.ears {
            ear.heard_of.retain(|&(_, seq, start)| start || seq >= from_seq);
        }
    }

    /// Texts that it speaks of.
    pub(super) fn hold(&self, held: &mut Held) {
        for ear in &self.ears {
            held.hold(ear.name);
            held.hold_all(ear.heard_of.iter().map(|(task, ..)| *task));
        }
        held.hold_all(self.deeds.iter().map(|deed| deed.task));
        for subscriber in &self.subscribers {
            held.hold(subscriber.name);
            held.hold_all(subscriber.panic);
            held.hold_all(subscriber.unreported.iter().map(|&(message, _)| message));
        }
    }

    pub(super) fn has_subscribers(&self) -> bool {
        !self.subscribers.is_empty()
    }

    fn notices(&self) -> u64 {
        self.notices_gone + self.notices.len() as u64
    }

    #[inline]
    fn is_report(&self, seq: u64) -> bool {
        self.recent.of(seq) & REPORT != 0
    }

    #[inline]
    fn is_notice(&self, seq: u64) -> bool {
        self.recent.of(seq) & NOTICE != 0
    }

    /// Events on the bus so far.
    fn on_bus(&self) -> u64 {
        if self.disorder { self.bus.len() as u64 } else { self.published.saturating_sub(self.notices()) }
    }

    #[inline]
    pub(super) fn event(&mut self, event: &EventNote, texts: &Texts) -> Fits {
        self.published = event.seq.saturating_add(1);
        if !self.ears.is_empty() {
            self.deed(event);
        }
        if matches!(event.kind, EventKind::SubscriberOverflow | EventKind::SubscriberPanicked) {
            return self.report(event, texts);
        }
        self.plain += u64::from(!self.disorder);
        Ok(())
    }

    #[inline(never)]
    fn report(&mut self, event: &EventNote, texts: &Texts) -> Fits {
        match event.kind {
            EventKind::SubscriberOverflow => self.overflow(event, texts),
            _ => self.panicked(event, texts),
        }
    }

    #[inline(never)]
    fn deed(&mut self, event: &EventNote) {
        let Some(start) = is_start(event.kind) else { return };
        let Some(task) = event.task else { return };
        if self.deeds.len() == self.kept_max {
            self.deeds.pop_front();
            self.deeds_gone += 1;
        }
        self.deeds.push_back(Deed { seq: event.seq, task, start });
    }

    /// [G8]: an alive tracker that was fed with what this receiver got holds the last writers for alive.
    pub(super) fn alive_seen(&self, name: Text, said: &[Text], texts: &Texts) -> Fits {
        let Some(ear) = self.ears.iter().find(|ear| ear.name == name) else { return Ok(()) };
        let mut alive: Vec<_> =
            ear.heard_of.iter().filter(|(_, _, start)| *start).map(|(task, ..)| *task).collect();
        alive.sort_unstable_by(|one, other| texts.get(*one).cmp(texts.get(*other)));
        if alive == said {
            return Ok(());
        }
        let show = |all: &[Text]| all.iter().map(|one| texts.get(*one)).collect::<Vec<_>>().join(", ");
        expected(
            &["G8"],
            format!("an alive tracker that is fed by `{}` holds [{}]", texts.get(name), show(said)),
            format!("[{}]", show(&alive)),
        )
    }

    fn keep_report(&mut self, seq: u64, nature: u8) {
        if self.reports.len() == self.kept_max {
            self.reports.pop_front();
            self.reports_gone += 1;
        }
        self.reports.push_back(seq);
        self.recent.push(seq, nature);
    }

    fn overflow(&mut self, event: &EventNote, texts: &Texts) -> Fits {
        let of_listener = event.task.is_some_and(|task| texts.get(task) == "subscriber_listener");
        let is_notice = of_listener && event.reason.is_some();
        self.keep_report(event.seq, if is_notice { REPORT | NOTICE } else { REPORT });
        let (Some(task), Some(reason)) = (event.task, event.reason) else { return Ok(()) };
        let (name, reason) = (texts.get(task), texts.get(reason));
        if is_notice {
            return self.notice(event.seq, reason);
        }
        // What can be in its queue, the event that was dropped included.
        let told = self.on_bus() + self.notices() - u64::from(!self.disorder);
        let plain = self.plain;
        let came = told.saturating_sub(self.lagged);
        let Some(subscriber) = self.subscribers.iter_mut().find(|subscriber| subscriber.name == task) else {
            return unexplained(&["S5"], format!("an overflow of `{name}` came, who is no subscriber"));
        };
        let tally = &mut subscriber.tally;
        let waiting = came.saturating_sub(tally.entered + tally.overflows);
        tally.overflows += 1;
        let droppable = plain.saturating_sub(tally.entered_plain);
        let why = reason
            .strip_prefix("subscriber=")
            .and_then(|rest| rest.strip_prefix(name))
            .and_then(|rest| rest.strip_prefix(" reason="));
        let fits = match why {
            Some("full") => waiting > subscriber.capacity,
            Some("closed") => true,
            _ => false,
        };
        if fits && tally.overflows <= droppable {
            return Ok(());
        }
        let (capacity, overflows) = (subscriber.capacity, tally.overflows);
        expected(
            &["S5"],
            format!("overflow {overflows} of `{name}` came, with the reason `{reason}`"),
            format!(
                "one for each event that found more than {capacity} waiting; at most {} were, and at most {droppable} can have been dropped",
                waiting.saturating_sub(1)
            ),
        )
    }

    fn notice(&mut self, seq: u64, reason: &str) -> Fits {
        if self.notices.len() == self.kept_max {
            self.notices.pop_front();
            self.notices_gone += 1;
        }
        self.notices.push_back(seq);
        let lost = reason.strip_prefix("lagged(").and_then(|rest| rest.strip_suffix(')'));
        let lost = lost.and_then(|lost| lost.parse::<u64>().ok()).unwrap_or(0);
        self.lagged = self.lagged.saturating_add(lost);
        let may = self.on_bus().saturating_sub(self.capacity);
        if lost > 0 && self.lagged <= may {
            return Ok(());
        }
        expected(
            &["S8"],
            format!("the listener says `{reason}`, {} lost in all", self.lagged),
            format!("`lagged(N)` with at most {may} in all: a bus of {} keeps the newest", self.capacity),
        )
    }

    fn panicked(&mut self, event: &EventNote, texts: &Texts) -> Fits {
        self.keep_report(event.seq, REPORT);
        let Some(task) = event.task else { return Ok(()) };
        let mut subscriber = self.subscribers.iter_mut().find(|subscriber| subscriber.name == task);
        let owed = subscriber.as_mut().and_then(|subscriber| {
            let owed = subscriber.panic.take();
            // It may be that of an earlier panic.
            if owed != event.reason && subscriber.reports_late(event.reason) {
                subscriber.panic = owed;
                return event.reason;
            }
            owed
        });
        if owed.is_some() && owed == event.reason {
            return Ok(());
        }
        let instead = match owed {
            Some(message) => format!("it with the reason `{}`", texts.get(message)),
            None => "none: it has not panicked, or over a report about a subscriber".to_owned(),
        };
        expected(&["S7"], format!("SubscriberPanicked of `{}` came", texts.get(task)), instead)
    }

    pub(super) fn delivered(&mut self, seq: u64) -> Fits {
        if !self.disorder {
            return Ok(());
        }
        if seq >= self.published || self.is_notice(seq) {
            return unexplained(
                &["S10"],
                format!("event {seq} was put on the bus, where it does not belong"),
            );
        }
        self.bus.push(seq);
        self.plain += u64::from(!self.is_report(seq));
        Ok(())
    }

    pub(super) fn opened(&mut self, name: Text) {
        let (heard, from_seq) = (self.on_bus(), self.published);
        let (mut got, mut heard_of) =
            self.spare.pop().map_or_else(Default::default, |ear| (ear.got, ear.heard_of));
        got.clear();
        heard_of.clear();
        let passed = self.deeds_gone + self.deeds.len() as u64;
        self.ears.push(Ear { name, heard, from_seq, got, lost: 0, heard_of, passed });
    }

    pub(super) fn received(&mut self, name: Text, seq: u64, texts: &Texts) -> Fits {
        let (published, is_notice) = (self.published, self.is_notice(seq));
        let before = match self.notices.back() {
            Some(&last) if last >= seq => {
                self.notices_gone + self.notices.partition_point(|&notice| notice < seq) as u64
            }
            _ => self.notices(),
        };
        let Some(ear) = self.ears.iter_mut().find(|ear| ear.name == name) else { return Ok(()) };
        let deed = ear.deed(seq, &self.deeds, self.deeds_gone);
        if let Some(Deed { task, start, .. }) = deed {
            match ear.heard_of.iter_mut().find(|(known, ..)| *known == task) {
                Some(last) if last.1 < seq => *last = (task, seq, start),
                Some(_) => {}
                None => ear.heard_of.push((task, seq, start)),
            }
        }
        let heard = ear.heard;
        let fits = if self.disorder {
            ear.got.push(seq);
            ear.heard += 1;
            !is_notice && self.bus.get(heard as usize) == Some(&seq)
        } else {
            let place = seq.saturating_sub(before);
            ear.heard = heard.max(place.saturating_add(1));
            !is_notice && seq < published && place == heard
        };
        if fits {
            return Ok(());
        }
        let name = texts.get(name);
        let next = match self.disorder {
            true => self.bus.get(heard as usize).map(|next| format!("event {next}")),
            false => None,
        };
        expected(
            if is_notice { &["S8"] } else { &["S3"] },
            format!("bus receiver `{name}` got event {seq}"),
            next.unwrap_or_else(|| format!("number {heard} of what is on the bus, or to be told of a lag")),
        )
    }

    pub(super) fn lagged(&mut self, name: Text, lost: u64, texts: &Texts) -> Fits {
        let (end, capacity) = (self.on_bus(), self.capacity);
        let Some(ear) = self.ears.iter_mut().find(|ear| ear.name == name) else { return Ok(()) };
        let overrun = end.saturating_sub(capacity).saturating_sub(ear.heard);
        ear.heard += lost.min(end.saturating_sub(ear.heard));
        ear.lost = ear.lost.saturating_add(lost);
        if lost > 0 && lost <= overrun {
            return Ok(());
        }
        expected(
            &["S3"],
            format!("bus receiver `{}` was told that it lost {lost} events", texts.get(name)),
            format!("at most {overrun}: a bus of {capacity} keeps the others"),
        )
    }

    pub(super) fn closed(&mut self, name: Text, texts: &Texts) -> Fits {
        let Some(place) = self.ears.iter().position(|ear| ear.name == name) else { return Ok(()) };
        let mut ear = self.ears.swap_remove(place);
        let fits = self.heard_all(&mut ear, texts);
        self.spare.push(ear);
        fits
    }

    /// Whether a receiver that is told of the end was told of everything before it.
    fn heard_all(&self, ear: &mut Ear, texts: &Texts) -> Fits {
        let end = self.on_bus();
        let name = texts.get(ear.name);
        if ear.heard < end {
            let left = end - ear.heard;
            return unexplained(
                &["S3"],
                format!("bus receiver `{name}` was closed before its last {left} events"),
            );
        }
        if self.disorder && ear.lost == 0 {
            ear.got.sort_unstable();
            ear.got.dedup();
            let owed = (ear.from_seq..self.published).filter(|seq| !self.is_notice(*seq));
            if !owed.eq(ear.got.iter().copied()) {
                return unexplained(
                    &["S10"],
                    format!("bus receiver `{name}` was closed and never got every event, in whatever order"),
                );
            }
        }
        Ok(())
    }

    #[inline]
    fn subscriber(&mut self, name: Text) -> Option<&mut Subscriber> {
        self.subscribers.iter_mut().find(|subscriber| subscriber.name == name)
    }

    #[inline]
    pub(super) fn handler_entered(&mut self, name: Text, seq: u64) -> Option<Misled> {
        let (nature, published, disorder) = (self.recent.of(seq), self.published, self.disorder);
        let subscriber = self.subscriber(name)?;
        subscriber.tally.entered += 1;
        subscriber.tally.entered_plain += u64::from(nature & REPORT == 0);
        // A notice overtakes what is still on the bus ([S8]).
        let mut in_order = seq < published;
        if nature & NOTICE == 0 {
            in_order &= disorder || subscriber.latest.is_none_or(|latest| latest < seq);
            subscriber.latest = Some(seq);
        }
        let before = subscriber.in_hand.replace(seq);
        if let Some(message) = subscriber.panic.take() {
            return Some(Misled::Panicked(message, in_order));
        }
        match before {
            Some(before) => Some(Misled::Busy(before)),
            None => (!in_order).then_some(Misled::OutOfOrder),
        }
    }

    /// What is wrong all the same with an event that was given after a panic whose report may be late.
    pub(super) fn after_all(&mut self, name: Text, misled: Misled) -> Option<Misled> {
        match misled {
            Misled::Panicked(message, in_order) if self.subscriber(name)?.may_report_late(message) => {
                (!in_order).then_some(Misled::OutOfOrder)
            }
            misled => Some(misled),
        }
    }

    /// `drained`: what is left in queues may be given up.
    #[inline]
    pub(super) fn handler_left(
        &mut self,
        name: Text,
        seq: u64,
        how: HandlerEnd,
        drained: impl FnOnce() -> bool,
        texts: &Texts,
    ) -> Fits {
        let report = self.is_report(seq);
        let Some(subscriber) = self.subscriber(name) else { return Ok(()) };
        subscriber.in_hand = None;
        match how {
            HandlerEnd::Done => subscriber.tally.done += 1,
            HandlerEnd::Panic(message) => {
                subscriber.tally.panicked += 1;
                subscriber.panic = (!report).then_some(message);
                self.panicking = true;
            }
            HandlerEnd::Dropped => {
                if !drained() {
                    return Self::cut_off(name, seq, texts);
                }
            }
        }
        Ok(())
    }

    #[cold]
    fn cut_off(name: Text, seq: u64, texts: &Texts) -> Fits {
        let name = texts.get(name);
        let what = format!("the handler of `{name}` was dropped over event {seq} before grace was over");
        unexplained(&["S9"], what)
    }

    /// `cut_short`: draining used up its grace.
    pub(super) fn counters(
        &mut self,
        name: Text,
        [handled, panicked, dropped, lagged]: [u64; 4],
        cut_short: bool,
        texts: &Texts,
    ) -> Fits {
        let all = self.on_bus() + self.notices();
        let Some(subscriber) = self.subscribers.iter().find(|subscriber| subscriber.name == name) else {
            return Ok(());
        };
        let shown = texts.get(name);
        let tally = subscriber.tally;
        let sum = handled.saturating_add(panicked).saturating_add(dropped).saturating_add(lagged);
        if sum != all || lagged != self.lagged {
            return expected(
                &["S6"],
                format!(
                    "`{shown}` counted {handled} handled, {panicked} panicked on, {dropped} dropped, {lagged} lost to lag"
                ),
                format!("{all} in all, {} of them lost to lag", self.lagged),
            );
        }
        if tally.entered == 0 && (handled > 0 || panicked > 0) {
            return Ok(()); // its handler is not observed
        }
        if (handled, panicked) != (tally.done, tally.panicked) {
            return expected(
                &["S6"],
                format!("`{shown}` counted {handled} handled and {panicked} panicked on"),
                format!("{} and {}", tally.done, tally.panicked),
            );
        }
        let missed = self.plain.saturating_sub(tally.entered_plain);
        let reported = tally.overflows.saturating_add(lagged);
        if tally.overflows > missed {
            return unexplained(
                &["S5"],
                format!(
                    "{} overflows of `{shown}` were reported, and it missed {missed} events",
                    tally.overflows
                ),
            );
        }
        if let Some(latest) = subscriber.latest.filter(|_| !self.disorder) {
            let reports = self.reports_gone + self.reports.partition_point(|&report| report < latest) as u64;
            let plain = latest.saturating_sub(reports);
            let entered = tally.entered_plain.saturating_sub(u64::from(!self.is_report(latest)));
            if plain.saturating_sub(entered) > reported {
                return unexplained(
                    &["S5"],
                    format!(
                        "of {plain} events before event {latest} `{shown}` got {entered}, and {reported} were reported as lost"
                    ),
                );
            }
        }
        if !cut_short && missed > reported {
            return unexplained(
                &["S9"],
                format!(
                    "`{shown}` never got {} events, though there was grace left to drain its queue",
                    missed - reported
                ),
            );
        }
        Ok(())
    }

    /// The instant is over.
    pub(super) fn settle(&mut self, texts: &Texts) -> Fits {
        if std::mem::take(&mut self.panicking) { self.settle_panics(texts) } else { Ok(()) }
    }

    #[cold]
    fn settle_panics(&mut self, texts: &Texts) -> Fits {
        for subscriber in &mut self.subscribers {
            if let Some(message) = subscriber.panic.take()
                && !subscriber.may_report_late(message)
            {
                let (name, message) = (texts.get(subscriber.name), texts.get(message));
                self.panicking = true; // there may be others
                return unexplained(
                    &["S7"],
                    format!("the panic `{message}` of `{name}` was not reported at once"),
                );
            }
        }
        Ok(())
    }
}

/// Whether an event is a start or an end of an attempt or task, if it is either.
pub(super) fn is_start(kind: EventKind) -> Option<bool> {
    match kind {
        EventKind::TaskStarting => Some(true),
        EventKind::TaskStopped
        | EventKind::TaskFailed
        | EventKind::ActorExhausted
        | EventKind::ActorDead
        | EventKind::TaskRemoved => Some(false),
        _ => None,
    }
}
