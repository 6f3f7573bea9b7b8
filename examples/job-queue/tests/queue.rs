//! What is promised of the queue, under many schedules and journals of any speed.

use std::rc::Rc;
use std::time::Duration;

use job_queue::{Journal, Queue, worker};
use simvisor_sim::{Sim, check};

/// A journal that is quick, as a rule.
struct Disk(Sim);

impl Journal for Disk {
    async fn append(&self, job: u32) {
        self.0.note(format!("the journal is given job {job}"));
        if self.0.buggify("slow disk") {
            self.0.sleep(Duration::from_millis(self.0.random(1..=50))).await;
        }
    }
}

#[test]
fn every_job_is_done_once() {
    check(|sim| async move {
        let queue = Queue::of(1..=3);
        let journal = Rc::new(Disk(sim.clone()));
        let supervisor = sim.supervisor().build();
        let workers = ["ada", "bob"].map(|name| worker(name, &queue, Rc::clone(&journal)));
        supervisor.run(workers.into()).await.expect("the workers end when the queue is empty");

        let mut done = queue.done();
        sim.sometimes(done != [1, 2, 3], "jobs end in another order than they began");
        done.sort_unstable();
        assert_eq!(done, [1, 2, 3]);
    });
}
