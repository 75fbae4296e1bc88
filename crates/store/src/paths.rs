//! Names of files and object keys. No other file of the project writes such a name.

use market::{Instrument, Recipe};

use crate::digest::Digest;

/// Plot of actual and predicted prices.
pub const PLOT: &str = "output_plot.png";
/// The report of a run: a page for people who know nothing of the system.
pub const REPORT: &str = "report.html";
/// Predictions of validation and holdout rows; see [`crate::predictions`].
pub const PREDICTIONS: &str = "predictions.parquet";
/// [`PREDICTIONS`] as a zip archive.
pub const PREDICTIONS_ZIP: &str = "predictions.parquet.zip";
/// Model in XGBoost's binary JSON.
pub const MODEL: &str = "model.ubj";
/// Description and scores of the model; see [`crate::model_card`].
pub const MODEL_CARD: &str = "model-card.json";
/// Summary of a whole run: holdout scores and record counts.
pub const METRICS: &str = "metrics.json";

/// Tables of a run: candles of a minute, of an hour and of a day, as CSV.
pub const MINUTES_TABLE: &str = "candles-1m.csv";
/// See [`MINUTES_TABLE`].
pub const HOURS_TABLE: &str = "hourly.csv";
/// See [`MINUTES_TABLE`].
pub const DAYS_TABLE: &str = "daily.csv";

/// Files of one training, in the order in which they are written. The card is last, because it holds the digests of the
/// others.
pub const MODEL_FILES: [&str; 4] = [PREDICTIONS, PREDICTIONS_ZIP, MODEL, MODEL_CARD];

/// Lock file of an archive in a folder. Its writer keeps it locked. It holds the archive's id.
pub const ARCHIVE_LOCK: &str = ".lock";
/// Object that holds the id of an archive in a bucket.
pub const ARCHIVE_ID: &str = ".archive-id";

const LATEST: &str = "latest";
const TICKS_PREFIX: &str = "ticks-";
const TICKS_SUFFIX: &str = ".parquet";

/// Returns the file of a plot of another kind than [`PLOT`]: `plot-skill.svg`.
pub fn plot_file(kind: &str, format: &str) -> String {
    format!("plot-{kind}.{format}")
}

/// Returns the object key of a file of one model: `bitcoin/usdt/returns/4be1c1f02b6f2a07/model.ubj`.
pub fn model_key(instrument: &Instrument, recipe: Recipe, model: &str, file: &str) -> String {
    format!("{}{model}/{file}", models_prefix(instrument, recipe))
}

/// Returns the common prefix of the object keys of all models of an instrument and recipe: `bitcoin/usdt/returns/`.
pub fn models_prefix(instrument: &Instrument, recipe: Recipe) -> String {
    format!("{}/{}/{recipe}/", instrument.coin(), instrument.quote())
}

/// Returns the key of the object that holds the id of an instrument's newest model: `bitcoin/usdt/returns/latest`. It
/// is written after all files of that model.
pub fn latest_key(instrument: &Instrument, recipe: Recipe) -> String {
    format!("{}{LATEST}", models_prefix(instrument, recipe))
}

/// Parses a key of [`latest_key`] into its instrument and recipe; `None` for any other key.
pub fn parse_latest_key(key: &str) -> Option<(Instrument, Recipe)> {
    let mut parts = key.split('/');
    let [coin, quote, recipe, last] = [(); 4].map(|()| parts.next());
    let (instrument, recipe) = (Instrument::new(coin?, quote?).ok()?, recipe?.parse().ok()?);
    (last? == LATEST && parts.next().is_none()).then_some((instrument, recipe))
}

/// Returns the name of an archive file that covers MARKET sequences `first` to `last`, both included, and whose bytes
/// have this digest: `ticks-1-4711-ba7816bf8f01cfea.parquet`.
pub fn ticks_file(first: u64, last: u64, digest: Digest) -> String {
    format!("{TICKS_PREFIX}{first}-{last}-{digest}{TICKS_SUFFIX}")
}

/// Whether a name has the prefix and suffix of an archive file.
pub fn is_ticks_file(name: &str) -> bool {
    name.starts_with(TICKS_PREFIX) && name.ends_with(TICKS_SUFFIX)
}

/// Parses an archive file's name into its first and last sequence and its digest; `None` when [`ticks_file`] would not
/// write exactly this name.
pub fn parse_ticks_file(name: &str) -> Option<(u64, u64, Digest)> {
    let (range, digest) = name.strip_prefix(TICKS_PREFIX)?.strip_suffix(TICKS_SUFFIX)?.rsplit_once('-')?;
    let ((first, last), digest) = (parse_range(range)?, digest.parse().ok()?);
    Some((first, last, digest))
}

/// Whether a name is that of an archive file without a digest, as early versions wrote it: `ticks-1-4711.parquet`.
pub fn is_ticks_file_without_digest(name: &str) -> bool {
    let range = name.strip_prefix(TICKS_PREFIX).and_then(|name| name.strip_suffix(TICKS_SUFFIX));
    range.is_some_and(|range| parse_range(range).is_some())
}

/// Parses `first-last`; `None` for any other notation of the same numbers.
fn parse_range(range: &str) -> Option<(u64, u64)> {
    let (first, last) = range.split_once('-')?;
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (0 < first && first <= last && format!("{first}-{last}") == range).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_in_the_written_form_are_parsed() {
        let digest = "00000000000000ff".parse().expect("a digest");
        assert_eq!(ticks_file(1, 4_711, digest), "ticks-1-4711-00000000000000ff.parquet");
        assert_eq!(parse_ticks_file(&ticks_file(1, 4_711, digest)), Some((1, 4_711, digest)));
        for bad in ["2-1", "0-1", "01-2", "+1-2", "1", "1-2-3", "-1", ""] {
            let names = [format!("ticks-{bad}.parquet"), format!("ticks-{bad}-00000000000000ff.parquet")];
            assert!(names.iter().all(|name| parse_ticks_file(name).is_none()), "{bad}");
            assert!(names.iter().all(|name| !is_ticks_file_without_digest(name)), "{bad}");
        }
        for bad in
            ["ticks-1-2-ff.parquet", "ticks-1-2-00000000000000FF.parquet", "ticks-1-2-00000000000000ff.parquet.zip"]
        {
            assert!(parse_ticks_file(bad).is_none() && !is_ticks_file_without_digest(bad), "{bad}");
        }
        assert!(is_ticks_file_without_digest("ticks-1-2.parquet") && parse_ticks_file("ticks-1-2.parquet").is_none());
    }

    #[test]
    fn keys_hold_instrument_recipe_and_model() {
        let instrument = Instrument::new("bitcoin", "usdt").expect("valid");
        assert_eq!(model_key(&instrument, Recipe::Returns, "4be1", MODEL), "bitcoin/usdt/returns/4be1/model.ubj");
        assert_eq!(latest_key(&instrument, Recipe::Calendar), "bitcoin/usdt/calendar/latest");
        let parsed = parse_latest_key("bitcoin/usdt/calendar/latest");
        assert_eq!(parsed, Some((instrument, Recipe::Calendar)));
        for other in ["bitcoin/usdt/returns/4be1/model.ubj", "bitcoin/usdt/other/latest", "bitcoin/usdt/latest", ""] {
            assert_eq!(parse_latest_key(other), None, "{other}");
        }
    }
}
