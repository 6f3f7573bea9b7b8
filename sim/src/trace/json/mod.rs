//! The neutral trace as JSON lines: a header, then one object for each record. `docs/trace.md` describes it for
//! authors of other runtimes.
//!
//! ```
//! use simvisor_sim::trace::{TraceHash, TraceReader};
//!
//! let text = r#"{"format":"simvisor-trace","version":1,"runtime":"mine 1.0","config":{"grace_ns":0,"max_concurrent":0,"bus_capacity":16,"timer_late_ns":0}}
//! {"at_ns":0,"event":{"seq":0,"kind":"TaskAdded","wall_ns":0,"task":"web"}}
//! {"at_ns":0,"end":"done"}
//! "#;
//! let mut reader = TraceReader::open("mine.jsonl", text.as_bytes())?;
//! let mut hash = TraceHash::new();
//! reader.feed(&mut hash)?;
//! assert_eq!(hash.records(), 2);
//! # Ok::<(), simvisor_sim::trace::TraceError>(())
//! ```

mod read;
#[cfg(test)]
pub(crate) mod samples;
mod shape;
mod write;

pub use read::{LINE_BYTES_MAX, TEXT_BYTES_MAX, TEXTS_MAX, TraceError, TraceReader};
pub use write::{JsonLines, header_line, record_line};
