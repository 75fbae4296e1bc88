//! MARKET → FORECAST: one forecast a candle, scored when its truth comes, by a model that is trained as event time
//! passes.
//!
//! A step like the others: it reads MARKET alone, makes its candles with the same window code, and stores forecasts,
//! scores, models and its position as one transaction. It goes on while a training runs, and waits for it at the record
//! from which the new model counts. So any speed, any crash and any packing give the same FORECAST.

pub mod archive_trainer;
pub mod config;
mod counts;
mod drift;
pub(crate) mod error;
pub(crate) mod fit_process;
mod lines;
pub mod model;
mod model_retention;
pub mod model_trainer;
mod state;
pub mod trainings;

use std::sync::Arc;

use bus::RecordKind;
use bus::codec::{LineReader, lines};
use bus::stream::{FORECAST_STEP, Step};
use futures::future::BoxFuture;
use learn::forecaster::Forecaster;
use market::heartbeat::HeartbeatLine;
use market::windowing::EventTimePolicy;
use market::{Candle, EventTime, Instrument, Tick};
use serde::{Deserialize, Serialize};
use step::{Applied, CounterValue, Input, Operator, Outputs, SkipLog};
use store::archive::Through;

pub use self::counts::Counts;

use self::config::ForecastConfig;
use self::model_trainer::TrainingOutcome;
use self::state::{ForecastContext, InstrumentForecast};
use self::trainings::Trainings;
use crate::prices::tick_of;

/// The forecasting step.
pub struct Forecasting {
    config: ForecastConfig,
    trainings: Trainings,
    skip_log: SkipLog,
}

impl Forecasting {
    /// Creates a step that forecasts by `config` with the models of `trainings`.
    pub fn new(config: ForecastConfig, trainings: Trainings) -> Self {
        Self { config, trainings, skip_log: SkipLog::default() }
    }
}

/// The state of an instrument; `None` before its first record.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ForecastState(Option<Box<InstrumentForecast>>);

/// A line of MARKET.
enum Record<'a> {
    Price(Tick),
    Heartbeat(HeartbeatLine<'a>),
}

impl Record<'_> {
    fn event(&self) -> EventTime {
        match self {
            Self::Price(tick) => tick.event,
            Self::Heartbeat(heartbeat) => heartbeat.event(),
        }
    }

    fn is_flush(&self) -> bool {
        matches!(self, Self::Heartbeat(heartbeat) if heartbeat.flush)
    }
}

impl Operator for Forecasting {
    const STEP: Step = FORECAST_STEP;
    type State = ForecastState;
    type Counts = Counts;

    fn event_time(&self) -> EventTimePolicy {
        self.config.event_time
    }

    fn shape(&self) -> String {
        self.config.fingerprint()
    }

    fn apply(
        &self,
        input: Input<'_>,
        state: &mut ForecastState,
        counts: &mut Counts,
        outputs: &mut Outputs,
    ) -> Applied {
        let is_selected = |instrument: &&Instrument| self.config.only.as_ref().is_none_or(|only| only == *instrument);
        let Some(instrument) = input.instrument.filter(|_| input.is_known_schema) else {
            counts.unreadable += 1;
            self.skip_log.note(&input, 0);
            return Applied::All;
        };
        if !is_selected(&instrument) {
            return Applied::All;
        }
        let forecast = state.0.get_or_insert_with(|| Box::new(InstrumentForecast::new(&self.config)));
        // Rows of this message in the archive, so far.
        let mut rows = 0;
        let mut reader = LineReader::default();
        for (line, raw) in lines(input.payload) {
            let record = read(&mut reader, input.kind, raw, instrument);
            rows += usize::from(matches!(record, Some(Record::Price(_))));
            if line < input.lines_done {
                continue;
            }
            let Some(record) = record else {
                counts.unreadable += 1;
                self.skip_log.note(&input, line);
                continue;
            };
            let loaded = match self.load(forecast, &record, instrument) {
                Ok(loaded) => loaded,
                Err(ready) => return Applied::UpTo { lines_done: line, ready },
            };
            let mut context = ForecastContext {
                config: &self.config,
                instrument,
                trainings: &self.trainings,
                outcome: loaded.outcome,
                forecaster: loaded.forecaster,
                through: Through { seq: input.seq, lines: rows },
                counts,
                outputs,
            };
            match record {
                Record::Price(tick) => forecast.price(&tick, &mut context),
                Record::Heartbeat(heartbeat) => forecast.heartbeat(&heartbeat, &mut context),
            }
        }
        Applied::All
    }

    /// Returns nothing: the stream-processor and the aggregator publish provisional candles.
    fn provisional(&self, _: &Instrument, _: &ForecastState) -> Vec<Candle> {
        Vec::new()
    }

    fn watermark(&self, state: &ForecastState) -> EventTime {
        state.0.as_ref().map_or(EventTime::MIN, |forecast| forecast.watermark(&self.config))
    }

    fn counter_values(counts: &Counts) -> Vec<CounterValue> {
        counts.counter_values()
    }
}

impl Forecasting {
    /// Returns the models that a record needs; or, when one is missing, a future that resolves when it is there.
    fn load(
        &self,
        forecast: &InstrumentForecast,
        record: &Record<'_>,
        instrument: &Instrument,
    ) -> Result<LoadedModels, BoxFuture<'static, ()>> {
        let mut loaded = LoadedModels::default();
        if let Some(model) = forecast.model_in_use() {
            loaded.forecaster = self.trainings.forecaster(instrument, model);
            if loaded.forecaster.is_none() {
                return Err(self.trainings.loaded(instrument, model));
            }
        }
        let Some(job) = forecast.job(instrument) else { return Ok(loaded) };
        // After a crash it is not in progress any more.
        self.trainings.start(&job);
        loaded.outcome = self.trainings.outcome(&job);
        if loaded.outcome.is_none() && forecast.needs_model(record.event(), record.is_flush(), &self.config) {
            tracing::info!(%instrument, "forecasts wait for a model that is being fitted");
            return Err(self.trainings.done(&job));
        }
        Ok(loaded)
    }
}

/// The models that a record may need.
#[derive(Default)]
struct LoadedModels {
    outcome: Option<Arc<TrainingOutcome>>,
    forecaster: Option<Arc<Forecaster>>,
}

fn read<'a>(
    reader: &mut LineReader<'a>,
    kind: RecordKind,
    raw: &'a [u8],
    instrument: &Instrument,
) -> Option<Record<'a>> {
    if kind == RecordKind::Price {
        tick_of(reader, raw, instrument).map(Record::Price)
    } else {
        let heartbeat = serde_json::from_slice::<HeartbeatLine<'_>>(raw).ok()?;
        heartbeat.revalidate(instrument).is_ok().then_some(Record::Heartbeat(heartbeat))
    }
}

#[cfg(test)]
mod tests;
