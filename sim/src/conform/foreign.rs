//! Records of any runtime: those of the format, with events of any kind and with any fields.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use simvisor::BackoffSource;

use super::dialect::Field;
use crate::trace::{ConfigNote, EventNote, Header, Record, Texts, What, kind_name, record_line};

/// A record of any runtime.
#[derive(Debug, Clone, PartialEq)]
pub struct ForeignRecord {
    /// Instant on the runtime's clock, in nanoseconds since it started.
    pub at_ns: u64,
    /// As in [`Record`].
    pub turn: Option<u64>,
    /// What was observed.
    pub what: ForeignWhat,
}

/// What was observed.
#[derive(Debug, Clone, PartialEq)]
pub enum ForeignWhat {
    /// An event, in the runtime's own words.
    Event(ForeignEvent),
    /// Anything else; an event here means what it says.
    Same(What),
}

/// An event in a runtime's own words.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ForeignEvent {
    /// Its kind.
    pub kind: String,
    /// Its number, if the runtime gives one.
    pub seq: Option<u64>,
    /// Wall clock, nanoseconds since the Unix epoch; 0 where there is none.
    pub wall_ns: i64,
    /// Task, subscriber or slot.
    pub task: Option<String>,
    /// Reason.
    pub reason: Option<String>,
    /// Attempt.
    pub attempt: Option<u32>,
    /// Timeout, milliseconds.
    pub timeout_ms: Option<u32>,
    /// Delay, milliseconds.
    pub delay_ms: Option<u32>,
    /// What a backoff follows.
    pub source: Option<BackoffSource>,
    /// Fields that the contract does not know, as texts.
    pub other: BTreeMap<String, String>,
}

impl ForeignEvent {
    /// An event of this kind without any field.
    #[must_use]
    pub fn new(kind: &str) -> Self {
        Self { kind: kind.to_owned(), ..Self::default() }
    }

    /// With a task.
    #[must_use]
    pub fn task(self, task: &str) -> Self {
        Self { task: Some(task.to_owned()), ..self }
    }

    /// With a reason.
    #[must_use]
    pub fn reason(self, reason: &str) -> Self {
        Self { reason: Some(reason.to_owned()), ..self }
    }

    /// With a field that the contract does not know.
    #[must_use]
    pub fn with(mut self, field: &str, value: &str) -> Self {
        self.other.insert(field.to_owned(), value.to_owned());
        self
    }

    /// An event of the contract.
    #[must_use]
    pub fn of(note: &EventNote, texts: &Texts) -> Self {
        let own = |text: Option<crate::trace::Text>| text.map(|text| texts.get(text).to_owned());
        Self {
            kind: kind_name(note.kind).to_owned(),
            seq: Some(note.seq),
            wall_ns: note.wall_ns,
            task: own(note.task),
            reason: own(note.reason),
            attempt: note.attempt,
            timeout_ms: note.timeout_ms,
            delay_ms: note.delay_ms,
            source: note.source,
            other: BTreeMap::new(),
        }
    }

    /// A field by its name, as a text.
    pub(super) fn field(&self, name: &str) -> Option<String> {
        match name {
            "kind" => Some(self.kind.clone()),
            "task" => self.task.clone(),
            "reason" => self.reason.clone(),
            "attempt" => self.attempt.map(|attempt| attempt.to_string()),
            "timeout_ms" => self.timeout_ms.map(|ms| ms.to_string()),
            "delay_ms" => self.delay_ms.map(|ms| ms.to_string()),
            "backoff_source" => self.source.map(|source| source_name(source).to_owned()),
            _ => self.other.get(name).cloned(),
        }
    }

    /// Its own field of this name becomes one of the contract.
    pub(super) fn rename(&mut self, own: &str, field: Field) {
        let Some(value) = self.other.get(own).cloned() else { return };
        let number = value.parse().ok();
        match field {
            Field::Task => self.task = Some(value),
            Field::Reason => self.reason = Some(value),
            Field::Attempt => self.attempt = number,
            Field::TimeoutMs => self.timeout_ms = number,
            Field::DelayMs => self.delay_ms = number,
            Field::BackoffSource => {
                self.source = match value.as_str() {
                    "success" => Some(BackoffSource::Success),
                    "failure" => Some(BackoffSource::Failure),
                    _ => None,
                };
            }
        }
    }

    /// Reads the `event` of a line.
    pub(super) fn from_json(fields: Map<String, Value>) -> Result<Self, String> {
        let mut event = Self::default();
        for (name, value) in fields {
            let number = |most: u64| {
                let fits = value.as_u64().filter(|&number| number <= most);
                fits.ok_or_else(|| format!("`{name}` of an event is {value}, expected a number up to {most}"))
            };
            let small = || number(u64::from(u32::MAX)).map(|number| Some(number as u32));
            let text = || match &value {
                Value::String(text) => Ok(Some(text.clone())),
                other => Err(format!("`{name}` of an event is {other}, expected a text")),
            };
            if value.is_null() {
                continue;
            }
            match name.as_str() {
                "kind" => event.kind = text()?.unwrap_or_default(),
                "seq" => event.seq = Some(number(u64::MAX)?),
                "wall_ns" => {
                    event.wall_ns = value
                        .as_i64()
                        .ok_or_else(|| format!("`wall_ns` of an event is {value}, expected a number"))?;
                }
                "task" => event.task = text()?,
                "reason" => event.reason = text()?,
                "attempt" => event.attempt = small()?,
                "timeout_ms" => event.timeout_ms = small()?,
                "delay_ms" => event.delay_ms = small()?,
                "backoff_source" => {
                    event.source = match text()?.as_deref() {
                        Some("success") => Some(BackoffSource::Success),
                        Some("failure") => Some(BackoffSource::Failure),
                        _ => return Err(format!("`backoff_source` is {value}, expected success or failure")),
                    };
                }
                _ => {
                    let shown = match value {
                        Value::String(text) => text,
                        other => other.to_string(),
                    };
                    event.other.insert(name, shown);
                }
            }
        }
        if event.kind.is_empty() {
            return Err("an event has no `kind`".to_owned());
        }
        Ok(event)
    }

    fn to_json(&self) -> Value {
        let mut fields = Map::new();
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                fields.insert(name.to_owned(), value);
            }
        };
        put("seq", self.seq.map(Value::from));
        put("kind", Some(json!(self.kind)));
        put("wall_ns", Some(json!(self.wall_ns)));
        put("task", self.task.as_deref().map(Value::from));
        put("attempt", self.attempt.map(Value::from));
        put("timeout_ms", self.timeout_ms.map(Value::from));
        put("delay_ms", self.delay_ms.map(Value::from));
        put("backoff_source", self.source.map(|source| Value::from(source_name(source))));
        put("reason", self.reason.as_deref().map(Value::from));
        for (name, value) in &self.other {
            put(name, Some(Value::from(value.as_str())));
        }
        Value::Object(fields)
    }
}

pub(super) fn source_name(source: BackoffSource) -> &'static str {
    match source {
        BackoffSource::Success => "success",
        BackoffSource::Failure => "failure",
    }
}

impl ForeignRecord {
    /// A header for a runtime that tells of no limits: a grace of 60 s, no limit of attempts, a bus of 1024.
    #[must_use]
    pub fn header(runtime: &str) -> Header {
        Header {
            runtime: runtime.to_owned(),
            scenario: None,
            config: ConfigNote {
                grace_ns: 60_000_000_000,
                max_concurrent: 0,
                bus_capacity: 1024,
                timer_late_ns: 0,
                controller: None,
                disorder: false,
            },
            subscribers: Vec::new(),
        }
    }

    /// The line that `simvisor check` reads it from, without its newline.
    #[must_use]
    pub fn line(&self, texts: &Texts) -> String {
        match &self.what {
            ForeignWhat::Same(what) => {
                record_line(&Record { at_ns: self.at_ns, turn: self.turn, what: what.clone() }, texts)
            }
            ForeignWhat::Event(event) => {
                let mut fields = Map::new();
                fields.insert("at_ns".to_owned(), json!(self.at_ns));
                if let Some(turn) = self.turn {
                    fields.insert("turn".to_owned(), json!(turn));
                }
                fields.insert("event".to_owned(), event.to_json());
                Value::Object(fields).to_string()
            }
        }
    }
}
