//! What is odd about a trace: each thing once, with the line at which it was first seen.

/// Most different oddities that are kept.
const ODDITIES_MAX: usize = 256;

/// Something that a trace should not have. It is judged all the same, as far as it goes.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Oddity {
    /// The first line that has it, from 1.
    pub line: u64,
    /// What, and what was made of it.
    pub what: String,
    /// How often it was seen.
    pub times: u64,
    /// By what further ones are told to be the same.
    #[serde(skip)]
    key: String,
}

/// Oddities in the order in which they were first seen.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Oddities {
    seen: Vec<Oddity>,
    /// Different ones beyond [`ODDITIES_MAX`].
    more: u64,
}

impl Oddities {
    /// Notes one. Two with the same key are the same.
    pub(super) fn note(&mut self, line: u64, key: &str, what: impl FnOnce() -> String) {
        if let Some(known) = self.seen.iter_mut().find(|known| known.key == key) {
            known.times += 1;
        } else if self.seen.len() < ODDITIES_MAX {
            self.seen.push(Oddity { line, what: what(), times: 1, key: key.to_owned() });
        } else {
            self.more += 1;
        }
    }

    /// Those that were seen.
    #[must_use]
    pub fn seen(&self) -> &[Oddity] {
        &self.seen
    }

    /// How many more there were than are kept.
    #[must_use]
    pub fn more(&self) -> u64 {
        self.more
    }
}
