//! Splits rows into training and validation parts: by time with a purge, or at random as the original program did.

use market::Span;
use serde::{Deserialize, Serialize};
use store::model_card::RANDOM_LABEL;

use crate::dataset::DatasetRow;

/// How rows are held out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub enum Split {
    /// The last rows in time, after a purge of one horizon: a fair score
    Time,
    /// Random rows, as the original program did: leaks the future
    Random,
}

impl Split {
    /// Returns the label of the split, which is shown with every score of it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Random => RANDOM_LABEL,
        }
    }

    /// Splits rows, which are ascending by `made`.
    pub fn split_rows(self, rows: &[DatasetRow], share: f64, purge: Span, seed: u64) -> RowSplit {
        match self {
            Self::Time => by_time(rows, share, purge),
            Self::Random => random(rows.len(), share, seed),
        }
    }
}

/// Positions of rows, ascending. No row is in both parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowSplit {
    /// Rows to fit to.
    pub train: Vec<usize>,
    /// Rows to score on, called holdout in the outermost split.
    pub validation: Vec<usize>,
}

/// Holds out the last `share` of the rows, and purges: a training row stays only if its truth was known at least
/// `purge` before the first held-out prediction is made. `rows` are ascending by `made`.
///
/// # Panics
/// `share` is outside 0 to 1.
pub fn by_time(rows: &[DatasetRow], share: f64, purge: Span) -> RowSplit {
    let first = rows.len() - held_out(rows.len(), share);
    RowSplit { train: purged(rows, first, purge), validation: (first..rows.len()).collect() }
}

/// Returns rolling-origin folds: `rows` are cut into `folds` + 1 blocks of equal size (the first takes the remainder).
/// Fold i is scored on block i + 1 after training on all blocks before it, purged as in [`by_time`]. There are no folds
/// when there are fewer rows than blocks. Positions are within `rows`.
pub fn rolling(rows: &[DatasetRow], folds: usize, purge: Span) -> Vec<RowSplit> {
    let block = rows.len() / (folds + 1);
    if block == 0 {
        return Vec::new();
    }
    let part = |fold: usize| {
        let first = rows.len() - (folds - fold) * block;
        RowSplit { train: purged(rows, first, purge), validation: (first..first + block).collect() }
    };
    (0..folds).map(part).collect()
}

/// Holds out a random `share` of `count` rows, as the original program did. Rows a minute apart fall on either side, so
/// the model is scored at times whose neighbors it was fitted to. See [`RANDOM_LABEL`].
///
/// # Panics
/// `share` is outside 0 to 1.
pub fn random(count: usize, share: f64, seed: u64) -> RowSplit {
    let mut train = shuffled(count, seed);
    let mut validation = train.split_off(count - held_out(count, share));
    validation.sort_unstable();
    train.sort_unstable();
    RowSplit { train, validation }
}

/// Returns the numbers below `count` in an order that only the seed decides (Fisher–Yates, from the end).
pub(crate) fn shuffled(count: usize, seed: u64) -> Vec<usize> {
    let mut shuffled: Vec<usize> = (0..count).collect();
    let mut generator = SplitMix64(seed);
    for last in (1..count).rev() {
        shuffled.swap(last, generator.below(last as u64 + 1) as usize);
    }
    shuffled
}

/// Returns `share` of `count`, rounded to the nearest row.
fn held_out(count: usize, share: f64) -> usize {
    assert!((0.0..=1.0).contains(&share), "a share is between 0 and 1: {share}");
    ((count as f64 * share).round() as usize).min(count)
}

/// Returns the rows before `first` whose truth was known `purge` before the prediction of row `first` is made.
fn purged(rows: &[DatasetRow], first: usize, purge: Span) -> Vec<usize> {
    let Some(boundary) = rows.get(first) else { return (0..first).collect() };
    (0..first).filter(|&row| rows[row].target_end + purge <= boundary.made).collect()
}

/// The generator of Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014), as in Java's
/// `SplittableRandom`.
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number in 0..bound: the high half of a 128-bit product. Its bias is below 2^-32 for any number of
    /// rows.
    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use market::EventTime;
    use proptest::prelude::*;

    use super::*;

    /// Returns rows at the given distances from each other, with truths `horizon` later.
    fn rows(steps: &[i64], horizon: i64) -> Vec<DatasetRow> {
        let mut made = 0;
        let at = |made: i64| DatasetRow {
            made: EventTime(made),
            target_end: EventTime(made + horizon),
            last: 1.0,
            actual: 1.0,
            label: 0.0,
            scale: 1.0,
        };
        steps
            .iter()
            .map(|step| {
                made += step;
                at(made)
            })
            .collect()
    }

    fn check_fair(rows: &[DatasetRow], part: &RowSplit, purge: Span) {
        let boundary = part.validation.iter().map(|&row| rows[row].made).min();
        for &row in &part.train {
            assert!(!part.validation.contains(&row), "row {row} is in both");
            let Some(boundary) = boundary else { continue };
            assert!(rows[row].target_end + purge <= boundary, "row {row} knows what happens after {boundary}");
        }
    }

    #[test]
    fn generator_gives_the_published_numbers() {
        // From the reference implementation (Vigna, splitmix64.c) with seed 1234567.
        let mut generator = SplitMix64(1_234_567);
        let numbers = [generator.next(), generator.next(), generator.next()];
        assert_eq!(numbers, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn equal_steps_lose_one_horizon_and_what_overlaps_it() {
        let rows = rows(&[10; 100], 10);
        let part = by_time(&rows, 0.2, Span(10));
        assert_eq!(part.validation, (80..100).collect::<Vec<_>>());
        assert_eq!(part.train, (0..79).collect::<Vec<_>>());
        let folds = rolling(&rows[..80], 3, Span(10));
        let sizes: Vec<_> = folds.iter().map(|part| (part.train.len(), part.validation.len())).collect();
        assert_eq!(sizes, [(19, 20), (39, 20), (59, 20)]);
    }

    #[test]
    fn a_random_split_depends_on_nothing_but_its_seed() {
        let part = random(1_000, 0.2, 42);
        assert_eq!((part.train.len(), part.validation.len()), (800, 200));
        assert_eq!(part, random(1_000, 0.2, 42));
        assert_ne!(part, random(1_000, 0.2, 43));
        assert_eq!(random(0, 0.2, 42).train.len() + random(1, 0.2, 42).train.len(), 1);
    }

    proptest! {
        #[test]
        fn no_row_is_in_two_parts_and_none_knows_the_future(
            steps in prop::collection::vec(0_i64..50, 0..200),
            horizon in 1_i64..60,
            purge in 0_i64..120,
            share in 0.0..=1.0_f64,
            folds in 0_usize..8,
        ) {
            let rows = rows(&steps, horizon);
            let outer = by_time(&rows, share, Span(purge));
            check_fair(&rows, &outer, Span(purge));
            prop_assert!(outer.train.len() + outer.validation.len() <= rows.len());
            let inside = &rows[..outer.train.len()];
            for fold in rolling(inside, folds, Span(purge)) {
                check_fair(inside, &fold, Span(purge));
                prop_assert!(!fold.validation.is_empty());
            }
        }

        #[test]
        fn validations_of_the_folds_do_not_overlap(count in 0_usize..300, folds in 1_usize..8) {
            let rows = rows(&vec![10; count], 10);
            let mut scored: Vec<usize> = Vec::new();
            for fold in rolling(&rows, folds, Span(10)) {
                scored.extend(&fold.validation);
            }
            prop_assert!(scored.windows(2).all(|pair| pair[0] + 1 == pair[1]));
            prop_assert!(scored.is_empty() || scored.last() == Some(&(count - 1)));
        }

        #[test]
        fn a_random_split_holds_every_row_once(count in 0_usize..500, share in 0.0..=1.0_f64, seed: u64) {
            let part = random(count, share, seed);
            let mut all = [part.train, part.validation].concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..count).collect::<Vec<_>>());
        }
    }
}
