//! What a process asks of its machine: the wall clock and entropy, put under control in the process that plays a case.
//!
//! A real crate reads both behind our back: `SystemTime::now` stamps its events, and entropy seeds the order of hash
//! maps, the branch that `tokio::select!` polls first, and jitter. The standard library takes them from the C
//! library's `clock_gettime` and `getrandom`; the definitions here come first at link time, and pass everything on to
//! the kernel until [`take_over`] is called.
//!
//! From then on entropy is drawn from the case's seed, and each reading of the wall clock is later than the one before
//! by at least a nanosecond. So wall clock stamps tell the true order of everything that happened, whoever stamped it
//! and however late we were told of it, and [`instant_of`] tells at which virtual instant.
//!
//! Threads that a runtime makes for itself are put under control too ([`threads`]).
#![allow(unsafe_code)] // Symbols of the C library, and a signal. Nothing else in this package is unsafe.

pub mod threads;

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

/// The wall clock at virtual instant 0: 2026-01-01T00:00:00Z, in nanoseconds since the Unix epoch.
pub const WALL_START_NS: u64 = 1_767_225_600 * 1_000_000_000;

static TAKEN_OVER: AtomicBool = AtomicBool::new(false);
static ENTROPY: AtomicU64 = AtomicU64::new(0);
static START: OnceLock<tokio::time::Instant> = OnceLock::new();
static WALL: Mutex<Wall> = Mutex::new(Wall { last_ns: 0, instants: Vec::new() });

thread_local! {
    /// On the thread of the runtime under test the monotonic clock is the machine's no more either.
    static IS_STAGE: Cell<bool> = const { Cell::new(false) };
}

struct Wall {
    /// The last reading.
    last_ns: u64,
    /// Each virtual instant at which the clock was read, with the first reading there.
    instants: Vec<(u64, u64)>,
}

fn wall() -> MutexGuard<'static, Wall> {
    WALL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on this process has the clock and the entropy of a case. Called once, on the thread that will run it.
pub fn take_over(seed: u64) {
    threads::find();
    ENTROPY.store(seed, Ordering::Relaxed);
    IS_STAGE.set(true);
    TAKEN_OVER.store(true, Ordering::Relaxed);
}

/// Virtual instant 0 is now. Called once, within the runtime.
pub fn start_clock() {
    START.set(tokio::time::Instant::now()).expect("a process plays one case");
}

/// The virtual instant now, in nanoseconds; off the stage's thread, the last one that was seen.
pub fn now_ns() -> u64 {
    let last = || wall().instants.last().map_or(0, |&(_, at_ns)| at_ns);
    if !IS_STAGE.get() {
        return last();
    }
    START.get().map_or(0, |start| duration_ns(start.elapsed()))
}

fn duration_ns(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// A stamp that is later than every stamp before, in nanoseconds since the Unix epoch.
pub fn stamp() -> u64 {
    let at_ns = now_ns();
    let mut wall = wall();
    // Nanoseconds within an instant tell what came first there.
    let reading = (WALL_START_NS + at_ns).max(wall.last_ns + 1);
    wall.last_ns = reading;
    if wall.instants.last().is_none_or(|&(_, last)| last < at_ns) {
        wall.instants.push((reading, at_ns));
    }
    reading
}

/// The stamp that somebody took from the wall clock.
pub fn stamp_of(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, duration_ns)
}

/// The virtual instant at which a stamp was taken, in nanoseconds.
pub fn instant_of(stamp: u64) -> u64 {
    let wall = wall();
    let after = wall.instants.partition_point(|&(first, _)| first <= stamp);
    after.checked_sub(1).map_or(0, |index| wall.instants[index].1)
}

/// The first stamp of the virtual instant at which the clock was read last.
pub fn first_stamp_now() -> u64 {
    wall().instants.last().map_or(0, |&(first, _)| first)
}

/// Sends this thread a signal, as an operator would send it to the process.
pub fn raise(signal: i32) {
    // SAFETY: `raise` has no preconditions.
    let failed = unsafe { libc::raise(signal) };
    assert_eq!(failed, 0, "signal {signal} cannot be raised");
}

/// Whether this process has a handler for a signal, other than the default, which would end it.
pub fn is_handled(signal: i32) -> bool {
    // SAFETY: a `sigaction` of zeroes is valid, and a null action only asks.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &raw mut action) == 0
            && action.sa_sigaction != libc::SIG_DFL
    }
}

/// The C library's function of this name.
///
/// # Safety
/// `at` must be valid for a write, as the C library wants it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, at: *mut libc::timespec) -> libc::c_int {
    let ns = match clock {
        _ if !TAKEN_OVER.load(Ordering::Relaxed) => None,
        libc::CLOCK_REALTIME => Some(stamp()),
        libc::CLOCK_MONOTONIC if IS_STAGE.get() || threads::is_one() => {
            Some(WALL_START_NS + threads::waited_ns())
        }
        _ => None,
    };
    let Some(ns) = ns else {
        // SAFETY: the kernel checks what it is given.
        return unsafe { libc::syscall(libc::SYS_clock_gettime, clock, at) } as libc::c_int;
    };
    let seconds = (ns / 1_000_000_000).try_into().unwrap_or(libc::time_t::MAX);
    let reading = libc::timespec { tv_sec: seconds, tv_nsec: (ns % 1_000_000_000) as libc::c_long };
    // SAFETY: the caller vouches for `at`.
    unsafe { at.write(reading) };
    0
}

/// The C library's function of this name.
///
/// # Safety
/// `buffer` must be valid for writes of `length` bytes, as the C library wants it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(
    buffer: *mut libc::c_void,
    length: libc::size_t,
    flags: libc::c_uint,
) -> libc::ssize_t {
    if !TAKEN_OVER.load(Ordering::Relaxed) {
        // SAFETY: the kernel checks what it is given.
        return unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) } as libc::ssize_t;
    }
    for index in 0..length {
        // SAFETY: the caller vouches for `length` bytes.
        unsafe { buffer.cast::<u8>().add(index).write(draw() as u8) };
    }
    length as libc::ssize_t
}

/// The next number of the case's entropy (SplitMix64: Steele, Lea, Flood, OOPSLA 2014).
fn draw() -> u64 {
    mix(ENTROPY.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed))
}

/// SplitMix64's finaliser.
pub fn mix(state: u64) -> u64 {
    let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
