//! Runs of seeds are reproducible and pass.

use std::time::Duration;

use simulation::Seed;
use simulation::run::{first_failure, of_seed, outcome, shortest};
use simulation::world::{Fault, RunPlan, World};

fn calm(seed: u64) -> RunPlan {
    RunPlan { disruptions: Vec::new(), trims: false, restarts_at_end: false, ..RunPlan::of(Seed(seed)) }
}

#[test]
fn a_seed_gives_the_same_run_again() {
    for seed in 0..8 {
        let run = || outcome(World::new(RunPlan::of(Seed(seed)), None, true));
        let (first, second) = (run(), run());
        assert!(first.notes.len() > 20, "seed {seed}");
        assert_eq!((first.events, first.notes), (second.events, second.notes), "seed {seed}");
    }
}

#[test]
fn runs_without_disruptions_pass() {
    for seed in 0..20 {
        let found = outcome(World::new(calm(seed), None, false));
        assert_eq!(found.failure, None, "seed {seed}");
        assert!(found.events > 100, "seed {seed}: {} events", found.events);
    }
}

#[test]
fn some_seeds_pass() {
    let found = first_failure(0, 100, None, 2, |_| {});
    assert_eq!(found, None);
}

#[test]
fn a_failure_is_reduced_to_its_shortest_history() {
    let fault = Some(Fault::PositionBeforeResults);
    assert!(of_seed(Seed(0), fault).failure.is_some());
    let history = shortest(RunPlan::of(Seed(0)), fault).unwrap();
    assert!(history.plan.disruptions.is_empty() && history.plan.messages < 3, "{}", history.plan);
    assert!(!history.notes.is_empty() && !history.failure.detail.is_empty());
    assert!(history.plan.calm_at > Duration::ZERO);
    assert!(shortest(calm(0), None).is_none());
}
