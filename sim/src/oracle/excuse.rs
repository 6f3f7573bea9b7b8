//! What a judge is told to let pass: departures from the contract that are known and have a name.

use crate::pattern::Pattern;

/// Departures of one kind.
#[derive(Debug, Clone, PartialEq)]
pub struct Excuse {
    /// The rule that may be broken.
    pub rule: String,
    /// What the finding must say; `None` excuses whatever breaks the rule.
    pub saying: Option<Pattern>,
}

/// Excuses, and how often each was made use of.
#[derive(Debug, Default)]
pub(super) struct Excuses {
    excuses: Vec<Excuse>,
    used: Vec<u64>,
}

impl Excuses {
    pub(super) fn set(&mut self, excuses: Vec<Excuse>) {
        self.used = vec![0; excuses.len()];
        self.excuses = excuses;
    }

    pub(super) fn reset(&mut self) {
        self.used.fill(0);
    }

    pub(super) fn used(&self) -> &[u64] {
        &self.used
    }

    /// Whether a finding is to pass. Most judges are told of none.
    pub(super) fn covers(&mut self, rule: &str, message: &str) -> bool {
        let fits = |excuse: &Excuse| {
            excuse.rule == rule && excuse.saying.as_ref().is_none_or(|saying| saying.fits(message))
        };
        let Some(place) = self.excuses.iter().position(fits) else { return false };
        self.used[place] += 1;
        true
    }
}
