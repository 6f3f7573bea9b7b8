//! Two runs of one seed, compared: choices, trace and result. What differs first is told, and what it may come from.

use super::run::Ran;

/// Where two runs of one seed differ; nothing if they do not.
pub(super) fn difference(first: &Ran, second: &Ran) -> Option<String> {
    let what =
        choices(first, second).or_else(|| timelines(first, second)).or_else(|| results(first, second))?;
    Some(format!(
        "two runs of one seed differ: {what}\nlikely causes: a thread, the machine's clock or its random numbers, the \
         order of a `HashMap` or of addresses, or a static that the first run left changed"
    ))
}

fn choices(first: &Ran, second: &Ran) -> Option<String> {
    let (one, other) = (&first.tape, &second.tape);
    let place = (0..one.len().max(other.len())).find(|&place| one.get(place) != other.get(place))?;
    let choice = |tape: &crate::choice::Tape| match tape.get(place) {
        Some(choice) => format!("`{}` = {} of {}", choice.site.name(), choice.value, choice.arity),
        None => "nothing: it had ended".to_owned(),
    };
    let mut text = format!("choice {} was {} and then {}", place + 1, choice(one), choice(other));
    if let Some(row) = timelines(first, second) {
        text += &format!("; {row}");
    }
    Some(text)
}

fn timelines(first: &Ran, second: &Ran) -> Option<String> {
    let (one, other) = (first.log.as_deref().unwrap_or_default(), second.log.as_deref().unwrap_or_default());
    let (mut one, mut other) = (one.lines(), other.lines());
    let mut number = 0;
    loop {
        number += 1;
        match (one.next(), other.next()) {
            (None, None) => break,
            (one, other) if one == other => {}
            (one, other) => {
                let row = |row: Option<&str>| row.map_or("nothing: it had ended", str::trim).to_owned();
                return Some(format!(
                    "row {number} of the timeline was `{}` and then `{}`",
                    row(one),
                    row(other)
                ));
            }
        }
    }
    (first.trace_hash != second.trace_hash).then(|| {
        format!("their traces have the hashes {:#018x} and {:#018x}", first.trace_hash, second.trace_hash)
    })
}

fn results(first: &Ran, second: &Ran) -> Option<String> {
    let result = |ran: &Ran| match &ran.failure {
        Some(failure) => format!("`{}`", failure.message),
        None => "no failure".to_owned(),
    };
    if first.failure != second.failure {
        return Some(format!("the result was {} and then {}", result(first), result(second)));
    }
    (first.sometimes != second.sometimes).then(|| {
        let differs = first.sometimes.iter().find(|(name, tally)| second.sometimes.get(*name) != Some(tally));
        let name = differs.map_or("one that was not asked for before", |(name, _)| name);
        format!("what holds sometimes did not hold as often: {name}")
    })
}
