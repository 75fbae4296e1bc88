//! Runs of seeds, and the shortest history of a failing run.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::checks::{self, Failure};
use crate::seed::Seed;
use crate::world::{Fault, RunPlan, RunResult, World};

/// The result of a run.
#[derive(Debug, Clone)]
pub struct RunOutcome {
    /// The violated invariant, if any.
    pub failure: Option<Failure>,
    /// Number of events.
    pub events: u64,
    /// The last events as text, if the run was traced.
    pub notes: Vec<String>,
}

/// Runs a world and checks its result.
pub fn outcome(world: World) -> RunOutcome {
    let run = catch_unwind(AssertUnwindSafe(|| {
        let mut result: RunResult = world.run();
        let failure = checks::check(&result).err();
        RunOutcome { failure, events: result.events, notes: std::mem::take(&mut result.notes) }
    }));
    run.unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().cloned();
        let words = words.or_else(|| panic.downcast_ref::<&str>().map(|&words| words.to_owned()));
        let failure = Failure { check: "nothing panics", detail: words.unwrap_or_default() };
        RunOutcome { failure: Some(failure), events: 0, notes: Vec::new() }
    })
}

/// Runs a seed.
pub fn of_seed(seed: Seed, fault: Option<Fault>) -> RunOutcome {
    outcome(World::new(RunPlan::of(seed), fault, false))
}

/// Runs `count` seeds from a first one on several threads; returns the lowest that fails. `progress` receives the
/// number of seeds that have started.
pub fn first_failure(
    first: u64,
    count: u64,
    fault: Option<Fault>,
    threads: usize,
    progress: impl Fn(u64) + Sync,
) -> Option<(Seed, Failure)> {
    let (next, failed) = (AtomicU64::new(0), Mutex::new(None::<(Seed, Failure)>));
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let done = next.fetch_add(1, Ordering::Relaxed);
                    let is_over = failed.lock().is_ok_and(|failed| failed.is_some());
                    if done >= count || is_over {
                        return;
                    }
                    progress(done);
                    let seed = Seed(first + done);
                    if let Some(failure) = of_seed(seed, fault).failure
                        && let Ok(mut failed) = failed.lock()
                        && failed.as_ref().is_none_or(|(other, _)| seed < *other)
                    {
                        *failed = Some((seed, failure));
                    }
                }
            });
        }
    });
    failed.into_inner().ok().flatten()
}

/// The shortest failing history.
#[derive(Debug)]
pub struct History {
    /// The smallest plan that still fails.
    pub plan: RunPlan,
    /// The violated invariant.
    pub failure: Failure,
    /// The last events.
    pub notes: Vec<String>,
}

/// Reduces a plan while its run still fails; `None` if it does not fail.
pub fn shortest(plan: RunPlan, fault: Option<Fault>) -> Option<History> {
    let fails = |plan: &RunPlan| outcome(World::new(plan.clone(), fault, false)).failure.is_some();
    let mut plan = plan;
    if !fails(&plan) {
        return None;
    }
    loop {
        let shorter = shorter(&plan).into_iter().find(|shorter| fails(shorter));
        match shorter {
            Some(shorter) => plan = shorter,
            None => break,
        }
    }
    let RunOutcome { failure, notes, .. } = outcome(World::new(plan.clone(), fault, true));
    Some(History { plan, failure: failure?, notes })
}

/// Plans with one more reduction, the most promising first.
fn shorter(plan: &RunPlan) -> Vec<RunPlan> {
    let mut plans = Vec::new();
    let count = plan.disruptions.len();
    let without = |range: std::ops::Range<usize>| {
        let mut less = plan.clone();
        less.disruptions.drain(range);
        less
    };
    if count > 3 {
        plans.extend([without(0..count / 2), without(count / 2..count)]);
    }
    plans.extend((0..count).map(|idx| without(idx..idx + 1)));
    if plan.messages > 0 {
        plans.push(RunPlan { messages: plan.messages / 2, ..plan.clone() });
        plans.push(RunPlan { messages: plan.messages - 1, ..plan.clone() });
    }
    if plan.trims {
        plans.push(RunPlan { trims: false, ..plan.clone() });
    }
    if plan.restarts_at_end {
        plans.push(RunPlan { restarts_at_end: false, ..plan.clone() });
    }
    if plan.partitions > 1 {
        plans.push(RunPlan { partitions: plan.partitions - 1, ..plan.clone() });
    }
    plans
}
