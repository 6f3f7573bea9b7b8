//! From a runtime's own words to those of the contract, record by record.
//!
//! What it remembers is bounded: one entry for each task that is registered or asked for, the calls without an answer,
//! and the numbers of the latest events.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;
use simvisor::{BackoffSource, EventKind};

use super::dialect::{Answered, Becomes, Dialect, EventRule, Field, Observed, Sequence, SlotStep, State};
use super::foreign::{ForeignEvent, ForeignRecord, ForeignWhat};
use crate::trace::{
    Answer, BodyEnd, Call, EventNote, HandlerEnd, Header, Held, KINDS, Record, SpecNote, Text, Texts, What,
};

/// Most events whose numbers are kept for those who receive them.
const NUMBERS_MAX: usize = 1 << 20;

/// Numbers that are kept beyond what bus and queues hold.
const NUMBERS_SPARE: u64 = 4096;

/// What is known of a task.
#[derive(Debug, Clone, Default)]
struct Known {
    registered: bool,
    added: bool,
    removing: bool,
    open: bool,
    failed: bool,
    ended_cancelled: bool,
    attempt: u32,
    reason: Option<Text>,
    timeout_ns: u64,
    /// Of the incarnation that is registered, if its events tell.
    identity: Option<String>,
    slot: Slot,
    /// How often it was looked at without being registered, see [`Translator::forget_gone`].
    looked_at: u8,
}

/// A controller's slot, by the transitions that were told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Slot {
    #[default]
    Idle,
    Running,
    Terminating,
    /// It waits for the registry to decide a start; not of the contract.
    Admitting,
    /// It is terminating, and that start was replaced before it was decided.
    Replaced,
}

impl Slot {
    fn word(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Running => "running",
            Self::Terminating | Self::Replaced => "terminating",
            Self::Admitting => "admitting",
        }
    }
}

/// A call without an answer.
#[derive(Debug, Clone, Copy)]
struct Asked {
    op: u32,
    task: Text,
    cancel: bool,
    refused: Option<Answered>,
}

/// Turns foreign records into records of the contract.
#[derive(Debug)]
pub struct Translator {
    dialect: Dialect,
    /// Which deviations are on, and how often each changed the meaning of an event.
    on: Vec<bool>,
    used: Vec<u64>,
    tasks: FxHashMap<Text, Known>,
    asked: Vec<Asked>,
    shutdown: bool,
    /// How the shutdown ended was told.
    stopped: bool,
    /// Of the latest events: their own number, and that which was given to them, if they mean anything.
    numbers: VecDeque<(u64, Option<u64>)>,
    numbers_max: usize,
    next_seq: u64,
    /// Tasks by the field that tells incarnations apart.
    identities: FxHashMap<String, Text>,
    /// What is remembered of incarnations, by the same field.
    remembered: FxHashMap<String, String>,
    /// Attempts whose body is running.
    bodies: FxHashMap<Text, u32>,
    /// Attempts of which it is told that their body was dropped, while it is running.
    dropped: Vec<(Text, u32)>,
    /// Panics over events that mean nothing, by subscriber and message, and how many: their reports mean nothing either.
    unheard: Vec<((Text, Text), u64)>,
    /// Slots that are done with their task and were not told to be idle yet.
    left: Vec<Text>,
    /// The call that runs.
    run: Option<u32>,
    /// When and at which turn of the wall clock the latest record came, in nanoseconds.
    now_ns: u64,
    wall_ns: i64,
}

/// What became of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It was translated, perhaps to nothing.
    Known,
    /// An event of a kind that neither dialect nor contract knows.
    UnknownKind(String),
    /// It refers to an event that is not known any more or never was.
    UnknownEvent(u64),
    /// A template gave no value for this field.
    Unset(Field),
}

impl Translator {
    /// A translator of a dialect with these deviations on.
    #[must_use]
    pub fn new(dialect: Dialect, on: Vec<bool>) -> Self {
        Self {
            used: vec![0; on.len()],
            dialect,
            on,
            tasks: FxHashMap::default(),
            asked: Vec::new(),
            shutdown: false,
            stopped: false,
            numbers: VecDeque::new(),
            numbers_max: 0,
            next_seq: 0,
            identities: FxHashMap::default(),
            remembered: FxHashMap::default(),
            bodies: FxHashMap::default(),
            dropped: Vec::new(),
            unheard: Vec::new(),
            left: Vec::new(),
            run: None,
            now_ns: 0,
            wall_ns: 0,
        }
    }

    /// The dialect.
    #[must_use]
    pub fn dialect(&self) -> &Dialect {
        &self.dialect
    }

    /// How often each deviation changed the meaning of an event, in the order of the dialect.
    #[must_use]
    pub fn used(&self) -> &[u64] {
        &self.used
    }

    /// A new trace begins.
    pub fn begin(&mut self, header: &Header) {
        self.used.fill(0);
        self.tasks.clear();
        self.asked.clear();
        (self.shutdown, self.stopped) = (false, false);
        self.numbers.clear();
        let held = header.subscribers.iter().map(|&(_, capacity)| capacity).max().unwrap_or(0);
        let wanted = held.saturating_add(header.config.bus_capacity).saturating_add(NUMBERS_SPARE);
        self.numbers_max = usize::try_from(wanted).map_or(NUMBERS_MAX, |wanted| wanted.min(NUMBERS_MAX));
        self.next_seq = 0;
        self.identities.clear();
        self.remembered.clear();
        self.bodies.clear();
        self.dropped.clear();
        self.unheard.clear();
        self.left.clear();
        self.run = None;
        (self.now_ns, self.wall_ns) = (0, 0);
    }

    /// Forgets tasks that are gone, and those that were asked for long ago and never came. Holds the texts that are still
    /// spoken of.
    pub fn forget_gone(&mut self, held: &mut Held) {
        let asked = &self.asked;
        self.tasks.retain(|task, known| {
            let is_gone = !known.registered && known.slot == Slot::Idle;
            known.looked_at = if is_gone { known.looked_at + 1 } else { 0 };
            known.looked_at < 3 || asked.iter().any(|asked| asked.task == *task)
        });
        let tasks = &self.tasks;
        self.identities.retain(|_, task| tasks.contains_key(task));
        let identities = &self.identities;
        self.remembered.retain(|identity, _| identities.contains_key(identity));
        held.hold_all(self.tasks.iter().flat_map(|(task, known)| [Some(*task), known.reason]).flatten());
        held.hold_all(self.unheard.iter().flat_map(|((subscriber, message), _)| [*subscriber, *message]));
        held.hold_all(self.asked.iter().map(|asked| asked.task));
        held.hold_all(self.bodies.keys().copied().chain(self.dropped.iter().map(|(task, _)| *task)));
    }

    /// How many tasks it remembers.
    #[must_use]
    pub fn remembers(&self) -> usize {
        self.tasks.len().max(self.identities.len())
    }

    /// Appends what a record means to `out`.
    pub fn record(&mut self, record: &ForeignRecord, texts: &mut Texts, out: &mut Vec<Record>) -> Fate {
        let (at_ns, turn) = (record.at_ns, record.turn);
        if at_ns != self.now_ns {
            let over_ns = std::mem::replace(&mut self.now_ns, at_ns);
            self.tell_idle(|_| true, texts, &mut |what| {
                out.push(Record { at_ns: over_ns, turn: None, what });
            });
        }
        let mut tell = |what| out.push(Record { at_ns, turn, what });
        match &record.what {
            ForeignWhat::Event(event) if self.dialect.fields.is_empty() => {
                self.event(event, texts, &mut tell)
            }
            ForeignWhat::Event(event) => {
                let mut event = event.clone();
                for (field, own) in &self.dialect.fields {
                    event.rename(own, *field);
                }
                self.event(&event, texts, &mut tell)
            }
            ForeignWhat::Same(What::Event(note)) if self.takes_as_is() => {
                self.learn(note);
                tell(What::Event(*note));
                Fate::Known
            }
            ForeignWhat::Same(What::Event(note)) => {
                self.event(&ForeignEvent::of(note, texts), texts, &mut tell)
            }
            ForeignWhat::Same(what) => self.other(what, texts, &mut tell),
        }
    }

    /// Nothing is changed in an event of the contract.
    fn takes_as_is(&self) -> bool {
        self.dialect.sequence == Sequence::AsIs
            && self.dialect.events.is_empty()
            && self.dialect.deviations.iter().all(|deviation| deviation.events.is_empty())
    }

    fn is_unobserved(&self, kinds: &[Observed]) -> bool {
        self.dialect.unobserved.iter().any(|kind| kinds.contains(kind))
    }

    fn other(&mut self, what: &What, texts: &mut Texts, tell: &mut dyn FnMut(What)) -> Fate {
        let is_over = match what {
            What::Answer { op, .. } => self.run == Some(*op),
            What::End(_) => true,
            _ => false,
        };
        if is_over {
            self.tell_idle(|_| true, texts, tell);
        }
        let hidden = match what {
            What::Call { op, call } => {
                self.call(*op, call);
                self.is_unobserved(&[Observed::Calls])
            }
            What::Answer { op, .. } => {
                let refused = self.answer(*op);
                if self.is_unobserved(&[Observed::Calls, Observed::Answers]) {
                    return Fate::Known;
                }
                if let Some(answer) = refused {
                    tell(What::Answer { op: *op, answer });
                    return Fate::Known;
                }
                false
            }
            What::BodyEntered { task, attempt, .. } => {
                self.bodies.insert(*task, *attempt);
                self.is_unobserved(&[Observed::Bodies])
            }
            What::BodyLeft { task, attempt, .. } => {
                if self.bodies.get(task) == Some(attempt) {
                    self.bodies.remove(task);
                }
                let dropped = self.dropped.iter().position(|of| *of == (*task, *attempt));
                dropped.map(|place| self.dropped.swap_remove(place)).is_some()
                    || self.is_unobserved(&[Observed::Bodies])
            }
            What::BodyCancelled { task, attempt } => {
                self.dropped.contains(&(*task, *attempt))
                    || self.is_unobserved(&[Observed::Bodies, Observed::BodyCancelled])
            }
            What::ReceiverOpened { .. } | What::ReceiverClosed { .. } | What::Lagged { .. } => {
                self.is_unobserved(&[Observed::Receivers])
            }
            What::Counters { .. } => self.is_unobserved(&[Observed::Counters]),
            What::Leftovers { .. } => self.is_unobserved(&[Observed::Leftovers]),
            What::Received { .. } | What::HandlerEntered { .. } | What::HandlerLeft { .. } => {
                let kind = match what {
                    What::Received { .. } => Observed::Receivers,
                    _ => Observed::Handlers,
                };
                if self.is_unobserved(&[kind]) {
                    return Fate::Known;
                }
                return self.of_event(what, tell);
            }
            What::Delivered { .. } => return self.of_event(what, tell),
            _ => false,
        };
        if !hidden {
            tell(what.clone());
        }
        Fate::Known
    }

    /// A record that refers to an event by its number.
    fn of_event(&mut self, what: &What, tell: &mut dyn FnMut(What)) -> Fate {
        let mut what = what.clone();
        let (What::Received { seq, .. }
        | What::HandlerEntered { seq, .. }
        | What::HandlerLeft { seq, .. }
        | What::Delivered { seq }) = &mut what
        else {
            return Fate::Known;
        };
        if self.dialect.sequence == Sequence::Renumber {
            let place = self.numbers.partition_point(|(own, _)| own < seq);
            match self.numbers.get(place) {
                Some(&(own, given)) if own == *seq => match given {
                    Some(given) => *seq = given,
                    None => {
                        if let What::HandlerLeft { subscriber, how: HandlerEnd::Panic(message), .. } = what {
                            self.is_unheard(subscriber, message);
                        }
                        return Fate::Known; // it means nothing
                    }
                },
                _ => return Fate::UnknownEvent(*seq),
            }
        }
        tell(what);
        Fate::Known
    }

    fn is_unheard(&mut self, subscriber: Text, message: Text) {
        let panic = (subscriber, message);
        match self.unheard.iter_mut().find(|(unheard, _)| *unheard == panic) {
            Some((_, times)) => *times += 1,
            None => self.unheard.push((panic, 1)),
        }
    }

    /// Takes the report of a panic over an event that means nothing, if this may be one.
    fn reports_unheard(&mut self, note: &EventNote) -> bool {
        let (Some(subscriber), Some(message)) = (note.task, note.reason) else { return false };
        let panic = self.unheard.iter_mut().find(|(unheard, _)| *unheard == (subscriber, message));
        let is_one = panic.map(|(_, times)| *times -= 1).is_some();
        self.unheard.retain(|(_, times)| *times > 0);
        is_one
    }

    fn call(&mut self, op: u32, call: &Call) {
        let mut asked = |task, cancel| self.asked.push(Asked { op, task, cancel, refused: None });
        let mut specs: &[SpecNote] = &[];
        match call {
            Call::Run(all) => {
                specs = all;
                self.run = Some(op);
            }
            Call::Serve => self.run = Some(op),
            Call::Add(spec) => {
                asked(spec.task, false);
                specs = std::slice::from_ref(spec);
            }
            Call::Submit { spec, .. } => specs = std::slice::from_ref(spec),
            Call::Remove(task) => asked(*task, false),
            Call::Cancel { task, .. } => asked(*task, true),
            _ => {}
        }
        for spec in specs {
            self.tasks.entry(spec.task).or_default().timeout_ns = spec.timeout_ns;
        }
    }

    /// What the call is answered with instead, if it was refused by an event.
    fn answer(&mut self, op: u32) -> Option<Answer> {
        let place = self.asked.iter().position(|asked| asked.op == op)?;
        let asked = self.asked.swap_remove(place);
        Some(match (asked.refused?, asked.cancel) {
            (Answered::NotFound, true) => Answer::Bool(false),
            (Answered::NotFound, false) => Answer::NotFound,
            (Answered::AlreadyExists, _) => Answer::AlreadyExists,
            (Answered::ShuttingDown, _) => Answer::ShuttingDown,
        })
    }

    fn event(&mut self, event: &ForeignEvent, texts: &mut Texts, tell: &mut dyn FnMut(What)) -> Fate {
        let task = self.task_of(event, texts);
        let name = task.map(|task| texts.get(task).to_owned());
        let found = self.rule_for(event, task);
        let Some((deviation, rule)) = found else {
            let Some(&(kind, _)) = KINDS.iter().find(|(_, known)| *known == event.kind) else {
                self.number(event.seq, 0);
                return Fate::UnknownKind(event.kind.clone());
            };
            let mut note = same(event, name.as_deref(), kind, 0, texts);
            if kind == EventKind::SubscriberPanicked && self.reports_unheard(&note) {
                self.number(event.seq, 0);
                return Fate::Known;
            }
            note.seq = self.number(event.seq, 1);
            self.publish(note, texts, tell);
            self.identify(event, task, kind);
            return Fate::Known;
        };
        let rule = rule.clone();
        if let Some(deviation) = deviation {
            self.used[deviation] += 1;
        }
        if let (Some(answered), Some(task)) = (rule.answers, task)
            && let Some(asked) = self.asked.iter_mut().rev().find(|asked| asked.task == task)
        {
            asked.refused = Some(answered);
        }
        let identity = self.identity_of(event);
        if let (Some(template), Some(identity)) = (&rule.remembers, &identity)
            && let Some(text) = self.fill(template, event, task, rule.when.fields.get("reason"), texts)
        {
            self.remembered.insert(identity.clone(), text);
        }
        if rule.drops_body
            && let Some((task, attempt)) = task.and_then(|task| Some((task, self.bodies.remove(&task)?)))
        {
            self.dropped.push((task, attempt));
            if !self.is_unobserved(&[Observed::Bodies]) {
                tell(What::BodyLeft { task, attempt, how: BodyEnd::Dropped });
            }
        }
        if rule.slot == Some(SlotStep::Starts)
            && let Some(task) = task
        {
            self.tell_idle(|left| left == task, texts, tell);
        }
        let first = self.number(event.seq, rule.becomes.len() as u64);
        let mut fate = Fate::Known;
        for (seq, becomes) in (first..).zip(&rule.becomes) {
            let mut note = same(event, name.as_deref(), becomes.kind, seq, texts);
            self.fit(&mut note, becomes);
            for (&field, template) in &becomes.set {
                let value = self.fill(template, event, task, rule.when.fields.get("reason"), texts);
                if !set(&mut note, field, value.as_deref(), texts) {
                    fate = Fate::Unset(field);
                }
            }
            self.publish(note, texts, tell);
            self.identify(event, task, becomes.kind);
        }
        if rule.slot == Some(SlotStep::Left)
            && let Some(task) = task
        {
            self.left.push(task);
        }
        if rule.when.task.contains(&State::Remembered)
            && rule.remembers.is_none()
            && let Some(identity) = identity
        {
            self.remembered.remove(&identity);
        }
        fate
    }

    /// Slots that have left and not noticed do so now: they are told to be idle.
    fn tell_idle(&mut self, which: impl Fn(Text) -> bool, texts: &mut Texts, tell: &mut dyn FnMut(What)) {
        for place in (0..self.left.len()).rev() {
            if !which(self.left[place]) {
                continue;
            }
            let task = self.left.swap_remove(place);
            let slot = self.tasks.get(&task).map_or(Slot::Idle, |known| known.slot);
            if slot != Slot::Idle {
                let note = EventNote {
                    seq: self.number(None, 1),
                    wall_ns: self.wall_ns,
                    kind: EventKind::ControllerSlotTransition,
                    task: Some(task),
                    reason: Some(texts.intern(&format!("{}→idle", slot.word()))),
                    attempt: None,
                    timeout_ms: None,
                    delay_ms: None,
                    source: None,
                };
                self.publish(note, texts, tell);
            }
        }
    }

    /// Whose incarnation is registered from now on, if that is what the event means.
    fn identify(&mut self, event: &ForeignEvent, task: Option<Text>, means: EventKind) {
        let identity = self.identity_of(event);
        if means == EventKind::TaskAddRequested
            && let Some(known) = task.and_then(|task| self.tasks.get_mut(&task))
        {
            known.identity = identity;
        }
    }

    /// What tells the incarnation of an event apart.
    fn identity_of(&self, event: &ForeignEvent) -> Option<String> {
        event.field(self.dialect.identity.as_ref()?)
    }

    /// The task of an event, which it may name by another field.
    fn task_of(&mut self, event: &ForeignEvent, texts: &mut Texts) -> Option<Text> {
        let named = event.task.as_deref().map(|task| texts.intern(task));
        let Some(field) = &self.dialect.identity else { return named };
        let Some(identity) = event.field(field) else { return named };
        match named {
            Some(task) => {
                if matches!(event.kind.as_str(), "TaskRemoved") {
                    self.identities.remove(&identity);
                } else {
                    self.identities.insert(identity, task);
                }
                Some(task)
            }
            None => self.identities.get(&identity).copied(),
        }
    }

    fn rule_for(&self, event: &ForeignEvent, task: Option<Text>) -> Option<(Option<usize>, &EventRule)> {
        let of_deviations = self.dialect.deviations.iter().enumerate().zip(&self.on);
        let of_deviations = of_deviations
            .filter(|(_, on)| **on)
            .flat_map(|((index, deviation), _)| deviation.events.iter().map(move |rule| (Some(index), rule)));
        let of_dialect = self.dialect.events.iter().map(|rule| (None, rule));
        of_deviations.chain(of_dialect).find(|(_, rule)| self.fits(rule, event, task))
    }

    fn fits(&self, rule: &EventRule, event: &ForeignEvent, task: Option<Text>) -> bool {
        let when = &rule.when;
        rule.kind == event.kind
            && when
                .fields
                .iter()
                .all(|(field, pattern)| event.field(field).is_some_and(|value| pattern.fits(&value)))
            && when.lacks.iter().all(|field| event.field(field).is_none())
            && when.task.iter().all(|state| self.is(event, task, *state))
    }

    fn is(&self, event: &ForeignEvent, task: Option<Text>, state: State) -> bool {
        let unknown = Known::default();
        let known = task.and_then(|task| self.tasks.get(&task)).unwrap_or(&unknown);
        let cancelled = known.removing || self.shutdown;
        let is_own = || {
            let identity = self.identity_of(event);
            known.registered && identity.is_some() && known.identity == identity
        };
        let is_remembered =
            || self.identity_of(event).is_some_and(|identity| self.remembered.contains_key(&identity));
        match state {
            State::Registered => known.registered,
            State::Unregistered => !known.registered,
            State::Added => known.added,
            State::NotAdded => !known.added,
            State::Cancelled => cancelled,
            State::NotCancelled => !cancelled,
            State::Removing => known.removing,
            State::NotRemoving => !known.removing,
            State::Open => known.open,
            State::NotOpen => !known.open,
            State::Failed => known.failed,
            State::NotFailed => !known.failed,
            State::EndedCancelled => known.ended_cancelled,
            State::Stopping => self.shutdown && !self.stopped,
            State::Stopped => self.stopped,
            State::NotStopped => !self.stopped,
            State::Own => is_own(),
            State::NotOwn => !is_own(),
            State::Remembered => is_remembered(),
            State::NotRemembered => !is_remembered(),
            State::SlotIdle => known.slot == Slot::Idle,
            State::SlotRunning => known.slot == Slot::Running,
            State::SlotTerminating => known.slot == Slot::Terminating,
            State::SlotAdmitting => known.slot == Slot::Admitting,
            State::SlotReplaced => known.slot == Slot::Replaced,
            State::SlotLeft => task.is_some_and(|task| self.left.contains(&task)),
        }
    }

    /// Gives the events that come of one their numbers: the first of them.
    fn number(&mut self, own: Option<u64>, count: u64) -> u64 {
        if self.dialect.sequence == Sequence::AsIs {
            return own.unwrap_or(self.next_seq);
        }
        let first = self.next_seq;
        self.next_seq += count;
        if let Some(own) = own {
            if self.numbers.len() == self.numbers_max {
                self.numbers.pop_front();
            }
            // Looked up by halving: one that goes back is put where it belongs.
            let given = (count > 0).then(|| first + count - 1);
            let place = self.numbers.partition_point(|(known, _)| *known < own);
            self.numbers.insert(place, (own, given));
        }
        first
    }

    /// Takes away what the contract's kind does not have.
    fn fit(&self, note: &mut EventNote, becomes: &Becomes) {
        let has = fields_of(note.kind);
        let goes = |field: Field| becomes.drop.contains(&field) || !has.contains(&field);
        if goes(Field::Task) {
            note.task = None;
        }
        if goes(Field::Reason) {
            note.reason = None;
        }
        if goes(Field::Attempt) {
            note.attempt = None;
        }
        if goes(Field::TimeoutMs) {
            note.timeout_ms = None;
        }
        if goes(Field::DelayMs) {
            note.delay_ms = None;
        }
        if goes(Field::BackoffSource) {
            note.source = None;
        }
    }

    /// A template with its gaps filled; `None` if one of them cannot be.
    fn fill(
        &self,
        template: &str,
        event: &ForeignEvent,
        task: Option<Text>,
        pattern: Option<&crate::pattern::Pattern>,
        texts: &Texts,
    ) -> Option<String> {
        let unknown = Known::default();
        let known = task.and_then(|task| self.tasks.get(&task)).unwrap_or(&unknown);
        let mut filled = String::with_capacity(template.len());
        let mut rest = template;
        while let Some(at) = rest.find('$') {
            filled.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            let (name, behind) = rest.split_at(end);
            rest = behind;
            let value = if let Ok(gap) = name.parse::<usize>() {
                let gaps = pattern?.captures(event.reason.as_deref()?)?;
                (*gaps.get(gap.checked_sub(1)?)?).to_owned()
            } else {
                match name {
                    "attempt" if known.attempt > 0 => known.attempt.to_string(),
                    "reason" => texts.get(known.reason?).to_owned(),
                    "timeout" => {
                        // What was asked for last is more exact, unless it is that of another incarnation.
                        let told = event.timeout_ms.map(u64::from);
                        let ns = match (known.timeout_ns, told) {
                            (ns, Some(ms)) if ns / 1_000_000 != ms => ms * 1_000_000,
                            (ns, _) => ns,
                        };
                        format!("{:?}", std::time::Duration::from_nanos(ns))
                    }
                    "slot" => known.slot.word().to_owned(),
                    "remembered" => self.remembered.get(&self.identity_of(event)?)?.clone(),
                    _ => event.field(name)?,
                }
            };
            filled.push_str(&value);
        }
        filled.push_str(rest);
        Some(filled)
    }

    fn publish(&mut self, note: EventNote, texts: &Texts, tell: &mut dyn FnMut(What)) {
        self.wall_ns = note.wall_ns;
        self.learn(&note);
        if note.kind == EventKind::ControllerSlotTransition
            && let (Some(slot), Some(reason)) = (note.task, note.reason)
        {
            // `from→to`, perhaps with ` (replace)` behind it.
            let (from, to) = texts.get(reason).split_once('→').unwrap_or_default();
            self.tasks.entry(slot).or_default().slot = match (from, to.split(' ').next()) {
                (_, Some("running")) => Slot::Running,
                ("admitting", Some("terminating")) => Slot::Replaced,
                (_, Some("terminating")) => Slot::Terminating,
                (_, Some("admitting")) => Slot::Admitting,
                _ => Slot::Idle,
            };
        }
        tell(What::Event(note));
    }

    /// What an event of the contract says about its task.
    fn learn(&mut self, note: &EventNote) {
        match note.kind {
            EventKind::ShutdownRequested => self.shutdown = true,
            EventKind::AllStoppedWithinGrace | EventKind::GraceExceeded => self.stopped = true,
            _ => {}
        }
        let shutdown = self.shutdown;
        let Some(task) = note.task else { return };
        match note.kind {
            EventKind::TaskAddRequested => {
                let known = self.tasks.entry(task).or_default();
                let Known { timeout_ns, slot, .. } = *known;
                *known = Known { registered: true, timeout_ns, slot, ..Known::default() };
            }
            EventKind::TaskRemoved => match self.tasks.get_mut(&task) {
                Some(Known { slot: Slot::Idle, .. }) => drop(self.tasks.remove(&task)),
                Some(known) => *known = Known { slot: known.slot, ..Known::default() },
                None => {}
            },
            kind => {
                let Some(known) = self.tasks.get_mut(&task) else { return };
                if matches!(kind, EventKind::TaskStopped | EventKind::TaskFailed) {
                    known.ended_cancelled = known.removing || shutdown;
                }
                match kind {
                    EventKind::TaskAdded => known.added = true,
                    EventKind::TaskRemoveRequested => known.removing = true,
                    EventKind::TaskStarting => {
                        known.open = true;
                        known.attempt = note.attempt.unwrap_or(known.attempt + 1);
                    }
                    EventKind::TaskStopped => (known.open, known.failed) = (false, false),
                    EventKind::TaskFailed => {
                        (known.open, known.failed, known.reason) = (false, true, note.reason);
                    }
                    _ => {}
                }
            }
        }
    }
}

/// The event, field by field.
fn same(event: &ForeignEvent, task: Option<&str>, kind: EventKind, seq: u64, texts: &mut Texts) -> EventNote {
    EventNote {
        seq,
        wall_ns: event.wall_ns,
        kind,
        task: task.map(|task| texts.intern(task)),
        reason: event.reason.as_deref().map(|reason| texts.intern(reason)),
        attempt: event.attempt,
        timeout_ms: event.timeout_ms,
        delay_ms: event.delay_ms,
        source: event.source,
    }
}

/// Sets a field to a text; false if the text is no value of this field.
fn set(note: &mut EventNote, field: Field, value: Option<&str>, texts: &mut Texts) -> bool {
    let number = value.and_then(|value| value.parse::<u32>().ok());
    match field {
        Field::Task => note.task = value.map(|value| texts.intern(value)),
        Field::Reason => note.reason = value.map(|value| texts.intern(value)),
        Field::Attempt => note.attempt = number,
        Field::TimeoutMs => note.timeout_ms = number,
        Field::DelayMs => note.delay_ms = number,
        Field::BackoffSource => {
            note.source = match value {
                Some("success") => Some(BackoffSource::Success),
                Some("failure") => Some(BackoffSource::Failure),
                _ => None,
            };
            return note.source.is_some();
        }
    }
    match field {
        Field::Attempt | Field::TimeoutMs | Field::DelayMs => number.is_some(),
        _ => value.is_some(),
    }
}

/// The fields that a kind has: the table of contract section 2.
fn fields_of(kind: EventKind) -> &'static [Field] {
    use Field::{Attempt, BackoffSource, DelayMs, Reason, Task, TimeoutMs};
    match kind {
        EventKind::ShutdownRequested | EventKind::AllStoppedWithinGrace | EventKind::GraceExceeded => &[],
        EventKind::TaskStopped
        | EventKind::TaskAddRequested
        | EventKind::TaskAdded
        | EventKind::TaskRemoved => &[Task],
        EventKind::TaskStarting => &[Task, Attempt],
        EventKind::TimeoutHit => &[Task, Attempt, TimeoutMs],
        EventKind::BackoffScheduled => &[Task, Attempt, DelayMs, BackoffSource, Reason],
        EventKind::TaskFailed | EventKind::ActorExhausted | EventKind::ActorDead => &[Task, Attempt, Reason],
        EventKind::TaskRemoveRequested
        | EventKind::SubscriberPanicked
        | EventKind::SubscriberOverflow
        | EventKind::ControllerRejected
        | EventKind::ControllerSubmitted
        | EventKind::ControllerSlotTransition => &[Task, Reason],
    }
}
