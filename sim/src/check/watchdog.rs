//! A run that does not give control back.
//!
//! A future that loops without an `await`, or blocks its thread, can be neither stopped nor failed: the thread of its
//! test is busy. So another thread looks now and then whether the run still goes on. If it does not, that thread writes
//! the report and ends the process, as a test that times out does in Go; there is no other way to fail the test.
//!
//! It reads what the run tells it and touches nothing, so no schedule knows of it. It counts its own looks and not the
//! time, so a process that was stopped for a while is not taken for one that hangs.

use std::fmt;
use std::io::Write as _;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::stage::{Failure, Rows};
use super::whence::{Back, Way, Whence};
use crate::report::{FailureReport, last_rows};
use crate::search::HANG;

/// Exit code of a process that was ended, the one that a failing test gives.
const EXIT_CODE: i32 = 101;

/// Looks without any change after which a run hangs.
const LOOKS: u32 = 8;

/// Rows of the timeline that a report shows.
const ROWS_MAX: usize = 40;

/// Whose code runs.
#[derive(Debug, Clone)]
pub(super) enum Who {
    /// A future of the test, by its name.
    Future(Arc<str>),
    /// The body of a supervised task.
    Task(Arc<str>),
    /// The handler of a subscriber.
    Subscriber(Arc<str>),
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Future(name) => write!(f, "`{name}`"),
            Self::Task(name) => write!(f, "the body of the task `{name}`"),
            Self::Subscriber(name) => write!(f, "the handler of the subscriber `{name}`"),
        }
    }
}

/// Where a thread that runs worlds tells what it is doing.
#[derive(Debug, Default)]
pub(super) struct Post(Mutex<Shift>);

#[derive(Debug, Default)]
struct Shift {
    /// Changes whenever the run goes on.
    beats: u64,
    /// A world is being run.
    is_running: bool,
    /// Where the run came from.
    whence: Whence,
    /// The failure that is being made simpler.
    known: Option<Failure>,
    /// Whose code runs; nobody's while it is simvisor's own.
    who: Option<Who>,
    now_ns: u64,
    /// The timeline of the run so far, if it has one.
    rows: Option<Rows>,
}

impl Post {
    fn shift(&self) -> MutexGuard<'_, Shift> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs come from there from now on.
    pub(super) fn come_from(&self, whence: Whence) {
        let mut shift = self.shift();
        (shift.whence, shift.known) = (whence, None);
    }

    /// Runs are made to learn more of this failure from now on.
    pub(super) fn look_into(&self, failure: &Failure) {
        self.shift().known = Some(failure.clone());
    }

    /// A world begins.
    pub(super) fn begin(&self, rows: Option<Rows>) {
        let mut shift = self.shift();
        shift.beats += 1;
        (shift.is_running, shift.who, shift.now_ns, shift.rows) = (true, None, 0, rows);
    }

    /// A world has come to its end.
    pub(super) fn end(&self) {
        self.shift().is_running = false;
    }

    /// Does `work`, which is somebody's code.
    pub(super) fn at_work<T>(&self, who: Who, now_ns: u64, work: impl FnOnce() -> T) -> T {
        self.change(Some(who), now_ns);
        let result = work();
        self.change(None, now_ns);
        result
    }

    fn change(&self, who: Option<Who>, now_ns: u64) {
        let mut shift = self.shift();
        shift.beats += 1;
        (shift.who, shift.now_ns) = (who, now_ns);
    }
}

/// Watches as long as it is there.
pub(super) struct Watchdog {
    /// Never sends; the thread wakes when it is gone.
    alive: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Watches `post`, and ends the process when a run has not gone on for `patience` of real time. With
    /// [`Duration::MAX`], or where there can be no further thread, nobody watches.
    pub(super) fn of(post: &Arc<Post>, way: &Way, patience: Duration) -> Self {
        if patience == Duration::MAX {
            return Self { alive: None, thread: None };
        }
        let (alive, dead) = mpsc::channel();
        let (post, way) = (Arc::clone(post), way.clone());
        let watch = move || watch(&post, &way, patience, &dead);
        let thread = std::thread::Builder::new().name("simvisor watchdog".to_owned()).spawn(watch);
        Self { alive: Some(alive), thread: thread.ok() }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.alive = None;
        self.thread.take().map(JoinHandle::join);
    }
}

fn watch(post: &Post, way: &Way, patience: Duration, dead: &mpsc::Receiver<()>) {
    let (mut beats, mut looks) = (0, 0);
    while let Err(RecvTimeoutError::Timeout) = dead.recv_timeout(patience / LOOKS) {
        let shift = post.shift();
        if !shift.is_running || shift.beats != beats {
            (beats, looks) = (shift.beats, 0);
            continue;
        }
        looks += 1;
        if looks == LOOKS {
            // Not through the macros: what a test prints is kept until it ends, and this one does not end.
            let _ = std::io::stderr().write_all(report(&shift, way, patience).as_bytes());
            std::process::exit(EXIT_CODE);
        }
    }
}

/// What is said of a run that hangs.
fn report(shift: &Shift, way: &Way, patience: Duration) -> String {
    let Shift { whence, known, who, now_ns, rows, .. } = shift;
    let Back { command, strategy, .. } = way.back(whence, "");
    let hang = match who {
        Some(who) => format!(
            "{who} did not give control back for {patience:?} of real time: it loops or blocks without an `await`"
        ),
        None => format!("the run did not go on for {patience:?} of real time"),
    };
    let mut next = Vec::new();
    let (broken, message) = match known {
        Some(failure) => {
            let text = format!("not to its end: in another run {hang}");
            next.push(("shrunk", text));
            next.push(("more", "with `Check::shrink_runs_max(0)` it is shown as it was found".to_owned()));
            (failure.kind.broken().unwrap_or(failure.kind.verdict()), failure.message_with_place())
        }
        None => (HANG, hang),
    };
    next.push(("again", command));
    if rows.is_none() && known.is_none() {
        next.push(("more", "run again by that line, it is shown with its timeline".to_owned()));
    }
    next.push(("kept", "no case: the run has no end".to_owned()));
    next.push((
        "process",
        "ended here, with every other test in it: nothing else stops such a run".to_owned(),
    ));
    let report = FailureReport {
        broken: broken.to_owned(),
        message,
        at_ns: known.as_ref().map(|failure| failure.at_ns).or(Some(*now_ns)),
        choices: None,
        timeline: rows.as_ref().map_or_else(Vec::new, |rows| last_rows(&rows.text(), ROWS_MAX, |_| false)),
        next: next.into_iter().map(|(what, how)| (what.to_owned(), how)).collect(),
    };
    format!("\n{}\n\n{report}", way.title(whence, &strategy))
}
