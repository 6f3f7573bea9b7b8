//! Workers that take jobs from a shared queue, and write each job to a journal before they do it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::rc::Rc;

use simvisor::{TaskError, TaskFn, TaskSpec};

/// Where it is written which jobs were begun.
pub trait Journal: 'static {
    /// Writes a job.
    fn append(&self, job: u32) -> impl Future<Output = ()>;
}

/// Jobs that wait, and jobs that are done in the order in which that happened. Clones are the same queue.
#[derive(Debug, Clone, Default)]
pub struct Queue {
    jobs: Rc<RefCell<Jobs>>,
}

#[derive(Debug, Default)]
struct Jobs {
    waiting: VecDeque<u32>,
    done: Vec<u32>,
}

impl Queue {
    /// A queue of these jobs.
    pub fn of(jobs: impl IntoIterator<Item = u32>) -> Self {
        let queue = Self::default();
        queue.jobs.borrow_mut().waiting.extend(jobs);
        queue
    }

    /// The jobs that are done.
    pub fn done(&self) -> Vec<u32> {
        self.jobs.borrow().done.clone()
    }

    /// Puts a job at the end.
    pub fn push(&self, job: u32) {
        self.jobs.borrow_mut().waiting.push_back(job);
    }

    #[cfg(not(feature = "mended"))]
    fn first(&self) -> Option<u32> {
        self.jobs.borrow().waiting.front().copied()
    }

    fn take_first(&self) -> Option<u32> {
        self.jobs.borrow_mut().waiting.pop_front()
    }

    fn finish(&self, job: u32) {
        self.jobs.borrow_mut().done.push(job);
    }
}

/// A worker that runs until the queue is empty.
pub fn worker<J: Journal>(name: &str, queue: &Queue, journal: Rc<J>) -> TaskSpec {
    let queue = queue.clone();
    TaskSpec::new(TaskFn::arc(name, move |ctx| {
        let (queue, journal) = (queue.clone(), Rc::clone(&journal));
        async move {
            while !ctx.is_cancelled() {
                if !work_once(&queue, &*journal).await {
                    return Ok(());
                }
            }
            Err(TaskError::Canceled)
        }
    }))
}

/// Does one job; false if there is none.
#[cfg(not(feature = "mended"))]
async fn work_once<J: Journal>(queue: &Queue, journal: &J) -> bool {
    let Some(job) = queue.first() else { return false };
    // The race: while this waits, another worker sees the same job at the front.
    journal.append(job).await;
    queue.take_first();
    queue.finish(job);
    true
}

/// Does one job; false if there is none.
#[cfg(feature = "mended")]
async fn work_once<J: Journal>(queue: &Queue, journal: &J) -> bool {
    let Some(job) = queue.take_first() else { return false };
    journal.append(job).await;
    queue.finish(job);
    true
}
