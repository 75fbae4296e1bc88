//! MARKET → FORECAST: one forecast a candle, scored when its truth comes, by a model that is trained as event time passes.
//!
//! A step like the others: it reads MARKET alone, makes its candles with the same window code, and stores forecasts,
//! scores, models and its position as one transaction. It asks for a training and goes on; where the model begins to
//! count it waits. So any speed, any crash and any packing give the same FORECAST.

pub mod config;
mod counts;
mod drift;
pub(crate) mod fit_process;
mod lines;
mod model_retention;
pub mod model_trainer;
mod state;
pub mod trainings;

use std::sync::Arc;

use bus::RecordKind;
use bus::codec::{LineReader, lines};
use bus::stream::{FORECAST_STEP, Step};
use futures::future::BoxFuture;
use market::heartbeat::HeartbeatLine;
use market::windowing::EventTimePolicy;
use market::{Candle, EventTime, Instrument, Tick};
use serde::{Deserialize, Serialize};
use step::{Applied, Figure, Input, Operator, Outputs, SkipLog};
use store::archive::Through;

pub use self::counts::Counts;
use learn::forecaster::Forecaster;

use self::config::Rules;
use self::state::{Desk, Live};
use self::trainings::{Outcome, Trainings};
use crate::prices::tick_of;

/// The step.
pub struct Forecasting {
    rules: Rules,
    trainings: Trainings,
    skip_log: SkipLog,
}

impl Forecasting {
    /// A step by these rules, whose models come from these trainings.
    pub fn new(rules: Rules, trainings: Trainings) -> Self {
        Self { rules, trainings, skip_log: SkipLog::default() }
    }
}

/// What is remembered of an instrument; nothing before its first record.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct State(Option<Box<Live>>);

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
    type State = State;
    type Counts = Counts;

    fn event_time(&self) -> EventTimePolicy {
        self.rules.settings
    }

    fn shape(&self) -> String {
        self.rules.words()
    }

    fn apply(&self, input: Input<'_>, state: &mut State, counts: &mut Counts, outputs: &mut Outputs) -> Applied {
        let is_meant = |instrument: &&Instrument| self.rules.only.as_ref().is_none_or(|only| only == *instrument);
        let Some(instrument) = input.instrument.filter(|_| input.is_known_schema) else {
            counts.unreadable += 1;
            self.skip_log.note(&input, 0);
            return Applied::All;
        };
        if !is_meant(&instrument) {
            return Applied::All;
        }
        let live = state.0.get_or_insert_with(|| Box::new(Live::new(&self.rules)));
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
            let at_hand = match self.at_hand(live, &record, instrument) {
                Ok(at_hand) => at_hand,
                Err(ready) => return Applied::UpTo { lines_done: line, ready },
            };
            let mut desk = Desk {
                rules: &self.rules,
                instrument,
                trainings: &self.trainings,
                outcome: at_hand.outcome,
                forecaster: at_hand.forecaster,
                through: Through { seq: input.seq, lines: rows },
                counts,
                outputs,
            };
            match record {
                Record::Price(tick) => live.price(&tick, &mut desk),
                Record::Heartbeat(heartbeat) => live.heartbeat(&heartbeat, &mut desk),
            }
        }
        Applied::All
    }

    /// Candles that are still open are the stream-processor's and the aggregator's to show.
    fn provisional(&self, _: &Instrument, _: &State) -> Vec<Candle> {
        Vec::new()
    }

    fn watermark(&self, state: &State) -> EventTime {
        state.0.as_ref().map_or(EventTime::MIN, |live| live.watermark(&self.rules))
    }

    fn figures(counts: &Counts) -> Vec<Figure> {
        counts.figures()
    }
}

impl Forecasting {
    /// What a record is applied with; or, when something of it is missing, what is to be waited for.
    fn at_hand(
        &self,
        live: &Live,
        record: &Record<'_>,
        instrument: &Instrument,
    ) -> Result<AtHand, BoxFuture<'static, ()>> {
        let mut at_hand = AtHand::default();
        if let Some(model) = live.model_in_use() {
            at_hand.forecaster = self.trainings.forecaster(instrument, model);
            if at_hand.forecaster.is_none() {
                return Err(self.trainings.loaded(instrument, model));
            }
        }
        let Some(job) = live.job(instrument) else { return Ok(at_hand) };
        // After a crash it is not under way any more.
        self.trainings.start(&job);
        at_hand.outcome = self.trainings.outcome(&job);
        if at_hand.outcome.is_none() && live.needs_model(record.event(), record.is_flush(), &self.rules) {
            tracing::info!(%instrument, "forecasts wait for a model that is being fitted");
            return Err(self.trainings.done(&job));
        }
        Ok(at_hand)
    }
}

/// Models that a record may ask for.
#[derive(Default)]
struct AtHand {
    outcome: Option<Arc<Outcome>>,
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
