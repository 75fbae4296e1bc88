//! The command `reporter report`: reads the files of a run, writes the report.

use std::io;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use market::Candle;
use service::{Code, WithCode};
use store::atomic_file::atomic_write;
use store::paths;

use super::counts::RunCounts;
use super::page::{ReportData, page};
use super::quality::Quality;
use crate::output;
use crate::plot::{Subject, TrainingFiles, read_candles};

/// Writes a report on a model as one HTML file, for people who know nothing of the system.
#[derive(Debug, Clone, clap::Args)]
pub struct ReportArgs {
    /// Folder with the files of a run: predictions.parquet and model-card.json, and where they exist metrics.json,
    /// candles-1m.csv, hourly.csv and daily.csv
    #[arg(long, env = "CANDLEWIRE_OUT", default_value = "out", value_name = "DIR")]
    pub from: PathBuf,

    /// File of the report; an older one is replaced when the new one is complete (default: report.html in that folder)
    #[arg(long, env = "CANDLEWIRE_REPORT", value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Writes the report.
///
/// # Errors
/// Exit code 2 if a file is unusable or the report cannot be written; exit code 4 if there is no prediction.
pub fn run(args: &ReportArgs) -> anyhow::Result<()> {
    let data = read_folder(&args.from).exit_code(Code::BadConfig)?;
    let Some(data) = data else {
        let error = anyhow!("{} holds no prediction to report on", args.from.join(paths::PREDICTIONS).display());
        return Err(error).exit_code(Code::NotEnoughData);
    };
    let out = args.out.clone().unwrap_or_else(|| args.from.join(paths::REPORT));
    let html = page(&data);
    atomic_write(&out, |file| file.write_all(html.as_bytes()))
        .map_err(|error: io::Error| anyhow!("cannot write {}: {error}; choose another place with --out", out.display()))
        .exit_code(Code::BadConfig)?;
    let card = &data.subject.card;
    output::line(&format!("{}: report on the model {} of {}/{}", out.display(), card.model, card.coin, card.quote))?;
    Ok(())
}

/// Reads the files of a run; `None` without a prediction.
///
/// # Errors
/// A file is missing or damaged, or card and predictions are of different trainings.
pub(crate) fn read_folder(folder: &Path) -> anyhow::Result<Option<ReportData>> {
    let files = TrainingFiles::read(&folder.join(paths::PREDICTIONS), &folder.join(paths::MODEL_CARD))?;
    let Some(card) = files.card else { return Ok(None) };
    let table = |name: &str| -> anyhow::Result<Vec<Candle>> {
        let path = folder.join(name);
        let mut candles = if path.exists() { read_candles(&path)? } else { Vec::new() };
        candles.retain(|candle| *candle.coin == *card.coin && *candle.quote == *card.quote);
        Ok(candles)
    };
    let (minutes, hours, days) = (table(paths::MINUTES_TABLE)?, table(paths::HOURS_TABLE)?, table(paths::DAYS_TABLE)?);
    let quality = Quality::of(&minutes, &card).or_else(|| Quality::of(&hours, &card));
    let counts = RunCounts::read(&folder.join(paths::METRICS))?;
    let subject = Subject { card, predictions: files.predictions, candles: hours, scored: Vec::new() };
    Ok(Some(ReportData { subject, quality, days, counts }))
}
