//! Composition of the report, as a pure function from data to HTML.

use std::sync::LazyLock;

use market::Candle;
use store::model_card::ModelCard;

use super::answer::answer;
use super::counts::RunCounts;
use super::html::{escaped, figure, paragraph, section};
use super::quality::Quality;
use super::{data_section, model_sections, words};
use crate::plot::{self, Subject};

/// The material of a report.
#[derive(Debug, Clone)]
pub(crate) struct ReportData {
    /// Card, predictions, candles and scored forecasts.
    pub(crate) subject: Subject,
    /// Quality of the data; `None` if no candle of it is known.
    pub(crate) quality: Option<Quality>,
    /// Candles of days, oldest first; may be empty.
    pub(crate) days: Vec<Candle>,
    /// Record counts of the run; `None` if they are not known.
    pub(crate) counts: Option<RunCounts>,
}

/// Returns the style of every report: fonts, layout, and the colors of the pictures on a dark page.
pub(crate) fn style() -> &'static str {
    static STYLE: LazyLock<String> = LazyLock::new(|| {
        let dark = plot::dark_rules("figure");
        format!(
            "{}\n{}@media screen and (prefers-color-scheme:dark){{{dark}}}\n",
            plot::font_faces(),
            include_str!("style.css")
        )
    });
    &STYLE
}

/// Returns the report as a document of its own.
pub(crate) fn page(data: &ReportData) -> String {
    let card = &data.subject.card;
    let title = title(card);
    let sections = [
        beats(card),
        model_sections::predictions(&data.subject),
        model_sections::skill(&data.subject),
        model_sections::intervals(&data.subject),
        model_sections::errors(&data.subject),
        model_sections::features(&data.subject),
        data_section::data(data),
        data_section::days(&data.days),
        data_section::records(data.counts.as_ref()),
        model_sections::settings(card),
        glossary(),
    ];
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{}</title>\n<style>{}</style>\n</head>\n\
         <body>\n{}<main>\n{}</main>\n<footer><p>Made by candlewire {} from the model {}. Times are UTC.</p></footer>\n</body>\n</html>\n",
        escaped(&title),
        style(),
        header(card, &title),
        sections.concat(),
        escaped(&card.versions.candlewire),
        escaped(&card.model),
    )
}

fn title(card: &ModelCard) -> String {
    format!("{}/{}: can {} be predicted?", card.coin, card.quote, words::ahead(card))
}

fn header(card: &ModelCard, title: &str) -> String {
    let lead = format!(
        "A program was given {} prices of 1 {} in {}, from {} to {}. It learned from a part of them and predicted {}, step by \
         step, on the rest, which it had not seen. This page says how good that was.",
        figure(card.rows.ticks, &words::count(card.rows.ticks)),
        escaped(&card.coin),
        escaped(&card.quote),
        figure(card.time.first_ms, &words::minute(card.time.first_ms)),
        figure(card.time.last_ms, &words::minute(card.time.last_ms)),
        escaped(&words::predicted(card)),
    );
    format!(
        "<header>\n<p class=\"brand\">candlewire · report on a model</p>\n<h1>{}</h1>\n<p class=\"lead\">{lead}</p>\n</header>\n",
        escaped(title)
    )
}

/// Returns the section with the answer.
fn beats(card: &ModelCard) -> String {
    let answer = answer(card);
    let scores = &card.holdout.scores;
    let held = card.holdout.coverage.get("90");
    let figures = [
        ("error of the model", figure(scores.rmse, &words::error(card, scores.rmse))),
        ("error of the rule", figure(scores.baseline_rmse, &words::error(card, scores.baseline_rmse))),
        ("90 % interval held", held.map_or_else(|| "–".to_owned(), |share| figure(share, &words::percent(*share)))),
        ("unseen steps", figure(scores.rows, &words::count(scores.rows))),
    ];
    let figures = figures.map(|(name, figure)| format!("<div><dt>{name}</dt><dd>{figure}</dd></div>\n")).concat();
    let question = format!("Does it beat the rule “{}”?", words::naive_rule(card));
    let content = format!(
        "<div class=\"answer {}\"><p class=\"headline\">{}</p>\n<p>{}</p></div>\n<dl class=\"figures\">\n{figures}</dl>\n",
        answer.class, answer.headline, answer.explanation
    );
    let why = "Prices hardly move within a step, so even a guess without any knowledge is close. A model is worth something \
               only if it is better than that guess, on data that it has never seen, and by more than luck.";
    section("answer", &question, &(content + &paragraph(why)))
}

const WORDS: [(&str, &str); 8] = [
    (
        "naive rule (baseline)",
        "A prediction that needs no model. Every score of the model is shown beside the score of this rule on the same rows.",
    ),
    ("holdout", "The last part of the data by time. Nothing was learned or chosen on it, so it is a fair test."),
    (
        "fold",
        "A part of the earlier data, predicted by a model that knew only the time before it: a rehearsal of the holdout.",
    ),
    ("RMSE", "Root of the mean squared error: the typical size of an error, in which large errors weigh more."),
    (
        "skill",
        "1 − RMSE of the model ÷ RMSE of the rule. Above zero the model is better; 5 % means an error that is 5 % smaller.",
    ),
    (
        "p",
        "How often a model without any skill would do at least as well by chance (test of Diebold and Mariano). Below 0.05 it counts as evidence.",
    ),
    (
        "interval",
        "A range that should contain the truth at a given rate. It is calibrated on past errors and adapts to new ones.",
    ),
    (
        "R2",
        "Share of the variation that is explained. For prices it is near 1 for every guess near the last price, so it says little; R2 of returns does not have this flaw.",
    ),
];

fn glossary() -> String {
    let word = |(word, meaning): (&str, &str)| format!("<dt>{word}</dt><dd>{meaning}</dd>\n");
    section("words", "Words", &format!("<dl class=\"words\">\n{}</dl>\n", WORDS.map(word).concat()))
}

#[cfg(test)]
mod tests {
    use market::Window;
    use resvg::usvg::roxmltree::Document;
    use store::predictions::Fold;

    use super::*;
    use crate::plot::samples::{candle, card, rows};

    fn data() -> ReportData {
        let mut card = card("time", 40);
        card.coin = "a<b".to_owned();
        let candles: Vec<Candle> = (0..40)
            .filter(|hour| *hour != 7)
            .map(|hour| Candle {
                coin: "a<b".into(),
                ..candle(Window::Hour, 1_583_020_800_000 + hour * 3_600_000, 100.0)
            })
            .collect();
        card.time.last_ms = candles[38].end.ms() - 1;
        let predictions = [rows(60, Fold::Validation(1)), rows(40, Fold::Holdout)].concat();
        let quality = Quality::of(&candles, &card);
        let days = vec![candle(Window::Day, 1_583_020_800_000, 100.0)];
        ReportData { subject: Subject { card, predictions, candles, scored: Vec::new() }, quality, days, counts: None }
    }

    /// The report is a well-formed document of one file: it loads nothing and runs nothing.
    #[test]
    fn a_report_is_whole_and_needs_nothing_else() {
        let page = page(&data());
        let (_, body) = page.split_once("<body>").expect("a body");
        let (body, _) = body.split_once("</html>").expect("an end");
        let body = format!("<body>{body}");
        let tree = Document::parse(&body).expect("every element is closed");
        let pictures = tree.descendants().filter(|node| node.attribute("role") == Some("img"));
        assert_eq!(pictures.count(), 12, "six kinds, wide and narrow");
        let ids: Vec<_> = tree.descendants().filter_map(|node| node.attribute("id")).collect();
        assert_eq!(
            ids,
            ["answer", "predictions", "skill", "intervals", "errors", "features", "data", "days", "settings", "words"]
        );
        let loads = ["<script", "http:", "https:", "@import", "url(\"", " style=", " onload"];
        let text = page.replace("http://www.w3.org/2000/svg", "");
        assert!(loads.iter().all(|load| !text.contains(load)), "it loads something");
        assert!(page.contains("a&lt;b") && !page.contains("a<b"), "a name is not escaped");
        assert!(page.len() < 2 << 20, "{} bytes", page.len());
    }

    /// Every figure of the card is there with its exact value.
    #[test]
    fn figures_equal_those_of_the_card() {
        let data = data();
        let (page, card) = (page(&data), &data.subject.card);
        let scores = &card.holdout.scores;
        let p = scores.diebold_mariano.expect("a test").p;
        let exact =
            [scores.rmse, scores.mae, scores.baseline_rmse, scores.baseline_mae, scores.skill.expect("a skill"), p];
        let shares = card.holdout.coverage.values().chain(card.holdout.width.values()).copied();
        for value in exact.into_iter().chain(shares) {
            assert!(page.contains(&format!("<data value=\"{value}\">")), "{value}");
        }
        for count in [card.rows.ticks as i64, card.rows.train as i64, card.time.first_ms, card.time.last_ms] {
            assert!(page.contains(&format!("<data value=\"{count}\">")), "{count}");
        }
        assert!(page.contains("97.50 %</data>"), "39 of 40 hours are known");
    }
}
