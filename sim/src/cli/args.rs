//! Values on the command line: numbers, strategies, formats.

use std::time::Duration;

use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use simvisor_sim::schedule::StrategyKind;

/// What comes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// How one run is shown.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct View {
    /// How the run is printed: a timeline, or JSON lines (verdict and findings then go to stderr)
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
    /// Print every record in the timeline, each event that a handler or receiver got included; JSON lines always have all
    #[arg(long)]
    pub(crate) all: bool,
    /// Seconds of real time without any record after which a run counts as hung
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "30")]
    pub(crate) hang_after: Duration,
}

/// A seed, or a number of things: decimal or hexadecimal.
pub(crate) fn number(text: &str) -> Result<u64, String> {
    simvisor_sim::env::number(text).ok_or_else(|| {
        format!("`{text}` is no number from 0 to 2^64 - 1; write it in decimal like 42, or in hexadecimal like 0x2a")
    })
}

/// As [`number`], but not 0.
pub(crate) fn positive(text: &str) -> Result<u64, String> {
    match number(text)? {
        0 => Err(format!("`{text}` is nothing at all; give 1 or more")),
        number => Ok(number),
    }
}

/// Most threads of a sweep.
const JOBS_MAX: u64 = 1_024;

/// A number of threads.
pub(crate) fn jobs(text: &str) -> Result<usize, String> {
    match positive(text)? {
        jobs @ 1..=JOBS_MAX => Ok(usize::try_from(jobs).expect("at most 1024")),
        jobs => Err(format!("{jobs} threads are more than {JOBS_MAX}")),
    }
}

/// A span of real time in whole seconds.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    positive(text).map(Duration::from_secs)
}

/// A confidence, in percent; it comes out between 0 and 1.
pub(crate) fn confidence(text: &str) -> Result<f64, String> {
    let percent: Option<f64> = text.strip_suffix('%').unwrap_or(text).trim().parse().ok();
    percent
        .filter(|percent| *percent > 0.0 && *percent < 100.0)
        .map(|percent| percent / 100.0)
        .ok_or_else(|| format!("`{text}` is no percentage above 0 and below 100; give one like 95 or 99.9"))
}

/// One of the strategies by its name.
pub(crate) fn strategy() -> impl TypedValueParser<Value = StrategyKind> {
    PossibleValuesParser::new(StrategyKind::ALL.map(StrategyKind::name))
        .map(|name| StrategyKind::from_name(&name).expect("the names come from the strategies"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_decimal_or_hexadecimal_with_underscores() {
        for (text, value) in [
            ("0", 0),
            ("42", 42),
            ("0x2a", 42),
            ("0X2A", 42),
            ("1_000_000", 1_000_000),
            ("0xffff_ffff_ffff_ffff", u64::MAX),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(number(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn what_is_no_number_is_named_with_both_forms() {
        for text in ["", "0x", "2a", "-1", "+1", "0x+1", "1.5", "0xg", "18446744073709551616", "1e3"] {
            let error = number(text).expect_err(text);
            assert!(
                error.contains(&format!("`{text}`")) && error.contains("42") && error.contains("0x2a"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_confidence_is_a_percentage_and_never_certain() {
        assert_eq!(confidence("95"), Ok(0.95));
        assert_eq!(confidence("99.9%"), Ok(99.9 / 100.0));
        for text in ["0", "100", "-1", "nan", "inf", "", "sure"] {
            assert!(confidence(text).is_err(), "{text}");
        }
    }

    #[test]
    fn none_is_no_amount_and_threads_have_a_limit() {
        assert!(positive("0").is_err() && positive("0x0").is_err());
        assert_eq!(jobs("2"), Ok(2));
        assert!(jobs("0").is_err() && jobs("1025").is_err());
    }
}
