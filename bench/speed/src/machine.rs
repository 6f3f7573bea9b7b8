//! What the machine says of this process: time and memory.

use std::time::Duration;

/// Processor time of this process so far. Other processes on the machine change it far less than the time on the wall, so
/// it is what ratios are made of.
pub(crate) fn cpu_time() -> Duration {
    let usage = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(usage.tv_sec.unsigned_abs(), u32::try_from(usage.tv_nsec).unwrap_or(0))
}

fn status(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    line.trim_matches(|letter: char| !letter.is_ascii_digit()).parse::<u64>().unwrap_or(0) * 1024
}

/// Memory that is resident now, in bytes.
pub(crate) fn resident_bytes() -> u64 {
    status("VmRSS:")
}

/// The most memory that was ever resident, in bytes.
pub(crate) fn peak_bytes() -> u64 {
    status("VmHWM:")
}
