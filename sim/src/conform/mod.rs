//! Judging somebody else's runtime: its trace, in its own words, held against the contract.
//!
//! ```text
//! trace file ─ reader ─┐
//! Subject ─────────────┴─► ForeignRecord ─ dialect ─► Record ─► rules, monitor ─► Judgement
//! ```
//!
//! A [`ForeignRecord`] is a record as [the format](crate::trace) has it, but for its events, which may be of any kind
//! and carry any fields. A [`Dialect`] says what they mean in the words of the contract, and names the *deviations* of a
//! runtime: departures that are known, each of which can be switched on and off. A [`Judge`] puts the two judges behind
//! a dialect; its [`Judgement`] says that a runtime conforms, except for what.
//!
//! ```
//! use simvisor_sim::conform::{Dialect, ForeignEvent, ForeignRecord, ForeignWhat, Judge, Switches};
//! use simvisor_sim::trace::{EndNote, Texts, What};
//!
//! let dialect = Dialect::named("contract").expect("it is built in");
//! let mut texts = Texts::default();
//! let mut judge = Judge::new(dialect, &Switches::default())?;
//! judge.begin(&ForeignRecord::header("mine 1.0"), &texts);
//! let mut tell = |what| judge.record(&ForeignRecord { at_ns: 0, turn: None, what }, None, &mut texts);
//! for (seq, kind) in (0..).zip(["TaskAddRequested", "TaskAdded", "TaskStarting", "TaskStarting"]) {
//!     let mut event = ForeignEvent::new(kind).task("web");
//!     event.seq = Some(seq);
//!     event.attempt = (kind == "TaskStarting").then_some(1);
//!     tell(ForeignWhat::Event(event));
//! }
//! tell(ForeignWhat::Same(What::End(EndNote::Done)));
//! let judgement = judge.finish(&texts);
//! assert_eq!(judgement.departures[0].rule, "A1");
//! # Ok::<(), simvisor_sim::conform::DialectError>(())
//! ```

mod check;
mod dialect;
mod foreign;
mod judge;
mod oddity;
mod translate;

pub use check::{CheckError, Checked, check};
pub use dialect::{
    Answered, Becomes, Deviation, Dialect, DialectError, EventRule, ExcuseRule, Field, NotJudged, Observed,
    Sequence, SlotStep, State, Switches, When,
};
pub use foreign::{ForeignEvent, ForeignRecord, ForeignWhat};
pub use judge::{Coverage, Departure, Excused, Judge, Judgement};
pub use oddity::{Oddities, Oddity};
pub use translate::Translator;
