//! When to train: when event time has passed a multiple of a span, once, however many were passed meanwhile.

use std::collections::BTreeMap;

use market::watermark::Watermark;
use market::windowing::Settings;
use market::{EventTime, Instrument, Span};

/// What is known of event time, instrument by instrument.
#[derive(Debug)]
pub(crate) struct Schedule {
    every: Span,
    clocks: BTreeMap<Instrument, Clock>,
}

/// A training that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Due {
    /// Whose model.
    pub(crate) instrument: Instrument,
    /// The multiple of the span that event time has passed.
    pub(crate) boundary: EventTime,
    /// The MARKET message that made it pass: the training uses the records up to it.
    pub(crate) through: u64,
}

#[derive(Debug)]
struct Clock {
    watermark: Watermark,
    /// The newest multiple that was passed, and by which message.
    passed: (EventTime, u64),
    /// The newest multiple for which there was a training; at first the one before the first tick.
    trained: EventTime,
}

impl Schedule {
    /// Starts with nothing known.
    pub(crate) fn new(every: Span) -> Self {
        Self { every, clocks: BTreeMap::new() }
    }

    /// Takes note of a tick that the MARKET message `seq` brought. Whether a candle has closed is judged by the
    /// watermark, as everywhere.
    pub(crate) fn observe(&mut self, instrument: &Instrument, event: EventTime, seq: u64) {
        let every = self.every;
        let clock = match self.clocks.get_mut(instrument) {
            Some(clock) => clock,
            None => self.clocks.entry(instrument.clone()).or_insert_with(|| {
                let start = event.floor(every);
                Clock { watermark: Watermark::default(), passed: (start, seq), trained: start }
            }),
        };
        clock.watermark.observe(event);
        let boundary = clock.watermark.value(Settings::default().disorder).floor(every);
        if boundary > clock.passed.0 {
            clock.passed = (boundary, seq);
        }
    }

    /// Takes note that there was a training of what had come by `boundary`, or an attempt that need not be repeated.
    pub(crate) fn trained(&mut self, instrument: &Instrument, boundary: EventTime) {
        if let Some(clock) = self.clocks.get_mut(instrument) {
            clock.trained = clock.trained.max(boundary.floor(self.every));
        }
    }

    /// A training that is due: only the newest of an instrument, the oldest among instruments.
    pub(crate) fn due(&self) -> Option<Due> {
        let due = self.clocks.iter().filter(|(_, clock)| clock.passed.0 > clock.trained);
        let oldest = due.min_by_key(|(_, clock)| clock.passed.0);
        oldest.map(|(instrument, clock)| Due {
            instrument: instrument.clone(),
            boundary: clock.passed.0,
            through: clock.passed.1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instrument(coin: &str) -> Instrument {
        Instrument::new(coin, "usd").expect("valid")
    }

    /// Observes (hours, sequence) of one coin.
    fn observe(schedule: &mut Schedule, coin: &str, ticks: &[(i64, u64)]) {
        for &(hours, seq) in ticks {
            schedule.observe(&instrument(coin), EventTime(hours * Span::HOUR.ms()), seq);
        }
    }

    #[test]
    fn training_is_due_once_for_each_day_that_has_passed() {
        let mut schedule = Schedule::new(Span::DAY);
        observe(&mut schedule, "bitcoin", &[(10, 1), (23, 2), (24, 3)]);
        assert_eq!(schedule.due(), None, "the watermark is still in the first day");
        observe(&mut schedule, "bitcoin", &[(25, 4), (26, 5)]);
        let due = schedule.due().expect("the first day is over");
        assert_eq!((due.boundary, due.through), (EventTime(Span::DAY.ms()), 4));
        schedule.trained(&due.instrument, due.boundary);
        assert_eq!(schedule.due(), None);
    }

    #[test]
    fn days_that_passed_meanwhile_are_one_training() {
        let mut schedule = Schedule::new(Span::DAY);
        observe(&mut schedule, "bitcoin", &[(0, 1), (25, 2), (49, 3), (73, 4), (74, 5)]);
        let due = schedule.due().expect("three days are over");
        assert_eq!((due.boundary, due.through), (EventTime(3 * Span::DAY.ms()), 4));
        schedule.trained(&due.instrument, due.boundary);
        assert_eq!(schedule.due(), None);
    }

    #[test]
    fn a_late_tick_makes_nothing_due_and_every_instrument_has_its_turn() {
        let mut schedule = Schedule::new(Span::DAY);
        observe(&mut schedule, "bitcoin", &[(0, 1), (49, 2), (3, 3)]);
        observe(&mut schedule, "ethereum", &[(0, 4), (25, 5)]);
        let first = schedule.due().expect("both are due");
        assert_eq!(first.instrument, instrument("ethereum"), "its boundary is older");
        schedule.trained(&first.instrument, first.boundary);
        let second = schedule.due().expect("the other one");
        assert_eq!((second.instrument, second.through), (instrument("bitcoin"), 2));
    }
}
