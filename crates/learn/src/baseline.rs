//! The choice of the naive baseline that a model is compared with.

use market::Baseline;

use crate::dataset::Dataset;

/// Returns the baseline with the smallest squared error on the given rows, which should be training rows, so that the
/// choice uses no later truth. Of equal baselines the first is chosen.
pub fn choose(dataset: &Dataset, rows: &[usize]) -> Baseline {
    let squared_error = |baseline: &Baseline| -> f64 {
        rows.iter().map(|&row| (dataset.rows[row].actual - dataset.baseline(row, *baseline)).powi(2)).sum()
    };
    let candidates = Baseline::all(dataset.recipe).into_iter();
    let errors = candidates.map(|baseline| (squared_error(&baseline), baseline));
    errors.min_by(|a, b| a.0.total_cmp(&b.0)).map_or(Baseline::Last, |(_, baseline)| baseline)
}
