//! What every file and object is called. No such name is written anywhere else.

use market::Instrument;
use market::dataset::Recipe;

/// The plot of actual against predicted prices.
pub const PLOT: &str = "output_plot.png";
/// Predictions of validation and holdout rows; see [`crate::predictions`].
pub const PREDICTIONS: &str = "predictions.parquet";
/// The same file, zipped.
pub const PREDICTIONS_ZIP: &str = "predictions.parquet.zip";
/// The model, in XGBoost's binary JSON.
pub const MODEL: &str = "model.ubj";
/// What the model is and how good; see [`crate::model_card`].
pub const MODEL_CARD: &str = "model-card.json";
/// The figures of a whole run: holdout scores and record counts.
pub const METRICS: &str = "metrics.json";

/// What one training makes, in the order in which it is written: the card last, because it speaks for the others.
pub const MODEL_FILES: [&str; 4] = [PREDICTIONS, PREDICTIONS_ZIP, MODEL, MODEL_CARD];

/// The file that the one writer of an archive holds locked. It holds the archive's id.
pub const ARCHIVE_LOCK: &str = ".lock";
/// The object that holds the id of an archive in a bucket.
pub const ARCHIVE_ID: &str = ".archive-id";

const TICKS_PREFIX: &str = "ticks-";
const TICKS_SUFFIX: &str = ".parquet";

/// The object key of a file of one model: `bitcoin/usdt/returns/4be1c1f02b6f2a07/model.ubj`.
pub fn model_key(instrument: &Instrument, recipe: Recipe, model: &str, file: &str) -> String {
    format!("{}{model}/{file}", models_prefix(instrument, recipe))
}

/// How the object keys of all models of an instrument and recipe begin: `bitcoin/usdt/returns/`.
pub fn models_prefix(instrument: &Instrument, recipe: Recipe) -> String {
    format!("{}/{}/{recipe}/", instrument.coin(), instrument.quote())
}

/// The object key under which the id of an instrument's newest model stands, written after all of its files:
/// `bitcoin/usdt/returns/latest`.
pub fn latest_key(instrument: &Instrument, recipe: Recipe) -> String {
    format!("{}latest", models_prefix(instrument, recipe))
}

/// The name of an archive file that looked at MARKET sequences `first` to `last`, both included.
pub fn ticks_file(first: u64, last: u64) -> String {
    format!("{TICKS_PREFIX}{first}-{last}{TICKS_SUFFIX}")
}

/// Whether a name claims to be an archive file's.
pub fn is_ticks_file(name: &str) -> bool {
    name.starts_with(TICKS_PREFIX) && name.ends_with(TICKS_SUFFIX)
}

/// The sequences that an archive file's name stands for; None when it is not exactly what [`ticks_file`] writes.
pub fn parse_ticks_file(name: &str) -> Option<(u64, u64)> {
    let (first, last) = name.strip_prefix(TICKS_PREFIX)?.strip_suffix(TICKS_SUFFIX)?.split_once('-')?;
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (0 < first && first <= last && ticks_file(first, last) == name).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_we_write_are_read() {
        assert_eq!(parse_ticks_file(&ticks_file(1, 4_711)), Some((1, 4_711)));
        for bad in [
            "ticks-2-1.parquet",
            "ticks-0-1.parquet",
            "ticks-01-2.parquet",
            "ticks-+1-2.parquet",
            "ticks-1.parquet",
            "ticks-1-2-3.parquet",
            "ticks-1-2.parquet.zip",
            "ticks--1.parquet",
        ] {
            assert_eq!(parse_ticks_file(bad), None, "{bad}");
        }
    }

    #[test]
    fn keys_tell_instrument_recipe_and_model() {
        let instrument = Instrument::new("bitcoin", "usdt").expect("valid");
        assert_eq!(model_key(&instrument, Recipe::Returns, "4be1", MODEL), "bitcoin/usdt/returns/4be1/model.ubj");
        assert_eq!(latest_key(&instrument, Recipe::Calendar), "bitcoin/usdt/calendar/latest");
    }
}
