//! Reports: a run, shown to a person.

mod failure;
mod marked;
mod timeline;

pub use failure::{FailureReport, last_rows, sentence};
pub use marked::Marked;
pub use timeline::{Detail, Timeline, timeline_line};

/// A time or span in nanoseconds as people read it, to the nanosecond: `0s`, `250ns`, `12.000001ms`, `90.5s`.
///
/// ```
/// assert_eq!(simvisor_sim::report::nanos_text(12_000_001), "12.000001ms");
/// ```
#[must_use]
pub fn nanos_text(ns: u64) -> String {
    let (unit_ns, digits, unit) = match ns {
        0 => return "0s".to_owned(),
        1..1_000 => (1, 0, "ns"),
        1_000..1_000_000 => (1_000, 3, "µs"),
        1_000_000..1_000_000_000 => (1_000_000, 6, "ms"),
        1_000_000_000.. => (1_000_000_000, 9, "s"),
    };
    let (whole, rest) = (ns / unit_ns, ns % unit_ns);
    if rest == 0 {
        return format!("{whole}{unit}");
    }
    let fraction = format!("{rest:0digits$}");
    format!("{whole}.{}{unit}", fraction.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::nanos_text;

    #[test]
    fn nanoseconds_are_written_in_the_largest_unit_that_they_fill() {
        for (ns, text) in [
            (0, "0s"),
            (1, "1ns"),
            (999, "999ns"),
            (1_000, "1µs"),
            (1_050, "1.05µs"),
            (999_999, "999.999µs"),
            (12_000_001, "12.000001ms"),
            (100_000_000, "100ms"),
            (1_500_000_000, "1.5s"),
            (60_000_000_001, "60.000000001s"),
            (u64::MAX, "18446744073.709551615s"),
        ] {
            assert_eq!(nanos_text(ns), text);
        }
    }
}
