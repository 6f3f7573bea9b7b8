//! Every rule against hand-made traces: some that break it, which it must name first, and some that it must pass.

mod breaking;
mod liberties;
mod mutants;
mod passing;
mod story;

use std::collections::BTreeSet;

use super::{Monitor, RULES};
use story::Story;

type Entry = (&'static str, &'static str, fn() -> Story);

#[test]
fn a_broken_rule_is_named_first() {
    for (rule, what, story) in breaking::STORIES {
        let rules = story().judge();
        let first = rules.violations().first().unwrap_or_else(|| panic!("{rule}, {what}: nothing was found"));
        assert_eq!(first.rule, *rule, "{what}: {:#?}", rules.violations());
        assert!(first.message.len() > 15, "{what}: {first:?}");
    }
}

#[test]
fn what_conforms_passes_every_rule_and_puts_its_own_to_the_test() {
    for (rule, what, story) in passing::STORIES {
        let rules = story().judge();
        assert_eq!(rules.violations(), [], "{rule}, {what}");
        let index = RULES.iter().position(|known| known.id == *rule).expect("a known rule");
        assert!(rules.witnesses()[index] > 0, "{rule} was not put to the test: {what}");
    }
}

#[test]
fn what_conforms_is_explained_by_the_monitor() {
    for (rule, what, story) in passing::STORIES {
        let mut monitor = Monitor::new();
        story().feed(&mut monitor);
        if let Some(unexplained) = monitor.unexplained() {
            panic!("{rule}, {what}: {unexplained}");
        }
    }
}

#[test]
fn every_rule_has_stories_of_both_kinds_and_an_id_and_sentence_of_its_own() {
    let ids = |stories: &[Entry]| stories.iter().map(|(rule, ..)| *rule).collect::<BTreeSet<_>>();
    let all: BTreeSet<_> = RULES.iter().map(|rule| rule.id).collect();
    assert_eq!(all.len(), RULES.len(), "ids are unique");
    assert_eq!(ids(breaking::STORIES), all);
    assert_eq!(ids(passing::STORIES), all);
    let sentences: BTreeSet<_> = RULES.iter().map(|rule| rule.sentence).collect();
    assert_eq!(sentences.len(), RULES.len());
    assert!(RULES.iter().all(|rule| rule.sentence.ends_with('.')));
}

#[test]
fn one_violation_is_kept_for_each_rule_and_says_where() {
    let story = || {
        Story::new()
            .at(3)
            .shutdown(1)
            .shutdown_requested()
            .done(1)
            .shutdown(2)
            .shutdown_requested()
            .shutdown_requested()
    };
    let rules = story().judge();
    let [violation] = rules.violations() else { panic!("{:?}", rules.violations()) };
    assert_eq!(
        (violation.rule, violation.at_ns, violation.record, violation.seq),
        ("D2", 3_000_000, 4, Some(1))
    );
}

#[test]
fn rules_forget_one_trace_before_the_next() {
    let mut rules = super::Rules::new();
    Story::new().shutdown_requested().shutdown_requested().feed(&mut rules);
    assert!(!rules.violations().is_empty());
    let (_, _, good) = passing::STORIES[0];
    good().feed(&mut rules);
    assert_eq!(rules.violations(), []);
}
