//! Runs one world where it can neither panic nor hang the program.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use simvisor_sim::search::{HANG, PANIC, panic_message};

/// A run that did not come to its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    /// [`PANIC`] or [`HANG`].
    pub(crate) rule: &'static str,
    /// What happened.
    pub(crate) message: String,
}

/// Signs of life of the guarded work, by which a slow run, or a slow reader of its output, is told from a hang.
#[derive(Debug, Default)]
pub(crate) struct Pulse(AtomicU64);

impl Pulse {
    /// Does what is not the run's own work, such as printing: this may take any time.
    pub(crate) fn outside<T>(&self, act: impl FnOnce() -> T) -> T {
        self.0.fetch_add(1, Ordering::Relaxed);
        let result = act();
        self.0.fetch_add(1, Ordering::Relaxed);
        result
    }

    /// Odd while something outside is going on.
    fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Does `work` on a thread of its own and waits for it.
///
/// # Errors
/// If it panics, or shows no sign of life for `patience`. Its thread is then left behind until the program ends.
pub(crate) fn guarded<T: Send + 'static>(
    patience: Duration,
    work: impl FnOnce(&Arc<Pulse>) -> T + Send + 'static,
) -> Result<T, Broken> {
    let pulse = Arc::<Pulse>::default();
    let (sender, receiver) = mpsc::channel();
    let on_thread = Arc::clone(&pulse);
    std::thread::spawn(move || {
        let result = catch_unwind(AssertUnwindSafe(|| work(&on_thread)));
        // The receiver is gone only when the work counts as hung.
        let _ = sender.send(result.map_err(|payload| panic_message(&*payload)));
    });
    let mut seen = pulse.read();
    loop {
        match receiver.recv_timeout(patience) {
            Ok(Ok(result)) => return Ok(result),
            Ok(Err(text)) => {
                return Err(Broken { rule: PANIC, message: format!("the run panicked: {text}") });
            }
            Err(RecvTimeoutError::Timeout) => {
                let now = pulse.read();
                if now == seen && now.is_multiple_of(2) {
                    let message = format!("the run showed no sign of life for {patience:?} of real time");
                    return Err(Broken { rule: HANG, message });
                }
                seen = now;
            }
            Err(RecvTimeoutError::Disconnected) => unreachable!("the thread sends whatever happens"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(50);

    #[test]
    fn a_panic_is_a_finding_with_its_message() {
        // Unlike `panic!`, this prints nothing.
        let broken =
            guarded::<()>(SHORT, |_| std::panic::resume_unwind(Box::new("ouch"))).expect_err("it panics");
        assert_eq!(broken, Broken { rule: PANIC, message: "the run panicked: ouch".to_owned() });
    }

    #[test]
    fn work_without_a_sign_of_life_is_a_hang() {
        let broken = guarded(SHORT, |_| std::thread::sleep(SHORT * 200)).expect_err("it hangs");
        assert_eq!(broken.rule, HANG);
    }

    #[test]
    fn slow_work_that_shows_signs_of_life_is_no_hang() {
        let slow = |pulse: &Arc<Pulse>| {
            for _ in 0..20 {
                std::thread::sleep(SHORT / 5);
                pulse.outside(|| ());
            }
            7
        };
        assert_eq!(guarded(SHORT, slow), Ok(7));
        let blocked = |pulse: &Arc<Pulse>| pulse.outside(|| std::thread::sleep(SHORT * 4));
        assert_eq!(guarded(SHORT, blocked), Ok(()));
    }
}
