//! Reads the material of plots and report of one model: from ARTIFACTS, STATS and FORECAST, or from the folder of a run.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use bus::codec::lines;
use bus::reader::{Selection, read_to_end};
use bus::{Connection, RecordKind, Stream, objects, subject};
use market::forecast::ScoreLine;
use market::{Candle, EventTime, Instrument, Recipe, Window};
use store::model_card::{FileDigest, ModelCard};
use store::{paths, predictions};
use tokio::task::spawn_blocking;

use super::Plots;
use super::models::{Known, Place, PlotKey};
use crate::plot::{ScoredDay, ScoredDays, Subject, check_same_training};
use crate::report::{Quality, ReportData, read_folder};

/// Candles of a window that are read, at most: the newest. Hours of two years.
const CANDLES_MAX: usize = 17_568;
/// Sequences of FORECAST that are read for scored forecasts, at most: the newest.
const FORECASTS_MAX: u64 = 200_000;

/// Reads the material of a model.
///
/// # Errors
/// Its files are missing or damaged, or NATS does not answer.
pub(super) async fn read(plots: &Plots, key: &PlotKey, known: &Known) -> anyhow::Result<ReportData> {
    let data = if known.place == Place::Folder {
        let folder = plots.folder.clone();
        let read = spawn_blocking(move || read_folder(&folder)).await.context("reading the folder failed")?;
        read?.context("the folder holds no prediction")?
    } else {
        let connection = plots.connection.get().context("NATS is not connected")?;
        from_server(connection, key, &known.model).await?
    };
    ensure!(data.subject.card.model == known.model, "the card is that of the model {}", data.subject.card.model);
    Ok(data)
}

async fn from_server(connection: &Connection, key: &PlotKey, model: &str) -> anyhow::Result<ReportData> {
    let instrument = Instrument::new(&key.coin, &key.quote)?;
    let file = async |name: &str| {
        let key = paths::model_key(&instrument, key.recipe, model, name);
        objects::get(connection, &key).await?.with_context(|| format!("{key} is not in the object store"))
    };
    let card = ModelCard::from_json(&file(paths::MODEL_CARD).await?)?;
    let content = file(paths::PREDICTIONS).await?;
    let (hours, days) = candles(connection, &instrument).await?;
    let scored = scored(connection, &instrument, key.recipe).await?;
    let parse = move || -> anyhow::Result<ReportData> {
        let digest = FileDigest::of(&content);
        let predictions = predictions::from_bytes(content)?;
        check_same_training(&card, &predictions, &digest)?;
        let quality = Quality::of(&hours, &card);
        let subject = Subject { card, predictions, candles: hours, scored };
        Ok(ReportData { subject, quality, days, counts: None })
    };
    spawn_blocking(parse).await.context("reading the predictions failed")?
}

/// Reads the newest revisions of an instrument's hourly and daily candles, oldest first.
async fn candles(connection: &Connection, instrument: &Instrument) -> Result<(Vec<Candle>, Vec<Candle>), bus::Error> {
    let windows = [Window::Hour, Window::Day];
    let filter = |window| subject::of_kind(Stream::Stats, RecordKind::Stats(window), Some(instrument));
    let mut tables: BTreeMap<Window, BTreeMap<EventTime, Candle>> = BTreeMap::new();
    let filters = windows.map(filter).to_vec();
    read_to_end(connection, Selection { stream: Stream::Stats, filters, from: 1 }, |delivery| {
        for (_, line) in lines(&delivery.payload) {
            let Ok(candle) = serde_json::from_slice::<Candle>(line) else { continue };
            let table = tables.entry(candle.window).or_default();
            table.insert(candle.start, candle);
            if table.len() > CANDLES_MAX {
                table.pop_first();
            }
        }
        Ok::<_, bus::Error>(())
    })
    .await?;
    let [hours, days] = windows.map(|window| tables.remove(&window).unwrap_or_default().into_values().collect());
    Ok((hours, days))
}

/// Reads the scored forecasts of an instrument and recipe, by day.
async fn scored(
    connection: &Connection,
    instrument: &Instrument,
    recipe: Recipe,
) -> Result<Vec<ScoredDay>, bus::Error> {
    let filters = vec![subject::of_kind(Stream::Forecast, RecordKind::Score, Some(instrument))];
    let end = bus::topology::stream_info(connection, Stream::Forecast.name()).await?.state.last_seq;
    let from = end.saturating_sub(FORECASTS_MAX).max(1);
    let mut days = ScoredDays::default();
    read_to_end(connection, Selection { stream: Stream::Forecast, filters, from }, |delivery| {
        for (_, line) in lines(&delivery.payload) {
            if let Ok(score) = serde_json::from_slice::<ScoreLine<'_>>(line)
                && score.key.recipe == recipe
            {
                days.push(&score);
            }
        }
        Ok::<_, bus::Error>(())
    })
    .await?;
    Ok(days.into_days())
}
