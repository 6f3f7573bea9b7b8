//! What the readers of cases, scenarios and traces share: how their messages show somebody else's text, and a number that
//! JSON cannot write.

pub(crate) mod factor;

/// Somebody else's text for a message: on one line, and not too long.
pub(crate) fn shown(text: &str, chars_max: usize) -> String {
    let mut shown: String = text
        .chars()
        .take(chars_max)
        .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
        .collect();
    if text.chars().nth(chars_max).is_some() {
        shown.push('…');
    }
    shown
}

/// ` (did you mean …?)` for serde's "unknown field `x`, expected one of `a`, `b`".
pub(crate) fn nearest(message: &str) -> String {
    if !message.contains("unknown field") && !message.contains("unknown variant") {
        return String::new();
    }
    let mut names = message.split('`').skip(1).step_by(2);
    let Some(unknown) = names.next() else { return String::new() };
    match nearest_of(unknown, names) {
        Some((known, likeness)) if likeness > 600 => format!("; did you mean `{known}`?"),
        _ => String::new(),
    }
}

/// Longer names than this, in bytes, are like no other: comparing takes time in proportion to both.
const COMPARED_BYTES_MAX: usize = 64;
/// At most so many names are looked at.
const COMPARED_MAX: usize = 10_000;

/// The name that is most like `name`, and how much, in thousandths.
pub(crate) fn nearest_of<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<(&'a str, u32)> {
    let is_short = |name: &str| name.len() <= COMPARED_BYTES_MAX;
    if !is_short(name) {
        return None;
    }
    let known = known.take(COMPARED_MAX).filter(|known| is_short(known));
    known
        .map(|known| (known, (strsim::jaro_winkler(name, known) * 1_000.0) as u32))
        .max_by_key(|&(_, likeness)| likeness)
}
