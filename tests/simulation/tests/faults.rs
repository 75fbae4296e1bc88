//! Every planted fault is found: a simulator that finds nothing proves nothing.

use simulation::run::first_failure;
use simulation::world::Fault;

const SEEDS: u64 = 2_000;

#[test]
fn every_planted_fault_is_found() {
    std::panic::set_hook(Box::new(|_| {}));
    let found = Fault::ALL.map(|fault| (fault, first_failure(0, SEEDS, Some(fault), 2, |_| {})));
    let words = found.iter().map(|(fault, found)| match found {
        Some((seed, failure)) => format!("{fault:?}: seed {seed}, {}: {}", failure.check, failure.detail),
        None => format!("{fault:?}: not found"),
    });
    let words: Vec<String> = words.collect();
    let is_found = found.iter().all(|(_, found)| found.is_some());
    drop(std::panic::take_hook());
    assert!(is_found, "{}", words.join("\n"));
}
