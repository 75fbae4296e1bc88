//! Sections on the data that a model learned from.

use market::Candle;

use super::counts::RunCounts;
use super::html::{escaped, facts, figure, paragraph, picture, section, table};
use super::page::ReportData;
use super::quality::{Hole, Quality};
use super::words;
use crate::number::{PriceFormat, number, significant};
use crate::plot::PlotKind;
use crate::volume;

/// Spans without a candle that are listed, at most.
const HOLES_MAX: usize = 10;
/// Days in the table, at most: the newest.
const DAYS_MAX: usize = 31;

/// Returns the section on the prices: from when to when, how complete, and a picture of the newest.
pub(super) fn data(data: &ReportData) -> String {
    let card = &data.subject.card;
    let mut all = vec![
        ("Prices of", format!("1 {} in {}", escaped(&card.coin), escaped(&card.quote))),
        ("From", figure(card.time.first_ms, &words::minute(card.time.first_ms))),
        ("To", figure(card.time.last_ms, &words::minute(card.time.last_ms))),
        ("Prices", figure(card.rows.ticks, &words::count(card.rows.ticks))),
    ];
    if let Some(interval) = words::interval(card) {
        all.push(("Length of a step", interval));
        all.push(("Steps", figure(card.rows.candles, &words::count(card.rows.candles))));
    }
    if let Some(quality) = &data.quality {
        all.push(("Time that is known", figure(quality.coverage, &words::percent(quality.coverage))));
        all.push(("Time without any price", missing(quality)));
    }
    let mut content = facts(all);
    if let Some(quality) = data.quality.as_ref().filter(|quality| !quality.holes.is_empty()) {
        content += &holes(quality);
    }
    content += &picture(
        &data.subject,
        PlotKind::Candles,
        &[
            "Each candle is one span of time: the body reaches from the first price to the last, the thin line from the \
             lowest to the highest.",
            "Below are the amounts that were traded. A gap means that there is no price for that time.",
        ],
    );
    section("data", "Which data was it?", &content)
}

fn missing(quality: &Quality) -> String {
    let missing = quality.missing();
    if missing.ms() == 0 {
        format!("none of {} or longer", words::length(quality.window))
    } else {
        figure(missing.ms(), &words::length(missing))
    }
}

fn holes(quality: &Quality) -> String {
    let listed = quality.longest(HOLES_MAX);
    let caption = match quality.holes.len() {
        all if all == listed.len() => "Spans without any price".to_owned(),
        all => format!("The longest {} of {} spans without any price", listed.len(), words::count(all)),
    };
    let row = |hole: &Hole| {
        let ends = [hole.from, hole.to].map(|end| figure(end.ms(), &words::minute(end.ms())));
        let [from, to] = ends;
        vec![from, to, words::length(hole.length())]
    };
    table(&caption, &["from", "to", "length"], listed.iter().map(row))
}

/// Returns the section with the newest days as a table; empty without days.
pub(super) fn days(days: &[Candle]) -> String {
    let newest = &days[days.len().saturating_sub(DAYS_MAX)..];
    let Some(last) = newest.last() else { return String::new() };
    let format = PriceFormat::of(newest.iter().flat_map(|day| [day.open, day.high, day.low, day.close]));
    let row = |day: &Candle| {
        let date = day.start.to_utc().format("%Y-%m-%d").to_string();
        let prices = [day.open, day.high, day.low, day.close].map(|price| figure(price, &format.write(price)));
        let volume = volume::words(day, significant).map_or_else(|| "–".to_owned(), |volume| escaped(&volume));
        let known = format!("{} %", number(100.0 * day.coverage, 1));
        [vec![date], prices.to_vec(), vec![volume, known]].concat()
    };
    let caption = format!("The last {} days of {}/{} (UTC)", newest.len(), last.coin, last.quote);
    let header = ["day", "open", "high", "low", "close", "volume", "known"];
    section("days", "Day by day", &table(&caption, &header, newest.iter().map(row)))
}

/// Returns the section on the records of the run; empty without counts.
pub(super) fn records(counts: Option<&RunCounts>) -> String {
    let Some(counts) = counts else { return String::new() };
    let shown = |count: u64| figure(count, &number(count as f64, 0));
    let all = [
        ("Accepted", shown(counts.ticks)),
        ("Of these fetched afterwards", shown(counts.filled)),
        ("Repeated", shown(counts.duplicates)),
        ("Too late to count", shown(counts.late)),
        ("Refused", shown(counts.rejected)),
        ("1-minute candles", shown(counts.candles)),
    ];
    let reasons = counts.reasons();
    let mut content =
        paragraph("Nothing is dropped in silence: each record of the source is in one of these counts.") + &facts(all);
    if !reasons.is_empty() {
        let rows = reasons.into_iter().map(|(reason, count)| vec![escaped(reason), shown(count)]);
        content += &table("Refused records by reason", &["reason", "records"], rows);
    }
    section("records", "What became of every record?", &content)
}
