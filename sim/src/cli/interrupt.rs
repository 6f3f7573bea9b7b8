//! Ctrl-C, for commands that keep what they have when they are stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::exit::Trouble;

/// A flag that is raised by Ctrl-C, or a signal to terminate. A second one ends the program at once.
///
/// # Errors
/// If signals cannot be caught.
pub(crate) fn flag() -> Result<Arc<AtomicBool>, Trouble> {
    let stop = Arc::new(AtomicBool::new(false));
    let on_signal = Arc::clone(&stop);
    let handler = move || {
        if on_signal.swap(true, Ordering::Relaxed) {
            std::process::exit(130); // as a shell tells of an interrupt
        }
    };
    ctrlc::set_handler(handler)
        .map_err(|error| Trouble::Input(format!("Ctrl-C cannot be caught: {error}")))?;
    Ok(stop)
}
