//! Spans of virtual time as people write them: `"1s 500ms"`.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A span of virtual time in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(pub u64);

impl Span {
    /// No time.
    pub const ZERO: Self = Self(0);

    /// Whole milliseconds.
    #[must_use]
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms.saturating_mul(1_000_000))
    }

    /// Whole seconds.
    #[must_use]
    pub const fn from_secs(s: u64) -> Self {
        Self(s.saturating_mul(1_000_000_000))
    }

    /// Nanoseconds.
    #[must_use]
    pub fn ns(self) -> u64 {
        self.0
    }

    /// Whether this is no time at all.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// As a [`Duration`].
    #[must_use]
    pub fn duration(self) -> Duration {
        Duration::from_nanos(self.0)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.duration()).fmt(f)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Span;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a span of time in quotes, such as \"100ms\", \"1s 500ms\" or \"0s\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
                let span = humantime::parse_duration(text).map_err(|error| {
                    E::custom(format!("`{text}` is no span of time ({error}); write it like \"100ms\""))
                })?;
                u64::try_from(span.as_nanos()).map(Span).map_err(|_| {
                    E::custom(format!("`{text}` is longer than 584 years, which no clock here reaches"))
                })
            }
        }

        deserializer.deserialize_str(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_written_as_they_are_read() {
        for (text, ns) in [("0s", 0), ("100ms", 100_000_000), ("1s 500ms", 1_500_000_000), ("3ns", 3)] {
            let span: Span = serde_json::from_value(text.into()).expect(text);
            assert_eq!(span, Span(ns));
            assert_eq!(span.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_span_says_how_to_write_one() {
        let error = serde_json::from_value::<Span>("soon".into()).expect_err("no number").to_string();
        assert!(error.contains("`soon` is no span of time") && error.contains("\"100ms\""), "{error}");
        let error = serde_json::from_value::<Span>(5.into()).expect_err("no unit").to_string();
        assert!(error.contains("expected a span of time in quotes"), "{error}");
    }
}
