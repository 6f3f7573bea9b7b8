//! One process for each measurement: no system shares memory, caches or an allocator with what ran before it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::load::{Load, Step};
use crate::machine;
use crate::workload::{System, Work};

/// What one process needed, in all.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    /// Of the processor.
    pub(crate) cpu_ns: f64,
    /// On the wall.
    pub(crate) wall_ns: f64,
    /// The most memory.
    pub(crate) peak_bytes: f64,
    /// Memory of an idle task, where that was looked at.
    pub(crate) bytes_per_task: f64,
}

impl Cost {
    /// The cost of one unit.
    pub(crate) fn per_unit(self, units: u64) -> Self {
        let units = units as f64;
        Self { cpu_ns: self.cpu_ns / units, wall_ns: self.wall_ns / units, ..self }
    }
}

/// The median of each number.
pub(crate) fn median(costs: &[Cost]) -> Cost {
    let middle = |number: fn(&Cost) -> f64| {
        let mut numbers: Vec<_> = costs.iter().map(number).collect();
        numbers.sort_by(f64::total_cmp);
        numbers[numbers.len() / 2]
    };
    Cost {
        cpu_ns: middle(|cost| cost.cpu_ns),
        wall_ns: middle(|cost| cost.wall_ns),
        peak_bytes: middle(|cost| cost.peak_bytes),
        bytes_per_task: middle(|cost| cost.bytes_per_task),
    }
}

/// In a process of its own: does the work and prints what it needed. `numbers`: the work as [`arguments`] wrote it.
pub(crate) fn worker(system: &str, numbers: &[String]) {
    let system = System::ALL.into_iter().find(|known| known.name() == system).expect("a known system");
    let work = parse(numbers);
    let (began, cpu) = (Instant::now(), machine::cpu_time());
    work.run(system);
    let (cpu, wall) = (machine::cpu_time() - cpu, began.elapsed());
    println!("{} {} {}", cpu.as_nanos(), wall.as_nanos(), machine::peak_bytes());
}

fn arguments(work: Work) -> Vec<String> {
    let (kind, numbers) = match work {
        Work::Tasks(Load { worlds, tasks, steps, step }) => {
            ("tasks", vec![worlds, tasks, steps, if let Step::Sleep(ms_max) = step { ms_max } else { 0 }])
        }
        Work::Failing(worlds, tasks, failures) => ("failing", vec![worlds, tasks, failures]),
        Work::Judged(worlds, tasks, failures) => ("judged", vec![worlds, tasks, failures]),
        Work::Sweep(seeds) => ("sweep", vec![seeds]),
        Work::Idle(worlds, tasks) => ("idle", vec![worlds, tasks]),
    };
    std::iter::once(kind.to_owned()).chain(numbers.iter().map(ToString::to_string)).collect()
}

fn parse(arguments: &[String]) -> Work {
    let numbers: Vec<u64> = arguments[1..].iter().map(|number| number.parse().expect("a number")).collect();
    match (arguments[0].as_str(), &numbers[..]) {
        ("tasks", &[worlds, tasks, steps, ms_max]) => {
            let step = if ms_max == 0 { Step::Yield } else { Step::Sleep(ms_max) };
            Work::Tasks(Load { worlds, tasks, steps, step })
        }
        ("failing", &[worlds, tasks, failures]) => Work::Failing(worlds, tasks, failures),
        ("judged", &[worlds, tasks, failures]) => Work::Judged(worlds, tasks, failures),
        ("sweep", &[seeds]) => Work::Sweep(seeds),
        ("idle", &[worlds, tasks]) => Work::Idle(worlds, tasks),
        _ => panic!("unknown work {arguments:?}"),
    }
}

/// Starts processes.
#[derive(Debug)]
pub(crate) struct Starter {
    own: PathBuf,
    madsim: Option<PathBuf>,
}

impl Starter {
    /// Builds madsim's part, which wants flags and a target folder of its own.
    pub(crate) fn new(with_madsim: bool) -> Self {
        let own = std::env::current_exe().expect("the program that runs has a file");
        let madsim = with_madsim.then(|| build_madsim(&own)).flatten();
        Self { own, madsim }
    }

    /// Does the work on a system; `None` where that system cannot be run here.
    pub(crate) fn cost(&self, system: System, work: Work) -> Option<Cost> {
        let mut command = match (system, work) {
            (System::Madsim, Work::Tasks(_)) => {
                let mut command = Command::new(self.madsim.as_ref()?);
                command.args(&arguments(work)[1..]);
                command
            }
            _ => {
                let mut command = Command::new(&self.own);
                command.arg("--worker").arg(system.name()).args(arguments(work));
                command
            }
        };
        let output = command.stdin(Stdio::null()).output().ok()?;
        let (told, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if !output.status.success() {
            eprintln!("{} failed on {work:?}: {said}", system.name());
            return None;
        }
        let mut numbers = told.split_whitespace().map(|number| number.parse().unwrap_or(f64::NAN));
        let mut next = || numbers.next().unwrap_or(f64::NAN);
        let (cpu_ns, wall_ns, peak_bytes) = (next(), next(), next());
        let idle = said.lines().find_map(|line| line.strip_prefix("bytes_per_task "));
        let bytes_per_task = idle.and_then(|number| number.parse().ok()).unwrap_or(f64::NAN);
        Some(Cost { cpu_ns, wall_ns, peak_bytes, bytes_per_task })
    }
}

fn build_madsim(own: &Path) -> Option<PathBuf> {
    let target = own.parent()?.parent()?.join("madsim");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("madsim");
    eprintln!("building madsim's part");
    let status = Command::new("cargo")
        .args(["build", "--release", "--quiet", "--target-dir"])
        .arg(&target)
        .current_dir(folder)
        .env("RUSTFLAGS", "--cfg madsim")
        .status()
        .ok()?;
    status.success().then(|| target.join("release/simvisor-bench-madsim"))
}
