//! Checks for data leakage: information from the future that flatters a model's scores.
//!
//! [`first_leak`] finds features that know the future, [`split_fault`] finds training rows that are scored or whose
//! truth comes too late, and [`distinct_times`] finds times that a model cannot tell apart. A model of shuffled labels
//! ([`shuffle_labels`]) can learn nothing, so a score above luck shows a leak. A check that never finds anything proves
//! nothing: [`plant_answer`] makes a dataset that must be found.

use market::{Candle, EventTime, Span, Tick};

use crate::dataset::{Dataset, DatasetRow};
use crate::features::calendar;
use crate::lookback::FeatureRow;
use crate::split::{RowSplit, shuffled};

/// A feature that changes when later data is removed, so it was computed from the future.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("feature column {column} at {at} changes when the candles after it are taken away: it knows the future")]
pub struct Leak {
    /// Event time of the row.
    pub at: EventTime,
    /// Index of the column. Indexes after the last feature are the newest value, the scale and the running averages.
    pub column: usize,
}

/// Recomputes feature rows, each from the history up to its candle, and returns the first number that differs from the
/// one computed on all candles. One in `every` rows is checked: 1 checks all, at quadratic cost. `rows_of` is
/// [`feature_rows`](crate::lookback::feature_rows) of a recipe.
pub fn first_leak(candles: &[Candle], every: usize, rows_of: impl Fn(&[Candle]) -> Vec<FeatureRow>) -> Option<Leak> {
    let whole = rows_of(candles);
    whole.iter().step_by(every.max(1)).find_map(|row| {
        let end = candles.partition_point(|candle| candle.end <= row.at);
        let truncated = rows_of(&candles[..end]);
        let Some(again) = truncated.last().filter(|last| last.at == row.at) else {
            return Some(Leak { at: row.at, column: 0 });
        };
        let column = bits(row).into_iter().zip(bits(again)).position(|(whole, truncated)| whole != truncated)?;
        Some(Leak { at: row.at, column })
    })
}

/// Returns all numbers of a feature row as bits.
fn bits(row: &FeatureRow) -> Vec<u64> {
    let others = [row.last, row.scale].into_iter().chain(row.averages.into_iter().flatten());
    let features = row.features.iter().map(|feature| u64::from(feature.to_bits()));
    features.chain(others.map(f64::to_bits)).collect()
}

/// A leak between the parts of a split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SplitFault {
    /// A row is both a training row and a scored row.
    #[error("the row of {made} is in both parts")]
    InBoth {
        /// Event time of the row.
        made: EventTime,
    },
    /// The truth of a training row is known too late.
    #[error("the truth of a training row is known at {target_end}, too late for predictions from {from} on")]
    NotPurged {
        /// Event time of the training row's truth.
        target_end: EventTime,
        /// Event time of the first scored prediction.
        from: EventTime,
    },
}

/// Looks for a row in both parts and, for a split by time, for a training row whose truth was not known `purge` before
/// the first scored prediction. `purge` is `None` for a random split.
pub fn split_fault(rows: &[DatasetRow], part: &RowSplit, purge: Option<Span>) -> Option<SplitFault> {
    let mut is_trained = vec![false; rows.len()];
    part.train.iter().for_each(|&row| is_trained[row] = true);
    if let Some(&row) = part.validation.iter().find(|&&row| is_trained[row]) {
        return Some(SplitFault::InBoth { made: rows[row].made });
    }
    let purge = purge?;
    let from = part.validation.iter().map(|&row| rows[row].made).min()?;
    let target_end = part.train.iter().map(|&row| rows[row].target_end).max()?;
    (target_end + purge > from).then_some(SplitFault::NotPurged { target_end, from })
}

/// Shuffles the labels of these rows among them. Features, truths and all other rows stay unchanged.
pub fn shuffle_labels(dataset: &mut Dataset, rows: &[usize], seed: u64) {
    let labels = dataset.labels_of(rows);
    for (&row, from) in rows.iter().zip(shuffled(rows.len(), seed)) {
        dataset.rows[row].label = labels[from];
    }
}

/// Replaces the first feature of each row by its label, as a careless join with later data would.
pub fn plant_answer(dataset: &mut Dataset) {
    let width = dataset.width();
    for (row, features) in dataset.rows.iter().zip(dataset.features.chunks_exact_mut(width)) {
        features[0] = row.label;
    }
}

/// Event times of ticks, and the numbers that they become as a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DistinctTimes {
    /// Number of different event times.
    pub times: usize,
    /// Number of different feature values.
    pub numbers: usize,
    /// The first tick whose minute has the same feature value as the minute before it.
    pub collapsed: Option<EventTime>,
}

/// Counts the different event times of ticks, which are ascending, and their different feature values.
pub fn distinct_times(ticks: &[Tick]) -> DistinctTimes {
    let Some(first) = ticks.first() else { return DistinctTimes { times: 0, numbers: 0, collapsed: None } };
    let mut distinct = DistinctTimes { times: 1, numbers: 1, collapsed: None };
    let number = |tick: &Tick| calendar::row(tick.event, first.event)[0];
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
        dataset::tests::tick(event, 100.0 + (event as f64 / 7e5).sin())
    }

    fn minutes(minutes: impl IntoIterator<Item = i64>) -> Vec<Tick> {
        minutes.into_iter().map(|minute| tick(minute * Span::MINUTE.ms())).collect()
    }

    fn calendar() -> Dataset {
        Dataset::from_ticks(&minutes(0..50)).expect("short enough")
    }

    #[test]
    fn only_a_split_that_leaks_has_a_fault() {
        // Row i is made at minute i + 1, its truth is known a minute later.
        let rows = calendar().rows;
        let part =
            |train: &[usize], validation: &[usize]| RowSplit { train: train.into(), validation: validation.into() };
        let minute = |minute: i64| EventTime(minute * Span::MINUTE.ms());
        let in_both = SplitFault::InBoth { made: minute(5) };
        let late = |row: i64| SplitFault::NotPurged { target_end: minute(row + 2), from: minute(9) };
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
            assert_eq!(split_fault(&rows, &part, purge), expected, "{part:?} {purge:?}");
        }
    }

    #[test]
    fn shuffling_changes_only_the_order_of_labels() {
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
    fn a_planted_answer_is_in_the_first_column_only() {
        let before = calendar();
        let mut after = before.clone();
        plant_answer(&mut after);
        let rows = after.features.chunks_exact(after.width()).zip(before.features.chunks_exact(before.width()));
        for (row, (after_row, before_row)) in after.rows.iter().zip(rows) {
            assert_eq!(after_row[0], row.label);
            assert_eq!(after_row[1..], before_row[1..]);
        }
    }

    /// Times with equal feature values are counted, and the first minute among them is named.
    #[test]
    fn times_with_one_feature_value_are_counted() {
        let check = |ticks: &[Tick], times: usize, numbers: usize, collapsed: Option<EventTime>| {
            assert_eq!(distinct_times(ticks), DistinctTimes { times, numbers, collapsed });
        };
        check(&[], 0, 0, None);
        check(&minutes([0, 1, 1, 2]), 3, 3, None);
        // After two years of minutes an f32 cannot hold a quarter of a second.
        let later = 2 * 365 * Span::DAY.ms();
        check(&[tick(0), tick(later), tick(later + 250)], 3, 2, None);
        let after_seventy_years = 70 * 365 * Span::DAY.ms() + Span::MINUTE.ms();
        let beyond = [tick(0), tick(after_seventy_years - Span::MINUTE.ms()), tick(after_seventy_years)];
        check(&beyond, 3, 2, Some(EventTime(after_seventy_years)));
    }
}
