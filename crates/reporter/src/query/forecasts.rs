//! Forecasts, their scores, and the models that made them.

use std::collections::{BTreeMap, BTreeSet};

use bus::{Connection, Error, RecordKind, Stream};
use market::forecast::{ForecastKey, ModelLine, NextLine, ScoreLine};
use market::{Instrument, Recipe, Span, Window};

use super::answers::{LevelCoverage, LiveScores};
use super::cursor::Key;
use super::history::Part;
use super::paging::{Order, Page, PageRequest, Place, page};
use super::rows::{ForecastRow, ModelRow, hits_of};
use super::source::StoredSeries;

/// Reads a line at its place as a row with its key; `None` for a line of another kind.
type LineReader<'a, R> = dyn Fn(&[u8], Place) -> serde_json::Result<Option<(Key, R)>> + Sync + 'a;

/// Forecasts and scores that are looked at to find the pending forecasts: the candles of a horizon, with room for several
/// recipes.
const PENDING_MAX: usize = 64;
/// Forecasts that are read to join intervals to scores, at most.
const JOINED_MAX: usize = 20_000;
/// Scores that live figures are measured on, at most: three weeks of quarter hours.
const LIVE_MAX: usize = 2_000;
/// Models of an answer, at most: half a year of daily trainings.
const MODELS_MAX: usize = 200;
/// How far behind later rows a forecast may be stored. They are stored in order; more is read for safety alone.
const SLACK: Span = Span::DAY;

/// The forecasts of one instrument, of one recipe or of all.
#[derive(Debug, Clone, Copy)]
pub(super) struct Forecasts<'a> {
    pub(super) connection: &'a Connection,
    pub(super) instrument: &'a Instrument,
    pub(super) recipe: Option<Recipe>,
}

/// A scored forecast, and whether the truth was inside its intervals.
#[derive(Debug, Clone)]
struct Scored {
    row: ForecastRow,
    hits: Vec<(f64, bool)>,
}

/// The common part of a series of forecasts.
type SeriesName = (Recipe, Window);

impl Forecasts<'_> {
    /// Reads a page of scored forecasts with their intervals.
    ///
    /// # Errors
    /// FORECAST cannot be read.
    pub(super) async fn scored(&self, part: Part) -> Result<Page<ForecastRow>, Error> {
        let Page { rows, next } = self.scores(part).await?;
        let mut rows: Vec<ForecastRow> = rows.into_iter().map(|scored| scored.row).collect();
        let made = rows.iter().map(|row| row.made_ms);
        if let (Some(first), Some(last)) = (made.clone().min(), made.max()) {
            let made = Part { from: first, before: Key::at(last + 1), limit: JOINED_MAX };
            let forecasts = self.made(made).await?.rows;
            let mut bands: BTreeMap<_, _> = forecasts.into_iter().map(|row| (identity(&row), row.bands)).collect();
            for row in &mut rows {
                row.bands = bands.remove(&identity(row)).unwrap_or_default();
            }
        }
        Ok(Page { rows, next })
    }

    /// Reads the forecasts whose truth is not known yet, oldest first.
    ///
    /// # Errors
    /// FORECAST cannot be read.
    pub(super) async fn pending(&self) -> Result<Vec<ForecastRow>, Error> {
        let newest = Part { from: i64::MIN, before: Key::END, limit: PENDING_MAX };
        // In this order, so that a forecast that is scored meanwhile is not listed twice.
        let made = self.made(newest).await?.rows;
        let scored = self.scores(newest).await?.rows;
        Ok(pending(made, scored.iter().map(|scored| &scored.row)))
    }

    /// Reads the newest decisions about models, newest first.
    ///
    /// # Errors
    /// FORECAST cannot be read.
    pub(super) async fn models(&self) -> Result<Vec<ModelRow>, Error> {
        let part = Part { from: i64::MIN, before: Key::END, limit: MODELS_MAX };
        let read = |line: &[u8], place: Place| {
            let line: ModelLine<'_> = serde_json::from_slice(line)?;
            Ok::<_, serde_json::Error>(self.wants(line.recipe).then(|| (place.key(), ModelRow::from(&line))))
        };
        let mut models = self.page(RecordKind::Model, Order::Stored, part, &read).await?.rows;
        models.reverse();
        Ok(models)
    }

    /// Measures models on the newest scored forecasts, the model of the newest one first.
    ///
    /// # Errors
    /// FORECAST cannot be read.
    pub(super) async fn live(&self) -> Result<Vec<LiveScores>, Error> {
        let scored = self.scores(Part { from: i64::MIN, before: Key::END, limit: LIVE_MAX }).await?.rows;
        Ok(measured(&scored))
    }

    async fn scores(&self, part: Part) -> Result<Page<Scored>, Error> {
        let read = |line: &[u8], _: Place| {
            let line: ScoreLine<'_> = serde_json::from_slice(line)?;
            let scored = || Scored { row: ForecastRow::scored(&line, Vec::new()), hits: hits_of(&line).collect() };
            let key = key(&line.key, line.key.target_end_ms);
            Ok::<_, serde_json::Error>(self.wants(line.key.recipe).then(|| (key, scored())))
        };
        self.page(RecordKind::Score, Order::Time { slack_ms: SLACK.ms() }, part, &read).await
    }

    /// Reads forecasts by the time when they were made.
    async fn made(&self, part: Part) -> Result<Page<ForecastRow>, Error> {
        let read = |line: &[u8], _: Place| {
            let line: NextLine<'_> = serde_json::from_slice(line)?;
            let key = key(&line.key, line.key.made_ms);
            Ok::<_, serde_json::Error>(self.wants(line.key.recipe).then(|| (key, ForecastRow::from(&line))))
        };
        self.page(RecordKind::Next, Order::Time { slack_ms: SLACK.ms() }, part, &read).await
    }

    async fn page<R: Send>(
        &self,
        kind: RecordKind,
        order: Order,
        Part { from, before, limit }: Part,
        read: &LineReader<'_, R>,
    ) -> Result<Page<R>, Error> {
        let series = StoredSeries::open(self.connection, (Stream::Forecast, kind), self.instrument).await?;
        match series {
            Some(series) => page(&series, &PageRequest { order, from, before, limit, read }).await,
            None => Ok(Page::default()),
        }
    }

    fn wants(&self, recipe: Recipe) -> bool {
        self.recipe.is_none_or(|wanted| wanted == recipe)
    }
}

/// Returns the key of a forecast: a time, then recipe, interval and the time when it was made.
fn key(forecast: &ForecastKey<'_>, time: i64) -> Key {
    let interval = u64::from(forecast.interval.size().ms().unsigned_abs() as u32);
    Key { time, tie: [((forecast.recipe as u64) << 32) | interval, forecast.made_ms.unsigned_abs()] }
}

/// Returns what tells a forecast from the others of its instrument.
fn identity(row: &ForecastRow) -> (SeriesName, i64, i64) {
    ((row.recipe, row.interval), row.made_ms, row.target_end_ms)
}

/// Returns the forecasts whose target had not ended when the newest one of their series was made, without the scored
/// ones. An older one without a score has none coming: a candle of its target is missing.
fn pending<'a>(made: Vec<ForecastRow>, scored: impl Iterator<Item = &'a ForecastRow>) -> Vec<ForecastRow> {
    let scored: BTreeSet<_> = scored.map(identity).collect();
    let mut newest: BTreeMap<SeriesName, i64> = BTreeMap::new();
    for row in &made {
        let newest = newest.entry((row.recipe, row.interval)).or_insert(row.made_ms);
        *newest = row.made_ms.max(*newest);
    }
    let is_open = |row: &ForecastRow| row.target_end_ms > newest[&(row.recipe, row.interval)];
    made.into_iter().filter(|row| is_open(row) && !scored.contains(&identity(row))).collect()
}

/// Returns the figures of each model, from scored forecasts, oldest first. The model of the newest forecast comes first.
fn measured(scored: &[Scored]) -> Vec<LiveScores> {
    let mut models: Vec<Measured> = Vec::new();
    for one in scored.iter().rev() {
        let row = &one.row;
        let is_same = |known: &Measured| (known.name, &known.scores.model) == ((row.recipe, row.interval), &row.model);
        let idx = models.iter().position(is_same).unwrap_or_else(|| {
            models.push(Measured::new(row));
            models.len() - 1
        });
        models[idx].add(one);
    }
    models.into_iter().map(Measured::finish).collect()
}

/// Sums over the scored forecasts of a model.
struct Measured {
    name: SeriesName,
    scores: LiveScores,
    squares: f64,
    baseline_squares: f64,
}

impl Measured {
    fn new(row: &ForecastRow) -> Self {
        let scores = LiveScores {
            recipe: row.recipe,
            interval: row.interval,
            model: row.model.clone(),
            scored: 0,
            rmse: 0.0,
            baseline_rmse: 0.0,
            skill: None,
            coverage: Vec::new(),
        };
        Self { name: (row.recipe, row.interval), scores, squares: 0.0, baseline_squares: 0.0 }
    }

    fn add(&mut self, scored: &Scored) {
        let Some(actual) = scored.row.actual else { return };
        self.scores.scored += 1;
        self.squares += (actual - scored.row.prediction).powi(2);
        self.baseline_squares += (actual - scored.row.baseline).powi(2);
        for &(level, is_inside) in &scored.hits {
            let coverage = &mut self.scores.coverage;
            let idx = coverage.iter().position(|known| known.level == level).unwrap_or_else(|| {
                coverage.push(LevelCoverage { level, inside: 0, of: 0 });
                coverage.len() - 1
            });
            coverage[idx].inside += u64::from(is_inside);
            coverage[idx].of += 1;
        }
    }

    fn finish(self) -> LiveScores {
        let mut scores = self.scores;
        let root = |squares: f64| (squares / scores.scored.max(1) as f64).sqrt();
        (scores.rmse, scores.baseline_rmse) = (root(self.squares), root(self.baseline_squares));
        scores.skill = (scores.baseline_rmse > 0.0).then(|| 1.0 - scores.rmse / scores.baseline_rmse);
        scores.coverage.sort_by(|a, b| a.level.total_cmp(&b.level));
        scores
    }
}

#[cfg(test)]
mod tests {
    use market::forecast::Status;

    use super::*;
    use crate::query::rows::BandRow;

    const QUARTER_MS: i64 = 900_000;

    fn forecast(made: i64, horizon: i64, model: &str) -> ForecastRow {
        ForecastRow {
            coin: "bitcoin".into(),
            quote: "usd".into(),
            recipe: Recipe::Returns,
            interval: Window::QuarterHour,
            made_ms: made * QUARTER_MS,
            target_start_ms: made * QUARTER_MS,
            target_end_ms: (made + horizon) * QUARTER_MS,
            model: model.into(),
            status: Status::Candidate,
            prediction: 100.0,
            baseline: 98.0,
            bands: vec![BandRow { level: 0.9, lower: 99.0, upper: 101.0 }],
            actual: None,
            coverage: None,
            error: None,
            inside: None,
        }
    }

    fn scored(made: i64, model: &str, actual: f64) -> Scored {
        let is_inside = (99.0..=101.0).contains(&actual);
        let row = ForecastRow { actual: Some(actual), ..forecast(made, 1, model) };
        Scored { row, hits: vec![(0.9, is_inside), (0.5, false)] }
    }

    #[test]
    fn a_forecast_is_pending_until_its_score() {
        let check = |made: &[ForecastRow], scored: &[ForecastRow], expected: &[i64]| {
            let found: Vec<_> =
                pending(made.to_vec(), scored.iter()).iter().map(|row| row.made_ms / QUARTER_MS).collect();
            assert_eq!(found, expected);
        };
        let made = [forecast(1, 1, "a"), forecast(2, 1, "a"), forecast(3, 1, "a")];
        // The first one was never scored, since its candle is missing.
        check(&made, &made[1..2], &[3]);
        check(&made, &made[1..], &[]);
        check(&[forecast(1, 3, "a"), forecast(2, 3, "a"), forecast(3, 3, "b")], &[], &[1, 2, 3]);
        let other = ForecastRow { recipe: Recipe::Volatility, ..forecast(1, 1, "c") };
        check(&[other, forecast(9, 1, "a")], &[], &[1, 9]);
    }

    #[test]
    fn each_model_is_measured_beside_the_baseline() {
        let scores = [scored(1, "old", 100.0), scored(2, "new", 103.0), scored(3, "new", 99.0)];
        let found = measured(&scores);
        let models: Vec<_> = found.iter().map(|live| (&*live.model, live.scored)).collect();
        assert_eq!(models, [("new", 2), ("old", 1)]);
        let (rmse, baseline_rmse) = (5.0_f64.sqrt(), 13.0_f64.sqrt());
        assert_eq!((found[0].rmse, found[0].baseline_rmse), (rmse, baseline_rmse));
        assert_eq!(found[0].skill, Some(1.0 - rmse / baseline_rmse));
        let levels: Vec<_> = found[0].coverage.iter().map(|level| (level.level, level.inside, level.of)).collect();
        assert_eq!(levels, [(0.5, 0, 2), (0.9, 1, 2)]);
        assert_eq!((found[1].rmse, found[1].baseline_rmse), (0.0, 2.0));
    }
}
