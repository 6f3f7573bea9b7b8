//! The arrows of `docs/architecture.md`, held against the sources: what must not be named in which part.

use std::fs;
use std::path::{Path, PathBuf};

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// What a file says before its tests, comments left out.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let before_tests = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    let code = before_tests.lines().filter(is_code).collect::<Vec<_>>().join("\n");
    // These hash without a random state.
    code.replace("FxHashMap", "").replace("FxHashSet", "")
}

/// Nothing in `part` says one of `words`, except these files where they are allowed.
fn part_never_says(part: &str, words: &[&str], allowed: &[&str]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(part);
    let files = if path.is_dir() { sources(&path) } else { vec![path] };
    assert!(!files.is_empty(), "{part} is empty");
    for file in files {
        let of_tests = file.components().any(|component| component.as_os_str() == "tests");
        if of_tests || allowed.iter().any(|name| file.ends_with(name)) {
            continue;
        }
        let code = code(&file);
        for word in words {
            assert!(!code.contains(word), "{} says `{word}`", file.display());
        }
    }
}

#[test]
fn the_logic_asks_the_outside_through_the_seam_alone() {
    let outside = [
        "std::thread",
        "std::fs",
        "std::net",
        "std::env",
        "std::io",
        "Instant::now",
        "SystemTime::now",
        "rand",
        "HashMap",
        "HashSet",
        "simvisor_sim",
        "println!",
    ];
    // `Event::new` is for use outside a runtime, and the other is such a runtime.
    part_never_says("src", &outside, &["src/event.rs", "src/tokio_rt.rs"]);
    part_never_says("src/event.rs", &["std::thread", "Instant::now", "rand", "HashMap"], &[]);
}

#[test]
fn judges_and_traces_know_of_no_executor() {
    let executor = ["crate::world", "crate::schedule", "crate::search", "crate::report", "crate::cli"];
    part_never_says("sim/src/oracle", &executor, &[]);
    part_never_says("sim/src/oracle", &["crate::scenario", "crate::choice", "crate::case"], &[]);
    part_never_says("sim/src/trace", &executor, &[]);
    part_never_says("sim/src/trace", &["crate::scenario", "crate::case", "crate::oracle"], &[]);
    part_never_says("sim/src/files", &executor, &[]);
}

#[test]
fn judges_share_two_enums_with_the_logic_and_nothing_else() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("sim/src/oracle");
    for file in sources(&path) {
        for line in code(&file).lines().filter(|line| line.contains("simvisor::")) {
            let names = line.replace(['{', '}', ';', ','], " ");
            let taken = names.split("simvisor::").skip(1).flat_map(str::split_whitespace);
            for name in taken {
                assert!(["EventKind", "BackoffSource"].contains(&name), "{}: {line}", file.display());
            }
        }
    }
}

#[test]
fn a_world_knows_of_no_scenario_and_a_scenario_of_no_search() {
    let above = ["crate::search", "crate::report", "crate::cli", "crate::oracle"];
    for part in ["sim/src/world", "sim/src/schedule", "sim/src/choice.rs", "sim/src/rng.rs"] {
        part_never_says(part, &above, &[]);
        part_never_says(part, &["crate::scenario"], &[]);
    }
    part_never_says("sim/src/scenario", &above, &[]);
    part_never_says("sim/src/search", &["crate::report", "crate::cli"], &[]);
}

/// Random numbers come from one generator, by words of fixed width; clocks are read where people wait, and nowhere else.
#[test]
fn chance_and_clocks_of_the_machine_have_one_place_each() {
    part_never_says("sim/src", &["SystemTime::now", "rand::rng", "thread_rng", "RandomState"], &[]);
    part_never_says("sim/src", &["rand_chacha"], &["sim/src/rng.rs"]);
    for part in ["world", "schedule", "scenario", "oracle", "trace", "choice.rs", "rng.rs"] {
        part_never_says(&format!("sim/src/{part}"), &["Instant::now", "std::thread::spawn", "std::fs"], &[]);
    }
}
