//! Traces of other runtimes: dialects, deviations, and whatever is odd about a trace.

use simvisor_sim::conform::{Checked, Dialect, Judge, Switches, check};

const HEADER: &str = r#"{"format":"simvisor-trace","version":1,"runtime":"mine 1.0","config":{"grace_ns":60000000000,"max_concurrent":0,"bus_capacity":1024,"timer_late_ns":0},"subscribers":[]}"#;

/// One task that runs once, in the contract's words.
const ONCE: [&str; 11] = [
    r#"{"at_ns":0,"call":{"op":1,"do":{"add":{"task":"web","restart":"never","backoff":{"first_ns":0,"max_ns":0,"factor":1.0,"jitter":"none"},"timeout_ns":0}}}}"#,
    r#"{"at_ns":0,"event":{"seq":0,"kind":"TaskAddRequested","wall_ns":0,"task":"web"}}"#,
    r#"{"at_ns":0,"answer":{"op":1,"result":"done"}}"#,
    r#"{"at_ns":0,"call":{"op":2,"do":{"run":[]}}}"#,
    r#"{"at_ns":0,"event":{"seq":1,"kind":"TaskAdded","wall_ns":0,"task":"web"}}"#,
    r#"{"at_ns":0,"event":{"seq":2,"kind":"TaskStarting","wall_ns":0,"task":"web","attempt":1}}"#,
    r#"{"at_ns":5,"event":{"seq":3,"kind":"TaskStopped","wall_ns":5,"task":"web"}}"#,
    r#"{"at_ns":5,"event":{"seq":4,"kind":"ActorExhausted","wall_ns":5,"task":"web","attempt":1,"reason":"policy_exhausted_success"}}"#,
    r#"{"at_ns":5,"event":{"seq":5,"kind":"TaskRemoved","wall_ns":5,"task":"web"}}"#,
    r#"{"at_ns":5,"answer":{"op":2,"result":"done"}}"#,
    r#"{"at_ns":5,"end":"done"}"#,
];

fn judged(text: &str, dialect: Dialect, switches: &Switches) -> Checked {
    let mut judge = Judge::new(dialect, switches).expect("its deviations are known");
    check("t.jsonl", text.as_bytes(), &mut judge).unwrap_or_else(|error| panic!("{error}"))
}

fn by_contract(text: &str) -> Checked {
    judged(text, Dialect::contract(), &Switches::default())
}

fn broken(checked: &Checked) -> Vec<&'static str> {
    checked.judgement.departures.iter().map(|departure| departure.rule).collect()
}

fn lines(lines: &[&str]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[test]
fn a_trace_by_the_book_conforms_and_says_what_it_put_to_the_test() {
    let checked = by_contract(&lines(&[&[HEADER], &ONCE[..]].concat()));
    assert_eq!(checked.oddities.seen(), []);
    assert_eq!(broken(&checked), Vec::<&str>::new());
    let tested: Vec<_> = checked.judgement.coverage.tested().collect();
    assert!(tested.contains(&"A1") && tested.contains(&"G4") && !tested.contains(&"A6"), "{tested:?}");
}

#[test]
fn the_trace_that_the_description_of_the_format_shows_conforms() {
    let page = include_str!("../../docs/trace.md");
    let (_, rest) = page.split_once("```jsonl\n").expect("it shows a whole trace");
    let (trace, _) = rest.split_once("```").expect("the trace ends");
    let checked = by_contract(trace);
    assert_eq!(checked.oddities.seen(), []);
    assert_eq!(broken(&checked), Vec::<&str>::new(), "{:#?}", checked.judgement.departures);
    let tested: Vec<_> = checked.judgement.coverage.tested().collect();
    for rule in ["A1", "A2", "R1", "R2", "R4", "G2", "G4", "D1", "D5"] {
        assert!(tested.contains(&rule), "{rule} was not put to the test: {tested:?}");
    }
    // A nanosecond too early, and it departs.
    let early = trace.replace(r#"{"at_ns":105000000,"event"#, r#"{"at_ns":104999999,"event"#);
    assert_eq!(broken(&by_contract(&early)), ["R2", "monitor"]);
}

#[test]
fn the_trace_and_the_dialect_that_the_guide_shows_conform() {
    let page = include_str!("../../docs/reference-model.md");
    let block = |fence: &str| {
        let (_, rest) = page.split_once(fence).expect("it shows one");
        rest.split_once("```").expect("it ends").0
    };
    let dialect = Dialect::from_toml(block("```toml\n")).expect("it is a dialect");
    let checked = judged(block("```json\n"), dialect, &Switches::default());
    assert_eq!(checked.oddities.seen(), []);
    assert_eq!(broken(&checked), Vec::<&str>::new(), "{:#?}", checked.judgement.departures);
    assert!(checked.judgement.coverage.tested().any(|rule| rule == "A1"));
}

#[test]
fn each_oddity_is_reported_once_with_its_line_and_the_rest_is_judged() {
    let odd = [
        HEADER,
        ONCE[0],
        ONCE[1],
        ONCE[2],
        ONCE[3],
        "no json",
        r#"{"at_ns":0,"event":{"seq":1,"kind":"TaskAdded","wall_ns":0,"task":"web"}}"#,
        r#"{"at_ns":0,"event":{"seq":2,"kind":"Sneezed","task":"web"}}"#,
        r#"{"at_ns":0,"event":{"seq":3,"kind":"Sneezed","task":"web"}}"#,
        r#"{"at_ns":0,"event":{"seq":4,"kind":"TaskStarting","wall_ns":0,"task":"web","attempt":1}}"#,
        r#"{"at_ns":5,"event":{"seq":8,"kind":"TaskStopped","wall_ns":5,"task":"web"}}"#,
        r#"{"at_ns":4,"event":{"seq":9,"kind":"ActorExhausted","wall_ns":5,"task":"web","attempt":1,"reason":"policy_exhausted_success"}}"#,
        r#"{"at_ns":5,"weather":{"rain":true}}"#,
        r#"{"event":{"seq":10,"kind":"TaskRemoved","wall_ns":5,"task":"web"}}"#,
        r#"{"at_ns":5,"answer":{"op":2,"result":"done"}}"#,
        r#"{"at_ns":5,"end":"do"#,
    ];
    // Renumbered, so that the gaps alone do not break a rule.
    let mut dialect = Dialect::contract();
    dialect.sequence = simvisor_sim::conform::Sequence::Renumber;
    let checked = judged(odd.join("\n").as_str(), dialect, &Switches::default());
    let seen: Vec<_> = checked.oddities.seen().iter().map(|odd| (odd.line, odd.times)).collect();
    let told: Vec<_> = checked.oddities.seen().iter().map(|odd| odd.what.as_str()).collect();
    assert_eq!(seen, [(6, 1), (8, 2), (11, 1), (12, 1), (13, 1), (14, 1), (16, 1), (16, 1)], "{told:#?}");
    for (told, says) in told.iter().zip([
        "no JSON",
        "`Sneezed`",
        "goes from 4 to 8: 3 events are not in the trace",
        "goes back from 5 to 4",
        "`weather`",
        "`at_ns` is missing",
        "cut off",
        "without an `end`",
    ]) {
        assert!(told.contains(says), "{told} does not say {says}");
    }
    assert_eq!(broken(&checked), Vec::<&str>::new(), "{:#?}", checked.judgement.departures);
}

#[test]
fn a_gap_in_the_numbers_of_the_contract_is_a_departure_too() {
    let without: Vec<_> =
        std::iter::once(HEADER).chain(ONCE.into_iter().filter(|line| !line.contains("\"seq\":3"))).collect();
    let checked = by_contract(&lines(&without));
    assert_eq!(checked.oddities.seen()[0].line, 8);
    let broken = broken(&checked);
    assert!(broken.contains(&"S1") && broken.contains(&"A1"), "{broken:?}");
}

#[test]
fn a_trace_without_a_header_is_judged_with_assumptions() {
    let checked = by_contract(&lines(&ONCE));
    assert_eq!(checked.oddities.seen().len(), 1);
    assert!(checked.oddities.seen()[0].what.contains("no header before this line"));
    assert_eq!(broken(&checked), Vec::<&str>::new());
}

#[test]
fn what_is_no_trace_at_all_is_refused() {
    let refused = |text: &str| {
        let mut judge = Judge::new(Dialect::contract(), &Switches::default()).expect("no deviations");
        check("t.jsonl", text.as_bytes(), &mut judge).expect_err(text).to_string()
    };
    assert!(refused("").contains("it is empty"));
    assert!(refused(&"\0".repeat(2 << 20)).contains("no line of it has at most 1048576 bytes"));
    assert!(refused("hello\nworld\n").contains("no JSON object"));
    assert!(refused("{\"format\":\"simvisor-case\"}").contains("simvisor-case"));
    assert!(refused(&HEADER.replace("\"version\":1", "\"version\":9")).contains("update simvisor"));
}

#[test]
fn attempts_of_taskvisor_0_9_are_those_of_the_contract() {
    let trace = [
        HEADER,
        ONCE[0],
        r#"{"at_ns":0,"event":{"seq":71,"kind":"TaskAddRequested","wall_ns":0,"task":"web","id":"t1"}}"#,
        ONCE[2],
        ONCE[3],
        r#"{"at_ns":0,"event":{"seq":72,"kind":"TaskAdded","wall_ns":0,"task":"web","id":"t1"}}"#,
        r#"{"at_ns":0,"event":{"seq":73,"kind":"AttemptStarting","wall_ns":0,"task":"web","id":"t1","attempt":1}}"#,
        r#"{"at_ns":5,"event":{"seq":74,"kind":"AttemptSucceeded","wall_ns":5,"task":"web","id":"t1","attempt":1,"duration_ms":0}}"#,
        r#"{"at_ns":5,"event":{"seq":75,"kind":"TaskFinished","wall_ns":5,"task":"web","id":"t1","outcome_kind":"outcome_completed"}}"#,
        r#"{"at_ns":5,"event":{"seq":76,"kind":"TaskRemoved","wall_ns":5,"task":"web","id":"t1"}}"#,
        ONCE[9],
        ONCE[10],
    ];
    let dialect = || Dialect::named("taskvisor-0.9").expect("it is built in");
    let checked = judged(&lines(&trace), dialect(), &Switches::default());
    assert_eq!(checked.oddities.seen(), []);
    assert_eq!(broken(&checked), Vec::<&str>::new(), "{:#?}", checked.judgement.departures);
    // The same in the contract's words is full of kinds that nobody knows.
    assert!(by_contract(&lines(&trace)).oddities.seen().len() >= 3);
    // An outcome that does not fit the attempt is noticed through the dialect.
    let fatal = lines(&trace).replace("outcome_completed\"", "outcome_fatal\",\"reason\":\"gone\"");
    let broken = broken(&judged(&fatal, dialect(), &Switches::default()));
    assert!(broken.contains(&"monitor"), "{broken:?}");
}

#[test]
fn it_conforms_except_that() {
    // taskvisor 0.1 answers an add of a taken name with Ok, and refuses it by an event.
    let again = r#"{"at_ns":0,"call":{"op":7,"do":{"add":{"task":"web","restart":"never","backoff":{"first_ns":0,"max_ns":0,"factor":1.0,"jitter":"none"},"timeout_ns":0}}}}"#;
    let trace = [
        &[HEADER],
        &ONCE[..6],
        &[
            again,
            r#"{"at_ns":0,"event":{"seq":3,"kind":"TaskAddRequested","wall_ns":0,"task":"web"}}"#,
            r#"{"at_ns":0,"answer":{"op":7,"result":"done"}}"#,
            r#"{"at_ns":0,"event":{"seq":4,"kind":"TaskFailed","wall_ns":0,"task":"web","reason":"task_already_exists"}}"#,
        ],
        &[
            r#"{"at_ns":5,"event":{"seq":5,"kind":"TaskStopped","wall_ns":5,"task":"web"}}"#,
            r#"{"at_ns":5,"event":{"seq":6,"kind":"ActorExhausted","wall_ns":5,"task":"web","attempt":1,"reason":"policy_exhausted_success"}}"#,
            r#"{"at_ns":5,"event":{"seq":7,"kind":"TaskRemoved","wall_ns":5,"task":"web"}}"#,
        ],
        &ONCE[9..],
    ]
    .concat();
    let dialect = || Dialect::named("taskvisor-0.1").expect("it is built in");
    let checked = judged(&lines(&trace), dialect(), &Switches::default());
    assert_eq!(broken(&checked), Vec::<&str>::new(), "{:#?}", checked.judgement.departures);
    let [excused] = checked.judgement.excused.as_slice() else { panic!("{:?}", checked.judgement.excused) };
    assert_eq!((excused.deviation.as_str(), excused.times), ("refusals-are-events", 2));
    // Nothing is let pass.
    let strict = Switches { off: vec!["all".to_owned()], ..Switches::default() };
    let broken = broken(&judged(&lines(&trace), dialect(), &strict));
    assert!(broken.contains(&"G1") && broken.contains(&"monitor"), "{broken:?}");
}

#[test]
fn an_excuse_lets_pass_what_it_names_and_nothing_else() {
    let dialect = || {
        Dialect::from_toml(
            r#"
            name = "late"
            sentence = "Removals are late."
            [[deviation]]
            id = "late-removals"
            sentence = "a task is removed later than at once"
            excuse = [{ rule = "G4", saying = "*not removed at once" }, { rule = "G4", saying = "the clock moved on*" }]
            "#,
        )
        .expect("a dialect")
    };
    let late = lines(&[&[HEADER], &ONCE[..]].concat())
        .replace(r#"{"at_ns":5,"event":{"seq":5"#, r#"{"at_ns":6,"event":{"seq":5"#)
        .replace(r#"{"at_ns":5,"answer":{"op":2"#, r#"{"at_ns":6,"answer":{"op":2"#)
        .replace(r#"{"at_ns":5,"end""#, r#"{"at_ns":6,"end""#);
    assert_eq!(broken(&by_contract(&late)), ["G4", "monitor"]);
    let checked = judged(&late, dialect(), &Switches::default());
    assert_eq!(broken(&checked), Vec::<&str>::new(), "{:#?}", checked.judgement.departures);
    assert_eq!(checked.judgement.excused.len(), 1);
    // A removal that comes twice is something else.
    let twice = late.replace(
        r#"{"at_ns":6,"answer":{"op":2"#,
        concat!(
            r#"{"at_ns":6,"event":{"seq":6,"kind":"TaskRemoved","wall_ns":6,"task":"web"}}"#,
            "\n",
            r#"{"at_ns":6,"answer":{"op":2"#
        ),
    );
    assert_eq!(broken(&judged(&twice, dialect(), &Switches::default()))[0], "G4");
}

/// A life of one attempt that fails, of a name and with a reason that never were before.
fn life(number: u64) -> String {
    let (name, at, op, seq) = (format!("job-{number}"), number * 10, number + 10, 6 * number + 3);
    let event = |place: u64, kind: &str, rest: &str| {
        format!(
            r#"{{"at_ns":{at},"event":{{"seq":{},"kind":"{kind}","wall_ns":{at},"task":"{name}"{rest}}}}}"#,
            seq + place
        )
    };
    let failed = format!(r#","attempt":1,"reason":"execution failed: {number}""#);
    [
        format!(
            r#"{{"at_ns":{at},"call":{{"op":{op},"do":{{"add":{{"task":"{name}","restart":"never","backoff":{{"first_ns":0,"max_ns":0,"factor":1.0,"jitter":"none"}},"timeout_ns":0}}}}}}}}"#
        ),
        event(0, "TaskAddRequested", ""),
        format!(r#"{{"at_ns":{at},"answer":{{"op":{op},"result":"done"}}}}"#),
        event(1, "TaskAdded", ""),
        event(2, "TaskStarting", r#","attempt":1"#),
        event(3, "TaskFailed", &failed),
        event(4, "ActorExhausted", &failed),
        event(5, "TaskRemoved", ""),
    ]
    .map(|line| line + "\n")
    .concat()
}

#[test]
fn what_is_remembered_grows_with_live_tasks_and_not_with_the_trace() {
    let lives = 30_000;
    let long = r#"{"at_ns":0,"call":{"op":1,"do":{"add":{"task":"long","restart":"never","backoff":{"first_ns":0,"max_ns":0,"factor":1.0,"jitter":"none"},"timeout_ns":0}}}}"#;
    let begins = [
        HEADER,
        r#"{"at_ns":0,"call":{"op":0,"do":"serve"}}"#,
        long,
        r#"{"at_ns":0,"event":{"seq":0,"kind":"TaskAddRequested","wall_ns":0,"task":"long"}}"#,
        r#"{"at_ns":0,"answer":{"op":1,"result":"done"}}"#,
        r#"{"at_ns":0,"event":{"seq":1,"kind":"TaskAdded","wall_ns":0,"task":"long"}}"#,
        r#"{"at_ns":0,"event":{"seq":2,"kind":"TaskStarting","wall_ns":0,"task":"long","attempt":1}}"#,
    ];
    let (at, seq) = (lives * 10, lives * 6 + 3);
    // Who has been there all along ends twice, which nobody but a judge that still knows of it can tell.
    let stopped = |seq: u64| {
        format!(
            r#"{{"at_ns":{at},"event":{{"seq":{seq},"kind":"TaskStopped","wall_ns":{at},"task":"long"}}}}"#
        ) + "\n"
    };
    let trace: String = std::iter::once(lines(&begins))
        .chain((0..lives).map(life))
        .chain([stopped(seq), stopped(seq + 1)])
        .collect();
    let mut judge = Judge::new(Dialect::contract(), &Switches::default()).expect("it has no deviations");
    let checked = check("t.jsonl", trace.as_bytes(), &mut judge).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(checked.judgement.events, 6 * lives + 5);
    assert_eq!(broken(&checked), ["A1", "monitor"], "{:?}", checked.judgement.departures);
    assert!(judge.remembers() < 10_000, "{} tasks are remembered of {lives}", judge.remembers());
}

/// A slot of taskvisor 0.9.0 announces a start while the registry has an older task of that name. It rejects one, is replaced,
/// and takes another meanwhile; then the older one ends, and the start is granted.
fn a_slot_that_waits_for_the_registry() -> Vec<String> {
    let controller = r#""timer_late_ns":0,"controller":{"queue_capacity":8,"slot_capacity":8}}"#;
    let header = HEADER.replace(r#""timer_late_ns":0}"#, controller);
    let spec = r#"{"task":"web","restart":"never","backoff":{"first_ns":0,"max_ns":0,"factor":1.0,"jitter":"none"},"timeout_ns":0}"#;
    let mut seq = 70;
    let mut event = |at: u64, kind: &str, rest: &str| {
        seq += 1;
        format!(r#"{{"at_ns":{at},"event":{{"seq":{seq},"kind":"{kind}","wall_ns":{at}{rest}}}}}"#)
    };
    let of = |id: u32, rest: &str| format!(r#","task":"web","id":"t{id}"{rest}"#);
    let call = |at: u64, op: u32, what: &str| format!(r#"{{"at_ns":{at},"call":{{"op":{op},"do":{what}}}}}"#);
    let done = |at: u64, op: u32| format!(r#"{{"at_ns":{at},"answer":{{"op":{op},"result":"done"}}}}"#);
    let submit = |how: &str| format!(r#"{{"submit":{{"spec":{spec},"admission":"{how}","wait":true}}}}"#);
    let reason = |reason: &str| format!(r#","reason":"{reason}""#);
    let mut lines = vec![header, call(0, 0, "\"serve\""), call(0, 1, &format!(r#"{{"add":{spec}}}"#))];
    lines.push(event(0, "TaskAddRequested", &of(1, "")));
    lines.push(event(0, "TaskAdded", &of(1, "")));
    lines.push(done(0, 1));
    lines.push(event(0, "AttemptStarting", &of(1, r#","attempt":1"#)));
    for (op, how) in (2..).zip(["queue", "drop_if_running", "replace", "queue"]) {
        lines.extend([call(5, op, &submit(how)), done(5, op)]);
    }
    let busy = r#","rejection_kind":"slot_busy","reason":"slot is busy; DropIfRunning rejected the submission (admitting)""#;
    lines.push(event(5, "TaskAddRequested", &of(2, "")));
    lines.push(event(5, "ControllerSubmitted", &of(2, &reason("admission=Queue status=admitting"))));
    lines.push(event(5, "ControllerRejected", &of(3, busy)));
    let replaced = reason("admitting→terminating (replace)");
    lines.push(event(5, "ControllerSlotTransition", &format!(r#","task":"web"{replaced}"#)));
    lines.push(event(
        5,
        "ControllerSubmitted",
        &of(4, &reason("admission=Replace status=admitting depth=1")),
    ));
    lines.push(event(5, "ControllerSubmitted", &of(5, &reason("admission=Queue depth=2"))));
    let completed = r#","outcome_kind":"outcome_completed""#;
    let ends = |lines: &mut Vec<String>, event: &mut dyn FnMut(u64, &str, &str) -> String, id: u32| {
        lines.push(event(5, "AttemptSucceeded", &of(id, r#","attempt":1"#)));
        lines.push(event(5, "TaskFinished", &of(id, completed)));
        lines.push(event(5, "TaskRemoved", &of(id, "")));
    };
    ends(&mut lines, &mut event, 1);
    lines.push(event(5, "TaskAdded", &of(2, "")));
    lines.push(event(5, "TaskRemoveRequested", r#","id":"t2""#));
    lines.push(event(5, "TaskFinished", &of(2, r#","outcome_kind":"outcome_canceled""#)));
    lines.push(event(5, "TaskRemoved", &of(2, "")));
    for (id, depth) in [(4, 1), (5, 0)] {
        lines.push(event(5, "TaskAddRequested", &of(id, "")));
        let started = reason(&format!("started_from_queue depth={depth}"));
        lines.push(event(5, "ControllerSubmitted", &of(id, &started)));
        lines.push(event(5, "TaskAdded", &of(id, "")));
        let running = reason("admitting→running");
        lines.push(event(5, "ControllerSlotTransition", &format!(r#","task":"web"{running}"#)));
        lines.push(event(5, "AttemptStarting", &of(id, r#","attempt":1"#)));
        ends(&mut lines, &mut event, id);
    }
    lines.push(call(9, 6, "\"shutdown\""));
    lines.push(event(9, "ShutdownRequested", ""));
    lines.push(done(9, 6));
    lines.push(event(9, "AllStoppedWithinGrace", ""));
    lines.extend([done(9, 0), r#"{"at_ns":9,"end":"done"}"#.to_owned()]);
    lines
}

#[test]
fn a_slot_of_taskvisor_0_9_that_waits_for_the_registry_is_followed() {
    let story = a_slot_that_waits_for_the_registry();
    let judge = |lines: &[String], off: &[&str]| {
        let off = off.iter().map(|&id| id.to_owned()).collect();
        let dialect = Dialect::named("taskvisor-0.9").expect("it is built in");
        judged(&(lines.join("\n") + "\n"), dialect, &Switches { off, ..Switches::default() })
    };
    let checked = judge(&story, &[]);
    assert_eq!(broken(&checked), Vec::<&str>::new(), "{:#?}", checked.judgement.departures);
    assert_eq!(checked.oddities.seen(), []);
    let excused: Vec<_> =
        checked.judgement.excused.iter().map(|excused| excused.deviation.as_str()).collect();
    assert_eq!(excused, ["starts-are-decided-later"]);
    let strict = broken(&judge(&story, &["starts-are-decided-later"]));
    assert!(strict.len() > 1 && strict.contains(&"monitor"), "{strict:?}");

    // What is wrong in such a slot is found by both judges.
    let changed = |from: &str, to: &str| -> Vec<String> {
        assert!(story.iter().any(|line| line.contains(from)), "{from}");
        story.iter().map(|line| line.replace(from, to)).collect()
    };
    let without = |what: &[&str]| -> Vec<String> {
        let stays = |line: &&String| !what.iter().all(|part| line.contains(part));
        let lines: Vec<_> = story.iter().filter(stays).cloned().collect();
        assert!(lines.len() < story.len(), "{what:?}");
        lines
    };
    for (what, lines, rule) in [
        ("it counts wrong", changed("Queue depth=2", "Queue depth=3"), "C2"),
        ("it rejects as one that runs", changed("(admitting)", "(running)"), "C2"),
        ("it forgets one that it took", without(&["started_from_queue depth=0"]), "C2"),
        ("it does not take one", without(&["admission=Queue depth=2"]), "C2"),
        ("it does not say that it was replaced", without(&["terminating (replace)"]), "C2"),
        ("what was replaced goes without a request", without(&["TaskRemoveRequested"]), "G5"),
        ("its start is not decided", without(&["TaskAdded", "t2"]), "C3"),
        (
            "it announces its start twice",
            {
                let mut lines = story.clone();
                let place =
                    lines.iter().position(|line| line.contains("Queue status=admitting")).expect("it does");
                let again = lines[place].replace("\"t2\"", "\"t9\"");
                lines.insert(place + 1, again);
                lines
            },
            "C2",
        ),
    ] {
        let broken = broken(&judge(&lines, &[]));
        assert!(broken.contains(&rule) && broken.contains(&"monitor"), "{what}: {broken:?}");
    }
}
