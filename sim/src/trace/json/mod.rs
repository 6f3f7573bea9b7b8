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

pub(super) mod object;
mod read;
#[cfg(test)]
pub(crate) mod samples;
mod shape;
mod write;

pub(crate) use read::{Glossary, parse_header, parse_record};
pub use read::{LINE_BYTES_MAX, TEXT_BYTES_MAX, TEXTS_MAX, TraceError, TraceReader};
pub use write::{JsonLines, header_line, record_line};

#[cfg(test)]
mod tests {
    //! `docs/trace.md` says what is so.

    use std::collections::BTreeSet;

    use super::*;
    use crate::trace::{KINDS, Record, Texts, What};

    const PAGE: &str = include_str!("../../../../docs/trace.md");

    /// The lines of all blocks of this language.
    fn lines_of(language: &str) -> Vec<&'static str> {
        let mut lines = Vec::new();
        let mut inside = false;
        for line in PAGE.lines() {
            match line.strip_prefix("```") {
                Some(opened) if !inside => inside = opened == language,
                Some(_) => inside = false,
                None if inside => lines.push(line),
                None => {}
            }
        }
        lines
    }

    /// Header, and the examples of records, each read for itself.
    fn examples() -> (&'static str, Vec<(&'static str, Record, Texts)>) {
        let lines = lines_of("json");
        let (header, examples) = lines.split_first().expect("the first example is the header");
        let read = |&line: &&'static str| {
            let text = format!("{header}\n{line}\n");
            let mut reader =
                TraceReader::open("docs/trace.md", text.as_bytes()).expect("the header's example");
            let record = reader.next_record().unwrap_or_else(|error| panic!("{error} in {line}"));
            (line, record.expect("a record"), reader.texts().clone())
        };
        (header, examples.iter().map(read).collect())
    }

    #[test]
    fn the_whole_trace_of_the_page_is_one() {
        let text = lines_of("jsonl").join("\n");
        let mut lines = JsonLines::new(Vec::new());
        let mut reader = TraceReader::open("docs/trace.md", text.as_bytes()).expect("a header");
        reader.feed(&mut lines).unwrap_or_else(|error| panic!("{error}"));
        let written = lines.finish().expect("memory does not fail");
        assert_eq!(String::from_utf8(written).expect("text"), text + "\n");
    }

    #[test]
    fn the_examples_of_the_page_are_as_we_write_them() {
        let (header, examples) = examples();
        let reader = TraceReader::open("docs/trace.md", header.as_bytes()).expect("the header's example");
        assert_eq!(header_line(reader.header(), reader.texts()), header);
        for (line, record, texts) in &examples {
            assert_eq!(record_line(record, texts), *line);
        }
    }

    #[test]
    fn the_page_has_an_example_of_every_shape_and_names_every_kind_and_field() {
        let (header, examples) = examples();
        let shown: BTreeSet<_> =
            examples.iter().flat_map(|(_, record, _)| samples::shapes(&record.what)).collect();
        assert_eq!(shown, BTreeSet::from(samples::SHAPES));
        for (_, kind) in KINDS {
            assert!(PAGE.contains(&format!("`{kind}`")), "{kind} is not on the page");
        }

        let mut texts = Texts::default();
        let mut written = BTreeSet::new();
        let sample = samples::header(&mut texts);
        keys(&header_line(&sample, &texts), &mut written);
        let mut records = samples::records(&mut texts);
        records.extend(samples::ends(&mut texts));
        records.iter().for_each(|record| keys(&record_line(record, &texts), &mut written));
        let mut documented = BTreeSet::new();
        examples.iter().map(|(line, ..)| *line).chain([header]).for_each(|line| keys(line, &mut documented));
        assert_eq!(documented, written);
    }

    #[test]
    fn fields_that_the_page_requires_are_required() {
        let (_, examples) = examples();
        let mut removed = 0;
        for (line, record, _) in &examples {
            let value: serde_json::Value = serde_json::from_str(line).expect("an example");
            for path in paths(&value) {
                let key = path.rsplit('/').next().expect("a key");
                let of_event = matches!(record.what, What::Event(_));
                let of_waiter = matches!(record.what, What::End(_));
                let optional = match key {
                    "task" => of_event || of_waiter,
                    "attempt" | "reason" => of_event,
                    "op" => matches!(record.what, What::BodyEntered { .. }),
                    "turn" | "timeout_ms" | "delay_ms" | "backoff_source" | "interval_ns" => true,
                    _ => false,
                };
                let mut without = value.clone();
                let (parent, _) = path.rsplit_once('/').expect("a path");
                let parent = without.pointer_mut(parent).and_then(|parent| parent.as_object_mut());
                parent.expect("an object").remove(key);
                let text = format!("{}\n{without}\n", lines_of("json")[0]);
                let mut reader = TraceReader::open("t", text.as_bytes()).expect("the header's example");
                assert_eq!(reader.next_record().is_ok(), optional, "{line} without {path}");
                removed += 1;
            }
        }
        assert!(removed > 100, "{removed}");
    }

    /// The schema, for a line.
    fn schema() -> jsonschema::Validator {
        let schema = serde_json::from_str(include_str!("../../../../docs/trace.schema.json"));
        jsonschema::draft202012::new(&schema.expect("JSON")).expect("a schema")
    }

    /// The header of the page, and a record of every shape, as we write them.
    fn written_lines() -> Vec<String> {
        let mut texts = Texts::default();
        let header = header_line(&samples::header(&mut texts), &texts);
        let mut records = samples::records(&mut texts);
        records.extend(samples::ends(&mut texts));
        std::iter::once(header).chain(records.iter().map(|record| record_line(record, &texts))).collect()
    }

    #[test]
    fn the_schema_takes_what_is_written_and_what_the_page_shows() {
        let schema = schema();
        let shown = lines_of("json").into_iter().chain(lines_of("jsonl")).map(str::to_owned);
        let mut lines = 0;
        for line in written_lines().into_iter().chain(shown) {
            let value = serde_json::from_str(&line).expect("a line is JSON");
            assert!(schema.is_valid(&value), "{line}");
            lines += 1;
        }
        assert!(lines > 120, "{lines}");
    }

    #[test]
    fn the_schema_and_the_reader_agree_on_what_is_missing_too_much_or_of_another_type() {
        let schema = schema();
        let header = lines_of("json")[0];
        let reads = |value: &serde_json::Value, is_header: bool| {
            let text = if is_header { format!("{value}\n") } else { format!("{header}\n{value}\n") };
            match TraceReader::open("t", text.as_bytes()) {
                Ok(mut reader) => is_header || reader.next_record().is_ok(),
                Err(_) => false,
            }
        };
        let (mut taken, mut refused) = (0, 0);
        for (number, line) in written_lines().iter().enumerate() {
            let whole: serde_json::Value = serde_json::from_str(line).expect("a line is JSON");
            for path in paths(&whole) {
                let (parent, key) = path.rsplit_once('/').expect("a path");
                for change in 0..4 {
                    let mut value = whole.clone();
                    let parent = value.pointer_mut(parent).and_then(|parent| parent.as_object_mut());
                    let parent = parent.expect("an object");
                    match change {
                        0 => drop(parent.remove(key)),
                        1 => drop(parent.insert("surplus".to_owned(), 1.into())),
                        2 => drop(parent.insert(key.to_owned(), serde_json::Value::Null)),
                        _ => drop(parent.insert(key.to_owned(), serde_json::json!([-1]))),
                    }
                    let reads = reads(&value, number == 0);
                    assert_eq!(schema.is_valid(&value), reads, "{value}");
                    *(if reads { &mut taken } else { &mut refused }) += 1;
                }
            }
        }
        assert!(taken > 100 && refused > 1000, "{taken} taken, {refused} refused");
    }

    #[test]
    fn an_array_of_its_values_is_no_object_wherever_it_stands() {
        let schema = schema();
        let header = lines_of("json")[0];
        let mut refused = 0;
        for (number, line) in written_lines().iter().enumerate() {
            for (start, _) in line.match_indices('{').filter(|&(start, _)| !is_within_text(line, start)) {
                let array = with_array(line, start);
                let text = if number == 0 { format!("{array}\n") } else { format!("{header}\n{array}\n") };
                let reader = TraceReader::open("t", text.as_bytes());
                let why = reader.and_then(|mut reader| reader.next_record()).expect_err(&array).to_string();
                assert!(why.contains("expected") || why.contains("`format`"), "{why} in {array}");
                assert!(!schema.is_valid(&serde_json::from_str(&array).expect("JSON")), "{array}");
                let mut glossary = Glossary::default();
                match number {
                    0 => drop(parse_header(array.as_bytes(), &mut glossary).expect_err(&array)),
                    _ => drop(parse_record(array.as_bytes(), &mut glossary).expect_err(&array)),
                }
                refused += 1;
            }
        }
        assert!(refused > 150, "{refused}");
    }

    /// Whether a place in a line is within a string.
    fn is_within_text(line: &str, place: usize) -> bool {
        let mut at = 0;
        while at <= place {
            match line.as_bytes()[at] {
                b'"' if end_of_text(line, at) > place => return true,
                b'"' => at = end_of_text(line, at),
                _ => at += 1,
            }
        }
        false
    }

    /// The place behind the string that begins here.
    fn end_of_text(line: &str, start: usize) -> usize {
        let mut escaped = false;
        let end = line[start + 1..].find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        start + 1 + end.expect("strings end") + 1
    }

    /// The line with the object that begins at `start` as an array of its values, in the order in which they are written.
    fn with_array(line: &str, start: usize) -> String {
        let (mut array, mut at, mut depth) = (line[..start].to_owned(), start, 0);
        loop {
            let rest = &line[at..];
            let c = rest.chars().next().expect("objects end");
            match c {
                '"' => {
                    let end = end_of_text(line, at);
                    let is_key = depth == 1 && line[end..].starts_with(':');
                    if !is_key {
                        array += &line[at..end];
                    }
                    at = if is_key { end + 1 } else { end };
                    continue;
                }
                '{' | '[' => depth += 1,
                '}' | ']' => depth -= 1,
                _ => {}
            }
            at += c.len_utf8();
            match (c, depth) {
                ('{', 1) => array.push('['),
                ('}', 0) => return array + "]" + &line[at..],
                _ => array.push(c),
            }
        }
    }

    #[test]
    fn the_schema_is_of_this_version_and_names_every_kind() {
        let schema: serde_json::Value =
            serde_json::from_str(include_str!("../../../../docs/trace.schema.json")).expect("JSON");
        let version = schema.pointer("/$defs/header/properties/version/const");
        assert_eq!(version, Some(&crate::trace::VERSION.into()));
        let kinds = schema.pointer("/$defs/event/properties/kind/enum").and_then(|kinds| kinds.as_array());
        let kinds: Vec<_> = kinds.expect("kinds").iter().filter_map(|kind| kind.as_str()).collect();
        assert_eq!(kinds, KINDS.map(|(_, name)| name));
    }

    /// All keys of the objects in a line.
    fn keys(line: &str, into: &mut BTreeSet<String>) {
        let value = serde_json::from_str(line).expect("a line is JSON");
        into.extend(paths(&value).iter().filter_map(|path| Some(path.rsplit('/').next()?.to_owned())));
    }

    /// The paths of all keys in a value.
    fn paths(value: &serde_json::Value) -> Vec<String> {
        let below = |key: &str, value| {
            let key = key.to_owned();
            paths(value).into_iter().map(move |path| format!("/{key}{path}"))
        };
        match value {
            serde_json::Value::Object(fields) => fields
                .iter()
                .flat_map(|(key, value)| std::iter::once(format!("/{key}")).chain(below(key, value)))
                .collect(),
            serde_json::Value::Array(members) => {
                members.iter().enumerate().flat_map(|(n, value)| below(&n.to_string(), value)).collect()
            }
            _ => Vec::new(),
        }
    }
}
