//! What most runtimes on Tokio have in common: what of a scenario they can be asked to do.

use simvisor_sim::scenario::{Action, Behaviour, Disorder, Mode, OnCancel, Restart, Scenario, Span};

/// Tokio's timers have a resolution of a millisecond: all spans are rounded to it, and backoffs grow by whole factors.
pub fn round(scenario: &mut Scenario) {
    let round = |span: &mut Span| *span = Span((span.ns() + 500_000) / 1_000_000 * 1_000_000);
    round(&mut scenario.run_at);
    round(&mut scenario.config.grace);
    round(&mut scenario.config.timeout);
    scenario.calm_at.iter_mut().for_each(round);
    for task in &mut scenario.tasks {
        task.timeout.iter_mut().for_each(round);
        round(&mut task.backoff.first);
        round(&mut task.backoff.max);
        if task.backoff.factor.fract() != 0.0 {
            task.backoff.factor = 2.0;
        }
        if let Restart::Always { every: Some(every) } = &mut task.restart {
            round(every);
        }
        for step in &mut task.script {
            round(&mut step.run);
            if let OnCancel::End { after, .. } = &mut step.on_cancel {
                round(after);
            }
        }
    }
    for subscriber in &mut scenario.subscribers {
        if let Behaviour::Slow { each } = &mut subscriber.behaviour {
            round(each);
        }
    }
    for operation in &mut scenario.operations {
        round(&mut operation.at);
        if let Action::Cancel { wait: Some(wait), .. } = &mut operation.action {
            round(wait);
        }
    }
}

/// Faults that only a simulation can play: events late or twice, a wall clock that is set.
pub fn without_faults_of_the_world(scenario: &mut Scenario) {
    scenario.config.disorder = Disorder::None;
    scenario.operations.retain(|operation| !matches!(operation.action, Action::SetWall { .. }));
}

/// There is no call that waits for a shutdown even when idle: the first task is there from the start instead.
pub fn run_instead_of_serve(scenario: &mut Scenario) {
    if scenario.mode == Mode::Serve {
        scenario.mode = Mode::Run;
        if let Some(first) = scenario.tasks.first_mut() {
            first.start = true;
        }
    }
}
