//! Prints the results of the commands on standard output.

use std::io::{Write, stdout};
use std::path::Path;

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{ContentArrangement, Table};
use learn::features::observed::RANGE_POINTS_MIN;
use market::Instrument;
use store::archive::location::ArchiveLocation;
use store::bucket::Bucket;
use store::model_card::{ModelCard, Skipped};
use store::paths::{self, MODEL_FILES};

use crate::archive_update::ArchiveUpdate;
use crate::check::finding::Finding;
use crate::score_tables::{interval_table, score_table, units};

/// Width of a table in columns where standard output is not a terminal.
const WIDTH: u16 = 120;

/// Prints a line. A closed pipe (`| head`) is not an error.
macro_rules! line {
    ($($text:tt)*) => {
        drop(writeln!(stdout(), $($text)*))
    };
}

/// Prints a text and a line end.
pub(crate) fn print_text(text: &str) {
    line!("{text}");
}

/// Prints the result of an update of the archive.
pub(crate) fn print_update(update: &ArchiveUpdate, place: &ArchiveLocation) {
    match update.last_seq {
        None => line!("MARKET is empty: nothing to archive in {place}"),
        Some(last) if update.ticks == 0 => line!("{place} is up to date: MARKET sequence {last}, no new ticks"),
        Some(last) => line!("archived {} ticks in {place}, up to MARKET sequence {last}", update.ticks),
    }
}

/// Prints the summary of a recording, if one was read.
pub(crate) fn print_note(note: Option<&str>) {
    if let Some(note) = note {
        line!("{note}");
    }
}

/// Prints the findings of `trainer check` as a table.
pub(crate) fn print_findings(findings: &[Finding]) {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    if table.width().is_none() {
        table.set_width(WIDTH);
    }
    table.set_header(["check", "", "found"]);
    for finding in findings {
        table.add_row([finding.check.as_str(), if finding.ok { "ok" } else { "FAILED" }, finding.detail.as_str()]);
    }
    line!("{table}");
}

/// Prints the findings as JSON.
pub(crate) fn print_findings_json(findings: &[Finding]) {
    let ok = findings.iter().all(|finding| finding.ok);
    line!("{:#}", serde_json::json!({ "ok": ok, "checks": findings }));
}

/// Prints a model's scores, part by part beside the naive baseline, and its verdict.
pub(crate) fn print_card(card: &ModelCard, out: &Path) {
    line!(
        "{}/{} · recipe {} · interval {} · horizon {} · split {}",
        card.coin,
        card.quote,
        card.recipe,
        card.interval,
        card.horizon,
        card.split
    );
    line!(
        "{} ticks, {} candles: {} rows to train on, {} held out, {} purged between",
        card.rows.ticks,
        card.rows.candles,
        card.rows.train,
        card.rows.holdout,
        card.rows.purged,
    );
    line!("{}", skipped_words(card));
    line!("{}", score_table(card));
    line!("{}", interval_table(card));
    line!("{}", units(card));
    line!("{}", card.verdict);
    line!("model {} in {} ms; in {}: {}", card.model, card.duration_ms, out.display(), MODEL_FILES.join(", "));
}

/// Says how many candles or ticks gave no row, by cause.
fn skipped_words(card: &ModelCard) -> String {
    let Skipped { thin, few_points, trailing_window, horizon, open, long_bars } = card.rows.skipped;
    let (unit, min_coverage) = match card.min_coverage {
        Some(min_coverage) => ("candles", min_coverage.to_string()),
        None => ("ticks", "–".to_owned()),
    };
    let causes = [
        (thin, format!("known to less than --min-coverage {min_coverage}")),
        (few_points, format!("without a bar and of fewer than {RANGE_POINTS_MIN} points")),
        (trailing_window, "with too little before them".to_owned()),
        (horizon, "with too little after them".to_owned()),
        (open, "not over".to_owned()),
    ];
    let mut words: Vec<_> =
        causes.into_iter().filter(|(count, _)| *count > 0).map(|(count, cause)| format!("{count} {cause}")).collect();
    if long_bars > 0 {
        words.push(format!("{long_bars} bars that no candle holds all of"));
    }
    let words = if words.is_empty() { "none".to_owned() } else { words.join(", ") };
    format!("{unit} that gave no row: {words}")
}

/// Prints that the files were not uploaded, because no bucket is named.
pub(crate) fn print_upload_skipped() {
    line!("upload skipped: S3_BUCKET_NAME not set");
}

/// Prints the place of the files in a bucket.
pub(crate) fn print_uploaded(bucket: &Bucket, instrument: &Instrument, card: &ModelCard) {
    let key = paths::model_key(instrument, card.recipe, &card.model, "");
    line!("uploaded to s3://{}/{key}", bucket.name());
}
