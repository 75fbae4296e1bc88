//! Whether a model beats doing nothing, in plain words.

use market::digits::significant;
use market::scores::EVIDENCE;
use market::{Baseline, Recipe, Scores};
use store::model_card::RANDOM_LABEL;

use crate::fit::Split;

/// What was scored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject {
    /// What was predicted.
    pub(crate) recipe: Recipe,
    /// What doing nothing means.
    pub(crate) baseline: Baseline,
    /// How rows were held out.
    pub(crate) split: Split,
}

/// One sentence on held-out scores. A score of a random split is never given without its label.
pub(crate) fn verdict(scores: &Scores, subject: Subject) -> String {
    let comparison = compare(scores, subject);
    match subject.split {
        Split::Time => comparison,
        Split::Random => format!("{RANDOM_LABEL}, so this says nothing about forecasts. {comparison}"),
    }
}

fn compare(scores: &Scores, subject: Subject) -> String {
    let Scores { rows, rmse, baseline_rmse, .. } = *scores;
    let (Some(skill), Some(test)) = (scores.skill, scores.diebold_mariano) else {
        return format!("On {rows} unseen rows nothing can be said about the model: {}.", why_nothing(scores, subject));
    };
    let doing_nothing = subject.baseline.words(subject.recipe);
    let figures = format!(
        "on {rows} unseen rows its RMSE is {} against {} of the {doing_nothing}",
        five_digits(rmse),
        five_digits(baseline_rmse)
    );
    let (percent, p) = (percent(skill), chance(test.p));
    if skill > 0.0 && test.p < EVIDENCE {
        format!("The model beats doing nothing by {percent} ({p}): {figures}.")
    } else if skill < 0.0 && test.p > 1.0 - EVIDENCE {
        format!("The model does not beat doing nothing, it is {percent} worse ({p}): {figures}.")
    } else {
        let difference = match skill {
            _ if percent == self::percent(0.0) => "as good".to_owned(),
            ..0.0 => format!("{percent} worse"),
            _ => format!("{percent} better"),
        };
        format!("There is no evidence that the model beats doing nothing, it is {difference} ({p}): {figures}.")
    }
}

fn why_nothing(scores: &Scores, subject: Subject) -> String {
    match (scores.skill, subject.recipe.predicts_prices()) {
        (None, true) => "the price did not move".to_owned(),
        (None, false) => "the range did not change".to_owned(),
        (Some(_), _) => "it never differs from doing nothing, or they are too few".to_owned(),
    }
}

/// A share of one in percent, without its sign.
fn percent(share: f64) -> String {
    format!("{:.2} %", share.abs() * 100.0)
}

/// A probability as people write it.
pub fn chance(p: f64) -> String {
    if p < 0.001 { "p < 0.001".to_owned() } else { format!("p = {p:.3}") }
}

/// Five significant digits at any price: an error is a small share of its price, and ranges are small too.
pub fn five_digits(value: f64) -> String {
    significant(value, 5)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::{Outcome, evaluate};

    const PRICES: Subject = Subject { recipe: Recipe::Returns, baseline: Baseline::Last, split: Split::Time };

    /// The verdict on a model that is off by `model` where the baseline is off by `baseline`, ten rows by ten rows.
    fn verdict_of(baseline: [f64; 2], model: [f64; 2], subject: Subject) -> String {
        let outcome = |idx: usize| {
            let (actual, turn) = (100.0 + (idx % 3) as f64, idx / 10 % 2);
            Outcome { baseline: actual - baseline[turn], actual, predicted: actual - model[turn] }
        };
        let outcomes: Vec<_> = (0..120).map(outcome).collect();
        verdict(&evaluate(subject.recipe, 1, &outcomes).expect("there are rows"), subject)
    }

    #[test]
    fn better_no_better_worse_and_undefined_each_have_their_words() {
        let check = |baseline, model, subject, expected: &str| {
            let verdict = verdict_of(baseline, model, subject);
            assert!(verdict.starts_with(expected), "{verdict}");
        };
        check(
            [2.0, 2.0],
            [1.0, 1.5],
            PRICES,
            "The model beats doing nothing by 36.26 % (p < 0.001): on 120 unseen rows its RMSE is 1.2748 against 2.0000 of",
        );
        check(
            [2.0, 2.0],
            [9.0, 8.0],
            PRICES,
            "The model does not beat doing nothing, it is 325.73 % worse (p = 1.000): ",
        );
        check([0.0, 8.0], [8.8, 0.0], PRICES, "There is no evidence that the model beats doing nothing, it is ");
        let none = "There is no evidence that the model beats doing nothing, it is as good (p = ";
        check([2.0, 2.0], [2.000_01, 1.999_99], PRICES, none);
        check([2.0, 2.0], [1.0, 1.5], Subject { split: Split::Random, ..PRICES }, "random: leaks the future");
        let still = Outcome { baseline: 10.0, actual: 10.0, predicted: 9.0 };
        let scores = evaluate(Recipe::Returns, 1, &[still; 3]).expect("there are rows");
        assert!(verdict(&scores, PRICES).ends_with("the price did not move."), "{}", verdict(&scores, PRICES));
    }

    #[test]
    fn the_baseline_is_called_by_its_name() {
        let ranges = Subject { recipe: Recipe::Volatility, baseline: Baseline::Average(2), ..PRICES };
        let verdict = verdict_of([2.0, 2.0], [1.0, 1.5], ranges);
        assert!(
            verdict.contains("p < 0.001") && verdict.contains(" of the running average of half-life 12."),
            "{verdict}"
        );
        assert!(verdict_of([2.0, 2.0], [1.0, 1.5], PRICES).contains(" of the last price."));
    }

    #[test]
    fn errors_of_tiny_prices_are_told_with_their_digits() {
        // A price of 3e-15 whose baseline is off by a tenth and whose model is off by a twentieth or a fifteenth.
        let outcome = |idx: usize| {
            let actual = 3e-15 * (1.0 + (idx % 3) as f64 / 100.0);
            let off = if (idx / 10).is_multiple_of(2) { 1.5e-16 } else { 2e-16 };
            Outcome { baseline: actual - 3e-16, actual, predicted: actual - off }
        };
        let outcomes: Vec<_> = (0..120).map(outcome).collect();
        let verdict = verdict(&evaluate(Recipe::Returns, 1, &outcomes).expect("there are rows"), PRICES);
        assert!(
            verdict.ends_with("on 120 unseen rows its RMSE is 1.7678e-16 against 3.0000e-16 of the last price."),
            "{verdict}"
        );
    }
}
