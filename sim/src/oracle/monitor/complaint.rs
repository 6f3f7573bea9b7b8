//! What a part of the monitor says when nothing that it knows of explains a record.

/// Why a record is not explained, and by which rules; the first of them is the one that is broken.
#[derive(Debug)]
pub(super) struct Complaint {
    pub(super) what: String,
    pub(super) rules: &'static [&'static str],
    /// What could have come instead.
    pub(super) instead: Option<String>,
    /// By when it was owed, if that is later than what was last observed.
    pub(super) by_ns: Option<u64>,
}

/// Whether a record is explained. In a box, because as a rule it is: what every record hands on is one word.
pub(super) type Fits = Result<(), Box<Complaint>>;

#[cold]
pub(super) fn unexplained(rules: &'static [&'static str], what: String) -> Fits {
    Err(Box::new(Complaint { what, rules, instead: None, by_ns: None }))
}

#[cold]
pub(super) fn expected(rules: &'static [&'static str], what: String, instead: String) -> Fits {
    Err(Box::new(Complaint { what, rules, instead: Some(instead), by_ns: None }))
}

/// It should have come by this instant, in nanoseconds, and did not.
#[cold]
pub(super) fn overdue(rules: &'static [&'static str], what: String, by_ns: u64) -> Fits {
    Err(Box::new(Complaint { what, rules, instead: None, by_ns: Some(by_ns) }))
}
