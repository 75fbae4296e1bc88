//! Guards against scores that flatter: ways in which the future can leak into a model, and how each would show.
//!
//! [`crate::dataset::first_leak`] looks for features that know the future, [`part_fault`] for rows that are learned from
//! although they should only be scored, and [`distinct_times`] for times that a model cannot tell apart. With labels that
//! were shuffled ([`shuffle_labels`]) nothing can be learned, so whatever still scores is a leak. A guard that never finds
//! anything proves nothing: [`plant_answer`] makes a dataset that must be caught.

use market::{EventTime, Span, Tick};

use crate::dataset::{Dataset, Row};
use crate::features::calendar_row;
use crate::split::{Part, shuffled};

/// What is wrong with a split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PartFault {
    /// A row is learned from and scored on.
    #[error("the row of {known} is in both parts")]
    InBoth {
        /// When the row is predicted.
        known: EventTime,
    },
    /// A row that is learned from tells of the time that is scored.
    #[error("the truth of a training row is known at {target_end}, too late for predictions from {from} on")]
    NotPurged {
        /// When the training row's truth is known.
        target_end: EventTime,
        /// When the first prediction that is scored is made.
        from: EventTime,
    },
}

/// Looks for a row in both parts, and, where parts follow each other in time, for a training row whose truth was not known
/// `purge` before the first prediction that is scored. `purge` is None for a random split, which keeps no order.
pub fn part_fault(rows: &[Row], part: &Part, purge: Option<Span>) -> Option<PartFault> {
    let mut is_trained = vec![false; rows.len()];
    part.train.iter().for_each(|&row| is_trained[row] = true);
    if let Some(&row) = part.validation.iter().find(|&&row| is_trained[row]) {
        return Some(PartFault::InBoth { known: rows[row].known });
    }
    let purge = purge?;
    let from = part.validation.iter().map(|&row| rows[row].known).min()?;
    let target_end = part.train.iter().map(|&row| rows[row].target_end).max()?;
    (target_end + purge > from).then_some(PartFault::NotPurged { target_end, from })
}

/// Deals the labels of these rows out among them anew. Features, truths and all other rows stay as they are.
pub fn shuffle_labels(dataset: &mut Dataset, rows: &[usize], seed: u64) {
    let labels = dataset.labels_of(rows);
    for (&row, from) in rows.iter().zip(shuffled(rows.len(), seed)) {
        dataset.rows[row].label = labels[from];
    }
}

/// Puts the label of each row where its first feature was: what a careless join with later data does.
pub fn plant_answer(dataset: &mut Dataset) {
    let width = dataset.width();
    for (row, features) in dataset.rows.iter().zip(dataset.features.chunks_exact_mut(width)) {
        features[0] = row.label;
    }
}

/// How well times stay apart when they become a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DistinctTimes {
    /// Different event times of the ticks.
    pub times: usize,
    /// Different numbers that they become.
    pub numbers: usize,
    /// The first tick whose minute cannot be told from the minute before it.
    pub collapsed: Option<EventTime>,
}

/// Counts the event times of ticks, ascending, and the numbers that a model sees instead of them.
pub fn distinct_times(ticks: &[Tick]) -> DistinctTimes {
    let Some(first) = ticks.first() else { return DistinctTimes { times: 0, numbers: 0, collapsed: None } };
    let mut distinct = DistinctTimes { times: 1, numbers: 1, collapsed: None };
    let number = |tick: &Tick| calendar_row(tick.event, first.event)[0];
    for pair in ticks.windows(2) {
        let (before, tick) = (&pair[0], &pair[1]);
        let is_same_number = number(before) == number(tick);
        distinct.times += usize::from(before.event != tick.event);
        distinct.numbers += usize::from(!is_same_number);
        if is_same_number && before.event.floor(Span::MINUTE) != tick.event.floor(Span::MINUTE) {
            distinct.collapsed.get_or_insert(tick.event);
        }
    }
    distinct
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset;

    fn tick(event: i64) -> Tick {
        let close = 100.0 + (event as f64 / 7e5).sin();
        let (event, grain) = (EventTime(event), Some(Span::MINUTE));
        Tick {
            event,
            grain,
            complete: None,
            id: None,
            open: close,
            high: close,
            low: close,
            close,
            volume: None,
            feed_seq: 1,
        }
    }

    fn minutes(minutes: impl IntoIterator<Item = i64>) -> Vec<Tick> {
        minutes.into_iter().map(|minute| tick(minute * Span::MINUTE.ms())).collect()
    }

    fn calendar() -> Dataset {
        dataset::calendar(&minutes(0..50)).expect("short enough")
    }

    #[test]
    fn a_split_is_found_fault_with_only_when_it_leaks() {
        // Row i is known at minute i + 1, its truth a minute later.
        let rows = calendar().rows;
        let part = |train: &[usize], validation: &[usize]| Part { train: train.into(), validation: validation.into() };
        let minute = |minute: i64| EventTime(minute * Span::MINUTE.ms());
        let in_both = PartFault::InBoth { known: minute(5) };
        let late = |row: i64| PartFault::NotPurged { target_end: minute(row + 2), from: minute(9) };
        let cases = [
            (part(&[0, 1, 2], &[8, 9]), Some(Span::MINUTE), None),
            (part(&[0, 1, 6], &[8, 9]), Some(Span::MINUTE), None),
            (part(&[0, 1, 7], &[8, 9]), Some(Span::MINUTE), Some(late(7))),
            (part(&[0, 1, 7], &[8, 9]), Some(Span(0)), None),
            (part(&[0, 30], &[8, 9]), Some(Span::MINUTE), Some(late(30))),
            (part(&[0, 30], &[8, 9]), None, None),
            (part(&[0, 4, 5], &[4, 9]), Some(Span::MINUTE), Some(in_both)),
            (part(&[0, 4, 5], &[4, 9]), None, Some(in_both)),
            (part(&[], &[4]), Some(Span::MINUTE), None),
            (part(&[4], &[]), Some(Span::MINUTE), None),
        ];
        for (part, purge, expected) in cases {
            assert_eq!(part_fault(&rows, &part, purge), expected, "{part:?} {purge:?}");
        }
    }

    #[test]
    fn shuffling_keeps_the_labels_and_touches_nothing_else() {
        let before = calendar();
        let mut after = before.clone();
        let rows: Vec<usize> = (0..40).collect();
        shuffle_labels(&mut after, &rows, 42);
        let sorted = |dataset: &Dataset| {
            let mut labels = dataset.labels_of(&rows);
            labels.sort_unstable_by(f32::total_cmp);
            labels
        };
        assert_eq!(sorted(&after), sorted(&before));
        let moved = rows.iter().filter(|&&row| after.rows[row].label != before.rows[row].label).count();
        assert!(moved > 30, "{moved}");
        assert_eq!(after.rows[40..], before.rows[40..]);
        assert_eq!(after.features, before.features);
        after.rows.iter_mut().zip(&before.rows).for_each(|(after, before)| after.label = before.label);
        assert_eq!(after, before);
    }

    #[test]
    fn a_planted_answer_stands_in_the_first_column_alone() {
        let before = calendar();
        let mut after = before.clone();
        plant_answer(&mut after);
        let rows = after.features.chunks_exact(after.width()).zip(before.features.chunks_exact(before.width()));
        for (row, (after_row, before_row)) in after.rows.iter().zip(rows) {
            assert_eq!(after_row[0], row.label);
            assert_eq!(after_row[1..], before_row[1..]);
        }
    }

    #[test]
    fn times_that_become_one_number_are_counted_and_minutes_that_do_are_named() {
        let check = |ticks: &[Tick], times: usize, numbers: usize, collapsed: Option<EventTime>| {
            assert_eq!(distinct_times(ticks), DistinctTimes { times, numbers, collapsed });
        };
        check(&[], 0, 0, None);
        check(&minutes([0, 1, 1, 2]), 3, 3, None);
        // After two years of minutes an f32 knows no quarter of a second.
        let later = 2 * 365 * Span::DAY.ms();
        check(&[tick(0), tick(later), tick(later + 250)], 3, 2, None);
        let after_seventy_years = 70 * 365 * Span::DAY.ms() + Span::MINUTE.ms();
        let beyond = [tick(0), tick(after_seventy_years - Span::MINUTE.ms()), tick(after_seventy_years)];
        check(&beyond, 3, 2, Some(EventTime(after_seventy_years)));
    }
}
