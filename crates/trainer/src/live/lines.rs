//! The records of FORECAST, made from forecasts, their scores, and decisions about models.

use std::borrow::Cow;

use learn::interval;
use market::band::{Band, Bands, LEVEL_MAIN, LEVELS};
use market::forecast::{
    Cause, ForecastKey, HoldoutScores, Incumbent, ModelLine, ModelRole, NextLine, ScoreLine, Status,
};
use market::{EventTime, Instrument};
use serde::{Deserialize, Serialize};

use super::config::ForecastConfig;
use super::model::TrainedModel;

// The records name each level, in this order.
const _: () = assert!(matches!(LEVELS, [50, 80, LEVEL_MAIN, 95]) && LEVEL_MAIN == 90);

/// A forecast of the next candles.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Forecast {
    pub(crate) model: String,
    /// End of the newest candle, where the target begins.
    pub(crate) made: EventTime,
    pub(crate) target_end: EventTime,
    pub(crate) status: Status,
    pub(crate) prediction: f64,
    pub(crate) baseline: f64,
    pub(crate) bands: Bands,
}

/// A forecast and its truth.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ScoredForecast<'a> {
    pub(crate) forecast: &'a Forecast,
    pub(crate) actual: f64,
    /// The least coverage of the candles of the target.
    pub(crate) coverage: f64,
}

impl Forecast {
    fn key<'a>(&'a self, config: &ForecastConfig, instrument: &'a Instrument) -> ForecastKey<'a> {
        ForecastKey {
            coin: Cow::Borrowed(instrument.coin()),
            quote: Cow::Borrowed(instrument.quote()),
            recipe: config.recipe,
            interval: config.interval,
            made_ms: self.made.ms(),
            target_start_ms: self.made.ms(),
            target_end_ms: self.target_end.ms(),
            model: Cow::Borrowed(&self.model),
            status: self.status,
            prediction: self.prediction,
            baseline: self.baseline,
        }
    }

    /// Returns the record of the forecast.
    pub(crate) fn line<'a>(&'a self, config: &ForecastConfig, instrument: &'a Instrument) -> NextLine<'a> {
        let [band_50, band_80, band_90, band_95] = self.bands;
        let lower = |band: Option<Band>| band.map(|band| band.lower);
        let upper = |band: Option<Band>| band.map(|band| band.upper);
        NextLine {
            key: self.key(config, instrument),
            level: f64::from(LEVEL_MAIN) / 100.0,
            lower: lower(band_90),
            upper: upper(band_90),
            lower_50: lower(band_50),
            upper_50: upper(band_50),
            lower_80: lower(band_80),
            upper_80: upper(band_80),
            lower_95: lower(band_95),
            upper_95: upper(band_95),
        }
    }
}

impl<'a> ScoredForecast<'a> {
    /// Whether the truth is inside each interval, by [`LEVELS`]; `None` where there was no interval.
    pub(crate) fn inside(&self) -> [Option<bool>; LEVELS.len()] {
        interval::inside(&self.forecast.bands, self.actual)
    }

    /// Returns the record of the score.
    pub(crate) fn line(&self, config: &ForecastConfig, instrument: &'a Instrument) -> ScoreLine<'a> {
        let [inside_50, inside_80, inside, inside_95] = self.inside();
        ScoreLine {
            key: self.forecast.key(config, instrument),
            actual: self.actual,
            coverage: self.coverage,
            error: self.actual - self.forecast.prediction,
            inside,
            inside_50,
            inside_80,
            inside_95,
        }
    }
}

/// The decision about a trained model.
#[derive(Debug, Clone)]
pub(crate) struct ModelDecision {
    pub(crate) cause: Cause,
    pub(crate) role: ModelRole,
    pub(crate) valid_from: EventTime,
    pub(crate) expires: EventTime,
    pub(crate) incumbent: Option<Incumbent>,
}

impl ModelDecision {
    /// Returns the record of the decision.
    pub(crate) fn line<'a>(
        self,
        trained: &'a TrainedModel,
        config: &ForecastConfig,
        instrument: &'a Instrument,
    ) -> ModelLine<'a> {
        ModelLine {
            coin: Cow::Borrowed(instrument.coin()),
            quote: Cow::Borrowed(instrument.quote()),
            recipe: config.recipe,
            interval: config.interval,
            min_coverage: config.min_coverage,
            model: Cow::Borrowed(&trained.model.id),
            sha256: Cow::Borrowed(&trained.model.sha256),
            cause: self.cause,
            role: self.role,
            valid_from_ms: self.valid_from.ms(),
            expires_ms: self.expires.ms(),
            trained_first_ms: trained.first.ms(),
            trained_last_ms: trained.last.ms(),
            trained_ticks: trained.ticks,
            scores: HoldoutScores::from(&trained.scores),
            incumbent: self.incumbent,
        }
    }
}
