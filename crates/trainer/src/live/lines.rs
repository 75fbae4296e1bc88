//! Forecasts, their scores and models, as the records that they become.

use std::borrow::Cow;

use market::forecast::{Cause, ForecastKey, HoldoutScores, ModelLine, NextLine, ScoreLine, Standing, Status};
use market::interval::{self, Band, Bands, LEVEL_MAIN, LEVELS};
use market::{EventTime, Instrument};
use serde::{Deserialize, Serialize};

use super::rules::Rules;
use super::trainings::Trained;

/// What a model says of candles to come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Forecast {
    pub(crate) model: String,
    /// The target begins where the newest candle ended.
    pub(crate) made: EventTime,
    pub(crate) target_end: EventTime,
    pub(crate) status: Status,
    pub(crate) prediction: f64,
    pub(crate) baseline: f64,
    pub(crate) bands: Bands,
}

/// A forecast that has met its truth.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scored<'a> {
    pub(crate) forecast: &'a Forecast,
    pub(crate) actual: f64,
}

impl Forecast {
    fn key<'a>(&'a self, rules: &Rules, instrument: &'a Instrument) -> ForecastKey<'a> {
        ForecastKey {
            coin: Cow::Borrowed(instrument.coin()),
            quote: Cow::Borrowed(instrument.quote()),
            recipe: rules.recipe,
            interval: rules.interval,
            made_ms: self.made.ms(),
            target_start_ms: self.made.ms(),
            target_end_ms: self.target_end.ms(),
            model: Cow::Borrowed(&self.model),
            status: self.status,
            prediction: self.prediction,
            baseline: self.baseline,
        }
    }

    fn band(&self, level: u8) -> Option<Band> {
        let idx = LEVELS.iter().position(|&known| known == level)?;
        self.bands[idx]
    }

    /// The record.
    pub(crate) fn line<'a>(&'a self, rules: &Rules, instrument: &'a Instrument) -> NextLine<'a> {
        let lower = |level| self.band(level).map(|band| band.lower);
        let upper = |level| self.band(level).map(|band| band.upper);
        NextLine {
            key: self.key(rules, instrument),
            level: f64::from(LEVEL_MAIN) / 100.0,
            lower: lower(LEVEL_MAIN),
            upper: upper(LEVEL_MAIN),
            lower_50: lower(50),
            upper_50: upper(50),
            lower_80: lower(80),
            upper_80: upper(80),
            lower_95: lower(95),
            upper_95: upper(95),
        }
    }
}

impl<'a> Scored<'a> {
    /// Whether the truth is inside each interval, by [`LEVELS`]; `None` where there was none.
    pub(crate) fn inside(&self) -> [Option<bool>; LEVELS.len()] {
        interval::inside(&self.forecast.bands, self.actual)
    }

    fn inside_of(&self, level: u8) -> Option<bool> {
        self.forecast.band(level).map(|band| band.contains(self.actual))
    }

    /// The same of the 90 % interval alone.
    pub(crate) fn is_inside(&self) -> Option<bool> {
        self.inside_of(LEVEL_MAIN)
    }

    /// The record.
    pub(crate) fn line(&self, rules: &Rules, instrument: &'a Instrument) -> ScoreLine<'a> {
        ScoreLine {
            key: self.forecast.key(rules, instrument),
            actual: self.actual,
            error: self.actual - self.forecast.prediction,
            inside: self.is_inside(),
            inside_50: self.inside_of(50),
            inside_80: self.inside_of(80),
            inside_95: self.inside_of(95),
        }
    }
}

/// What is known of a model by itself: what became of it stands elsewhere.
pub(crate) fn model_line<'a>(trained: &'a Trained, rules: &Rules, instrument: &'a Instrument) -> ModelLine<'a> {
    ModelLine {
        coin: Cow::Borrowed(instrument.coin()),
        quote: Cow::Borrowed(instrument.quote()),
        recipe: rules.recipe,
        interval: rules.interval,
        model: Cow::Borrowed(&trained.model),
        cause: Cause::Schedule,
        standing: Standing::Candidate,
        valid_from_ms: 0,
        expires_ms: 0,
        trained_first_ms: trained.first.ms(),
        trained_last_ms: trained.last.ms(),
        trained_ticks: trained.ticks,
        scores: HoldoutScores::from(&trained.scores),
        rival: None,
    }
}
