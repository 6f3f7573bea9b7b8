//! Speed of simvisor beside its peers.
//!
//! `cargo run --release --manifest-path bench/speed/Cargo.toml` runs every workload on every system, in alternation, each measurement in a
//! process of its own, and prints the medians of several rounds with their ratios. It writes `target/bench.json` and the
//! growth curve, `target/growth.svg`. `--quick` does one smaller round of all of it. `--rounds N` does N rounds,
//! `--only NAME` the workloads whose names contain that, `--picture FILE` puts the curve elsewhere.

mod barest;
mod load;
mod machine;
mod measure;
mod ours;
mod peers;
mod picture;
mod supervised;
mod table;
mod workload;

use std::io::IsTerminal as _;
use std::path::PathBuf;

use measure::{Cost, Starter, median};
use table::Row;
use workload::{GROWING, GROWTH, System, WORKLOADS, growth};

#[derive(Debug)]
struct Options {
    quick: bool,
    rounds: usize,
    only: Option<String>,
    picture: PathBuf,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, system, work @ ..] = arguments.as_slice()
        && flag == "--worker"
    {
        return measure::worker(system, work);
    }
    let Some(options) = read(&arguments) else {
        eprintln!("usage: simvisor-bench [--quick] [--rounds N] [--only NAME] [--picture FILE]");
        std::process::exit(2);
    };
    let wanted = |name: &str| options.only.as_ref().is_none_or(|only| name.contains(only.as_str()));
    let workloads: Vec<_> = WORKLOADS.iter().filter(|workload| wanted(workload.name)).collect();
    let starter = Starter::new(workloads.iter().any(|workload| workload.systems.contains(&System::Madsim)));

    let mut rows: Vec<Row> = Vec::new();
    for workload in workloads {
        let mut costs: Vec<(System, Vec<Cost>)> =
            workload.systems.iter().map(|&system| (system, Vec::new())).collect();
        for round in 0..options.rounds {
            for (system, costs) in &mut costs {
                let work = workload.on(*system, options.quick);
                progress(&format!("{} on {}, round {}", workload.name, system.name(), round + 1));
                costs.extend(starter.cost(*system, work).map(|cost| cost.per_unit(workload.units(work))));
            }
        }
        let costs = costs.into_iter().filter(|(_, costs)| !costs.is_empty());
        let row = Row { workload, costs: costs.map(|(system, costs)| (system, median(&costs))).collect() };
        progress("");
        println!("{}", table::text(&row, &rows));
        rows.push(row);
    }
    let curves = if wanted("growth") { curves(&starter, &options) } else { Vec::new() };
    if !curves.is_empty() {
        std::fs::write(&options.picture, picture::svg(&curves)).expect("the picture can be written");
        println!("{}", table::growth(&curves));
    }
    let target = PathBuf::from("target/bench.json");
    let json = serde_json::to_string_pretty(&table::json(&rows, &curves)).expect("numbers and names");
    std::fs::write(&target, json + "\n").expect("target/ can be written");
    println!("wrote {}", target.display());
}

/// Nanoseconds for each sleep, by number of tasks.
type Curve = (System, Vec<(u64, f64)>);

fn curves(starter: &Starter, options: &Options) -> Vec<Curve> {
    let mut curves: Vec<Curve> = GROWING.into_iter().map(|system| (system, Vec::new())).collect();
    for tasks in GROWTH {
        for (system, points) in &mut curves {
            let work = growth(tasks, options.quick);
            let rounds = (0..options.rounds).filter_map(|_| starter.cost(*system, work));
            let costs: Vec<_> = rounds.map(|cost| cost.per_unit(work.units(false))).collect();
            if !costs.is_empty() {
                points.push((tasks, median(&costs).cpu_ns));
            }
        }
    }
    curves
}

/// What is being measured, for somebody who watches.
fn progress(what: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K{what}");
    }
}

fn read(arguments: &[String]) -> Option<Options> {
    let mut options =
        Options { quick: false, rounds: 0, only: None, picture: PathBuf::from("target/growth.svg") };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => options.quick = true,
            "--rounds" => options.rounds = arguments.next()?.parse().ok().filter(|&rounds| rounds > 0)?,
            "--only" => options.only = Some(arguments.next()?.clone()),
            "--picture" => options.picture = PathBuf::from(arguments.next()?),
            _ => return None,
        }
    }
    if options.rounds == 0 {
        options.rounds = if options.quick { 1 } else { 5 };
    }
    Some(options)
}
