//! Runs seeds of the simulation and prints the shortest failing history.

use std::io::{IsTerminal, Write, stderr, stdout};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use simulation::Seed;
use simulation::run::{History, first_failure, shortest};
use simulation::world::{Fault, RunPlan};

/// Runs production code in a simulated world: each seed is one run.
#[derive(Debug, Parser)]
struct Args {
    /// Number of seeds to run
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first seed, or the only one without --seeds
    #[arg(long)]
    seed: Option<u64>,
    /// Plant a fault that the checks must find
    #[arg(long, value_enum)]
    fault: Option<Fault>,
    /// How many of the last events to print for a failing seed
    #[arg(long, default_value_t = 60)]
    notes: usize,
    /// Number of threads; all processors by default
    #[arg(long)]
    threads: Option<usize>,
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    // A panic counts as a failure and is reported with its history.
    std::panic::set_hook(Box::new(|_| {}));
    let first = args.seed.unwrap_or(0);
    let is_single = args.seed.is_some() && !std::env::args().any(|argument| argument.starts_with("--seeds"));
    let count = if is_single { 1 } else { args.seeds };
    let start = Instant::now();
    let failed = run(first, count, &args);
    let mut out = stdout().lock();
    let Some(seed) = failed else {
        writeln!(out, "{count} seeds from {first} passed in {:.1} s", start.elapsed().as_secs_f64())?;
        return Ok(ExitCode::SUCCESS);
    };
    match shortest(RunPlan::of(Seed(seed)), args.fault) {
        Some(history) => print(&mut out, seed, &history, args.notes)?,
        None => writeln!(out, "seed {seed} failed once and passes now: the simulation is not reproducible")?,
    }
    Ok(ExitCode::FAILURE)
}

/// Runs the seeds; returns the first that fails.
fn run(first: u64, count: u64, args: &Args) -> Option<u64> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let is_shown = stderr().is_terminal();
    let progress = |done: u64| {
        if is_shown && done.is_multiple_of(100) {
            // Progress output is optional, so its errors are ignored.
            drop(write!(stderr(), "\r{done} of {count} seeds"));
        }
    };
    let failed = first_failure(first, count, args.fault, args.threads.unwrap_or(processors), progress);
    if is_shown {
        drop(write!(stderr(), "\r"));
    }
    failed.map(|(Seed(seed), _)| seed)
}

fn print(out: &mut impl Write, seed: u64, history: &History, notes: usize) -> std::io::Result<()> {
    for note in &history.notes[history.notes.len().saturating_sub(notes)..] {
        writeln!(out, "{note}")?;
    }
    writeln!(out, "\nseed {seed} FAILED: {}: {}", history.failure.check, history.failure.detail)?;
    writeln!(out, "the shortest history that fails:\n{}", history.plan)
}
