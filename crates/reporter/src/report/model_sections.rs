//! Sections on the model: its predictions, scores, intervals, features and settings.

use store::model_card::{ModelCard, PartScores};

use super::html::{escaped, facts, figure, paragraph, picture, section, table};
use super::words;
use crate::number::{number, significant};
use crate::plot::{PlotKind, Subject};

/// Returns the section with the overview.
pub(super) fn predictions(subject: &Subject) -> String {
    let content = picture(
        subject,
        PlotKind::Overview,
        &[
            "The first panel has all predictions by time. Everything right of the dashed line (the holdout) the model had never seen; the \
             folds left of it were each predicted by a model that knew only the time before.",
            "The second panel has the last steps one by one. The dot on the line is the truth, the orange dot the prediction, the gray stroke \
             the naive rule, and the bar the 90 % interval. A ring marks a truth outside its interval.",
            "The third panel has the squared error that the model has saved against the naive rule up to each moment. Where the \
             line rises, the model was better; where it falls, the rule was.",
            "A prediction that follows the price closely is no proof of skill: the price a step ago follows it closely too. \
             Only the comparison with the naive rule counts.",
        ],
    );
    section("predictions", "What did it predict?", &content)
}

/// Returns the section on skill by time, with a table of all parts.
pub(super) fn skill(subject: &Subject) -> String {
    let card = &subject.card;
    let folds = card.folds.iter().map(|fold| (format!("fold {}", fold.fold), fold.from_ms, fold.to_ms, &fold.part));
    let (from, to) = (card.time.holdout_from_ms, card.time.last_ms);
    let holdout = ("holdout".to_owned(), from, to, &card.holdout);
    let row = |(name, from, to, part): (String, i64, i64, &PartScores)| {
        let scores = &part.scores;
        vec![
            name,
            figure(from, &words::minute(from)),
            figure(to, &words::minute(to)),
            figure(scores.rows, &words::count(scores.rows)),
            figure(scores.rmse, &significant(scores.rmse)),
            figure(scores.baseline_rmse, &significant(scores.baseline_rmse)),
            optional(scores.skill, words::percent),
            optional(scores.diebold_mariano.map(|test| test.p), words::chance),
        ]
    };
    let rows = folds.chain([holdout]).map(row);
    let header = ["part", "from", "to", "rows", "error of the model", "error of the rule", "skill", "p"];
    let content = picture(
        subject,
        PlotKind::Skill,
        &[
            "Each stroke is a span of time. Above the zero line the model was better than the naive rule, below it was worse.",
            "A model with real skill is above zero most of the time, not once.",
        ],
    ) + &table("Scores by span of time", &header, rows);
    section("skill", "Does the skill last?", &content)
}

/// Returns the section on the intervals.
pub(super) fn intervals(subject: &Subject) -> String {
    let card = &subject.card;
    let row = |(level, coverage): (&String, &f64)| {
        let width = |widths: &std::collections::BTreeMap<String, f64>| widths.get(level).copied();
        vec![
            format!("{} %", escaped(level)),
            figure(coverage, &words::percent(*coverage)),
            optional(width(&card.holdout.width), |width| words::error(card, width)),
            optional(width(&card.holdout.width_relative), words::percent),
        ]
    };
    let header = ["interval", "held the truth", "mean width", "of the naive prediction"];
    let content = paragraph(
        "With each prediction comes an interval that should contain the truth at a given rate: the 90 % interval 90 times of \
         100. An interval that holds much more often is needlessly wide, one that holds less often promises too much.",
    ) + &picture(
        subject,
        PlotKind::Calibration,
        &[
            "Each dot is one interval: to the right its promise, upward how often it was kept. On the line both are equal.",
            "A dot within its bar differs from the promise by no more than chance explains.",
        ],
    ) + &table("Intervals on the holdout", &header, card.holdout.coverage.iter().map(row));
    section("intervals", "Can its intervals be trusted?", &content)
}

/// Returns the section on errors and scores.
pub(super) fn errors(subject: &Subject) -> String {
    let card = &subject.card;
    let scores = &card.holdout.scores;
    let error = |value: f64| figure(value, &words::error(card, value));
    let r2 = |value: Option<f64>| optional(value, |r2| number(r2, 4));
    let none = || "–".to_owned();
    let rows = [
        vec!["RMSE (typical error, large ones weigh more)".to_owned(), error(scores.rmse), error(scores.baseline_rmse)],
        vec!["MAE (mean size of the error)".to_owned(), error(scores.mae), error(scores.baseline_mae)],
        vec!["R2".to_owned(), r2(scores.r2), r2(scores.baseline_r2)],
        vec!["R2 of returns".to_owned(), r2(scores.r2_return), none()],
        vec!["right direction".to_owned(), optional(scores.direction_hit_rate, words::percent), none()],
    ];
    let caption = format!("Scores on {} unseen rows", words::count(scores.rows));
    let content = picture(
        subject,
        PlotKind::Residuals,
        &[
            "First the truth minus the prediction, step by step; then how often each size occurs. The gray line is the naive rule.",
            "Good errors are small, spread evenly around zero, and do not grow with time.",
        ],
    ) + &table(&caption, &["score", "model", "naive rule"], rows);
    section("errors", "How large are its errors?", &content)
}

/// Returns the section on the features; empty for a card that does not name their importance.
pub(super) fn features(subject: &Subject) -> String {
    let content = picture(
        subject,
        PlotKind::Importance,
        &[
            "Each bar is the share of one input in what the model learned in training.",
            "A high share does not mean that the input is useful on new data: the answer above says whether it is.",
        ],
    );
    if content.is_empty() { content } else { section("features", "What does it look at?", &content) }
}

/// Returns the section with settings and versions.
pub(super) fn settings(card: &ModelCard) -> String {
    let (parameters, rows) = (&card.parameters, &card.rows);
    let mut all = vec![
        ("Recipe", card.recipe.to_string()),
        ("Candles", escaped(&card.interval)),
        ("Steps ahead", figure(card.horizon, &card.horizon.to_string())),
        ("Naive baseline", format!("{} ({})", escaped(&card.baseline.words(card.recipe)), card.baseline)),
        ("Split", escaped(&card.split)),
        ("Share held out", figure(parameters.holdout, &words::percent(parameters.holdout))),
        ("Rows to train on", figure(rows.train, &words::count(rows.train))),
        ("Rows held out", figure(rows.holdout, &words::count(rows.holdout))),
        ("Rows purged between", figure(rows.purged, &words::count(rows.purged))),
        ("Boosting rounds", format!("{} of at most {}", parameters.rounds, parameters.rounds_max)),
        ("Depth of a tree", parameters.depth.to_string()),
        ("Learning rate", parameters.learning_rate.to_string()),
        ("Rows in a leaf, at least", parameters.leaf_rows_min.to_string()),
        ("Objective", escaped(&parameters.objective)),
        ("Tree method", escaped(&parameters.tree_method)),
        ("Seed", card.seed.to_string()),
        ("Threads", card.threads.to_string()),
        ("Model", escaped(&card.model)),
        ("candlewire", escaped(&card.versions.candlewire)),
        ("XGBoost", escaped(&card.versions.xgboost)),
        ("Layout of the model card", card.versions.card.to_string()),
    ];
    if let Some(coverage) = card.min_coverage {
        all.insert(3, ("Coverage of a candle, at least", coverage.to_string()));
    }
    if let Some(range) = card.sequence {
        all.push(("MARKET sequences", format!("{} to {}", range.first, range.last)));
    }
    let files = card.files.iter().map(|(name, digest)| {
        let sha256 = format!("<code>{}</code>", escaped(&digest.sha256));
        vec![escaped(name), figure(digest.bytes, &number(digest.bytes as f64, 0)), sha256]
    });
    let mut content = paragraph(&format!("{}.", escaped(card.verdict.trim_end_matches('.')))) + &facts(all);
    if !card.files.is_empty() {
        content += &table("Files of the model", &["file", "bytes", "SHA-256"], files);
    }
    section("settings", "Settings and versions", &content)
}

fn optional(value: Option<f64>, shown: impl FnOnce(f64) -> String) -> String {
    value.map_or_else(|| "–".to_owned(), |value| figure(value, &shown(value)))
}
