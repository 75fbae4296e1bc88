//! The verdict on a model in one sentence: whether it beats the naive baseline.

use market::digits::significant;
use market::scores::EVIDENCE;
use market::{Baseline, Recipe, Scores};
use store::model_card::RANDOM_LABEL;

use crate::split::Split;

/// The scored model.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ScoredModel {
    /// The recipe.
    pub(crate) recipe: Recipe,
    /// The naive baseline that it is compared with.
    pub(crate) baseline: Baseline,
    /// How rows were held out.
    pub(crate) split: Split,
}

/// Returns one sentence on held-out scores. The sentence on a random split begins with its label.
pub(crate) fn verdict(scores: &Scores, model: ScoredModel) -> String {
    let comparison = compare(scores, model);
    match model.split {
        Split::Time => comparison,
        Split::Random => format!("{RANDOM_LABEL}, so this says nothing about forecasts. {comparison}"),
    }
}

fn compare(scores: &Scores, model: ScoredModel) -> String {
    let Scores { rows, rmse, baseline_rmse, .. } = *scores;
    let (Some(skill), Some(test)) = (scores.skill, scores.diebold_mariano) else {
        return format!("On {rows} unseen rows nothing can be said about the model: {}.", why_nothing(scores, model));
    };
    let baseline = model.baseline.words(model.recipe);
    let figures = format!(
        "on {rows} unseen rows its RMSE is {} against {} of the {baseline}",
        five_digits(rmse),
        five_digits(baseline_rmse)
    );
    let (percent, p) = (percent(skill), chance(test.p));
    if skill > 0.0 && test.p < EVIDENCE {
        format!("The model beats the naive baseline by {percent} ({p}): {figures}.")
    } else if skill < 0.0 && test.p > 1.0 - EVIDENCE {
        format!("The model does not beat the naive baseline, it is {percent} worse ({p}): {figures}.")
    } else {
        let difference = match skill {
            _ if percent == self::percent(0.0) => "as good".to_owned(),
            ..0.0 => format!("{percent} worse"),
            _ => format!("{percent} better"),
        };
        format!("There is no evidence that the model beats the naive baseline, it is {difference} ({p}): {figures}.")
    }
}

fn why_nothing(scores: &Scores, model: ScoredModel) -> String {
    match (scores.skill, model.recipe.predicts_prices()) {
        (None, true) => "the price did not move".to_owned(),
        (None, false) => "the range did not change".to_owned(),
        (Some(_), _) => "it never differs from the naive baseline, or the rows are too few".to_owned(),
    }
}

/// Shows the absolute value of a share in percent.
fn percent(share: f64) -> String {
    format!("{:.2} %", share.abs() * 100.0)
}

/// Shows a probability, such as `p = 0.364`.
pub fn chance(p: f64) -> String {
    if p < 0.001 { "p < 0.001".to_owned() } else { format!("p = {p:.3}") }
}

/// Shows five significant digits at any size: an error is a small share of its price, and ranges are small too.
pub fn five_digits(value: f64) -> String {
    significant(value, 5)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::{PredictionOutcome, evaluate};

    const PRICES: ScoredModel = ScoredModel { recipe: Recipe::Returns, baseline: Baseline::Last, split: Split::Time };

    /// Returns the verdict on a model whose errors are `errors` where those of the baseline are `baseline`, in
    /// alternating blocks of ten rows.
    fn verdict_of(baseline: [f64; 2], errors: [f64; 2], model: ScoredModel) -> String {
        let outcome = |idx: usize| {
            let (actual, turn) = (100.0 + (idx % 3) as f64, idx / 10 % 2);
            PredictionOutcome { baseline: actual - baseline[turn], actual, predicted: actual - errors[turn] }
        };
        let outcomes: Vec<_> = (0..120).map(outcome).collect();
        verdict(&evaluate(model.recipe, 1, &outcomes).expect("there are rows"), model)
    }

    #[test]
    fn each_result_has_its_own_sentence() {
        let check = |baseline, errors, model, expected: &str| {
            let verdict = verdict_of(baseline, errors, model);
            assert!(verdict.starts_with(expected), "{verdict}");
        };
        check(
            [2.0, 2.0],
            [1.0, 1.5],
            PRICES,
            "The model beats the naive baseline by 36.26 % (p < 0.001): on 120 unseen rows its RMSE is 1.2748 against 2.0000 of",
        );
        check(
            [2.0, 2.0],
            [9.0, 8.0],
            PRICES,
            "The model does not beat the naive baseline, it is 325.73 % worse (p = 1.000): ",
        );
        check([0.0, 8.0], [8.8, 0.0], PRICES, "There is no evidence that the model beats the naive baseline, it is ");
        let none = "There is no evidence that the model beats the naive baseline, it is as good (p = ";
        check([2.0, 2.0], [2.000_01, 1.999_99], PRICES, none);
        check([2.0, 2.0], [1.0, 1.5], ScoredModel { split: Split::Random, ..PRICES }, "random: leaks the future");
        let still = PredictionOutcome { baseline: 10.0, actual: 10.0, predicted: 9.0 };
        let scores = evaluate(Recipe::Returns, 1, &[still; 3]).expect("there are rows");
        assert!(verdict(&scores, PRICES).ends_with("the price did not move."), "{}", verdict(&scores, PRICES));
    }

    #[test]
    fn the_baseline_is_called_by_its_name() {
        let ranges = ScoredModel { recipe: Recipe::Volatility, baseline: Baseline::Average(2), ..PRICES };
        let verdict = verdict_of([2.0, 2.0], [1.0, 1.5], ranges);
        assert!(
            verdict.contains("p < 0.001") && verdict.contains(" of the running average of half-life 12."),
            "{verdict}"
        );
        assert!(verdict_of([2.0, 2.0], [1.0, 1.5], PRICES).contains(" of the last price."));
    }

    #[test]
    fn errors_of_tiny_prices_keep_their_digits() {
        // A price of 3e-15 whose baseline is off by a tenth and whose model is off by a twentieth or a fifteenth.
        let outcome = |idx: usize| {
            let actual = 3e-15 * (1.0 + (idx % 3) as f64 / 100.0);
            let off = if (idx / 10).is_multiple_of(2) { 1.5e-16 } else { 2e-16 };
            PredictionOutcome { baseline: actual - 3e-16, actual, predicted: actual - off }
        };
        let outcomes: Vec<_> = (0..120).map(outcome).collect();
        let verdict = verdict(&evaluate(Recipe::Returns, 1, &outcomes).expect("there are rows"), PRICES);
        assert!(
            verdict.ends_with("on 120 unseen rows its RMSE is 1.7678e-16 against 3.0000e-16 of the last price."),
            "{verdict}"
        );
    }
}
