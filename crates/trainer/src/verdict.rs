//! Whether a model beats doing nothing, in plain words.

use market::evaluation::Scores;
use market::split::RANDOM_LABEL;

use crate::fit::Split;

/// One sentence on held-out scores. A score of a random split is never given without its label.
pub(crate) fn verdict(scores: &Scores, split: Split) -> String {
    let comparison = compare(scores);
    match split {
        Split::Time => comparison,
        Split::Random => format!("{RANDOM_LABEL}, so this says nothing about forecasts. {comparison}"),
    }
}

fn compare(scores: &Scores) -> String {
    let Scores { rows, rmse, baseline_rmse, .. } = *scores;
    let Some(skill) = scores.skill else {
        return format!("On {rows} unseen rows the price did not move, so nothing can be said about the model.");
    };
    let percent = (skill.abs() * 100.0 * 100.0).round() / 100.0;
    let figures = format!("on {rows} unseen rows its RMSE is {rmse:.4}, the last price's {baseline_rmse:.4}");
    if percent == 0.0 {
        format!("The model does not beat doing nothing, it is as good: {figures}.")
    } else if skill > 0.0 {
        format!("The model beats doing nothing by {percent} %: {figures}.")
    } else {
        format!("The model does not beat doing nothing, it is {percent} % worse: {figures}.")
    }
}

#[cfg(test)]
mod tests {
    use market::evaluation::{Outcome, evaluate};

    use super::*;

    fn check(rows: &[(f64, f64, f64)], split: Split, expected: &str) {
        let outcomes: Vec<_> =
            rows.iter().map(|&(last, actual, predicted)| Outcome { last, actual, predicted }).collect();
        let verdict = verdict(&evaluate(&outcomes).expect("there are rows"), split);
        assert!(verdict.starts_with(expected), "{verdict}");
    }

    #[test]
    fn better_equal_worse_and_undefined_each_have_their_words() {
        check(
            &[(10.0, 12.0, 11.0)],
            Split::Time,
            "The model beats doing nothing by 50 %: on 1 unseen rows its RMSE is 1.0000",
        );
        check(&[(10.0, 12.0, 10.0)], Split::Time, "The model does not beat doing nothing, it is as good: ");
        check(
            &[(10_000.0, 12_000.0, 10_000.01)],
            Split::Time,
            "The model does not beat doing nothing, it is as good: ",
        );
        check(&[(10.0, 12.0, 9.0)], Split::Time, "The model does not beat doing nothing, it is 50 % worse: ");
        check(&[(10.0, 10.0, 9.0)], Split::Time, "On 1 unseen rows the price did not move");
        check(&[(10.0, 12.0, 11.0)], Split::Random, "random: leaks the future");
    }
}
