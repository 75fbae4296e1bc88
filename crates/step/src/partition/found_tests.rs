//! Regression tests for faults that the simulator found.

use std::sync::Arc;
use std::time::Duration;

use bus::protocol::{LogId, StepConfig};
use bus::stream::{STATS_STEP, Step};
use market::windowing::EventTimePolicy;
use market::{Candle, EventTime, Instrument};

use crate::checkpoint::Checkpoint;
use crate::commit_schedule::CommitSchedule;
use crate::operator::{Applied, CounterValue, Input, Operator};
use crate::outputs::Outputs;
use crate::partition::{Effect, Event, InputInfo, Partition, Setup};

/// An operator without state and output.
struct Quiet;

impl Operator for Quiet {
    const STEP: Step = STATS_STEP;
    type State = ();
    type Counts = ();

    fn event_time(&self) -> EventTimePolicy {
        EventTimePolicy::default()
    }

    fn shape(&self) -> String {
        String::new()
    }

    fn apply(&self, _: Input<'_>, (): &mut (), (): &mut (), _: &mut Outputs) -> Applied {
        Applied::All
    }

    fn provisional(&self, _: &Instrument, (): &()) -> Vec<Candle> {
        Vec::new()
    }

    fn watermark(&self, (): &()) -> EventTime {
        EventTime::MIN
    }

    fn counter_values((): &()) -> Vec<CounterValue> {
        Vec::new()
    }
}

fn log() -> LogId {
    LogId::new("then")
}

fn input(begins: u64, last_seq: u64, is_trimmed: bool) -> InputInfo {
    InputInfo {
        log: log(),
        begins,
        first_seq: begins,
        last_seq,
        is_trimmed,
        deletes: begins > 1,
        retention: Duration::ZERO,
    }
}

/// A partition without commits whose input was read up to 4 and has no message for it.
fn at_its_place() -> Partition<Quiet> {
    let config = StepConfig::new(EventTimePolicy::default(), "");
    let setup = Setup { partition: 1, partitions: 2, log: log(), config, accept_loss: false };
    let schedule = CommitSchedule::new(STATS_STEP, 2);
    let (mut partition, _) = Partition::new(Arc::new(Quiet), setup, schedule, Duration::ZERO);
    let nothing = Checkpoint { fence: 0, position: None, states: Vec::new() };
    partition.on(Event::Recovered(nothing), Duration::ZERO);
    partition.on(Event::Attached { input: input(1, 4, false), pending: 0 }, Duration::ZERO);
    partition
}

fn fails(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Fail(_)))
}

/// Seed 1: trimming waits for every stored position, and for the first input of a partition without one. Messages of
/// other partitions may be removed before this partition checks its input again.
#[test]
fn trimming_is_no_loss_for_a_partition_without_a_position() {
    let effects = at_its_place().on(Event::Attached { input: input(6, 8, true), pending: 0 }, Duration::from_secs(5));
    assert!(!fails(&effects), "{effects:?}");
}

#[test]
fn retention_can_cause_a_loss_without_a_position() {
    let effects = at_its_place().on(Event::Attached { input: input(6, 8, false), pending: 0 }, Duration::from_secs(5));
    assert!(fails(&effects), "{effects:?}");
}
