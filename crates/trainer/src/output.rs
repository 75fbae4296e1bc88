//! What the trainer's commands print on standard output.
#![allow(clippy::print_stdout)]

use std::path::Path;

use market::Instrument;
use store::bucket::Bucket;
use store::layout::{self, MODEL_FILES};
use store::model_card::ModelCard;
use store::place::ArchivePlace;

use crate::archive::Archived;
use crate::score_tables::{interval_table, score_table, units};

/// Prints a text and a line end.
pub(crate) fn print_text(text: &str) {
    println!("{text}");
}

/// Prints what was archived.
pub(crate) fn print_archived(archived: &Archived, place: &ArchivePlace) {
    match archived.last_seq {
        None => println!("MARKET is empty: nothing to archive in {place}"),
        Some(last) if archived.ticks == 0 => println!("{place} is up to date: MARKET sequence {last}, no new ticks"),
        Some(last) => println!("archived {} ticks in {place}, up to MARKET sequence {last}", archived.ticks),
    }
}

/// Prints what was found in a recording, if one was read.
pub(crate) fn print_note(note: Option<&str>) {
    if let Some(note) = note {
        println!("{note}");
    }
}

/// Prints a model's scores, part by part beside the baseline, and what to make of them.
pub(crate) fn print_card(card: &ModelCard, out: &Path) {
    println!(
        "{}/{} · recipe {} · interval {} · horizon {} · split {}",
        card.coin, card.quote, card.recipe, card.interval, card.horizon, card.split
    );
    println!(
        "{} ticks, {} candles: {} rows to train on, {} held out, {} purged between, {} skipped",
        card.rows.ticks,
        card.rows.candles,
        card.rows.train,
        card.rows.holdout,
        card.rows.purged,
        card.rows.skipped.trailing_window + card.rows.skipped.horizon + card.rows.skipped.coarse,
    );
    println!("{}", score_table(card));
    println!("{}", interval_table(card));
    println!("{}", units(card));
    println!("{}", card.verdict);
    println!("model {} in {} ms; in {}: {}", card.model, card.duration_ms, out.display(), MODEL_FILES.join(", "));
}

/// Prints that no bucket is named, so that nobody looks for the files there.
pub(crate) fn print_upload_skipped() {
    println!("upload skipped: S3_BUCKET_NAME not set");
}

/// Prints where the files are in a bucket.
pub(crate) fn print_uploaded(bucket: &Bucket, instrument: &Instrument, card: &ModelCard) {
    let key = layout::model_key(instrument, card.recipe, &card.model, "");
    println!("uploaded to s3://{}/{key}", bucket.name());
}
