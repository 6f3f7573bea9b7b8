//! Scenarios as TOML files: reading with errors that say where and what to do, and writing.

use std::collections::BTreeSet;

use thiserror::Error;

use super::{Action, Mode, Scenario};
use crate::files::{nearest, nearest_of, shown};

/// Most tasks, subscribers, receivers and operations that a scenario may have.
const PARTS_MAX: usize = 1_000_000;

/// Most bytes of a scenario in TOML. Its parser takes up to 60 bytes of memory for each of them.
const TOML_BYTES_MAX: usize = 4 << 20;

/// Why a scenario cannot be run. The text says where and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct ScenarioError(pub String);

/// Reads a scenario and checks that it makes sense.
///
/// # Errors
/// Says the line and column, what was expected, and for an unknown name the nearest known one.
pub fn from_toml(text: &str) -> Result<Scenario, ScenarioError> {
    if text.len() > TOML_BYTES_MAX {
        return Err(ScenarioError(format!(
            "{} bytes are more than the {TOML_BYTES_MAX} that a scenario in TOML may have",
            text.len()
        )));
    }
    let scenario: Scenario = toml::from_str(text).map_err(|error| ScenarioError(explain(text, &error)))?;
    scenario.check()?;
    Ok(scenario)
}

/// Writes a scenario as it can be read again.
///
/// # Errors
/// If a number does not fit TOML.
pub fn to_toml(scenario: &Scenario) -> Result<String, ScenarioError> {
    toml::to_string(scenario).map_err(|error| ScenarioError(error.to_string()))
}

/// Writes a scenario without what is a default: the shortest text that is read as the same scenario.
///
/// # Errors
/// As [`to_toml`].
pub fn to_short_toml(scenario: &Scenario) -> Result<String, ScenarioError> {
    toml::to_string(&super::short(scenario)).map_err(|error| ScenarioError(error.to_string()))
}

/// Most characters of a message about a scenario.
const MESSAGE_CHARS_MAX: usize = 800;

/// The parser's message with its place, and the nearest known name where a name is unknown.
fn explain(text: &str, error: &toml::de::Error) -> String {
    let place = error.span().map_or_else(String::new, |span| {
        let before = &text.as_bytes()[..span.start.min(text.len())];
        let line_start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
        let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
        let column = String::from_utf8_lossy(&before[line_start..]).chars().count() + 1;
        format!("line {line}, column {column}: ")
    });
    let message = error.message().lines().map(str::trim).collect::<Vec<_>>().join("; ");
    let hint = nearest(error.message());
    format!("{place}{}{hint}", shown(message.trim_end(), MESSAGE_CHARS_MAX))
}

impl Scenario {
    /// Checks what the types cannot say.
    ///
    /// # Errors
    /// Names the first thing that does not make sense.
    pub fn check(&self) -> Result<(), ScenarioError> {
        let fail = |text: String| Err(ScenarioError(shown(&text, MESSAGE_CHARS_MAX)));
        let parts = [self.tasks.len(), self.subscribers.len(), self.receivers.len(), self.operations.len()];
        if let Some(parts) = parts.into_iter().find(|&parts| parts > PARTS_MAX) {
            return fail(format!(
                "{parts} entries of one kind are more than the {PARTS_MAX} that a scenario may have"
            ));
        }
        let mut keys = BTreeSet::new();
        for task in &self.tasks {
            if task.name.is_empty() {
                return fail("a task needs a name".to_owned());
            }
            if !keys.insert(task.key()) {
                return fail(format!(
                    "two tasks are called `{}`; give one of them a `key` of its own, which operations then use",
                    task.key()
                ));
            }
        }
        for (kind, names) in [
            ("subscribers", self.subscribers.iter().map(|decl| &decl.name).collect::<Vec<_>>()),
            ("receivers", self.receivers.iter().map(|decl| &decl.name).collect()),
        ] {
            let mut seen = BTreeSet::new();
            if let Some(name) = names.into_iter().find(|name| !seen.insert(name.as_str()) || name.is_empty())
            {
                return fail(format!("{kind} need names of their own; `{name}` is empty or comes twice"));
            }
        }
        if self.mode == Mode::Serve && self.tasks.iter().any(|task| task.start) {
            return fail(
                "`serve` starts with no tasks: use `mode = \"run\"`, or add them by operations".to_owned(),
            );
        }
        for (number, operation) in (1..).zip(&self.operations) {
            if let Action::Add(key) | Action::Submit { task: key, .. } = &operation.action
                && !keys.contains(key.as_str())
            {
                let verb = if matches!(operation.action, Action::Add(_)) { "adds" } else { "submits" };
                let near = nearest_of(key, keys.iter().copied());
                let hint = near.map_or_else(String::new, |(near, _)| format!("; did you mean `{near}`?"));
                return fail(format!("operation {number} {verb} `{key}`, but no task has this key{hint}"));
            }
            if let Some(calm_at) = self.calm_at
                && operation.at >= calm_at
                && matches!(
                    operation.action,
                    Action::Add(_) | Action::Remove(_) | Action::Cancel { .. } | Action::Submit { .. }
                )
            {
                return fail(format!(
                    "operation {number} comes at {}, but from {calm_at} on it is calm: move it before, or `calm_at` behind",
                    operation.at
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(text: &str) -> String {
        from_toml(text).expect_err("must be refused").to_string()
    }

    #[test]
    fn an_unknown_field_is_refused_with_its_place_and_the_nearest_name() {
        let error = error_of("[config]\ngrace = \"1s\"\nmax_concurent = 2\n");
        assert!(error.starts_with("line 3, column 1: unknown field `max_concurent`"), "{error}");
        assert!(error.ends_with("did you mean `max_concurrent`?"), "{error}");
    }

    #[test]
    fn an_unknown_operation_is_refused_with_the_nearest_name() {
        let error = error_of("[[operation]]\nat = \"1ms\"\ndo = { remov = \"web\" }\n");
        assert!(
            error.contains("unknown variant `remov`") && error.contains("did you mean `remove`?"),
            "{error}"
        );
        assert!(error.starts_with("line 3"), "{error}");
    }

    #[test]
    fn an_operation_on_an_unknown_task_names_the_nearest() {
        let error =
            error_of("[[task]]\nname = \"web\"\n[[operation]]\nat = \"1ms\"\ndo = { add = \"wbe\" }\n");
        assert_eq!(error, "operation 1 adds `wbe`, but no task has this key; did you mean `web`?");
    }

    #[test]
    fn two_tasks_of_one_name_need_keys() {
        let error = error_of("[[task]]\nname = \"web\"\n[[task]]\nname = \"web\"\n");
        assert!(error.contains("give one of them a `key`"), "{error}");
        assert!(from_toml("[[task]]\nname = \"web\"\n[[task]]\nname = \"web\"\nkey = \"web 2\"\n").is_ok());
    }

    #[test]
    fn a_span_without_a_unit_is_refused() {
        let error = error_of("run_at = 5\n");
        assert!(error.contains("line 1") && error.contains("expected a span of time"), "{error}");
    }
}
