//! The answer to the question that matters: does the model beat the naive baseline?

use market::scores::EVIDENCE;
use store::model_card::ModelCard;

use super::html::{escaped, figure};
use super::words;

/// The answer, in a word and in a paragraph.
pub(super) struct Answer {
    /// `yes`, `open`, `no` or `warning`: the class of the box.
    pub(super) class: &'static str,
    /// The answer in a word or two.
    pub(super) headline: &'static str,
    /// The answer in plain words, as HTML.
    pub(super) explanation: String,
}

/// Returns the answer that the scores of the holdout give.
pub(super) fn answer(card: &ModelCard) -> Answer {
    let scores = &card.holdout.scores;
    if card.split.starts_with("random") {
        return Answer {
            class: "warning",
            headline: "It cannot be said.",
            explanation: "The rows were held out at random, so the model has learned from the minutes right before and \
                          after each row that it predicts. Such a score says nothing about the future: train with a split \
                          by time."
                .to_owned(),
        };
    }
    let (Some(skill), Some(test)) = (scores.skill, scores.diebold_mariano) else {
        let explanation = format!("Nothing can be compared: {}", escaped(&card.verdict));
        return Answer { class: "open", headline: "It cannot be said.", explanation };
    };
    let (class, headline) = match skill {
        _ if scores.is_evident() => ("yes", "Yes."),
        skill if skill > 0.0 => ("open", "Not proven."),
        _ if test.p > 1.0 - EVIDENCE => ("no", "No, it is worse."),
        _ => ("no", "No."),
    };
    let explanation = format!("{} {} {}", comparison(card, skill), chance(test.p), consequence(class, test.p));
    Answer { class, headline, explanation }
}

fn comparison(card: &ModelCard, skill: f64) -> String {
    let scores = &card.holdout.scores;
    let shown = words::percent(skill.abs());
    let difference = match skill {
        _ if shown == words::percent(0.0) => format!("as large ({})", figure(skill, &shown)),
        ..0.0 => format!("{} larger", figure(skill, &shown)),
        _ => format!("{} smaller", figure(skill, &shown)),
    };
    format!(
        "On {} steps that it had never seen, the model’s typical error was {}. The rule “{}” was off by {}. So the model’s \
         error is {difference}.",
        figure(scores.rows, &words::count(scores.rows)),
        figure(scores.rmse, &words::error(card, scores.rmse)),
        escaped(&words::naive_rule(card)),
        figure(scores.baseline_rmse, &words::error(card, scores.baseline_rmse)),
    )
}

/// Says how often chance alone does as well.
fn chance(p: f64) -> String {
    let tries = match p {
        ..0.001 => "fewer than 1 of 1,000".to_owned(),
        ..0.01 => "fewer than 1 of 100".to_owned(),
        p => format!("about {:.0} of 100", 100.0 * p),
    };
    let shown = if p < 0.001 { "p < 0.001".to_owned() } else { format!("p = {p:.3}") };
    format!(
        "If the model were no better than the rule, a result at least this good would still come up in {tries} tries ({}).",
        figure(p, &shown)
    )
}

fn consequence(class: &str, p: f64) -> &'static str {
    match class {
        "yes" => "That is rare enough to call it evidence: the usual limit is 5 of 100.",
        "open" => "That is too often to call it evidence: the usual limit is 5 of 100.",
        _ if p > 1.0 - EVIDENCE => "The rule is better, and by more than chance explains.",
        _ => "There is no sign that the model knows more than the rule.",
    }
}

#[cfg(test)]
mod tests {
    use market::scores::DieboldMariano;

    use super::*;
    use crate::plot::samples::card;

    fn of(skill: f64, p: f64) -> Answer {
        let mut card = card("time", 40);
        card.holdout.scores.skill = Some(skill);
        card.holdout.scores.diebold_mariano = Some(DieboldMariano { statistic: 0.0, p });
        answer(&card)
    }

    #[test]
    fn skill_and_chance_decide_the_answer() {
        let cases =
            [(0.1, 0.01, "Yes."), (0.1, 0.06, "Not proven."), (-0.1, 0.9, "No."), (-0.1, 0.96, "No, it is worse.")];
        for (skill, p, expected) in cases {
            assert_eq!(of(skill, p).headline, expected, "{skill} {p}");
        }
        assert_eq!(answer(&card("random: leaks the future", 40)).class, "warning");
        let mut still = card("time", 40);
        still.holdout.scores.diebold_mariano = None;
        assert_eq!(answer(&still).headline, "It cannot be said.");
    }

    #[test]
    fn the_explanation_has_the_figures_of_the_card() {
        let explanation = of(0.5, 0.364).explanation;
        for expected in ["<data value=\"0.5\">50.00 %</data> smaller", "<data value=\"0.364\">p = 0.364</data>"] {
            assert!(explanation.contains(expected), "{explanation}");
        }
        assert!(explanation.contains("about 36 of 100 tries") && explanation.contains("the price stays as it is"));
        assert!(of(0.000_01, 0.4).explanation.contains("is as large (<data value=\"0.00001\">0.00 %</data>)"));
        assert!(of(0.5, 0.0001).explanation.contains("fewer than 1 of 1,000 tries"));
    }
}
