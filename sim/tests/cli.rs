//! The command line from outside: exit codes, what is printed where, and files that cannot be used.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

const CLEAN: i32 = 0;
const VIOLATION: i32 = 1;
const BAD_INPUT: i32 = 2;
const ENGINE_FAULT: i32 = 3;

fn simvisor(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_simvisor"));
    // Set by whoever runs the tests, and looked at to write the line that replays a case.
    command.args(arguments).env_remove("CARGO_PKG_NAME").env_remove("CLICOLOR_FORCE");
    // Cases of a sweep that fails a test go here.
    command.current_dir(env!("CARGO_TARGET_TMPDIR"));
    command
}

fn ran(arguments: &[&str]) -> Output {
    simvisor(arguments).output().expect("the program starts")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("it was not killed")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder for files")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

/// A file of this content.
fn file(folder: &TempDir, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, content).expect("written");
    path
}

/// A run whose choices matter: many tasks at one instant.
const RUN: [&str; 4] =
    ["run", concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios/rolling-removal.toml"), "--seed", "0x2a"];

/// The case of [`RUN`].
fn saved(folder: &TempDir) -> PathBuf {
    let path = folder.path().join("saved.json");
    let output = ran(&[&RUN[..], &["--save", text(&path)]].concat());
    assert_eq!(code(&output), CLEAN, "{}", stderr(&output));
    path
}

fn read(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).expect("readable")).expect("JSON")
}

/// The case of [`RUN`], changed.
fn altered(folder: &TempDir, alter: impl FnOnce(&mut Value)) -> PathBuf {
    let mut case = read(&saved(folder));
    alter(&mut case);
    file(folder, "altered.json", case.to_string())
}

/// A tape that fits its scenario nowhere: another site at every choice.
fn foreign_tape(case: &mut Value) {
    let tape = case["tape"].as_array_mut().expect("a tape");
    assert!(tape.len() > 5, "a tape that matters");
    tape.fill(json!(["timer-tie", 2, 1]));
}

/// The value of a line of the summary.
fn field(output: &str, name: &str) -> String {
    let line = output.lines().rev().find(|line| line.split_whitespace().next() == Some(name));
    let line = line.unwrap_or_else(|| panic!("no line `{name}` in\n{output}"));
    line.trim_start()[name.len()..].trim().to_owned()
}

#[test]
fn help_lists_the_exit_codes() {
    let help = ran(&["--help"]);
    assert_eq!(code(&help), CLEAN);
    let help = stdout(&help);
    for line in ["0  nothing was found", "1  a violation", "2  bad usage or input", "3  the engine itself"] {
        assert!(help.contains(line), "{line} is not in\n{help}");
    }
}

#[test]
fn a_sweep_prints_one_json_object_with_everything_in_it() {
    let output = ran(&["sweep", "--seeds", "50", "--format", "json"]);
    assert_eq!(code(&output), CLEAN, "{}", stdout(&output));
    assert_eq!(stderr(&output), "", "quiet when piped");
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON object and nothing else");
    assert_eq!(report["seeds"], 50);
    assert!(report["seconds"].as_f64() > Some(0.0) && report["seeds_per_second"].as_f64() > Some(0.0));
    assert!(report["events"].as_u64() > Some(50) && report["choices"].as_u64() > Some(50));
    assert_eq!(report["violations"], json!([]));
    let verdicts = report["verdicts"].as_object().expect("counts by name");
    assert_eq!(verdicts.values().map(|count| count.as_u64().expect("a count")).sum::<u64>(), 50);
    let rules: Vec<Value> =
        serde_json::from_slice(&ran(&["rules", "--format", "json"]).stdout).expect("a list");
    assert_eq!(report["rules"].as_object().expect("by id").len(), rules.len());
    for rule in rules {
        let counts = &report["rules"][rule["id"].as_str().expect("an id")];
        assert!(counts["witnesses"].is_u64() && counts["violations"] == 0, "{rule}: {counts}");
        assert!(rule["sentence"].as_str().is_some_and(|sentence| !sentence.is_empty()));
    }
}

#[test]
fn a_sweep_in_words_is_quiet_on_stderr_when_piped() {
    let output = ran(&["sweep", "--seeds", "0x20", "--first-seed", "0xffff_ffff_ffff_fff0"]);
    assert_eq!(code(&output), CLEAN);
    assert_eq!(stderr(&output), "");
    let text = stdout(&output);
    assert!(field(&text, "seeds").starts_with("32 in "), "{text}");
    assert!(field(&text, "verdicts").starts_with("done "), "{text}");
    assert!(text.ends_with("nothing found\n"), "{text}");
    assert!(!text.contains('\u{1b}'), "no colours in a pipe");
}

#[test]
fn what_a_sweep_shows_does_not_depend_on_its_threads() {
    let counts = |jobs: &str| {
        let output = ran(&["sweep", "--seeds", "60", "--jobs", jobs, "--format", "json"]);
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        ["seeds", "events", "choices", "verdicts", "rules", "rechecked"].map(|name| report[name].clone())
    };
    assert_eq!(counts("1"), counts("3"));
}

#[test]
fn rules_with_few_witnesses_are_named_and_found_fault_with_only_on_request() {
    let output = ran(&["sweep", "--seeds", "1"]);
    assert_eq!(code(&output), CLEAN);
    let named = field(&stdout(&output), "witnesses");
    assert!(named.starts_with("fewer than 100 for ") && named.contains("G6"), "{named}");
    let output = ran(&["sweep", "--seeds", "1", "--format", "json"]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["witnesses_wanted"], 100);
    let short = report["rules_short_of_witnesses"].as_array().expect("a list");
    assert!(short.contains(&json!("G6")), "{report}");
}

#[test]
fn a_rule_without_witnesses_fails_a_sweep_that_requires_them() {
    let rules: Vec<Value> =
        serde_json::from_slice(&ran(&["rules", "--format", "json"]).stdout).expect("a list");
    let require = ["sweep", "--seeds", "1", "--require-witnesses", "1_000_000_000"];
    let output = ran(&require);
    assert_eq!(code(&output), if rules.is_empty() { CLEAN } else { VIOLATION });
    for rule in rules {
        let id = rule["id"].as_str().expect("an id");
        let line = format!("{id} was put to the test fewer than 1000000000 times");
        assert!(stdout(&output).contains(&line), "{}", stdout(&output));
    }
}

/// Seeds of a sweep with canaries in it.
const CANARIES: [&str; 4] = ["sweep", "--canary", "--seeds", "300"];

#[test]
fn planted_violations_go_the_whole_way_from_judge_to_exit_code() {
    let folder = folder();
    let sweep = [&CANARIES[..], &["--out", text(folder.path())]].concat();
    let output = ran(&[&sweep[..], &["--format", "json"]].concat());
    assert_eq!(code(&output), VIOLATION);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let violations = report["violations"].as_array().expect("a list");
    assert_eq!(report["canaries"], violations.len());
    assert!((1..10).contains(&violations.len()), "about 1 in 100: {report}");
    for violation in violations {
        assert_eq!(violation["rule"], "canary", "{violation}");
        let message = violation["message"].as_str().expect("text");
        assert!(message.starts_with("planted: ") && message.contains("; S1: "), "a judge noticed: {message}");
    }

    let output = ran(&sweep);
    assert_eq!(code(&output), VIOLATION);
    let shown = stdout(&output);
    assert_eq!(field(&shown, "canaries"), format!("planted in {} seeds", violations.len()));
    let seed = violations[0]["seed_hex"].as_str().expect("a seed");
    let case = PathBuf::from(violations[0]["case"].as_str().expect("a path"));
    assert_eq!(case, folder.path().join(format!("canary-{seed}.json")));
    assert!(shown.contains(&format!("canary in seed {seed} at ")), "{shown}");
    assert!(shown.contains("Planted, to prove that a violation reaches the exit code."), "{shown}");
    assert!(shown.contains(&format!("\n  simvisor replay {}\n", case.display())), "{shown}");
    let by_cargo =
        simvisor(&sweep).env("CARGO_PKG_NAME", env!("CARGO_PKG_NAME")).output().expect("it starts");
    let line = format!("\n  cargo run --release -- replay {}\n", case.display());
    assert!(stdout(&by_cargo).contains(&line), "{}", stdout(&by_cargo));

    assert_eq!(read(&case)["shown"]["rule"], "canary");
    let replay = ran(&["replay", text(&case)]);
    assert_eq!(code(&replay), VIOLATION, "{}", stderr(&replay));
    let replay = stdout(&replay);
    assert!(field(&replay, "then").starts_with("canary: planted"), "{replay}");
    assert_eq!(field(&replay, "now"), "the same violation as then");
    // How it came to that: choices in words, the last events before it, what to do next.
    assert!(field(&replay, "choices").contains("not the plain one"), "{replay}");
    assert!(replay.lines().any(|line| line.contains(" at ") && line.contains(" runs before ")), "{replay}");
    assert!(replay.contains("\nevents "), "{replay}");
    assert_eq!(field(&replay, "smaller"), format!("simvisor shrink {}", case.display()));
    assert_eq!(field(&replay, "why"), format!("simvisor why {}", case.display()));
    // The seed's own run knows nothing of it.
    let run = ran(&["run", "--seed", seed]);
    assert_eq!(code(&run), CLEAN);
    assert_eq!(field(&stdout(&run), "trace"), field(&replay, "trace"));
}

#[test]
fn a_case_that_cannot_be_written_says_what_it_would_have_shown() {
    let folder = folder();
    let in_the_way = file(&folder, "file", "");
    let out = in_the_way.join("cases");
    let output = ran(&[&CANARIES[..], &["--out", text(&out)]].concat());
    assert_eq!(code(&output), BAD_INPUT);
    let error = stderr(&output);
    assert!(error.contains("seed 0x") && error.contains("canary") && error.contains(text(&out)), "{error}");
}

#[test]
fn a_seed_prints_the_same_bytes_every_time_however_it_is_written() {
    let first = ran(&["run", "--seed", "7"]);
    assert_eq!(code(&first), CLEAN);
    assert!(stdout(&first).contains("attempt 1 starts"), "{}", stdout(&first));
    for again in ["7", "0x7", "0X07", "0_7"] {
        assert_eq!(ran(&["run", "--seed", again]).stdout, first.stdout, "{again}");
    }
    assert_ne!(ran(&["run", "--seed", "8"]).stdout, first.stdout);
    let all = ran(&["run", "--seed", "7", "--all"]);
    assert!(all.stdout.len() > first.stdout.len());
    assert_eq!(field(&stdout(&all), "trace"), field(&stdout(&first), "trace"));
}

#[test]
fn json_lines_are_on_stdout_and_the_verdict_on_stderr() {
    let output = ran(&["run", "--seed", "7", "--format", "json"]);
    assert_eq!(code(&output), CLEAN);
    let lines = stdout(&output);
    assert!(lines.lines().count() > 3);
    for line in lines.lines() {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert!(value.is_object());
    }
    let summary = stderr(&output);
    assert_eq!(field(&summary, "verdict"), "done");
    let text = stdout(&ran(&["run", "--seed", "7"]));
    assert_eq!(field(&summary, "trace"), field(&text, "trace"));
    assert_eq!(field(&summary, "trace").len(), "0x0123456789abcdef".len());
}

#[test]
fn a_saved_run_is_replayed_to_the_same_trace() {
    let folder = folder();
    let path = saved(&folder);
    let run = stdout(&ran(&RUN));
    let replay = ran(&["replay", text(&path)]);
    assert_eq!(code(&replay), CLEAN, "{}", stderr(&replay));
    let replay = stdout(&replay);
    assert_eq!(field(&replay, "trace"), field(&run, "trace"));
    assert!(field(&replay, "then").contains(&field(&run, "trace")), "{replay}");
    assert_eq!(field(&replay, "now"), "nothing, as then");
    // The tape is what makes it so: in first-in first-out order it is another run.
    assert_ne!(
        field(&stdout(&ran(&[&RUN[..], &["--strategy", "fifo"]].concat())), "trace"),
        field(&run, "trace")
    );
}

#[test]
fn a_scenario_of_ones_own_is_run_saved_and_replayed() {
    let folder = folder();
    let scenario = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/stuck-at-shutdown.toml");
    let case = folder.path().join("case.json");
    let run = ran(&["run", text(&scenario), "--seed", "0x5", "--save", text(&case)]);
    assert_eq!(code(&run), CLEAN, "{}", stderr(&run));
    assert!(stdout(&run).contains("nightly-report"), "{}", stdout(&run));
    let json = ran(&["run", text(&scenario), "--seed", "0x5", "--format", "json"]);
    assert!(stdout(&json).contains("\"GraceExceeded\""), "{}", stdout(&json));
    assert_eq!(read(&case)["scenario"]["name"], "stuck-at-shutdown");
    let replay = ran(&["replay", text(&case)]);
    assert_eq!(code(&replay), CLEAN, "{}", stderr(&replay));
    assert_eq!(field(&stdout(&replay), "trace"), field(&stdout(&run), "trace"));
    let fifo = ran(&["run", text(&scenario)]);
    assert!(field(&stdout(&fifo), "run").ends_with("seed 0x0, fifo"), "{}", stdout(&fifo));
}

#[test]
fn a_tape_that_does_not_fit_is_the_engines_fault_within_one_version() {
    let folder = folder();
    let path = altered(&folder, foreign_tape);
    let output = ran(&["replay", text(&path)]);
    assert_eq!(code(&output), ENGINE_FAULT);
    let error = stderr(&output);
    assert!(
        error.contains(text(&path)) && error.contains("choice 0: the tape has timer-tie = 1 of 2"),
        "{error}"
    );
    assert_eq!(code(&ran(&["replay", "--lenient", text(&path)])), CLEAN);
}

#[test]
fn a_tape_of_another_version_is_taken_for_what_it_is_worth() {
    let folder = folder();
    let path = altered(&folder, |case| {
        foreign_tape(case);
        case["origin"]["simvisor"] = json!("0.0.1");
    });
    let output = ran(&["replay", text(&path)]);
    assert_eq!(code(&output), CLEAN, "{}", stderr(&output));
    assert!(field(&stdout(&output), "tape").starts_with("left at choice 0: "), "{}", stdout(&output));
}

#[test]
fn a_tape_of_another_version_that_must_fit_and_does_not_is_bad_input() {
    let folder = folder();
    let path = altered(&folder, |case| {
        foreign_tape(case);
        case["origin"]["simvisor"] = json!("0.0.1");
    });
    let output = ran(&["replay", "--strict", text(&path)]);
    assert_eq!(code(&output), BAD_INPUT, "{}", stderr(&output));
    let error = stderr(&output);
    assert!(
        error.contains("choice 0: the tape has timer-tie = 1 of 2, the run asked for schedule of "),
        "{error}"
    );
    assert!(error.contains("simvisor 0.0.1"), "{error}");
    assert_eq!(code(&ran(&["replay", "--strict", text(&saved(&folder))])), CLEAN);
}

#[test]
fn another_trace_from_the_same_choices_is_the_engines_fault_within_one_version() {
    let folder = folder();
    let path = altered(&folder, |case| case["shown"]["trace_hash"] = json!("0x0000000000000bad"));
    let output = ran(&["replay", text(&path)]);
    assert_eq!(code(&output), ENGINE_FAULT);
    assert!(stderr(&output).contains("0x0000000000000bad then"), "{}", stderr(&output));
}

#[test]
fn a_case_without_a_tape_is_drawn_anew_from_its_seed() {
    let folder = folder();
    for verdict in ["panic", "hang"] {
        let path = altered(&folder, |case| {
            case["tape"] = json!([]);
            case["shown"] = json!({ "verdict": verdict, "message": "ouch" });
        });
        let output = ran(&["replay", text(&path)]);
        assert_eq!(code(&output), CLEAN, "{}", stderr(&output));
        let shown = stdout(&output);
        assert_eq!(field(&shown, "then"), format!("{verdict}: ouch"));
        assert_eq!(field(&shown, "now"), "nothing: the violation is no longer shown");
        assert_eq!(field(&shown, "trace"), field(&stdout(&ran(&RUN)), "trace"));
    }
}

/// The first case of [`CANARIES`].
fn planted(folder: &TempDir) -> PathBuf {
    let sweep = [&CANARIES[..], &["--no-shrink", "--out", text(folder.path()), "--format", "json"]].concat();
    let report: Value = serde_json::from_slice(&ran(&sweep).stdout).expect("JSON");
    PathBuf::from(report["violations"][0]["case"].as_str().expect("a case"))
}

/// The one JSON object that a command prints, and its exit code.
fn object(arguments: &[&str]) -> (Value, i32) {
    let output = ran(arguments);
    assert_eq!(stderr(&output), "", "quiet when piped");
    let object = serde_json::from_slice(&output.stdout).expect("one JSON object and nothing else");
    (object, code(&output))
}

#[test]
fn a_shrunk_case_is_smaller_replays_strictly_and_says_how() {
    let folder = folder();
    let case = planted(&folder);
    let (shrunk, exit) = object(&["shrink", text(&case), "--format", "json"]);
    assert_eq!(exit, VIOLATION);
    assert_eq!((&shrunk["rule"], &shrunk["minimal"]), (&json!("canary"), &json!(true)));
    // One event is enough for a lie about its number, and one task, or a request to shut down, makes one.
    assert_eq!(
        shrunk["operations"].as_u64().zip(shrunk["tasks"].as_u64()).map(|(one, other)| one + other),
        Some(1)
    );
    assert_eq!(shrunk["choices"], 0);
    let small = PathBuf::from(shrunk["case"].as_str().expect("a path"));
    assert_eq!(shrunk["replay"], format!("simvisor replay {}", small.display()));
    assert_eq!(code(&ran(&["replay", "--strict", text(&small)])), VIOLATION);
    assert_eq!(read(&small)["origin"]["found_in"], read(&case)["origin"]["found_in"]);
    let shown = stdout(&ran(&["shrink", text(&case)]));
    assert!(shown.contains("no simpler case shows it"), "{shown}");
    assert!(shown.contains(&format!("\n  simvisor replay {}\n", small.display())), "{shown}");
}

#[test]
fn a_shrink_that_may_not_run_much_keeps_what_it_has() {
    let folder = folder();
    let case = planted(&folder);
    let small = folder.path().join("small.json");
    let arguments = ["shrink", text(&case), "--max-replays", "3", "--out", text(&small), "--format", "json"];
    let (shrunk, exit) = object(&arguments);
    assert_eq!((exit, &shrunk["minimal"]), (VIOLATION, &json!(false)));
    assert_eq!(code(&ran(&["replay", "--strict", text(&small)])), VIOLATION);
}

#[test]
fn what_breaks_whatever_is_chosen_is_decided_by_no_choice() {
    let folder = folder();
    let (why, exit) = object(&["why", text(&planted(&folder)), "--runs", "5", "--format", "json"]);
    assert_eq!((exit, &why["rule"], &why["decided_by"]), (VIOLATION, &json!("canary"), &Value::Null));
    assert_eq!(why["chances"][0], json!({ "kept": 0, "choice": null, "broke": 5 }));
}

#[test]
fn a_clean_case_is_neither_shrunk_nor_explained() {
    let folder = folder();
    let case = saved(&folder);
    for command in ["shrink", "why"] {
        assert_eq!(object(&[command, text(&case), "--format", "json"]), (json!({ "rule": null }), CLEAN));
    }
}

#[test]
fn a_bug_that_still_shows_is_not_confirmed_as_gone() {
    let folder = folder();
    let (found, exit) = object(&["sweep", "--confirm", text(&planted(&folder)), "--format", "json"]);
    assert_eq!(exit, VIOLATION);
    assert_eq!((&found["replay"]["rule"], &found["clean"]), (&json!("canary"), &json!(false)));
    assert_eq!(found["neighbourhoods"], json!([]), "nothing else has to be run");
}

/// A case that was planted and is not planted again stands for one whose bug was fixed.
fn fixed(folder: &TempDir) -> PathBuf {
    let mut case = read(&planted(folder));
    case["shown"]["rule"] = json!("S1");
    case["origin"]["found_in"] = json!(100);
    file(folder, "fixed.json", case.to_string())
}

#[test]
fn a_fix_is_confirmed_by_as_many_clean_runs_as_the_bug_was_rare() {
    let folder = folder();
    let case = fixed(&folder);
    let (found, exit) = object(&["sweep", "--confirm", text(&case), "--format", "json"]);
    assert_eq!((exit, &found["clean"], &found["reached"]), (CLEAN, &json!(true), &json!(true)), "{found}");
    // ln 0.05 / ln 0.99 = 298.07
    assert_eq!((&found["found_in"], &found["runs_needed"]), (&json!(100), &json!(299)));
    let neighbourhoods = found["neighbourhoods"].as_array().expect("a list");
    let names: Vec<_> =
        neighbourhoods.iter().map(|one| one["neighbourhood"].as_str().expect("text")).collect();
    assert_eq!(names, ["prefixes", "schedules", "family"]);
    for one in neighbourhoods {
        assert_eq!(one["clean"], 299);
        assert!(one["chance_below"].as_f64().is_some_and(|chance| chance < 0.01 && chance > 0.0099), "{one}");
    }
    let shown = stdout(&ran(&["sweep", "--confirm", text(&case)]));
    assert!(field(&shown, "result").starts_with("you may stop"), "{shown}");
    assert!(field(&shown, "family").starts_with("299 clean runs, so below 1 in 100"), "{shown}");
}

#[test]
fn too_few_runs_confirm_nothing_and_say_how_many_would() {
    let folder = folder();
    let case = fixed(&folder);
    let few = ["sweep", "--confirm", text(&case), "--seeds", "20", "--confidence", "99"];
    let (found, exit) = object(&[&few[..], &["--format", "json"]].concat());
    assert_eq!((exit, &found["clean"], &found["reached"]), (CLEAN, &json!(true), &json!(false)));
    assert_eq!(found["runs_needed"], 459); // ln 0.01 / ln 0.99 = 458.2
    let shown = stdout(&ran(&few));
    assert_eq!(field(&shown, "result"), "clean, but not enough: reached with 459 runs of each (--seeds 459)");
    let output = ran(&["sweep", "--confirm", text(&case), "--confidence", "100"]);
    assert_eq!(code(&output), BAD_INPUT);
    assert!(stderr(&output).contains("`100` is no percentage above 0 and below 100"), "{}", stderr(&output));
}

#[test]
fn a_case_of_no_sweep_has_no_family_and_no_rate() {
    let folder = folder();
    let (found, exit) =
        object(&["sweep", "--confirm", text(&saved(&folder)), "--seeds", "30", "--format", "json"]);
    assert_eq!((exit, &found["runs_needed"], &found["reached"]), (CLEAN, &Value::Null, &json!(false)));
    assert_eq!(found["neighbourhoods"].as_array().map(Vec::len), Some(2));
}

#[test]
fn a_reader_that_goes_away_changes_nothing() {
    let scenario = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/slow-subscriber.toml");
    let commands: [&[&str]; 4] = [
        &["run", text(&scenario), "--all"],
        &["run", "--seed", "7", "--format", "json"],
        &["sweep", "--seeds", "5"],
        &["rules"],
    ];
    for arguments in commands {
        let mut child = simvisor(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(code(&output), CLEAN, "{arguments:?}: {}", stderr(&output));
        assert!(!stderr(&output).contains("panicked"), "{}", stderr(&output));
    }
}

/// Runs what must be refused, and expects these words in a one-line error.
fn refused(arguments: &[&str], words: &[&str]) {
    let output = ran(arguments);
    assert_eq!(code(&output), BAD_INPUT, "{arguments:?}");
    let error = stderr(&output);
    for word in words {
        assert!(error.contains(word), "{arguments:?}: `{word}` is not in\n{error}");
    }
    assert!(!error.contains("panicked"), "{error}");
}

/// As [`refused`], for files: the error is one line that begins with the file.
fn file_refused(command: &str, path: &Path, words: &[&str]) {
    refused(&[command, text(path)], words);
    let output = ran(&[command, text(path)]);
    let error = stderr(&output);
    assert!(error.starts_with(&format!("error: {}: ", path.display())), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    assert_eq!(stdout(&output), "");
}

#[test]
fn bad_usage_is_refused() {
    refused(&[], &["Usage"]);
    refused(&["frobnicate"], &["frobnicate"]);
    refused(&["run"], &["--seed"]);
    for seed in ["2a", "seven", "-1", "0x", "18446744073709551616"] {
        let argument = format!("--seed={seed}");
        refused(&["run", &argument], &[&format!("`{seed}`"), "42", "0x2a"]);
    }
    refused(&["sweep", "--first-seed", "x"], &["`x`", "42", "0x2a"]);
    refused(&["sweep", "--seeds", "0"], &["--seeds", "1 or more"]);
    refused(&["sweep", "--jobs", "0"], &["--jobs"]);
    refused(&["sweep", "--strategy", "fifi"], &["fifi", "fifo, random, pct, pos, urw, surw, mutate, mix"]);
    refused(&["sweep", "--seeds", "5", "--canary"], &["none of these seeds has a canary", "--seeds"]);
}

#[test]
fn files_that_cannot_be_used_are_refused_with_file_place_and_expectation() {
    let folder = folder();
    for command in ["run", "replay"] {
        file_refused(command, &folder.path().join("nowhere.json"), &["cannot be read"]);
        file_refused(command, folder.path(), &["is a directory"]);
        file_refused(command, &file(&folder, "binary", b"ab\xff\xfe"), &["byte 2"]);
        file_refused(command, &file(&folder, "empty", " \n"), &["empty", "expected"]);
    }
    let whole = fs::read_to_string(saved(&folder)).expect("readable");
    let truncated = file(&folder, "truncated.json", &whole[..whole.len() / 2]);
    file_refused("replay", &truncated, &["truncated", "line", "column"]);
    let foreign = file(&folder, "foreign.json", "{\"format\": \"har\", \"version\": 1}");
    file_refused("replay", &foreign, &["\"har\"", "expected \"simvisor-case\""]);
    file_refused("replay", &file(&folder, "other.json", "{}"), &["expected \"simvisor-case\""]);
    let future = altered(&folder, |case| case["version"] = json!(9));
    file_refused("replay", &future, &["version 9 is newer", "update simvisor"]);
    let unknown = altered(&folder, |case| case["scenario"]["config"]["graze"] = json!("1s"));
    file_refused("replay", &unknown, &["line 1", "graze", "did you mean `grace`"]);
    let site = altered(&folder, |case| case["tape"][2] = json!(["nowhere", 2, 0]));
    file_refused("replay", &site, &["choice 2", "`nowhere`"]);
    let senseless = altered(&folder, |case| {
        let add = json!({ "at": "1ms", "do": { "add": "nobody" } });
        case["scenario"]["operation"] = json!([add]);
    });
    file_refused("replay", &senseless, &["operation 1", "nobody"]);
    let lost = altered(&folder, |case| {
        case["tape"] = json!([]);
        case["shown"]["verdict"] = json!("panic");
        case["origin"].as_object_mut().expect("an object").remove("seed");
    });
    refused(&["replay", text(&lost)], &[text(&lost), "`origin.seed`"]);
    let strange = altered(&folder, |case| {
        case["tape"] = json!([]);
        case["shown"]["verdict"] = json!("hang");
        case["origin"]["strategy"] = json!("psychic");
    });
    refused(
        &["replay", text(&strange)],
        &[text(&strange), "`psychic`", "fifo, random, pct, pos, urw, surw, mutate, mix"],
    );

    let misspelt = file(&folder, "misspelt.toml", "[config]\ngrace = \"1s\"\nmax_concurent = 2\n");
    file_refused("run", &misspelt, &["line 3, column 1", "did you mean `max_concurrent`"]);
    let broken = file(&folder, "broken.toml", "[[task]]\nname = \n");
    file_refused("run", &broken, &["line 2"]);
    refused(&["sweep", "--seeds", "1", "--out", text(&misspelt)], &[text(&misspelt), "no directory"]);
    let output = folder.path().join("no/such/folder.json");
    refused(&["run", "--seed", "7", "--save", text(&output)], &[text(&output), "cannot be written"]);
}

#[test]
fn a_file_of_the_other_kind_comes_with_the_command_that_takes_it() {
    let folder = folder();
    let case = saved(&folder);
    file_refused(
        "run",
        &case,
        &["expected a scenario (TOML)", &format!("`simvisor replay {}`", case.display())],
    );
    let scenario = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/crash-loop.toml");
    file_refused(
        "replay",
        &scenario,
        &["expected a case file", &format!("`simvisor run {}`", scenario.display())],
    );
}

/// A world of 192 schedules.
const SMALL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios/proofs/two-cancels.toml");

#[test]
fn every_schedule_of_a_small_world_is_run_and_counted() {
    let output = ran(&["explore", SMALL, "--format", "json"]);
    assert_eq!(code(&output), CLEAN, "{}", stderr(&output));
    let told: Value = serde_json::from_str(&stdout(&output)).expect("one object");
    assert_eq!(
        (&told["schedules"], &told["complete"], &told["reach"]),
        (&json!(192), &json!(true), &json!("complete"))
    );
    let bounded = stdout(&ran(&["explore", SMALL, "--delays", "1"]));
    assert!(bounded.contains("complete up to 1 delay"), "{bounded}");
}

#[test]
fn an_exploration_that_was_stopped_goes_on_from_its_state() {
    let folder = folder();
    let state = folder.path().join("state.json");
    let arguments = ["explore", SMALL, "--jobs", "1", "--state", text(&state), "--stop-after", "100"];
    let first = ran(&arguments);
    assert_eq!(code(&first), CLEAN, "{}", stderr(&first));
    assert!(stdout(&first).contains("not complete") && stdout(&first).contains("goes on from"));
    let last = stdout(&ran(&["explore", SMALL, "--state", text(&state)]));
    assert!(last.contains("192 run") && last.contains("complete"), "{last}");
    refused(&["explore", SMALL, "--state", text(&state), "--delays", "2"], &["state.json", "other bounds"]);
    let other = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios/proofs/two-incarnations.toml");
    refused(&["explore", other, "--state", text(&state)], &["state.json", "another scenario"]);
    let broken = file(&folder, "broken.json", "{");
    refused(&["explore", SMALL, "--state", text(&broken)], &["broken.json", "no state of an exploration"]);
}

#[test]
fn a_world_that_is_too_large_is_refused_with_an_estimate() {
    refused(
        &["explore", SMALL, "--no-reduction", "--limit", "1000"],
        &["schedules are expected", "--limit 1000", "--delays"],
    );
}

/// Bytes of a fuzz artifact: two tasks whose attempts fail, a removal, the end, and choices.
const ARTIFACT: [u8; 37] = [
    0x01, 0, 3, 0, 0, 0x14, 2, 0, 0x11, 0, 3, 0, 0, 0x14, 2, 0, 0x27, 5, 0, 0x00, 0, //
    0x82, 0, 0x82, 0, 0x82, 0, 0x82, 0, 0x82, 0, 0x82, 0, 0x82, 0, 0x82, 0,
];

/// A name as libFuzzer gives it.
const ARTIFACT_NAME: &str = "crash-0123456789abcdef0123456789abcdef01234567";

/// Where the fuzzer puts the case of an artifact.
fn case_beside(folder: &TempDir, artifact: &str) -> PathBuf {
    let cases = folder.path().join("cases");
    fs::create_dir_all(&cases).expect("made");
    cases.join(format!("{artifact}.json"))
}

#[test]
fn a_fuzz_artifact_is_replayed_saved_and_replayed_again() {
    let folder = folder();
    let artifact = file(&folder, ARTIFACT_NAME, ARTIFACT);
    let case = folder.path().join("case.json");
    let output = ran(&["replay", text(&artifact), "--save", text(&case)]);
    assert_eq!(code(&output), CLEAN, "{}", stderr(&output));
    let shown = stdout(&output);
    assert!(field(&shown, "artifact").ends_with("37 bytes of the fuzz target `world`"), "{shown}");
    assert!(field(&shown, "then").starts_with("not known, for there is no "), "{shown}");
    assert!(shown.contains("execution failed: boom"), "{shown}");
    assert_eq!(read(&case)["origin"]["strategy"], "fuzz");

    let again = ran(&["replay", text(&case)]);
    assert_eq!(code(&again), CLEAN, "{}", stderr(&again));
    assert_eq!(field(&stdout(&again), "trace"), field(&shown, "trace"));

    // Under another name it has to be said what it is.
    let other = file(&folder, "something", ARTIFACT);
    refused(&["replay", text(&other)], &["simvisor replay --artifact"]);
    let output = ran(&["replay", "--artifact", text(&other)]);
    assert_eq!(field(&stdout(&output), "trace"), field(&shown, "trace"));
    // The same bytes with other choices are another run.
    let plain = file(&folder, "plain", &ARTIFACT[..19]);
    assert_ne!(
        field(&stdout(&ran(&["replay", "--artifact", text(&plain)])), "trace"),
        field(&shown, "trace")
    );
}

#[test]
fn an_artifact_with_its_case_beside_it_tells_what_has_changed_since() {
    let folder = folder();
    let artifact = file(&folder, ARTIFACT_NAME, ARTIFACT);
    let beside = case_beside(&folder, ARTIFACT_NAME);
    assert_eq!(code(&ran(&["replay", text(&artifact), "--save", text(&beside)])), CLEAN);
    let output = ran(&["replay", text(&artifact)]);
    assert_eq!(code(&output), CLEAN, "{}", stderr(&output));
    let shown = stdout(&output);
    assert!(field(&shown, "artifact").contains("with the case beside it, fuzz, simvisor "), "{shown}");
    assert!(!shown.contains("changed"), "{shown}");
    assert_eq!(field(&shown, "now"), "nothing, as then");

    let original = read(&beside);
    let changed = |alter: &dyn Fn(&mut Value)| {
        let mut case = original.clone();
        case["origin"]["simvisor"] = json!("0.0.1");
        alter(&mut case);
        fs::write(&beside, case.to_string()).expect("written");
        let output = ran(&["replay", text(&artifact)]);
        assert_eq!(code(&output), CLEAN, "{}", stderr(&output));
        field(&stdout(&output), "changed")
    };
    let scenario = changed(&|case| case["scenario"]["config"]["grace"] = json!("7s"));
    assert!(scenario.contains("`config.grace` was \"7s\" and is \"5ms\""), "{scenario}");
    assert!(scenario.contains("this is simvisor 0."), "{scenario}");
    let tape = changed(&|case| case["tape"][0] = json!(["timer-tie", 2, 1]));
    assert!(tape.contains("another way from choice 0 on: timer-tie = 1 of 2 then"), "{tape}");
    let rule = changed(&|case| case["shown"]["rule"] = json!("A1"));
    assert!(rule.contains("the same choices show A1 then, done now"), "{rule}");
    fs::write(&beside, "{").expect("written");
    refused(&["replay", text(&artifact)], &[text(&beside), "truncated"]);
}

/// With a canary, for the logic gives no violation.
#[test]
fn a_violation_of_an_artifact_is_accounted_for_as_that_of_a_case() {
    let folder = folder();
    let artifact = file(&folder, ARTIFACT_NAME, ARTIFACT);
    let beside = case_beside(&folder, ARTIFACT_NAME);
    let plant = |artifact: &[&str], beside: &Path| {
        assert_eq!(code(&ran(&[&["replay", "--save", text(beside)], artifact].concat())), CLEAN);
        let mut case = read(beside);
        (case["shown"]["rule"], case["shown"]["verdict"]) = (json!("canary"), json!("violation"));
        fs::write(beside, case.to_string()).expect("written");
        let output = ran(&[&["replay"], artifact].concat());
        assert_eq!(code(&output), VIOLATION, "{}", stderr(&output));
        stdout(&output)
    };
    let shown = plant(&[text(&artifact)], &beside);
    assert_eq!(field(&shown, "now"), "the same violation as then");
    assert!(field(&shown, "choices").contains("not the plain one"), "{shown}");
    assert!(shown.lines().any(|line| line.contains(" at ") && line.contains(" runs before ")), "{shown}");
    assert!(!field(&shown, "events").is_empty(), "{shown}");
    for (what, command) in [("smaller", "shrink"), ("why", "why"), ("more", "replay --all")] {
        assert_eq!(field(&shown, what), format!("simvisor {command} {}", artifact.display()), "{shown}");
    }
    // Without a choice that is not the plain one.
    fs::remove_file(&beside).expect("removed");
    let plain = file(&folder, "plain", &ARTIFACT[..19]);
    let shown = plant(&["--artifact", text(&plain)], &case_beside(&folder, "plain"));
    assert!(field(&shown, "choices").starts_with("none: "), "{shown}");
    // Only `replay --artifact` reads an artifact under this name.
    assert_eq!(field(&shown, "smaller"), format!("simvisor replay --artifact --shrink {}", plain.display()));
    assert_eq!(field(&shown, "more"), format!("simvisor replay --artifact --all {}", plain.display()));
    assert!(!shown.contains("simvisor why"), "{shown}");
}

#[test]
fn artifacts_of_readers_are_read_again() {
    let folder = folder();
    for target in ["case_file", "scenario_toml", "trace_jsonl", "differential"] {
        fs::create_dir(folder.path().join(target)).expect("made");
        let artifact = file(&folder, &format!("{target}/{ARTIFACT_NAME}"), ARTIFACT);
        let output = ran(&["replay", text(&artifact)]);
        assert_eq!(code(&output), CLEAN, "{}", stderr(&output));
        assert!(field(&stdout(&output), "artifact").ends_with(&format!("of the fuzz target `{target}`")));
        refused(&["replay", text(&artifact), "--shrink"], &[&format!("cargo fuzz tmin {target} ")]);
    }
}

#[test]
fn a_corpus_has_a_folder_for_each_target() {
    let folder = folder();
    let output = ran(&["corpus", text(folder.path())]);
    assert_eq!(code(&output), CLEAN, "{}", stderr(&output));
    for target in ["world", "case_file", "scenario_toml", "trace_jsonl", "differential"] {
        let count = fs::read_dir(folder.path().join(target)).expect("a folder").count();
        assert!(count >= 10, "{target}: {count}");
    }
}

/// Files that are nothing that is read here, by name.
fn rubbish(folder: &TempDir) -> Vec<(PathBuf, &'static str)> {
    let mut state = 1_u32;
    let random: Vec<u8> = (0..5_000)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect();
    let other_project = r#"{"format":"other-case","version":3,"seed":7,"program":[1,2,3]}"#;
    let name = "x".repeat(3_000_000);
    let deep = |open: &str| open.repeat(2_000_000);
    vec![
        (file(folder, "empty", ""), "empty"),
        (file(folder, "random", random), "UTF-8"),
        (file(folder, "zeros", vec![0; 10_000_000]), ""),
        (folder.path().to_owned(), "is a directory"),
        (file(folder, "foreign.json", other_project), ""),
        (file(folder, "arrays.json", format!("{{\"format\":{}", deep("["))), ""),
        (file(folder, "tables.toml", format!("a = {}", deep("{ a = "))), ""),
        (file(folder, "name.json", format!("{{\"{name}\":1}}")), ""),
        (file(folder, "name.toml", format!("{name} = 1")), ""),
        (file(folder, "escape.toml", "\"\\u001b[31mred\" = 1"), ""),
        (file(folder, "line", deep("x")), ""),
    ]
}

/// Whatever is given to whatever reads it: exit code 2, and one short printable line on stderr that names the file.
#[test]
fn every_reader_refuses_rubbish_in_one_short_line() {
    let folder = folder();
    let commands: [&[&str]; 7] =
        [&["run"], &["replay"], &["replay", "--lenient"], &["shrink"], &["why"], &["explore"], &["check"]];
    for (path, word) in rubbish(&folder) {
        for command in commands {
            let arguments = [command, &[text(&path)]].concat();
            let output = bounded(&arguments);
            let error = stderr(&output);
            let start: String = error.chars().take(3_000).collect();
            assert_eq!(code(&output), BAD_INPUT, "{arguments:?}: {start}");
            assert!(error.len() < 3_000 && error.lines().count() == 1, "{arguments:?}: {start}");
            assert!(error.starts_with(&format!("error: {}: ", path.display())), "{arguments:?}: {start}");
            assert!(!error.trim_end().contains(char::is_control), "{arguments:?}: {start}");
            // A trace is read line by line, and says so.
            assert!(error.contains(word) || command == ["check"], "{arguments:?}: {start}");
            assert_eq!(stdout(&output), "", "{arguments:?}");
        }
    }
    let zeros = folder.path().join("zeros");
    let output = bounded(&["replay", "--artifact", text(&zeros)]);
    assert_eq!(code(&output), BAD_INPUT);
    assert!(stderr(&output).contains("more than the 1048576 bytes that are read"), "{}", stderr(&output));
}

/// Runs the program where it cannot have more than 512 MiB of memory.
#[cfg(target_os = "linux")]
fn bounded(arguments: &[&str]) -> Output {
    let script = "ulimit -v 524288 && exec \"$0\" \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_simvisor")]).args(arguments);
    command.env_remove("CARGO_PKG_NAME").env_remove("CLICOLOR_FORCE");
    command.current_dir(env!("CARGO_TARGET_TMPDIR")).output().expect("the program starts")
}

/// Elsewhere nobody tells how to limit it.
#[cfg(not(target_os = "linux"))]
fn bounded(arguments: &[&str]) -> Output {
    ran(arguments)
}

/// A dialect that was forgotten must not pass for a runtime that keeps the contract.
#[test]
fn a_trace_of_unknown_events_is_not_called_conforming() {
    let folder = folder();
    let trace = concat!(
        r#"{"format":"simvisor-trace","version":1,"runtime":"toy","config":{"grace_ns":0,"max_concurrent":0,"bus_capacity":1}}"#,
        "\n",
        r#"{"at_ns":0,"event":{"seq":0,"kind":"spawn","name":"flaky"}}"#,
        "\n",
        r#"{"at_ns":9,"end":"done"}"#,
        "\n",
    );
    let path = file(&folder, "toy.jsonl", trace);
    let output = ran(&["check", text(&path)]);
    assert_eq!(code(&output), BAD_INPUT);
    assert!(stdout(&output).contains("events of kind `spawn`"), "{}", stdout(&output));
    assert!(!stdout(&output).contains("conforms"), "{}", stdout(&output));
    assert!(stderr(&output).contains("nothing was judged"), "{}", stderr(&output));
}

#[test]
fn a_case_that_is_cut_anywhere_is_refused() {
    let folder = folder();
    let whole = fs::read(saved(&folder)).expect("readable");
    for part in 1..12 {
        let cut = file(&folder, "cut.json", &whole[..whole.len() * part / 12]);
        file_refused("replay", &cut, &["truncated", "line"]);
    }
}
