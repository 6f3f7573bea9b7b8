//! Time for runtimes that have threads of their own.
//!
//! Tokio's paused clock jumps to the next timer as soon as its own thread is idle, while another thread may still be at
//! work on the present instant. Here the jump is forbidden, and time moves on by a millisecond, the resolution of Tokio's
//! timers, whenever all threads of the process were seen asleep twice.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tokio::sync::mpsc;

/// Between two looks at the other threads, in real time.
const GLANCE: Duration = Duration::from_micros(30);

/// Moves the clock for as long as the runtime lives.
pub(crate) fn step() {
    let (ask, mut asked) = mpsc::channel::<()>(1);
    // While a blocking task runs, Tokio does not move the clock by itself.
    tokio::task::spawn_blocking(move || {
        let me = fs::read_link("/proc/thread-self").unwrap_or_default();
        let me = me.file_name().map(ToOwned::to_owned).unwrap_or_default();
        while !ask.is_closed() {
            std::thread::sleep(GLANCE);
            if others_sleep(&me) {
                std::thread::sleep(GLANCE);
                if others_sleep(&me) && ask.blocking_send(()).is_err() {
                    break;
                }
            }
        }
    });
    tokio::spawn(async move {
        while asked.recv().await.is_some() {
            tokio::time::advance(Duration::from_millis(1)).await;
        }
    });
}

/// Whether all threads of this process but `me` wait for something.
fn others_sleep(me: &std::ffi::OsStr) -> bool {
    let Ok(threads) = fs::read_dir("/proc/self/task") else { return true };
    threads.flatten().filter(|thread| thread.file_name() != *me).all(|thread| sleeps(&thread.path()))
}

fn sleeps(thread: &Path) -> bool {
    let stat = fs::read_to_string(thread.join("stat")).unwrap_or_default();
    // The state follows the name, which is in parentheses and may hold anything.
    stat.rsplit(") ").next().is_none_or(|rest| rest.starts_with('S') || rest.is_empty())
}
