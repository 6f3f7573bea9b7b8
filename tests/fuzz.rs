//! What the fuzzer begins with, and what was found once: replayed without a fuzzer.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use simvisor_sim::case::{Case, Input};
use simvisor_sim::choice::Fit;
use simvisor_sim::fuzz::{self, Runs, TARGETS, World};
use simvisor_sim::oracle::RULES;
use simvisor_sim::search::{Runner, replayed};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files of a folder, in order of name; none if there is no such folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<_> = entries.map(|entry| entry.expect("readable").path()).collect();
    files.retain(|path| path.is_file());
    files.sort();
    files
}

/// The committed corpus of a target. What a fuzzer adds to it has names of another kind.
fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = files(&root().join("fuzz/corpus").join(target));
    files.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("seed-")));
    files.into_iter().map(|path| (path.clone(), fs::read(path).expect("readable"))).collect()
}

/// Does what a target does. True if it has something to do with these bytes.
fn run(target: &str, bytes: &[u8]) -> bool {
    match target {
        "world" => {
            let Some(input) = Input::from_bytes(bytes) else { return false };
            if let Some(found) = World::default().run(&input, Runs::Twice) {
                panic!("{found}");
            }
            true
        }
        "differential" => {
            fuzz::differential(&mut Runner::default(), bytes).unwrap_or_else(|error| panic!("{error}"))
        }
        "case_file" => fuzz::case_file(bytes),
        "scenario_toml" => fuzz::scenario_toml(bytes),
        "trace_jsonl" => fuzz::trace_jsonl(bytes),
        _ => unreachable!("there is no target `{target}`"),
    }
}

#[test]
fn every_target_takes_its_corpus_and_finds_nothing() {
    for target in TARGETS {
        let corpus = corpus(target);
        let taken = corpus.iter().filter(|(path, bytes)| {
            println!("{}", path.display());
            run(target, bytes)
        });
        let (taken, all) = (taken.count(), corpus.len());
        assert!(all >= 10, "{target} has a corpus of {all}");
        assert!(2 * taken >= all, "{target} has no use for {} of {all}", all - taken);
    }
}

#[test]
fn the_corpus_puts_most_rules_to_the_test() {
    let mut runner = Runner::default();
    let mut witnesses = vec![0; RULES.len()];
    for (_, bytes) in corpus("world") {
        let Input { scenario, tape } = Input::from_bytes(&bytes).expect("no JSON");
        runner.judge(&scenario, replayed(tape, Fit::Lenient));
        runner.add_witnesses(&mut witnesses);
    }
    let untested: Vec<_> =
        RULES.iter().zip(witnesses).filter(|(_, count)| *count == 0).map(|(rule, _)| rule.id).collect();
    assert!(untested.len() <= RULES.len() / 10, "never put to the test: {untested:?}");
}

#[test]
fn what_was_found_once_does_not_come_back() {
    let regressions = root().join("tests/regressions");
    for path in files(&regressions).iter().filter(|path| path.extension().is_some_and(|kind| kind == "json"))
    {
        let case = Case::read(path).unwrap_or_else(|error| panic!("{error}"));
        let judged = Runner::default().judge(&case.scenario, replayed(case.tape, Fit::Lenient));
        assert!(judged.findings.is_empty(), "{}: {:?}", path.display(), judged.findings);
    }
    for target in TARGETS {
        for path in files(&regressions.join(target)) {
            println!("{}", path.display());
            run(target, &fs::read(&path).expect("readable"));
        }
    }
}

#[test]
fn every_token_of_the_dictionaries_is_one() {
    let mut tokens = BTreeMap::new();
    for name in ["world.dict", "text.dict"] {
        let text = fs::read_to_string(root().join("fuzz").join(name)).expect("readable");
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            // A token may have a name before it.
            let token = line.find('"').map_or(line, |start| &line[start..]);
            let token = token.strip_prefix('"').and_then(|token| token.strip_suffix('"'));
            *tokens
                .entry(token.unwrap_or_else(|| panic!("{name}: {line} is no token")).to_owned())
                .or_insert(0) += 1;
        }
    }
    let names = simvisor_sim::choice::SITES.map(|(_, name)| name).into_iter();
    for name in names.chain(simvisor_sim::trace::KINDS.map(|(_, name)| name)) {
        assert!(tokens.contains_key(name), "{name} is not in text.dict");
    }
    let twice: Vec<_> = tokens.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "twice: {twice:?}");
}
