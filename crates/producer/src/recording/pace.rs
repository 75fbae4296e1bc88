//! Speed of a replay, and the order in which its instruments take turns.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::str::FromStr;
use std::time::Duration;

use market::EventTime;
use store::recording::Rejects;

use super::pack::{PackedRows, Packer};

/// Speed of event time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Speed {
    /// As fast as FEED accepts the messages.
    Max,
    /// This multiple of real time.
    Times(f64),
}

impl FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Self::Max);
        }
        let factor = text.strip_suffix('x').and_then(|factor| factor.parse().ok());
        match factor.filter(|factor: &f64| factor.is_finite() && *factor > 0.0) {
            Some(factor) => Ok(Self::Times(factor)),
            None => Err("write max, or a multiple of real time such as 1x or 600x".to_owned()),
        }
    }
}

/// Clock of a replay, which also carries the request to stop.
pub(crate) trait ReplayClock {
    /// Returns the current time in milliseconds since the epoch: the ingest time of the ticks that are packed now.
    fn now_ms(&self) -> i64;
    /// Returns the time since the start of the replay.
    fn elapsed(&self) -> Duration;
    /// Waits; returns `false` if the replay must stop.
    fn wait(&self, duration: Duration) -> bool;
}

/// Callback that receives packed rows in order; `false` ends the replay.
pub(crate) type Emit<'a> = &'a mut dyn FnMut(PackedRows) -> bool;

/// Reads all instruments to their ends, or until `emit` or the clock stops it. Returns whether all rows were read.
pub(crate) fn replay(
    packers: &mut [Packer],
    speed: Speed,
    rejects: &mut Rejects,
    clock: &dyn ReplayClock,
    emit: Emit<'_>,
) -> bool {
    match speed {
        Speed::Max => in_turns(packers, rejects, clock, emit),
        Speed::Times(factor) => on_time(packers, factor, rejects, clock, emit),
    }
}

/// Emits one payload of each instrument in turn, so that none runs ahead of the others.
fn in_turns(packers: &mut [Packer], rejects: &mut Rejects, clock: &dyn ReplayClock, emit: Emit<'_>) -> bool {
    let mut live: Vec<usize> = (0..packers.len()).collect();
    while !live.is_empty() {
        for idx in std::mem::take(&mut live) {
            if let Some(packed) = packers[idx].next_packed(EventTime::LATEST, clock.now_ms(), rejects) {
                if !emit(packed) {
                    return false;
                }
                live.push(idx);
            }
        }
    }
    true
}

/// Emits each row when it is due, relative to the first row that is published.
fn on_time(
    packers: &mut [Packer],
    factor: f64,
    rejects: &mut Rejects,
    clock: &dyn ReplayClock,
    emit: Emit<'_>,
) -> bool {
    let mut next: BinaryHeap<Reverse<(EventTime, usize)>> = BinaryHeap::new();
    for (idx, packer) in packers.iter_mut().enumerate() {
        next.extend(packer.peek(rejects).map(|event| Reverse((event, idx))));
    }
    let Some(&Reverse((first, _))) = next.peek() else { return true };
    let schedule = Schedule { first, started: clock.elapsed(), factor };
    while let Some(Reverse((event, idx))) = next.pop() {
        let early = schedule.due(event).saturating_sub(clock.elapsed());
        if !early.is_zero() && !clock.wait(early) {
            return false;
        }
        // The wait may end slightly early, but the row that it was for is due.
        let until = schedule.reached(clock.elapsed()).max(event);
        if let Some(packed) = packers[idx].next_packed(until, clock.now_ms(), rejects)
            && !emit(packed)
        {
            return false;
        }
        next.extend(packers[idx].peek(rejects).map(|event| Reverse((event, idx))));
    }
    true
}

/// Mapping between event time and time since the start of the replay.
#[derive(Debug, Clone, Copy)]
struct Schedule {
    first: EventTime,
    started: Duration,
    factor: f64,
}

impl Schedule {
    /// Returns when a row of this event time is due.
    fn due(&self, event: EventTime) -> Duration {
        let ms = (event - self.first).ms() as f64 / self.factor;
        // A replay that is longer than the largest duration never reaches this row.
        self.started.saturating_add(Duration::try_from_secs_f64(ms / 1_000.0).unwrap_or(Duration::MAX))
    }

    /// Returns the event time that is due by now.
    fn reached(&self, elapsed: Duration) -> EventTime {
        let ms = elapsed.saturating_sub(self.started).as_secs_f64() * 1_000.0 * self.factor;
        // The cast saturates.
        EventTime(self.first.ms().saturating_add(ms as i64))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use market::{Instrument, Span};
    use store::recording::{InstrumentRows, RecordingFile, Rules};

    use super::*;
    use crate::memory::START;

    /// A clock that advances only by waits.
    #[derive(Default)]
    struct FakeClock(Cell<Duration>);

    impl ReplayClock for FakeClock {
        fn now_ms(&self) -> i64 {
            0
        }

        fn elapsed(&self) -> Duration {
            self.0.get()
        }

        fn wait(&self, duration: Duration) -> bool {
            self.0.set(self.0.get() + duration);
            true
        }
    }

    fn packer(instrument_idx: usize, coin: &str, seconds: &[i64]) -> Packer {
        let text: String = seconds.iter().map(|second| format!("{},1,1,1,1,1\n", START + second * 1_000)).collect();
        let input =
            RecordingFile::of_bytes(coin, format!("timestamp_ms,open,high,low,close,volume\n{text}").into_bytes());
        let instrument = Instrument::new(coin, "usd").unwrap();
        let now = EventTime(START + Span::DAY.ms());
        let rows = InstrumentRows::open(vec![input], &instrument, Rules::at(now)).unwrap();
        Packer::new(instrument_idx, instrument, rows, false, None)
    }

    /// Each row waits until it is due at ten times real time.
    #[test]
    fn a_paced_replay_interleaves_instruments_by_event_time() {
        let mut packers = [packer(0, "bitcoin", &[100, 160, 220]), packer(1, "ethereum", &[130, 160])];
        let clock = FakeClock::default();
        let mut rejects = Rejects::new(|| Ok(Box::new(std::io::sink())));
        let mut sent = Vec::new();
        let mut emit = |packed: PackedRows| {
            sent.push((clock.elapsed().as_secs(), packed.instrument_idx, packed.ticks));
            true
        };
        assert!(replay(&mut packers, Speed::Times(10.0), &mut rejects, &clock, &mut emit));
        assert_eq!(sent, [(0, 0, 1), (3, 1, 1), (6, 0, 1), (6, 1, 1), (12, 0, 1)]);
    }

    #[test]
    fn rows_that_are_due_together_go_together() {
        let mut packers = [packer(0, "bitcoin", &[0, 1, 2, 3, 4, 5])];
        let clock = FakeClock::default();
        let mut rejects = Rejects::new(|| Ok(Box::new(std::io::sink())));
        let mut sent = Vec::new();
        let mut emit = |packed: PackedRows| {
            // Publishing is slow: three seconds pass at each call.
            clock.wait(Duration::from_secs(3));
            sent.push(packed.ticks);
            true
        };
        assert!(replay(&mut packers, Speed::Times(1.0), &mut rejects, &clock, &mut emit));
        assert_eq!(sent, [1, 3, 2]);
    }

    #[test]
    fn a_replay_ends_when_its_rows_are_no_longer_accepted() {
        for speed in [Speed::Max, Speed::Times(1.0)] {
            let mut packers = [packer(0, "bitcoin", &[0, 1, 2]), packer(1, "ethereum", &[0, 1])];
            let mut rejects = Rejects::new(|| Ok(Box::new(std::io::sink())));
            assert!(!replay(&mut packers, speed, &mut rejects, &FakeClock::default(), &mut |_| false));
        }
    }

    #[test]
    fn speeds_are_max_or_a_factor() {
        assert_eq!("max".parse(), Ok(Speed::Max));
        assert_eq!("600x".parse(), Ok(Speed::Times(600.0)));
        assert_eq!("0.5x".parse(), Ok(Speed::Times(0.5)));
        for bad in ["", "x", "0x", "-1x", "infx", "600", "fast"] {
            assert!(bad.parse::<Speed>().is_err(), "{bad}");
        }
    }
}
