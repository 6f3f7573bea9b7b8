//! Placeholder until the rules land.
use crate::trace::{Header, Record, Sink, Texts};
/// A rule.
#[derive(Debug)]
pub struct RuleInfo {
    /// Id.
    pub id: &'static str,
    /// Sentence.
    pub sentence: &'static str,
}
/// All.
pub const RULES: &[RuleInfo] = &[];
/// Broken rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Violation {
    /// r
    pub rule: &'static str,
    /// m
    pub message: String,
    /// a
    pub at_ns: u64,
    /// r
    pub record: u64,
    /// s
    pub seq: Option<u64>,
}
/// Rules.
#[derive(Debug, Default)]
pub struct Rules;
impl Rules {
    /// n
    pub fn new() -> Self {
        Self
    }
    /// v
    pub fn violations(&self) -> &[Violation] {
        &[]
    }
    /// w
    pub fn witnesses(&self) -> &[u64] {
        &[]
    }
}
impl Sink for Rules {
    fn begin(&mut self, _: &Header, _: &Texts) {}
    fn record(&mut self, _: &Record, _: &Texts) {}
}
