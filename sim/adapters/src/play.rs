//! A case in a process of its own, and both ends of it.
//!
//! The process reads one [`Play`] as JSON from its standard input and writes the trace to its standard output. It has
//! one life for one case: a crate's counters begin at 0, its signal handlers are not there before it asks for them, and
//! whatever it does, the tool goes on.

use std::io::{BufReader, BufWriter, Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use simvisor_sim::scenario::Scenario;
use simvisor_sim::trace::EndNote;
use thiserror::Error;

use crate::machine::{self, threads};
use crate::stage::Stage;
use crate::subjects::subject;

/// The hidden subcommand that plays one case.
pub const PLAY: &str = "play-one-case";

/// Beats of the watchdog inside the process.
const WATCH: Duration = Duration::from_millis(50);
/// How much real time the watchdog outside gives beyond that inside.
const SLACK: Duration = Duration::from_secs(5);

/// One run of one scenario on one subject: all there is to say.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Play {
    /// The subject's name.
    pub subject: String,
    /// What is run, as it fits the subject.
    pub scenario: Scenario,
    /// Seed of yields and of the process's entropy; 0 is without yields.
    pub seed: u64,
    /// Real time after which the run is given up, in milliseconds.
    pub patience_ms: u64,
}

/// Why there is no trace.
#[derive(Debug, Error)]
pub enum PlayError {
    /// The process cannot be started or spoken to.
    #[error("the process that plays a case: {0}")]
    Process(#[from] std::io::Error),
    /// There is no such subject.
    #[error("there is no subject `{0}`; `subjects` lists them")]
    Subject(String),
    /// It was given no play.
    #[error("standard input is no play: {0}")]
    Input(#[from] serde_json::Error),
}

/// The inner end: reads a play, runs it, writes its trace.
///
/// # Errors
/// If the input is no play, or its subject is unknown.
pub fn play_from_stdin() -> Result<(), PlayError> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let play: Play = serde_json::from_str(&text)?;
    let subject = subject(&play.subject).ok_or_else(|| PlayError::Subject(play.subject.clone()))?;
    // Panics of a runtime's own futures are caught by Tokio; they are seen in what follows, not here.
    std::panic::set_hook(Box::new(|_| {}));
    machine::take_over(play.seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .on_thread_park(threads::let_all_others)
        .build()?;
    let output = Box::new(BufWriter::new(std::io::stdout()));
    let stage = Stage::new(&*subject, &play.scenario, play.seed, output);
    watch(stage.clone(), Duration::from_millis(play.patience_ms));
    if subject.has_threads() {
        threads::take_turns(play.seed);
    }
    runtime.block_on(async {
        machine::start_clock();
        stage.play(&*subject, &play.scenario).await;
    });
    // Threads of a runtime may still be busy; nothing of them is wanted any more.
    std::process::exit(0);
}

/// Ends the trace when the runtime's thread does not come back.
fn watch(stage: Stage, patience: Duration) {
    thread::spawn(move || {
        let mut waited = Duration::ZERO;
        while waited < patience {
            thread::sleep(WATCH);
            waited += WATCH;
        }
        let beats = stage.beats();
        thread::sleep(WATCH);
        let moves =
            if stage.beats() == beats { "its thread does not come back" } else { "it goes on and on" };
        stage.give_up(|ledger| {
            EndNote::Limit(ledger.text(&format!("{} ms of real time: {moves}", patience.as_millis())))
        });
    });
}

/// The outer end: a process that plays a case, killed if it does not end in time.
pub struct Playing {
    child: Arc<Mutex<Child>>,
    /// Dropped when the trace was read.
    read: Option<mpsc::Sender<()>>,
    stdout: Option<ChildStdout>,
    watcher: Option<thread::JoinHandle<bool>>,
}

impl std::fmt::Debug for Playing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Playing").finish_non_exhaustive()
    }
}

impl Playing {
    /// Starts `program`, which must be this package's, on a play.
    ///
    /// # Errors
    /// If the process cannot be started.
    pub fn start(program: &std::path::Path, play: &Play) -> Result<Self, PlayError> {
        let mut command = Command::new(program);
        command.arg(PLAY).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        let mut stdin = child.stdin.take().expect("it is piped");
        stdin.write_all(serde_json::to_string(play)?.as_bytes())?;
        drop(stdin);
        let stdout = child.stdout.take();
        let child = Arc::new(Mutex::new(child));
        let (read, is_read) = mpsc::channel();
        let patience = Duration::from_millis(play.patience_ms) + SLACK;
        let watched = Arc::clone(&child);
        let watcher = thread::spawn(move || {
            let is_late = is_read.recv_timeout(patience) == Err(RecvTimeoutError::Timeout);
            if is_late {
                // It may have just ended by itself.
                let _ = watched.lock().unwrap_or_else(PoisonError::into_inner).kill();
            }
            is_late
        });
        Ok(Self { child, read: Some(read), stdout, watcher: Some(watcher) })
    }

    /// The trace, as it is made.
    ///
    /// # Panics
    /// If it was taken before.
    pub fn trace(&mut self) -> BufReader<ChildStdout> {
        BufReader::new(self.stdout.take().expect("a trace is read once"))
    }

    /// Waits for the end; true if the process had to be killed.
    ///
    /// # Errors
    /// If the process cannot be waited for.
    pub fn finish(mut self) -> Result<bool, PlayError> {
        drop(self.read.take());
        let was_killed = self.watcher.take().is_some_and(|watcher| watcher.join().unwrap_or(false));
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        drop(child.kill()); // It may have ended by itself; if not, nobody reads it any more.
        child.wait()?;
        Ok(was_killed)
    }
}
