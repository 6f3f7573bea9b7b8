//! Dialects: what a runtime's own events mean in the words of the contract, as data that a user can write.
//!
//! ```
//! use simvisor_sim::conform::Dialect;
//!
//! let dialect = Dialect::from_toml(
//!     r#"
//!     name = "mine"
//!     sentence = "Mine says that a task `began` and that it was `done`."
//!
//!     [[event]]
//!     kind = "began"
//!     becomes = [{ kind = "TaskStarting" }]
//!
//!     [[deviation]]
//!     id = "quiet-removals"
//!     sentence = "A removal is not announced."
//!     excuse = [{ rule = "G3" }]
//!     "#,
//! )?;
//! assert_eq!(dialect.deviations[0].id, "quiet-removals");
//! # Ok::<(), simvisor_sim::conform::DialectError>(())
//! ```
//!
//! An event is matched against the event rules of the deviations that are on, then against those of the dialect; the
//! first that fits decides. An event that none fits means itself if the contract knows its kind, and nothing otherwise.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use simvisor::EventKind;
use thiserror::Error;

use crate::oracle::{Liberty, RULES};
use crate::pattern::Pattern;
use crate::trace::KINDS;

/// A mapping from a runtime's events and semantics to those of the contract.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dialect {
    /// Its name, as `--dialect` takes it.
    pub name: String,
    /// What it is for, in a sentence.
    pub sentence: String,
    /// How events are numbered.
    #[serde(default)]
    pub sequence: Sequence,
    /// A field of events that tells incarnations apart: an event without `task` has that of an earlier one with the
    /// same value in this field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// What this runtime calls the fields of events, where it calls them otherwise: `task = "name"`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<Field, String>,
    /// Kinds of record that this runtime does not tell truly or at all. They are left out before anything is judged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unobserved: Vec<Observed>,
    /// What its events mean.
    #[serde(default, rename = "event", skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<EventRule>,
    /// Rules that make no sense for this runtime.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_judged: Vec<NotJudged>,
    /// Departures that are known.
    #[serde(default, rename = "deviation", skip_serializing_if = "Vec::is_empty")]
    pub deviations: Vec<Deviation>,
}

/// How the events of a runtime are numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sequence {
    /// As the contract says: 0, 1, 2, … for each runtime.
    #[default]
    AsIs,
    /// Ascending from any number on, over a whole process for example. Events are numbered anew in the order in which
    /// they stand; a gap is reported as an oddity. Needed where an event becomes none or several.
    Renumber,
}

/// A kind of record beside events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Observed {
    /// `call` and `answer`.
    Calls,
    /// `answer` alone: what was called is known, what it gave is not.
    Answers,
    /// `body_entered`, `body_left` and `body_cancelled`.
    Bodies,
    /// `body_cancelled` alone.
    BodyCancelled,
    /// `receiver_opened`, `received`, `lagged` and `receiver_closed`.
    Receivers,
    /// `handler_entered` and `handler_left`.
    Handlers,
    /// `counters`.
    Counters,
    /// `leftovers`.
    Leftovers,
}

/// What events of one kind mean.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventRule {
    /// The runtime's own kind.
    pub kind: String,
    /// What must be so beside.
    #[serde(default, skip_serializing_if = "When::is_empty")]
    pub when: When,
    /// The events that it means in the contract's words, in order. None: it means nothing.
    #[serde(default)]
    pub becomes: Vec<Becomes>,
    /// The call on this task that has no answer yet is answered with this, whatever the trace says it returned: for
    /// refusals that come as events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<Answered>,
    /// A text that is kept for later events of the same incarnation, with gaps as in `set`. Once an event whose rule wants
    /// `remembered` was told with it, as `$remembered`, it is forgotten, unless that rule remembers another. Needs the dialect's `identity`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remembers: Option<String>,
    /// The body of the task's attempt is told to have been dropped just before, if it has not ended, and what it does
    /// later is left out: for ends that do not wait for the body.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub drops_body: bool,
    /// What it means for the controller's slot of its name, where a runtime does not tell when its slots become idle.
    /// Needs the dialect to number events anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<SlotStep>,
}

/// A step of a slot that becomes idle without a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlotStep {
    /// It is done with its task. It is told to be idle just before it starts another, or else when the instant or the run
    /// is over: until then it may not have noticed, and decides as one that is busy.
    Left,
    /// It starts a task, so it is idle if it has left.
    Starts,
}

/// Conditions on an event; all of them must hold.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// Fields and what they must say, `*` standing for anything. A field that is missing fits no pattern.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, Pattern>,
    /// Fields that must be missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lacks: Vec<String>,
    /// What must be so of its task, by the events before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub task: Vec<State>,
}

impl When {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What is known of a task from its events so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Between TaskAddRequested and TaskRemoved.
    Registered,
    /// Not registered.
    Unregistered,
    /// TaskAdded has come.
    Added,
    /// TaskAdded has not come.
    NotAdded,
    /// Its removal, or a shutdown, was requested.
    Cancelled,
    /// Neither was.
    NotCancelled,
    /// Its removal was requested.
    Removing,
    /// It was not.
    NotRemoving,
    /// An attempt is open.
    Open,
    /// No attempt is open.
    NotOpen,
    /// Its latest attempt ended with TaskFailed.
    Failed,
    /// Its latest attempt did not.
    NotFailed,
    /// Its latest attempt ended after it was cancelled.
    EndedCancelled,
    /// A shutdown was requested, and how it ended was not told.
    Stopping,
    /// How the shutdown, or the run, ended was told.
    Stopped,
    /// It was not.
    NotStopped,
    /// The incarnation that is registered is the event's, by the dialect's `identity`.
    Own,
    /// None is, or another.
    NotOwn,
    /// Something is remembered of the event's incarnation.
    Remembered,
    /// Nothing is.
    NotRemembered,
    /// The controller's slot of its name is idle, by the transitions that were told.
    SlotIdle,
    /// It is running.
    SlotRunning,
    /// It is terminating.
    SlotTerminating,
    /// It is admitting, by a transition that the contract does not know.
    SlotAdmitting,
    /// It is terminating, and what it was to start was replaced while it was admitting.
    SlotReplaced,
    /// It is done with its task and was not told to be idle yet, see [`SlotStep`].
    SlotLeft,
}

/// An event in the contract's words.
///
/// It takes over the fields of the runtime's own event that the contract's kind has, and those that are set here.
/// Texts may hold `$1`, `$2`, … for what stood in the gaps of the pattern of `reason`, `$attempt` and `$reason` for the
/// number of the task's latest attempt and the text of its latest failure, `$timeout` for the limit of an attempt as
/// Rust shows it, `$remembered` for what is remembered of the incarnation, `$slot` for the state of the slot of its name, by
/// the transitions that were told, and `$name` for any field `name` of the runtime's own event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Becomes {
    /// The contract's kind.
    #[serde(with = "kind")]
    pub kind: EventKind,
    /// Its fields, as texts: `task`, `reason`, `attempt`, `timeout_ms`, `delay_ms`, `backoff_source`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<Field, String>,
    /// Fields that are not taken over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drop: Vec<Field>,
}

/// A field of the contract's events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// Task, subscriber or slot.
    Task,
    /// Reason.
    Reason,
    /// Attempt.
    Attempt,
    /// Timeout, milliseconds.
    TimeoutMs,
    /// Delay, milliseconds.
    DelayMs,
    /// What a backoff follows: `success` or `failure`.
    BackoffSource,
}

/// Answers that an event may stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answered {
    /// `TaskAlreadyExists`, of an add.
    AlreadyExists,
    /// `TaskNotFound`, of a removal; false, of a cancel.
    NotFound,
    /// `ShuttingDown`, of an add.
    ShuttingDown,
}

/// Rules that are not judged, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotJudged {
    /// Ids of rules.
    pub rules: Vec<String>,
    /// Why.
    pub because: String,
}

/// A departure from the contract that is known and has a name.
///
/// While it is on, its event rules come before those of the dialect, and its liberties and excuses hold. While it is off, the judges
/// say what they say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deviation {
    /// Its name.
    pub id: String,
    /// How the runtime departs from the contract, as the end of "It conforms, except that …".
    pub sentence: String,
    /// Whether it is on unless somebody says otherwise.
    #[serde(default = "yes")]
    pub on: bool,
    /// How events are to be read so that this departure alone passes.
    #[serde(default, rename = "event", skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<EventRule>,
    /// Liberties that the judges follow: nothing else is let pass by them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub liberties: Vec<Liberty>,
    /// Findings that are let pass.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub excuse: Vec<ExcuseRule>,
}

fn yes() -> bool {
    true
}

/// Findings that are let pass. The reference monitor is held to it by the first rule that it names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExcuseRule {
    /// The rule's id.
    pub rule: String,
    /// What the finding must say, `*` standing for anything. Missing: whatever it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saying: Option<Pattern>,
}

/// Which deviations are on. The default leaves each as its dialect has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Switches {
    /// Ids of deviations that are on.
    pub on: Vec<String>,
    /// Ids of deviations that are off; `all` for every one that is not in `on`.
    pub off: Vec<String>,
}

/// Why a dialect cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum DialectError {
    /// It is no TOML, or not of this shape.
    #[error("{0}")]
    Malformed(String),
    /// It says something that makes no sense.
    #[error("{place}: {why}")]
    Senseless {
        /// Where in it.
        place: String,
        /// Why.
        why: String,
    },
    /// A deviation was switched that it does not have.
    #[error("dialect `{dialect}` has no deviation `{id}`; it has {known}")]
    NoDeviation {
        /// The dialect.
        dialect: String,
        /// What was asked for.
        id: String,
        /// Those that it has.
        known: String,
    },
}

/// The built-in dialects: name and text.
const BUILT_IN: [(&str, &str); 3] = [
    ("contract", include_str!("dialects/contract.toml")),
    ("taskvisor-0.1", include_str!("dialects/taskvisor-0.1.toml")),
    ("taskvisor-0.9", include_str!("dialects/taskvisor-0.9.toml")),
];

impl Dialect {
    /// Names of the built-in dialects.
    #[must_use]
    pub fn names() -> [&'static str; BUILT_IN.len()] {
        BUILT_IN.map(|(name, _)| name)
    }

    /// The text of a built-in dialect: a start for one's own.
    #[must_use]
    pub fn text_of(name: &str) -> Option<&'static str> {
        BUILT_IN.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
    }

    /// A built-in dialect.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::text_of(name).map(|text| Self::from_toml(text).expect("a test reads every built-in dialect"))
    }

    /// The contract itself: events mean what they say.
    #[must_use]
    pub fn contract() -> Self {
        Self::named("contract").expect("it is built in")
    }

    /// Reads a dialect.
    ///
    /// # Errors
    /// If it is no TOML or not of this shape, names a rule that there is not, or an event rule is senseless.
    pub fn from_toml(text: &str) -> Result<Self, DialectError> {
        let dialect: Self = toml::from_str(text)
            .map_err(|error| DialectError::Malformed(error.to_string().trim_end().to_owned()))?;
        dialect.check()?;
        Ok(dialect)
    }

    fn check(&self) -> Result<(), DialectError> {
        let senseless = |place: String, why: String| Err(DialectError::Senseless { place, why });
        let rule_is_known = |rule: &str| RULES.iter().any(|known| known.id == rule);
        let mut not_judged = self.not_judged.iter().flat_map(|not_judged| &not_judged.rules);
        if let Some(rule) = not_judged.find(|rule| !rule_is_known(rule)) {
            return senseless("not_judged".to_owned(), format!("there is no rule `{rule}`"));
        }
        let mut ids = BTreeSet::new();
        for deviation in &self.deviations {
            let place = || format!("deviation `{}`", deviation.id);
            if !ids.insert(&deviation.id) || deviation.id == "all" {
                return senseless(place(), "its id is taken".to_owned());
            }
            if let Some(excuse) = deviation.excuse.iter().find(|excuse| !rule_is_known(&excuse.rule)) {
                return senseless(place(), format!("there is no rule `{}`", excuse.rule));
            }
            if deviation.excuse.is_empty() && deviation.events.is_empty() && deviation.liberties.is_empty() {
                return senseless(
                    place(),
                    "it lets nothing pass: it has neither `event` nor `excuse` nor `liberties`".to_owned(),
                );
            }
        }
        let all = self.events.iter().chain(self.deviations.iter().flat_map(|deviation| &deviation.events));
        for rule in all {
            if self.sequence == Sequence::AsIs && rule.becomes.len() != 1 {
                return senseless(
                    format!("event `{}`", rule.kind),
                    format!(
                        "it becomes {} events, which needs `sequence = \"renumber\"`",
                        rule.becomes.len()
                    ),
                );
            }
            if self.sequence == Sequence::AsIs && rule.slot.is_some() {
                return senseless(
                    format!("event `{}`", rule.kind),
                    "it may mean a transition more, which needs `sequence = \"renumber\"`".to_owned(),
                );
            }
            let by_identity = [State::Own, State::NotOwn, State::Remembered, State::NotRemembered];
            let needs_identity =
                rule.remembers.is_some() || rule.when.task.iter().any(|state| by_identity.contains(state));
            if needs_identity && self.identity.is_none() {
                return senseless(
                    format!("event `{}`", rule.kind),
                    "it tells incarnations apart, which needs `identity`".to_owned(),
                );
            }
        }
        Ok(())
    }

    /// Which of its deviations are on, in its order.
    ///
    /// # Errors
    /// If a deviation is switched that it does not have.
    pub fn switched(&self, switches: &Switches) -> Result<Vec<bool>, DialectError> {
        let known = |id: &String| self.deviations.iter().any(|deviation| deviation.id == *id);
        let unknown =
            switches.on.iter().chain(switches.off.iter().filter(|id| *id != "all")).find(|id| !known(id));
        if let Some(id) = unknown {
            let ids: Vec<_> = self.deviations.iter().map(|deviation| deviation.id.as_str()).collect();
            let known = if ids.is_empty() { "none".to_owned() } else { ids.join(", ") };
            return Err(DialectError::NoDeviation { dialect: self.name.clone(), id: id.clone(), known });
        }
        let all_off = switches.off.iter().any(|id| id == "all");
        let is_on = |deviation: &Deviation| {
            if switches.on.contains(&deviation.id) {
                true
            } else if all_off || switches.off.contains(&deviation.id) {
                false
            } else {
                deviation.on
            }
        };
        Ok(self.deviations.iter().map(is_on).collect())
    }
}

/// A kind of the contract, by its name.
mod kind {
    use serde::{Deserialize, Deserializer, Serializer, de};
    use simvisor::EventKind;

    use super::KINDS;

    #[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
    pub(super) fn serialize<S: Serializer>(kind: &EventKind, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(crate::trace::kind_name(*kind))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<EventKind, D::Error> {
        let name = String::deserialize(deserializer)?;
        let known = KINDS.iter().find(|(_, known)| *known == name);
        known
            .map(|&(kind, _)| kind)
            .ok_or_else(|| de::Error::custom(format!("`{name}` is no kind of event that the contract knows")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_dialect_is_one_and_survives_being_written() {
        for name in Dialect::names() {
            let text = Dialect::text_of(name).expect("it is built in");
            let dialect = Dialect::from_toml(text).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(dialect.name, name);
            let written = toml::to_string(&dialect).expect("a dialect is TOML");
            assert_eq!(Dialect::from_toml(&written), Ok(dialect), "{name}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let error = |text: &str| {
            let text = format!("name = \"t\"\nsentence = \"T.\"\n{text}");
            Dialect::from_toml(&text).expect_err(&text).to_string()
        };
        for (text, says) in [
            ("[[not_judged]]\nrules = [\"Z9\"]\nbecause = \"b\"", "no rule `Z9`"),
            ("[[deviation]]\nid = \"a\"\nsentence = \"s\"", "neither `event` nor `excuse` nor `liberties`"),
            ("[[deviation]]\nid = \"a\"\nsentence = \"s\"\nexcuse = [{ rule = \"A9\" }]", "no rule `A9`"),
            ("[[deviation]]\nid = \"all\"\nsentence = \"s\"\nexcuse = [{ rule = \"A1\" }]", "taken"),
            ("[[event]]\nkind = \"began\"\nbecomes = []", "renumber"),
            ("[[event]]\nkind = \"began\"\nbecomes = [{ kind = \"Began\" }]", "`Began` is no kind"),
            ("[[event]]\nkind = \"began\"\nwhenever = 1", "whenever"),
            ("sequence = \"renumber\"\n[[event]]\nkind = \"began\"\nremembers = \"x\"", "needs `identity`"),
            (
                "[[event]]\nkind = \"began\"\nslot = \"left\"\nbecomes = [{ kind = \"TaskRemoved\" }]",
                "renumber",
            ),
        ] {
            let error = error(text);
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn deviations_are_switched_by_name_and_all_at_once() {
        let dialect = Dialect::from_toml(
            "name = \"t\"\nsentence = \"T.\"\n\
             [[deviation]]\nid = \"a\"\nsentence = \"s\"\nexcuse = [{ rule = \"A1\" }]\n\
             [[deviation]]\nid = \"b\"\nsentence = \"s\"\non = false\nexcuse = [{ rule = \"A2\" }]",
        )
        .expect("a dialect");
        let switch = |on: &[&str], off: &[&str]| {
            let own = |ids: &[&str]| ids.iter().map(|&id| id.to_owned()).collect();
            dialect.switched(&Switches { on: own(on), off: own(off) })
        };
        assert_eq!(switch(&[], &[]), Ok(vec![true, false]));
        assert_eq!(switch(&["b"], &["a"]), Ok(vec![false, true]));
        assert_eq!(switch(&["b"], &["all"]), Ok(vec![false, true]));
        assert!(switch(&["c"], &[]).expect_err("unknown").to_string().contains("it has a, b"));
    }
}
