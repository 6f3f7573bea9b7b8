//! What a judge is told to let pass: departures from the contract that are known and have a name.

use serde::{Deserialize, Serialize};

use crate::pattern::Pattern;

/// What is let pass.
#[derive(Debug, Clone, PartialEq)]
pub enum Excuse {
    /// Findings of one kind. A judge goes on from what they make probable.
    Finding {
        /// The rule that may be broken.
        rule: String,
        /// What the finding must say; `None` excuses whatever breaks the rule.
        saying: Option<Pattern>,
    },
    /// A liberty that the runtime takes. A judge follows it and holds the runtime to everything else.
    Liberty(Liberty),
}

/// A way to depart from the contract that the judges know how to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Liberty {
    /// A slot announces a start before the registry has decided it, by `idle→admitting` in place of `idle→running`, and is
    /// busy from there on, in a state `admitting`. A Replace makes it terminating. Its start is granted (`admitting→running`,
    /// or `terminating→terminating` if it was replaced), followed by TaskAddRequested, and what was replaced is then to be
    /// removed; or it is refused (`add_failed`), followed by `…→idle`.
    EarlyStarts,
    /// An add is announced by TaskAddRequested before it is decided. If it is refused its TaskRemoved comes without a
    /// TaskAdded; a list need not have it before that.
    EarlyAdds,
    /// A run ends as soon as no task is added, whatever is requested or queued: from that instant on it refuses and rejects as
    /// at a shutdown, and what was added since is cancelled.
    EmptyRunsEnd,
    /// A run that ends by itself says how, as after a shutdown request.
    EndsAreTold,
    /// After a shutdown request a removal or cancel is refused with ShuttingDown.
    ClosedIntake,
    /// An attempt may start in the instant in which its removal or a shutdown was requested.
    LateStarts,
    /// A task whose removal takes longer than `grace` is ended by force, as at the end of a shutdown.
    ForcedRemovals,
    /// Forced ends come in any order, and the error of the run names some of what was stuck, in any order.
    UnorderedForce,
    /// A restart after a success may wait for up to a millisecond where its policy says less.
    SpacedRestarts,
    /// The report of a handler's panic may come later than at once, or not at all.
    LateReports,
}

/// How long a restart may wait by [`Liberty::SpacedRestarts`], in nanoseconds.
pub(super) const SPACING_NS: u64 = 1_000_000;

/// Which liberties may be taken.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Liberties(u16);

impl Liberties {
    #[inline]
    pub(super) fn has(self, liberty: Liberty) -> bool {
        self.0 & 1 << liberty as u16 != 0
    }
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
        self.has(|excuse| match excuse {
            Excuse::Finding { rule: excused, saying } => {
                excused == rule && saying.as_ref().is_none_or(|saying| saying.fits(message))
            }
            Excuse::Liberty(_) => false,
        })
    }

    /// Whether this liberty may be taken, as it is now.
    #[cold]
    pub(super) fn allow(&mut self, liberty: Liberty) -> bool {
        self.has(|excuse| *excuse == Excuse::Liberty(liberty))
    }

    pub(super) fn liberties(&self) -> Liberties {
        let of = |bits, excuse: &Excuse| match excuse {
            Excuse::Liberty(liberty) => bits | 1 << *liberty as u16,
            Excuse::Finding { .. } => bits,
        };
        Liberties(self.excuses.iter().fold(0, of))
    }

    fn has(&mut self, fits: impl Fn(&Excuse) -> bool) -> bool {
        let Some(place) = self.excuses.iter().position(fits) else { return false };
        self.used[place] += 1;
        true
    }
}
