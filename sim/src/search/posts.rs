//! What threads that run worlds are doing, and since when: what a watchdog looks at.
//!
//! A world whose future never returns to the executor cannot be stopped. Its thread is left behind, which is why those
//! who use this share what outlives them, and the run is told as one that hangs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// No world is being run.
const RESTING: u64 = u64::MAX;

/// What is said of a run that hangs.
pub(super) fn hang_message(patience: Duration) -> String {
    format!("the run did not come to its end within {patience:?} of real time")
}

/// One post for each thread.
#[derive(Debug)]
pub(super) struct Posts {
    began: Instant,
    posts: Vec<Post>,
}

#[derive(Debug)]
struct Post {
    /// Number of the run, or [`RESTING`].
    current: AtomicU64,
    /// When it began, in milliseconds since the posts were made.
    since_ms: AtomicU64,
}

impl Posts {
    pub(super) fn new(jobs: usize) -> Self {
        let post = |_| Post { current: AtomicU64::new(RESTING), since_ms: AtomicU64::new(0) };
        Self { began: Instant::now(), posts: (0..jobs).map(post).collect() }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Does `work`, the run of this number, on the thread of `job`.
    pub(super) fn at<T>(&self, job: usize, number: u64, work: impl FnOnce() -> T) -> T {
        let post = &self.posts[job];
        post.since_ms.store(self.now_ms(), Ordering::Relaxed);
        post.current.store(number, Ordering::Relaxed);
        let result = work();
        post.current.store(RESTING, Ordering::Relaxed);
        result
    }

    /// Those of `jobs` that have been at one run for longer than `patience`, and the number of the run.
    pub(super) fn hanging(&self, jobs: &[usize], patience: Duration) -> Vec<(usize, u64)> {
        let now_ms = self.now_ms();
        let patience_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        let run_of = |&job: &usize| {
            let post = &self.posts[job];
            let number = post.current.load(Ordering::Relaxed);
            let is_late = now_ms.saturating_sub(post.since_ms.load(Ordering::Relaxed)) > patience_ms;
            (number != RESTING && is_late).then_some((job, number))
        };
        jobs.iter().filter_map(run_of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_takes_too_long_is_told_by_job_and_number_and_rest_is_not() {
        let posts = Posts::new(3);
        let patience = Duration::from_millis(20);
        let hanging = posts.at(1, 7, || {
            std::thread::sleep(patience * 2);
            posts.hanging(&[0, 1, 2], patience)
        });
        assert_eq!(hanging, [(1, 7)]);
        assert_eq!(posts.at(0, 8, || posts.hanging(&[0, 1], Duration::MAX)), []);
        std::thread::sleep(patience * 2);
        assert_eq!(posts.hanging(&[0, 1, 2], patience), []);
    }
}
