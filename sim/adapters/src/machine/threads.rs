//! The threads of a runtime, one at a time.
//!
//! Some runtimes have threads of their own beside the executor. Left to the machine, which of them is first differs from
//! run to run, and Tokio's paused clock jumps while one is still at work. Here they take turns: one thread runs, and all
//! others wait until it waits. Who is next is drawn from the case's seed. So a run repeats, and time moves on
//! only when no thread has anything left to do.
//!
//! Threads wait for each other through futexes, and for their end through `pthread_join`. The C library's `syscall`,
//! `sched_yield`, `pthread_create` and `pthread_join` are defined here; for threads that take turns they only change a
//! table, and give the turn away. Everything else is passed on: other calls, and all calls of threads that are not of the
//! runtime, such as the watchdog.
//!
//! A wait that has a limit is over when nothing else can run, if that limit is below [`SOON_NS`]; the
//! monotonic clock is then as late as the limit. A longer one is as good as none.

use std::cell::{Cell, UnsafeCell};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::{hint, mem, ptr};

use super::mix;

/// Threads that can take turns at the same time; those above it run as the machine wants.
const THREADS_MAX: usize = 256;
/// A wait for less is worth waiting for, in nanoseconds.
const SOON_NS: u64 = 1_000_000_000;
/// The index of no thread.
const NOBODY: usize = usize::MAX;

/// What a thread does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// There is none, or it is over.
    Gone,
    /// It can run.
    Ready,
    /// The executor has nothing to do.
    Idle,
    /// It waits to be woken at an address, or until an instant of the monotonic clock.
    Waits { at: usize, until_ns: Option<u64> },
    /// It waits for the end of another.
    Joins(usize),
}

struct Table {
    states: [State; THREADS_MAX],
    threads: [libc::pthread_t; THREADS_MAX],
    /// Whose turn it is.
    turn: usize,
    /// Whether the last wait of a thread ended by its limit.
    is_late: [bool; THREADS_MAX],
    entropy: u64,
}

/// A table behind a lock that is held for a few instructions and never while somebody waits.
struct Locked {
    is_held: AtomicBool,
    table: UnsafeCell<Table>,
}

// SAFETY: the table is reached through `with` alone, which holds the lock.
unsafe impl Sync for Locked {}

static TABLE: Locked = Locked {
    is_held: AtomicBool::new(false),
    table: UnsafeCell::new(Table {
        states: [State::Gone; THREADS_MAX],
        threads: [0; THREADS_MAX],
        turn: NOBODY,
        is_late: [false; THREADS_MAX],
        entropy: 0,
    }),
};
/// Where each thread waits for its turn: 1 is go.
static GO: [AtomicU32; THREADS_MAX] = [const { AtomicU32::new(0) }; THREADS_MAX];
/// By how much limits of waits have moved the monotonic clock, in nanoseconds.
static WAITED_NS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// The index of this thread, if it takes turns.
    static ME: Cell<usize> = const { Cell::new(NOBODY) };
}

impl Locked {
    fn with<T>(&self, change: impl FnOnce(&mut Table) -> T) -> T {
        while self.is_held.swap(true, Ordering::Acquire) {
            hint::spin_loop();
        }
        // SAFETY: the lock is held, and `change` cannot reach the table in another way.
        let result = change(unsafe { &mut *self.table.get() });
        self.is_held.store(false, Ordering::Release);
        result
    }
}

impl Table {
    /// Who is next; `None` if nobody can run.
    fn choose(&mut self) -> Option<usize> {
        let ready = self.states.iter().filter(|state| **state == State::Ready).count();
        if ready > 0 {
            self.entropy = self.entropy.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let nth = (mix(self.entropy) % ready as u64) as usize;
            return self.indices(|state| state == State::Ready).nth(nth);
        }
        let soon_ns = waited_ns() + super::WALL_START_NS + SOON_NS;
        let limit = |index: usize| match self.states[index] {
            State::Waits { until_ns: Some(until_ns), .. } if until_ns < soon_ns => Some((until_ns, index)),
            _ => None,
        };
        if let Some((until_ns, index)) = (0..THREADS_MAX).filter_map(limit).min() {
            WAITED_NS.fetch_max(until_ns.saturating_sub(super::WALL_START_NS), Ordering::Relaxed);
            self.states[index] = State::Ready;
            self.is_late[index] = true;
            return Some(index);
        }
        self.indices(|state| state == State::Idle).next()
    }

    fn indices(&self, fits: impl Fn(State) -> bool) -> impl Iterator<Item = usize> {
        (0..THREADS_MAX).filter(move |&index| fits(self.states[index]))
    }

    /// The next turn begins.
    fn pass_on(&mut self) {
        self.turn = self.choose().unwrap_or(NOBODY);
        if self.turn != NOBODY {
            self.states[self.turn] = State::Ready;
            GO[self.turn].store(1, Ordering::Release);
        }
    }

    /// Whoever waits for this can run; how many there were, at most `count`.
    fn wake(&mut self, count: usize, fits: impl Fn(State) -> bool) -> usize {
        let mut woken = 0;
        for state in &mut self.states {
            if woken < count && fits(*state) {
                *state = State::Ready;
                woken += 1;
            }
        }
        woken
    }
}

/// Finds the C library's own functions, before any thread may need them.
pub(super) fn find() {
    for real in [&SYSCALL, &SCHED_YIELD, &PTHREAD_CREATE, &PTHREAD_JOIN] {
        real.address();
    }
}

/// From now on this thread and all that it makes take turns.
pub fn take_turns(seed: u64) {
    ME.set(0);
    TABLE.with(|table| {
        table.states[0] = State::Ready;
        table.turn = 0;
        table.entropy = seed;
    });
}

/// Whether this thread takes turns.
pub(super) fn is_one() -> bool {
    ME.get() != NOBODY
}

/// By how much limits of waits have moved the monotonic clock, in nanoseconds.
pub(super) fn waited_ns() -> u64 {
    WAITED_NS.load(Ordering::Relaxed)
}

/// Another thread may be next.
pub fn give_way() {
    if is_one() {
        wait(State::Ready);
    }
}

/// The executor has nothing to do: all others go on until they wait.
pub fn let_all_others() {
    if is_one() {
        if TABLE.with(|table| table.indices(|state| state == State::Ready).count()) > 1 {
            // What they do, they do now, and not at the instant at which something was last recorded.
            super::stamp();
        }
        wait(State::Idle);
    }
}

/// Gives the turn away, and comes back when it is this thread's again.
fn wait(state: State) {
    let me = ME.get();
    TABLE.with(|table| {
        table.states[me] = state;
        table.pass_on();
    });
    await_turn(me);
}

fn await_turn(me: usize) {
    wake_for_real(TABLE.with(|table| table.turn));
    while GO[me].swap(0, Ordering::Acquire) == 0 {
        // SAFETY: the futex is a static, and the wait has no limit.
        unsafe { real_futex(&GO[me], libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG, 0) };
    }
}

fn wake_for_real(index: usize) {
    if index != NOBODY && index != ME.get() {
        // SAFETY: the futex is a static.
        unsafe { real_futex(&GO[index], libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, 1) };
    }
}

unsafe fn real_futex(at: &AtomicU32, operation: libc::c_int, value: u32) {
    let address = ptr::from_ref(at) as libc::c_long;
    // SAFETY: as the caller says.
    unsafe { real_syscall(libc::SYS_futex, [address, operation.into(), value.into(), 0, 0, 0]) };
}

/// A function of the C library that is hidden by one here.
struct Real {
    name: &'static std::ffi::CStr,
    address: AtomicUsize,
}

static SYSCALL: Real = Real { name: c"syscall", address: AtomicUsize::new(0) };
static SCHED_YIELD: Real = Real { name: c"sched_yield", address: AtomicUsize::new(0) };
static PTHREAD_CREATE: Real = Real { name: c"pthread_create", address: AtomicUsize::new(0) };
static PTHREAD_JOIN: Real = Real { name: c"pthread_join", address: AtomicUsize::new(0) };

impl Real {
    fn address(&self) -> usize {
        let known = self.address.load(Ordering::Relaxed);
        if known != 0 {
            return known;
        }
        // SAFETY: the name is a C string.
        let address = unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr()) } as usize;
        if address == 0 {
            // Nothing works without it, a panic included.
            std::process::abort();
        }
        self.address.store(address, Ordering::Relaxed);
        address
    }
}

type Syscall = unsafe extern "C" fn(libc::c_long, ...) -> libc::c_long;
type Start = extern "C" fn(*mut libc::c_void) -> *mut libc::c_void;
type PthreadCreate = unsafe extern "C" fn(
    *mut libc::pthread_t,
    *const libc::pthread_attr_t,
    Start,
    *mut libc::c_void,
) -> libc::c_int;
type PthreadJoin = unsafe extern "C" fn(libc::pthread_t, *mut *mut libc::c_void) -> libc::c_int;

unsafe fn real_syscall(number: libc::c_long, [a, b, c, d, e, f]: [libc::c_long; 6]) -> libc::c_long {
    // SAFETY: it is the C library's, and the kernel checks what it is given.
    unsafe { mem::transmute::<usize, Syscall>(SYSCALL.address())(number, a, b, c, d, e, f) }
}

fn fail(errno: libc::c_int) -> libc::c_long {
    // SAFETY: every thread has one.
    unsafe { *libc::__errno_location() = errno };
    -1
}

/// The C library's function of this name, which is called with as many arguments as the call has.
///
/// # Safety
/// As that of the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syscall(
    number: libc::c_long,
    a: libc::c_long,
    b: libc::c_long,
    c: libc::c_long,
    d: libc::c_long,
    e: libc::c_long,
    f: libc::c_long,
) -> libc::c_long {
    let arguments = [a, b, c, d, e, f];
    if number == libc::SYS_futex {
        let operation = b as libc::c_int & libc::FUTEX_CMD_MASK;
        match operation {
            libc::FUTEX_WAIT | libc::FUTEX_WAIT_BITSET if is_one() => {
                // SAFETY: the caller gives a futex, and a limit or none.
                return unsafe { futex_wait(a as usize, c as u32, d as *const libc::timespec, operation) };
            }
            libc::FUTEX_WAKE | libc::FUTEX_WAKE_BITSET => {
                let woken = futex_wake(a as usize, c as usize);
                if woken >= c {
                    return woken;
                }
                // The others wait in the kernel, if there are any.
                // SAFETY: as above.
                return woken + unsafe { real_syscall(number, [a, b, c - woken, d, e, f]) }.max(0);
            }
            _ => {}
        }
    }
    // SAFETY: it is what the caller asked for.
    unsafe { real_syscall(number, arguments) }
}

unsafe fn futex_wait(
    at: usize,
    expected: u32,
    limit: *const libc::timespec,
    operation: libc::c_int,
) -> libc::c_long {
    // SAFETY: the caller vouches for it; null is no limit.
    let limit_ns =
        unsafe { limit.as_ref() }.map(|limit| limit.tv_sec as u64 * 1_000_000_000 + limit.tv_nsec as u64);
    let until_ns = limit_ns.map(|ns| match operation {
        libc::FUTEX_WAIT => super::WALL_START_NS + waited_ns() + ns,
        _ => ns,
    });
    let me = ME.get();
    let is_as_expected = TABLE.with(|table| {
        // SAFETY: a futex is a `u32` that lives while somebody waits at it.
        let is_as_expected = unsafe { &*(at as *const AtomicU32) }.load(Ordering::SeqCst) == expected;
        if is_as_expected {
            table.is_late[me] = false;
            table.states[me] = State::Waits { at, until_ns };
            table.pass_on();
        }
        is_as_expected
    });
    if !is_as_expected {
        return fail(libc::EAGAIN);
    }
    await_turn(me);
    if TABLE.with(|table| table.is_late[me]) { fail(libc::ETIMEDOUT) } else { 0 }
}

fn futex_wake(at: usize, count: usize) -> libc::c_long {
    let (woken, next) = TABLE.with(|table| {
        let woken = table.wake(count, |state| matches!(state, State::Waits { at: other, .. } if other == at));
        let nobody_runs = table.turn == NOBODY && woken > 0;
        if nobody_runs {
            table.pass_on();
        }
        (woken, if nobody_runs { table.turn } else { NOBODY })
    });
    wake_for_real(next);
    woken as libc::c_long
}

/// The C library's function of this name.
///
/// # Safety
/// None is needed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sched_yield() -> libc::c_int {
    if is_one() {
        give_way();
        return 0;
    }
    // SAFETY: it is the C library's.
    unsafe { mem::transmute::<usize, unsafe extern "C" fn() -> libc::c_int>(SCHED_YIELD.address())() }
}

/// A thread that is about to begin.
struct Beginning {
    start: Start,
    argument: *mut libc::c_void,
    index: usize,
}

/// The C library's function of this name.
///
/// # Safety
/// As that function wants it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_create(
    thread: *mut libc::pthread_t,
    attributes: *const libc::pthread_attr_t,
    start: Start,
    argument: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: it is the C library's.
    let create: PthreadCreate = unsafe { mem::transmute(PTHREAD_CREATE.address()) };
    let index = match is_one() {
        true => TABLE.with(|table| {
            let index = table.indices(|state| state == State::Gone).next();
            index.inspect(|&index| table.states[index] = State::Ready)
        }),
        false => None,
    };
    let Some(index) = index else {
        // SAFETY: it is what the caller asked for.
        return unsafe { create(thread, attributes, start, argument) };
    };
    let beginning = Box::into_raw(Box::new(Beginning { start, argument, index }));
    // SAFETY: `begin` takes the box.
    let result = unsafe { create(thread, attributes, begin, beginning.cast()) };
    if result == 0 {
        // SAFETY: it was written by a call that succeeded.
        TABLE.with(|table| table.threads[index] = unsafe { *thread });
    } else {
        TABLE.with(|table| table.states[index] = State::Gone);
        // SAFETY: nobody else has it.
        drop(unsafe { Box::from_raw(beginning) });
    }
    result
}

extern "C" fn begin(beginning: *mut libc::c_void) -> *mut libc::c_void {
    // SAFETY: `pthread_create` made it for this thread.
    let Beginning { start, argument, index } = *unsafe { Box::from_raw(beginning.cast()) };
    ME.set(index);
    await_turn(index);
    let result = start(argument);
    TABLE.with(|table| {
        table.states[index] = State::Gone;
        table.wake(usize::MAX, |state| state == State::Joins(index));
        table.pass_on();
    });
    ME.set(NOBODY);
    wake_for_real(TABLE.with(|table| table.turn));
    result
}

/// The C library's function of this name.
///
/// # Safety
/// As that function wants it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_join(
    thread: libc::pthread_t,
    result: *mut *mut libc::c_void,
) -> libc::c_int {
    if is_one() {
        let is_there = |table: &mut Table| {
            (0..THREADS_MAX)
                .find(|&index| table.states[index] != State::Gone && table.threads[index] == thread)
        };
        if let Some(index) = TABLE.with(is_there) {
            wait(State::Joins(index));
        }
    }
    // SAFETY: it is what the caller asked for.
    unsafe { mem::transmute::<usize, PthreadJoin>(PTHREAD_JOIN.address())(thread, result) }
}
