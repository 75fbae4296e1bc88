//! Every planted fault is found; without that, passing runs prove nothing.

use std::collections::BTreeMap;

use clap::ValueEnum;
use simulation::Seed;
use simulation::run::of_seed;
use simulation::world::Fault;

const SEEDS_MAX: u64 = 2_000;

/// The table of the README: faults by name, each with the first seed that finds it.
fn table() -> BTreeMap<String, u64> {
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, name, _, seed, ..] = cells[..] else { return None };
        Some((name.trim_matches('`').to_owned(), seed.parse().ok()?))
    };
    include_str!("../README.md").lines().filter_map(row).collect()
}

#[test]
fn every_planted_fault_is_found_by_the_seed_in_the_readme() {
    std::panic::set_hook(Box::new(|_| {}));
    let table = table();
    let found = Fault::ALL.map(|fault| {
        let name = fault.to_possible_value().unwrap().get_name().to_owned();
        let seed = table.get(&name).copied();
        let is_found = seed.is_some_and(|seed| seed < SEEDS_MAX && of_seed(Seed(seed), Some(fault)).failure.is_some());
        let is_only_it = seed.is_some_and(|seed| of_seed(Seed(seed), None).failure.is_none());
        (name, seed, is_found && is_only_it)
    });
    drop(std::panic::take_hook());
    let missed: Vec<_> = found.iter().filter(|(.., is_found)| !is_found).collect();
    assert!(missed.is_empty(), "not found by the seed of the README: {missed:?}");
    assert_eq!(table.len(), Fault::ALL.len());
}
