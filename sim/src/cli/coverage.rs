//! What a sweep has shown, what it never did, and how likely the next seed is to show something new.

use serde_json::{Map, Value, json};
use simvisor_sim::oracle::MACHINES;
use simvisor_sim::search::Novelty;

use super::summary::{BOLD, DIM, line};
use simvisor_sim::page::Page;

/// Families that are told of in words; JSON has all.
const FAMILIES_TOLD: usize = 6;

pub(crate) fn tell(novelty: &Novelty, page: &Page) {
    let shown = novelty.shown();
    line(page, "shown", &format!("{} behaviours, {} pairs of events", novelty.behaviours(), shown.pairs()));
    let taken = MACHINES.iter().enumerate().map(|(place, machine)| {
        format!("{} {} of {}", machine.name, shown.taken(place), machine.transitions.len())
    });
    line(page, "moves", &format!("transitions taken: {}", taken.collect::<Vec<_>>().join(", ")));
    for (place, machine) in MACHINES.iter().enumerate() {
        for (from, to) in shown.never(place) {
            line(page, "never", &format!("{}: {from} → {to}", machine.name));
        }
        for (from, to) in shown.surplus(place) {
            line(page, "unlisted", &format!("{}: {from} → {to}", machine.name));
        }
    }
    let families = novelty.families();
    writeln!(
        page,
        "\n{BOLD}{:<32} {:>9} {:>11} {:>10} {:>9}{BOLD:#}",
        "family", "seeds", "behaviours", "seen once", "next new"
    );
    for (family, species) in families.iter().take(FAMILIES_TOLD) {
        let (seeds, behaviours, once) = (species.seeds(), species.behaviours(), species.seen_once());
        let chance = percent(species.chance_of_new());
        writeln!(page, "{:<32} {seeds:>9} {behaviours:>11} {once:>10} {chance:>9}", family.name());
    }
    let others = &families[families.len().min(FAMILIES_TOLD)..];
    if !others.is_empty() {
        let seeds: u64 = others.iter().map(|(_, species)| species.seeds()).sum();
        writeln!(page, "{DIM}and {} families with {seeds} seeds{DIM:#}", others.len());
    }
    if let Some(chance) = novelty.chance_of_new() {
        writeln!(page, "the next seed shows a new behaviour with a chance of about {}\n", percent(chance));
    }
}

fn percent(chance: f64) -> String {
    format!("{:.2} %", 100.0 * chance)
}

pub(crate) fn as_json(novelty: &Novelty) -> Value {
    let shown = novelty.shown();
    let pairs = |all: &mut dyn Iterator<Item = (&'static str, &'static str)>| {
        all.map(|(from, to)| json!([from, to])).collect::<Vec<_>>()
    };
    let machines: Map<_, _> = MACHINES
        .iter()
        .enumerate()
        .map(|(place, machine)| {
            let told = json!({
                "transitions": machine.transitions.len(),
                "taken": shown.taken(place),
                "never": pairs(&mut shown.never(place)),
                "unlisted": pairs(&mut shown.surplus(place)),
            });
            (machine.name.to_owned(), told)
        })
        .collect();
    let families: Map<_, _> = novelty
        .families()
        .into_iter()
        .map(|(family, species)| {
            let told = json!({
                "seeds": species.seeds(),
                "behaviours": species.behaviours(),
                "seen_once": species.seen_once(),
                "chance_of_new": species.chance_of_new(),
            });
            (family.name(), told)
        })
        .collect();
    json!({
        "behaviours": novelty.behaviours(),
        "event_pairs": shown.pairs(),
        "chance_of_new": novelty.chance_of_new(),
        "machines": machines,
        "families": families,
    })
}
