//! When a task is restarted and how long it waits: plain data and pure functions.

use std::time::Duration;

/// Whether an attempt is followed by another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RestartPolicy {
    /// One attempt, whatever its end.
    Never,
    /// Another attempt after each failure that can be retried. The default.
    #[default]
    OnFailure,
    /// Another attempt after a success too.
    Always {
        /// How long to wait after a success; `None` goes on at once.
        interval: Option<Duration>,
    },
}

/// How a delay is spread, so that tasks which failed together do not come back together.
///
/// The three kinds are those of Marc Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015),
/// except that `Decorrelated` is computed from the unjittered delay, so that it needs no memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum JitterPolicy {
    /// The delay as computed. The default.
    #[default]
    None,
    /// Uniform in `[0, d]`.
    Full,
    /// `d/2` plus uniform in `[0, d/2]`.
    Equal,
    /// Uniform in `[first, min(3d, max)]`, or `max` where that range is empty.
    Decorrelated,
}

/// How long to wait after a failure: `first × factor^n`, at most `max`, then jittered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BackoffPolicy {
    /// Delay after the first failure in a row. Default 100 ms.
    pub first: Duration,
    /// The delay never exceeds this. Default 30 s.
    pub max: Duration,
    /// Growth per failure in a row. Default 1.0, which is a constant delay.
    pub factor: f64,
    /// Spread of the delay. Default none.
    pub jitter: JitterPolicy,
}

impl Default for BackoffPolicy {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(100),
            max: Duration::from_secs(30),
            factor: 1.0,
            jitter: JitterPolicy::None,
        }
    }
}

impl BackoffPolicy {
    /// The delay after `failures` failures in a row before the current one (so 0 for the first), without jitter.
    ///
    /// Anything that is not finite, negative or too large for a clock gives `max` (\[R4\]). The power is built by squaring with
    /// plain multiplications, which IEEE 754 fixes to the bit, so that every platform computes the same delay.
    #[must_use]
    pub fn base(&self, failures: u32) -> Duration {
        let growth = power(self.factor, failures);
        let first_ns = nanos(self.first);
        let max_ns = nanos(self.max);
        if growth == 1.0 {
            return Duration::from_nanos(first_ns.min(max_ns));
        }
        let delay = first_ns as f64 * growth;
        if !delay.is_finite() || delay < 0.0 || delay >= max_ns as f64 {
            return Duration::from_nanos(max_ns);
        }
        Duration::from_nanos((delay.round() as u64).min(max_ns))
    }

    /// The delay after `failures` earlier failures in a row, with jitter. `draw(n)` must give a number in `0..=n`;
    /// it is called at most once, and not at all where only one delay is possible.
    #[must_use]
    pub fn delay(&self, failures: u32, draw: impl FnOnce(u64) -> u64) -> Duration {
        let base = self.base(failures);
        let base_ns = nanos(base);
        let max_ns = nanos(self.max);
        let (low, high) = match self.jitter {
            JitterPolicy::None => return base,
            JitterPolicy::Full => (0, base_ns),
            JitterPolicy::Equal => (base_ns - base_ns / 2, base_ns),
            JitterPolicy::Decorrelated => {
                let low = nanos(self.first);
                let high = base_ns.saturating_mul(3).min(max_ns);
                if low > high { (max_ns, max_ns) } else { (low, high) }
            }
        };
        let extra = if low < high { draw(high - low) } else { 0 };
        debug_assert!(extra <= high - low, "the seam drew {extra} where at most {} is allowed", high - low);
        Duration::from_nanos(low + extra.min(high - low))
    }
}

/// `base^exponent` by squaring.
fn power(base: f64, exponent: u32) -> f64 {
    let mut result = 1.0;
    let mut square = base;
    let mut rest = exponent;
    while rest > 0 {
        if rest & 1 == 1 {
            result *= square;
        }
        rest >>= 1;
        if rest > 0 {
            square *= square;
        }
    }
    result
}

/// Nanoseconds of `span`, at most `u64::MAX` (584 years).
pub(crate) fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(first_ms: u64, max_ms: u64, factor: f64, jitter: JitterPolicy) -> BackoffPolicy {
        BackoffPolicy {
            first: Duration::from_millis(first_ms),
            max: Duration::from_millis(max_ms),
            factor,
            jitter,
        }
    }

    #[test]
    fn defaults_are_those_of_the_contract() {
        let default = BackoffPolicy::default();
        assert_eq!(default, policy(100, 30_000, 1.0, JitterPolicy::None));
        assert_eq!(RestartPolicy::default(), RestartPolicy::OnFailure);
    }

    #[test]
    fn delay_grows_by_its_factor_up_to_max() {
        let doubling = policy(100, 1_000, 2.0, JitterPolicy::None);
        let delays: Vec<u128> = (0..6).map(|n| doubling.base(n).as_millis()).collect();
        assert_eq!(delays, [100, 200, 400, 800, 1_000, 1_000]);
        assert_eq!(doubling.base(u32::MAX), Duration::from_secs(1));
    }

    #[test]
    fn a_first_delay_above_max_is_clamped() {
        assert_eq!(policy(500, 100, 1.0, JitterPolicy::None).base(0), Duration::from_millis(100));
    }

    #[test]
    fn odd_factors_give_max() {
        for factor in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -3.0] {
            assert_eq!(policy(100, 700, factor, JitterPolicy::None).base(1), Duration::from_millis(700));
        }
        assert_eq!(policy(100, 700, f64::NAN, JitterPolicy::None).base(0), Duration::from_millis(100));
        assert_eq!(policy(100, 700, 0.0, JitterPolicy::None).base(3), Duration::ZERO);
    }

    #[test]
    fn jitter_stays_within_its_bounds_at_both_ends() {
        let ends = |jitter| {
            let policy = policy(100, 250, 1.0, jitter);
            (policy.delay(0, |_| 0).as_millis(), policy.delay(0, |high| high).as_millis())
        };
        assert_eq!(ends(JitterPolicy::None), (100, 100));
        assert_eq!(ends(JitterPolicy::Full), (0, 100));
        assert_eq!(ends(JitterPolicy::Equal), (50, 100));
        assert_eq!(ends(JitterPolicy::Decorrelated), (100, 250));
    }

    #[test]
    fn decorrelated_is_max_where_its_range_is_empty() {
        let empty = policy(500, 100, 1.0, JitterPolicy::Decorrelated);
        assert_eq!(empty.delay(0, |_| unreachable!("nothing to draw")), Duration::from_millis(100));
    }
}
