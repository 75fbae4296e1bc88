//! Intervals around predictions that contain the truth as often as they say: split conformal.
//!
//! The errors of a model on rows that it was not fitted to are sorted; the interval at level p is as wide as the error at
//! rank ⌈(n + 1) p⌉. If future errors are exchangeable with those n, it contains at least a share p of the truths
//! (Vovk, Gammerman and Shafer 2005; Lei et al. 2018). Prices are not quite exchangeable, so errors are measured in units
//! of each row's own scale (locally weighted), and the coverage that was achieved always stands beside the nominal one.

use crate::dataset::Row;

/// Levels of the intervals, in percent.
pub const LEVELS: [u8; 4] = [50, 80, 90, 95];

/// The level that is meant when none is named, in percent.
pub const LEVEL_MAIN: u8 = 90;

/// Half widths of the intervals by [`LEVELS`], in units of a row's scale, in log price.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conformal {
    half_widths: [Option<f64>; LEVELS.len()],
}

/// Where the truth should be: from `lower` to `upper`, both included, in quote currency.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Band {
    /// Lower end, above 0.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
}

impl Band {
    /// Whether the truth is inside.
    pub fn contains(&self, actual: f64) -> bool {
        (self.lower..=self.upper).contains(&actual)
    }
}

/// The error of a prediction in units of its row's scale: |log(actual ÷ predicted)| ÷ scale.
pub fn nonconformity(row: &Row, predicted: f64) -> f64 {
    (row.actual / predicted).ln().abs() / row.scale
}

impl Conformal {
    /// Calibrates on [`nonconformity`] of rows that the model was not fitted to. A level for which there are too few of
    /// them (fewer than p ÷ (1 − p)) has no interval: it would have to be infinite.
    pub fn calibrate(mut scores: Vec<f64>) -> Self {
        scores.sort_unstable_by(f64::total_cmp);
        let half_widths = LEVELS.map(|level| {
            let rank = ((scores.len() + 1) * usize::from(level)).div_ceil(100);
            scores.get(rank - 1).copied()
        });
        Self { half_widths }
    }

    /// The intervals of one prediction, by [`LEVELS`].
    pub fn bands(&self, row: &Row, predicted: f64) -> [Option<Band>; LEVELS.len()] {
        self.half_widths.map(|half_width| {
            let factor = (half_width? * row.scale).exp();
            Some(Band { lower: predicted / factor, upper: predicted * factor })
        })
    }
}

/// The share of truths inside the bands of one level; None when no row has a band.
pub fn coverage(truths_and_bands: impl Iterator<Item = (f64, Option<Band>)>) -> Option<f64> {
    let (mut inside, mut count) = (0_usize, 0_usize);
    for (actual, band) in truths_and_bands {
        if let Some(band) = band {
            count += 1;
            inside += usize::from(band.contains(actual));
        }
    }
    (count > 0).then(|| inside as f64 / count as f64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::time::EventTime;

    fn row(actual: f64, scale: f64) -> Row {
        let known = EventTime(0);
        Row { known, target_end: EventTime(1), last: 1.0, actual, label: 0.0, scale }
    }

    #[test]
    fn rank_has_the_correction_for_few_rows() {
        // n scores 1…n: the half width at level p is the score of rank ⌈(n + 1) p⌉ itself, none beyond n.
        let cases: [(usize, [Option<f64>; 4]); 4] = [
            (0, [None; 4]),
            (1, [Some(1.0), None, None, None]),
            (9, [Some(5.0), Some(8.0), Some(9.0), None]),
            (99, [Some(50.0), Some(80.0), Some(90.0), Some(95.0)]),
        ];
        for (count, expected) in cases {
            let scores = (1..=count).rev().map(|score| score as f64).collect();
            assert_eq!(Conformal::calibrate(scores).half_widths, expected, "{count}");
        }
    }

    #[test]
    fn a_wilder_row_has_a_wider_band() {
        let conformal = Conformal::calibrate(vec![1.0; 99]);
        let [calm, wild] = [0.01, 0.1].map(|scale| conformal.bands(&row(100.0, scale), 100.0)[0].expect("a band"));
        assert!(
            (calm.upper - 100.0 * 0.01_f64.exp()).abs() < 1e-9 && (calm.lower - 100.0 / 0.01_f64.exp()).abs() < 1e-9
        );
        assert!(wild.lower < calm.lower && calm.upper < wild.upper);
    }

    #[test]
    fn coverage_counts_only_rows_with_a_band() {
        let band = Band { lower: 1.0, upper: 2.0 };
        let rows = [(1.0, Some(band)), (2.0, Some(band)), (2.1, Some(band)), (1.5, None), (0.9, Some(band))];
        assert_eq!(coverage(rows.into_iter()), Some(0.5));
        assert_eq!(coverage([(1.0, None)].into_iter()), None);
    }

    proptest! {
        #[test]
        fn the_rows_of_the_calibration_are_covered_at_every_level(
            errors in prop::collection::vec(-0.5..0.5_f64, 19..200),
            scale in 0.001..10.0_f64,
        ) {
            let rows: Vec<_> = errors.iter().map(|error| row(100.0 * error.exp(), scale)).collect();
            let conformal = Conformal::calibrate(rows.iter().map(|row| nonconformity(row, 100.0)).collect());
            for (idx, level) in LEVELS.iter().enumerate() {
                // The last bit of exp and ln may put the row that sets the width outside.
                let mut bands = rows.iter().map(|row| (row.actual, conformal.bands(row, 100.0)[idx]));
                let inside = bands.by_ref().filter(|(actual, band)| {
                    band.is_some_and(|band| band.lower * (1.0 - 1e-12) <= *actual && *actual <= band.upper * (1.0 + 1e-12))
                });
                let share = inside.count() as f64 / rows.len() as f64;
                prop_assert!(share >= f64::from(*level) / 100.0 - 1e-12, "{level}: {share}");
            }
        }
    }
}
