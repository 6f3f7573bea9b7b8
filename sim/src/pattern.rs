//! Texts with gaps: a `*` stands for any text, the empty one included.
//!
//! ```
//! use simvisor_sim::pattern::Pattern;
//!
//! let pattern = Pattern::from("admission=* depth=*".to_owned());
//! assert_eq!(pattern.captures("admission=Queue depth=3"), Some(vec!["Queue", "3"]));
//! assert_eq!(pattern.captures("full"), None);
//! ```

use serde::{Deserialize, Serialize};

/// A text in which each `*` stands for any text, as short as possible.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Pattern {
    /// What stands between the gaps: one part more than there are gaps.
    parts: Vec<String>,
}

impl From<String> for Pattern {
    fn from(text: String) -> Self {
        Self { parts: text.split('*').map(str::to_owned).collect() }
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.parts.join("*")
    }
}

impl Pattern {
    /// What stands in the gaps, if the whole of `text` fits.
    #[must_use]
    pub fn captures<'t>(&self, text: &'t str) -> Option<Vec<&'t str>> {
        let (first, others) = self.parts.split_first()?;
        let mut rest = text.strip_prefix(first.as_str())?;
        let Some((last, between)) = others.split_last() else { return rest.is_empty().then(Vec::new) };
        let mut gaps = Vec::with_capacity(others.len());
        for part in between {
            let at = rest.find(part.as_str())?;
            gaps.push(&rest[..at]);
            rest = &rest[at + part.len()..];
        }
        gaps.push(rest.strip_suffix(last.as_str())?);
        Some(gaps)
    }

    /// Whether the whole of `text` fits.
    #[must_use]
    pub fn fits(&self, text: &str) -> bool {
        self.captures(text).is_some()
    }

    /// How many gaps it has.
    #[must_use]
    pub fn gaps(&self) -> usize {
        self.parts.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_text_must_fit() {
        for (pattern, text, gaps) in [
            ("", "", Some(vec![])),
            ("", "a", None),
            ("boom", "boom", Some(vec![])),
            ("boom", "booms", None),
            ("*", "", Some(vec![""])),
            ("a*", "abc", Some(vec!["bc"])),
            ("*c", "abc", Some(vec!["ab"])),
            ("*c", "abd", None),
            ("a*b*c", "a1b2c", Some(vec!["1", "2"])),
            ("a*b*", "abb", Some(vec!["", "b"])),
            ("a*a", "a", None),
            ("*→*", "idle→running", Some(vec!["idle", "running"])),
            ("**", "ab", Some(vec!["", "ab"])),
        ] {
            let compiled = Pattern::from(pattern.to_owned());
            assert_eq!(compiled.captures(text), gaps, "{pattern} on {text}");
            assert_eq!(String::from(compiled), pattern);
        }
    }
}
