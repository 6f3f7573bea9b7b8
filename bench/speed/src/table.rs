//! What was measured, for people and for programs.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use crate::Curve;
use crate::measure::Cost;
use crate::workload::{Goal, System, Workload};

/// A workload and the median cost of a unit on each system.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) workload: &'static Workload,
    pub(crate) costs: Vec<(System, Cost)>,
}

impl Row {
    /// Processor time of a unit, in nanoseconds.
    pub(crate) fn ns(&self, system: System) -> Option<f64> {
        self.costs.iter().find(|(known, _)| *known == system).map(|(_, cost)| cost.cpu_ns)
    }

    fn best_peer(&self) -> Option<f64> {
        self.costs
            .iter()
            .filter(|(system, _)| system.is_peer())
            .map(|(_, cost)| cost.cpu_ns)
            .min_by(f64::total_cmp)
    }

    /// Our cost as a multiple of another.
    fn ratio(&self, to: Option<f64>) -> Option<f64> {
        Some(self.ns(System::Simvisor)? / to?)
    }

    /// What is to be reached, in words, our number, and the limit for it.
    fn goals(&self, rows: &[Row]) -> Vec<(String, Option<f64>, f64)> {
        let goal = |goal: &Goal| match *goal {
            Goal::Times(limit, system) => {
                (format!("× {}", system.name()), self.ratio(self.ns(system)), limit)
            }
            Goal::TimesBestPeer(limit) => ("× the best peer".to_owned(), self.ratio(self.best_peer()), limit),
            Goal::Ns(limit) => ("ns".to_owned(), self.ns(System::Simvisor), limit),
            Goal::TimesOf(limit, name) => {
                let other = rows.iter().find(|row| row.workload.name == name);
                let ns = other.and_then(|row| row.ns(System::Simvisor));
                (format!("× {name}"), self.ratio(ns), limit)
            }
        };
        self.workload.goals.iter().map(goal).collect()
    }
}

/// One row: its costs, and what became of its goals. `rows`: those before it.
pub(crate) fn text(row: &Row, rows: &[Row]) -> String {
    let mut text =
        format!("{}, ns of processor (wall) for each {}:\n ", row.workload.name, row.workload.unit);
    for (system, Cost { cpu_ns, wall_ns, .. }) in &row.costs {
        let _ = write!(text, " {} {cpu_ns:.0} ({wall_ns:.0}),", system.name());
    }
    text.pop();
    for (what, reached, limit) in row.goals(rows) {
        let _ = match reached {
            Some(reached) => {
                let verdict = if reached <= limit { "reached" } else { "not reached" };
                write!(text, "\n  {reached:.3} {what}, at most {limit}: {verdict}")
            }
            None => write!(text, "\n  no number for {what}"),
        };
    }
    if let Some((_, cost)) = row.costs.iter().find(|(_, cost)| cost.bytes_per_task.is_finite()) {
        let (bytes, peak_mib) = (cost.bytes_per_task, cost.peak_bytes / 1_048_576.0);
        let _ = write!(text, "\n  {bytes:.0} bytes for each idle task, at most {peak_mib:.0} MiB in all");
    }
    text
}

/// The growth curve as rows.
pub(crate) fn growth(curves: &[Curve]) -> String {
    let mut text = "growth, ns for each sleep by number of tasks:".to_owned();
    for (system, points) in curves {
        let _ = write!(text, "\n  {}", system.name());
        for (tasks, ns) in points {
            let _ = write!(text, " {tasks}: {ns:.0},");
        }
        text.pop();
    }
    text
}

/// Everything: workload → system → nanoseconds, and the ratios.
pub(crate) fn json(rows: &[Row], curves: &[Curve]) -> Value {
    let mut workloads = Map::new();
    for (place, row) in rows.iter().enumerate() {
        let mut entry = Map::new();
        entry.insert("unit".to_owned(), json!(row.workload.unit));
        for (system, cost) in &row.costs {
            entry.insert(system.name().to_owned(), json!(cost.cpu_ns));
            entry.insert(format!("{} wall", system.name()), json!(cost.wall_ns));
        }
        entry.insert("ratio_to_best_peer".to_owned(), json!(row.ratio(row.best_peer())));
        entry.insert("ratio_to_limit".to_owned(), json!(row.ratio(row.ns(System::Limit))));
        if let Some((_, cost)) = row.costs.iter().find(|(_, cost)| cost.bytes_per_task.is_finite()) {
            entry.insert("bytes_per_task".to_owned(), json!(cost.bytes_per_task));
            entry.insert("peak_bytes".to_owned(), json!(cost.peak_bytes));
        }
        let goals = row.goals(&rows[..place]);
        let goals = goals
            .into_iter()
            .map(|(what, reached, limit)| json!({ "what": what, "is": reached, "at_most": limit }));
        entry.insert("goals".to_owned(), Value::Array(goals.collect()));
        workloads.insert(row.workload.name.to_owned(), Value::Object(entry));
    }
    let curves: Map<_, _> =
        curves.iter().map(|(system, points)| (system.name().to_owned(), json!(points))).collect();
    json!({ "workloads": workloads, "growth_ns_by_tasks": curves })
}
