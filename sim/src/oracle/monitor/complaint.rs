//! What a part of the monitor says when nothing that it knows of explains a record.

/// Why a record is not explained, and by which rules; the first of them is the one that is broken.
#[derive(Debug)]
pub(super) struct Complaint {
    pub(super) what: String,
    pub(super) rules: &'static [&'static str],
    /// What could have come instead.
    pub(super) instead: Option<String>,
}

/// Whether a record is explained.
pub(super) type Fits = Result<(), Complaint>;

#[cold]
pub(super) fn unexplained(rules: &'static [&'static str], what: String) -> Fits {
    Err(Complaint { what, rules, instead: None })
}

#[cold]
pub(super) fn expected(rules: &'static [&'static str], what: String, instead: String) -> Fits {
    Err(Complaint { what, rules, instead: Some(instead) })
}
