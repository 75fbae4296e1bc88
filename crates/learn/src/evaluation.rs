//! Scores of predictions beside the naive baseline: the last price, or a running average.

pub mod diebold_mariano;

use market::{Recipe, Scores};

use self::diebold_mariano::diebold_mariano;

/// A prediction and its truth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PredictionOutcome {
    /// The prediction of the naive baseline.
    pub baseline: f64,
    /// The truth: a close, or log(high ÷ low).
    pub actual: f64,
    /// The prediction of the model.
    pub predicted: f64,
}

/// Scores predictions in order of time, made `horizon` rows ahead. Returns `None` without predictions.
pub fn evaluate(recipe: Recipe, horizon: usize, outcomes: &[PredictionOutcome]) -> Option<Scores> {
    if outcomes.is_empty() {
        return None;
    }
    let errors = || outcomes.iter().map(|outcome| outcome.actual - outcome.predicted);
    let baseline_errors = || outcomes.iter().map(|outcome| outcome.actual - outcome.baseline);
    let rmse = root_mean_square(errors());
    let baseline_rmse = root_mean_square(baseline_errors());
    let actual_return = |outcome: &PredictionOutcome| (outcome.actual / outcome.baseline).ln();
    let predicted_return = |outcome: &PredictionOutcome| (outcome.predicted / outcome.baseline).ln();
    let r2_return = || r2(outcomes, actual_return, predicted_return);
    Some(Scores {
        rows: outcomes.len(),
        r2: r2(outcomes, |outcome| outcome.actual, |outcome| outcome.predicted),
        r2_return: if recipe.predicts_prices() { r2_return() } else { None },
        rmse,
        mae: mean_absolute(errors()),
        baseline_r2: r2(outcomes, |outcome| outcome.actual, |outcome| outcome.baseline),
        baseline_rmse,
        baseline_mae: mean_absolute(baseline_errors()),
        skill: (baseline_rmse > 0.0).then(|| 1.0 - rmse / baseline_rmse),
        direction_hit_rate: direction_hit_rate(outcomes),
        diebold_mariano: diebold_mariano(baseline_errors(), errors(), horizon),
    })
}

/// The coefficient of determination. `None` when the truth is constant: the denominator is then zero, or rounding
/// noise.
fn r2(
    outcomes: &[PredictionOutcome],
    actual: impl Fn(&PredictionOutcome) -> f64,
    predicted: impl Fn(&PredictionOutcome) -> f64,
) -> Option<f64> {
    let first = actual(&outcomes[0]);
    if outcomes.iter().all(|outcome| actual(outcome) == first) {
        return None;
    }
    let mean = outcomes.iter().map(&actual).sum::<f64>() / outcomes.len() as f64;
    let total: f64 = outcomes.iter().map(|outcome| (actual(outcome) - mean).powi(2)).sum();
    let residual: f64 = outcomes.iter().map(|outcome| (actual(outcome) - predicted(outcome)).powi(2)).sum();
    let r2 = 1.0 - residual / total;
    r2.is_finite().then_some(r2)
}

fn direction_hit_rate(outcomes: &[PredictionOutcome]) -> Option<f64> {
    let moved: Vec<_> = outcomes.iter().filter(|outcome| outcome.actual != outcome.baseline).collect();
    let hits = moved
        .iter()
        .filter(|outcome| (outcome.actual - outcome.baseline) * (outcome.predicted - outcome.baseline) > 0.0);
    (!moved.is_empty()).then(|| hits.count() as f64 / moved.len() as f64)
}

fn root_mean_square(errors: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = errors.len() as f64;
    (errors.map(|error| error * error).sum::<f64>() / count).sqrt()
}

fn mean_absolute(errors: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = errors.len() as f64;
    errors.map(f64::abs).sum::<f64>() / count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes(rows: &[(f64, f64, f64)]) -> Vec<PredictionOutcome> {
        rows.iter().map(|&(baseline, actual, predicted)| PredictionOutcome { baseline, actual, predicted }).collect()
    }

    fn scores(rows: &[(f64, f64, f64)]) -> Scores {
        evaluate(Recipe::Returns, 1, &outcomes(rows)).expect("there are rows")
    }

    #[test]
    fn scores_are_what_pencil_and_paper_give() {
        // Errors 1, -1, 1, -1; moves 2, -2, 2, -2; actual 12, 10, 12, 10.
        let scores = scores(&[(10.0, 12.0, 11.0), (12.0, 10.0, 11.0), (10.0, 12.0, 11.0), (12.0, 10.0, 11.0)]);
        assert_eq!((scores.rmse, scores.mae, scores.baseline_rmse, scores.baseline_mae), (1.0, 1.0, 2.0, 2.0));
        assert_eq!((scores.r2, scores.baseline_r2, scores.skill), (Some(0.0), Some(-3.0), Some(0.5)));
        assert_eq!((scores.direction_hit_rate, scores.rows), (Some(1.0), 4));
        let r2_return = scores.r2_return.expect("returns differ");
        assert!(0.0 < r2_return && r2_return < 1.0, "{r2_return}");
    }

    #[test]
    fn the_naive_baseline_has_no_skill_and_no_direction() {
        let scores = scores(&[(10.0, 12.0, 10.0), (12.0, 9.0, 12.0), (9.0, 9.0, 9.0)]);
        assert_eq!((scores.skill, scores.direction_hit_rate), (Some(0.0), Some(0.0)));
        assert_eq!(scores.r2, scores.baseline_r2);
        assert!(scores.r2_return.expect("returns differ") <= 0.0);
    }

    #[test]
    fn scores_that_are_undefined_are_absent() {
        // 0.1 has no exact f64: its mean over three rows is not itself, and a naive R2 could be any number.
        let still = scores(&[(0.1, 0.1, 0.2), (0.1, 0.1, 0.2), (0.1, 0.1, 0.2)]);
        assert_eq!((still.r2, still.r2_return, still.skill, still.direction_hit_rate), (None, None, None, None));
        assert_eq!(still.baseline_rmse, 0.0);
        assert!((still.rmse - 0.1).abs() < 1e-12);
        assert_eq!(evaluate(Recipe::Returns, 1, &[]), None);
    }

    #[test]
    fn a_recipe_without_prices_has_no_returns() {
        let rows = outcomes(&[(0.01, 0.02, 0.015), (0.02, 0.0, 0.01), (0.01, 0.03, 0.02)]);
        let scores = evaluate(Recipe::Volatility, 1, &rows).expect("there are rows");
        assert_eq!(scores.r2_return, None);
        assert!(scores.skill > Some(0.0) && scores.r2.is_some(), "{scores:?}");
    }
}
