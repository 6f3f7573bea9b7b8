//! Who is alive, as told by somebody who hears of it from a bus receiver: late, out of order, twice, or not at all (G8).
//!
//! An alive tracker is a last-writer-wins register, so what it says is a function of *which* events it was fed, and
//! not of their order. It can be judged at any moment, whatever its receiver has lost by then.

use std::collections::VecDeque;

use simvisor::EventKind;

use super::delivery::reach;
use super::state::Now;
use super::{Report, Rule};
use crate::trace::{EventNote, Header, Held, Text};

/// A start or an end of a task.
#[derive(Debug, Clone, Copy)]
struct News {
    seq: u64,
    task: Text,
    alive: bool,
}

#[derive(Debug)]
struct Tracker {
    receiver: Text,
    /// The news of highest number of each task that its receiver received.
    latest: Vec<News>,
    /// How many news its receiver has come past, those included that are not kept any more.
    past: u64,
}

#[derive(Debug, Default)]
pub(super) struct Trackers {
    /// In order of number, as far back as a receiver may be behind; kept while somebody receives.
    told: VecDeque<News>,
    /// How many news are not kept any more.
    gone: u64,
    reach: u64,
    trackers: Vec<Tracker>,
}

impl Trackers {
    pub(super) fn reset(&mut self, header: &Header) {
        self.reach = reach(header);
        self.told.clear();
        self.gone = 0;
        self.trackers.clear();
    }

    pub(super) fn event(&mut self, event: &EventNote) {
        if self.trackers.is_empty() {
            return;
        }
        let alive = match event.kind {
            EventKind::TaskStarting => true,
            EventKind::TaskStopped
            | EventKind::TaskFailed
            | EventKind::ActorExhausted
            | EventKind::ActorDead
            | EventKind::TaskRemoved => false,
            _ => return,
        };
        // S1 and E2 say so if the number is not the highest so far, or the task is missing.
        if let Some(task) = event.task
            && self.told.back().is_none_or(|last| last.seq < event.seq)
        {
            if self.told.len() as u64 > self.reach {
                self.told.pop_front();
                self.gone += 1;
            }
            self.told.push_back(News { seq: event.seq, task, alive });
        }
    }

    /// Ends that no late event can come before are as if nothing had been told of their tasks.
    pub(super) fn forget_gone(&mut self, published: u64) {
        let from_seq = published.saturating_sub(self.reach);
        for tracker in &mut self.trackers {
            tracker.latest.retain(|latest| latest.alive || latest.seq >= from_seq);
        }
    }

    pub(super) fn hold(&self, held: &mut Held) {
        held.hold_all(self.told.iter().map(|news| news.task));
        for tracker in &self.trackers {
            held.hold(tracker.receiver);
            held.hold_all(tracker.latest.iter().map(|news| news.task));
        }
    }

    pub(super) fn opened(&mut self, receiver: Text) {
        let past = self.gone + self.told.len() as u64;
        self.trackers.push(Tracker { receiver, latest: Vec::new(), past });
    }

    pub(super) fn closed(&mut self, receiver: Text) {
        self.trackers.retain(|tracker| tracker.receiver != receiver);
    }

    pub(super) fn received(&mut self, receiver: Text, seq: u64) {
        let Some(tracker) = self.trackers.iter_mut().find(|tracker| tracker.receiver == receiver) else {
            return;
        };
        // As a rule these are the news that come next, or none are between this event and the last.
        let guess = tracker.past.saturating_sub(self.gone) as usize;
        let is_after = guess == 0 || self.told.get(guess - 1).is_none_or(|last| last.seq < seq);
        let place = match self.told.get(guess) {
            next if is_after && next.is_none_or(|next| next.seq >= seq) => guess,
            _ => self.told.partition_point(|news| news.seq < seq),
        };
        tracker.past = self.gone + place as u64;
        let Some(&news) = self.told.get(place).filter(|news| news.seq == seq) else { return };
        tracker.past += 1;
        match tracker.latest.iter_mut().find(|latest| latest.task == news.task) {
            Some(latest) if latest.seq < news.seq => *latest = news,
            Some(_) => {}
            None => tracker.latest.push(news),
        }
    }

    /// A tracker that was fed with all that this receiver received so far says who is alive.
    pub(super) fn seen(&self, receiver: Text, said: &[Text], now: &Now<'_>, report: &mut Report) {
        let Some(tracker) = self.trackers.iter().find(|tracker| tracker.receiver == receiver) else { return };
        report.witness(Rule::G8);
        let mut alive: Vec<_> = tracker.latest.iter().filter(|latest| latest.alive).collect();
        alive.sort_unstable_by_key(|latest| now.texts.get(latest.task));
        if said.iter().copied().eq(alive.iter().map(|latest| latest.task)) {
            return;
        }
        let names = |texts: &mut dyn Iterator<Item = Text>| {
            texts.map(|name| now.texts.get(name)).collect::<Vec<_>>().join(", ")
        };
        report.breaks(
            Rule::G8,
            || format!(
                "an alive tracker that was fed by `{}` says that [{}] are alive, but the highest numbers that it got say [{}]",
                now.texts.get(receiver),
                names(&mut said.iter().copied()),
                names(&mut alive.iter().map(|latest| latest.task)),
            ),
        );
    }
}
