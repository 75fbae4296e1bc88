//! The forecasting state of an instrument, and the effect of each closed candle on it: a pure function of the records,
//! one by one, in any packing.

use std::sync::Arc;

use bus::RecordKind;
use learn::forecaster::Forecaster;
use learn::interval::Adaptive;
use learn::lookback::Lookback;
use learn::row_spec::UnusableCandle;
use market::candle::Candle;
use market::forecast::{Cause, Incumbent, ModelRole, Status};
use market::heartbeat::HeartbeatLine;
use market::watermark::Watermark;
use market::windowing::{Issue, Windowing};
use market::{EventTime, Instrument, Tick};
use serde::{Deserialize, Serialize};
use step::Outputs;
use store::archive::Through;

use super::config::ForecastConfig;
use super::counts::Counts;
use super::drift::Drift;
use super::lines::{Forecast, ModelDecision, ScoredForecast};
use super::model::{ModelRef, TrainedModel};
use super::model_trainer::{TrainingJob, TrainingOutcome};
use super::trainings::Trainings;

/// The state of an instrument. A change of this struct, or of one inside it, raises `STATE_FORM` in `live/config.rs`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct InstrumentForecast {
    watermark: Watermark,
    windows: Windowing,
    lookback: Lookback,
    /// End of the newest candle.
    newest: EventTime,
    /// Forecasts whose truth has not come yet, oldest first; at most one for each candle of the horizon.
    pending: Vec<PendingForecast>,
    in_use: Option<ModelInUse>,
    training: Option<PendingTraining>,
    /// The newest multiple of the span between trainings that event time has passed; at first that of the first candle.
    last_due: Option<EventTime>,
}

/// A forecast whose truth has not come yet.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct PendingForecast {
    forecast: Forecast,
    /// Candles of its target so far that do not count as missing.
    candles: u16,
    /// Their least coverage.
    coverage: f64,
}

impl PendingForecast {
    /// Takes a candle of its target.
    fn observe(&mut self, candle: &Candle) {
        self.candles += 1;
        self.coverage = self.coverage.min(candle.coverage);
    }
}

/// The model that makes the forecasts.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct ModelInUse {
    model: ModelRef,
    is_champion: bool,
    expires: EventTime,
    adaptive: Adaptive,
    drift: Drift,
}

/// A training that was due, and the time from which its model counts.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct PendingTraining {
    through: Through,
    cause: Cause,
    /// End of the candle that made it due.
    due: EventTime,
    /// The model counts from the first candle that ends at this time or later, and that a later record closes than the
    /// one that made the training due.
    activates: EventTime,
    /// Whether a later record has come.
    has_later_record: bool,
}

/// Everything that the application of a record needs beside the state.
pub(crate) struct ForecastContext<'a> {
    pub(crate) config: &'a ForecastConfig,
    pub(crate) instrument: &'a Instrument,
    pub(crate) trainings: &'a Trainings,
    /// The result of the pending training, if it is done.
    pub(crate) outcome: Option<Arc<TrainingOutcome>>,
    /// The model in use.
    pub(crate) forecaster: Option<Arc<Forecaster>>,
    /// The line of MARKET that this record is.
    pub(crate) through: Through,
    pub(crate) counts: &'a mut Counts,
    pub(crate) outputs: &'a mut Outputs,
}

impl InstrumentForecast {
    /// Starts without candles or models.
    pub(crate) fn new(config: &ForecastConfig) -> Self {
        Self {
            watermark: Watermark::default(),
            windows: Windowing::new(&[config.interval]),
            lookback: Lookback::new(config.row_spec()),
            newest: EventTime::MIN,
            pending: Vec::new(),
            in_use: None,
            training: None,
            last_due: None,
        }
    }

    /// Returns the instrument's watermark.
    pub(crate) fn watermark(&self, config: &ForecastConfig) -> EventTime {
        self.watermark.value(config.event_time.disorder)
    }

    /// Returns the model that must be loaded before a record is applied.
    pub(crate) fn model_in_use(&self) -> Option<&ModelRef> {
        self.in_use.as_ref().map(|in_use| &in_use.model)
    }

    /// Returns the pending training, if any.
    pub(crate) fn job(&self, instrument: &Instrument) -> Option<TrainingJob> {
        let training = self.training.as_ref()?;
        let incumbent = self.model_in_use().cloned();
        Some(TrainingJob { instrument: instrument.clone(), through: training.through, incumbent })
    }

    /// Whether the pending training must be done before a record of this event time is applied: the record may close a
    /// candle from which the model counts. A flush closes every candle.
    pub(crate) fn needs_model(&self, event: EventTime, is_flush: bool, config: &ForecastConfig) -> bool {
        let Some(training) = &self.training else { return false };
        let mut watermark = self.watermark;
        watermark.observe(event);
        is_flush || watermark.value(config.event_time.disorder) >= training.activates
    }

    /// Applies an accepted tick.
    pub(crate) fn price(&mut self, tick: &Tick, context: &mut ForecastContext<'_>) {
        self.note_later_record();
        let policy = context.config.event_time;
        let advance = self.watermark.advance(tick.event, policy.disorder);
        // The steps before count the spans that coverage has no room for.
        self.move_windows(context, |windows, issue| _ = windows.push(tick, advance, policy, issue));
    }

    /// Applies a heartbeat or a flush.
    pub(crate) fn heartbeat(&mut self, heartbeat: &HeartbeatLine<'_>, context: &mut ForecastContext<'_>) {
        self.note_later_record();
        let policy = context.config.event_time;
        if heartbeat.flush {
            self.move_windows(context, |windows, issue| windows.flush(issue));
        } else {
            let advance = self.watermark.advance(heartbeat.event(), policy.disorder);
            let certified = heartbeat.certified();
            self.move_windows(context, |windows, issue| _ = windows.heartbeat(certified, advance, policy, issue));
        }
    }

    fn note_later_record(&mut self) {
        if let Some(training) = &mut self.training {
            training.has_later_record = true;
        }
    }

    /// Moves the windows, and applies each candle that closes for the first time: revisions change no forecast.
    fn move_windows(
        &mut self,
        context: &mut ForecastContext<'_>,
        step: impl FnOnce(&mut Windowing, &mut dyn FnMut(Issue<'_>)),
    ) {
        let mut closed = Vec::new();
        step(&mut self.windows, &mut |issue| {
            if issue.is_first {
                closed.push(issue.candle(context.instrument));
            }
        });
        for candle in &closed {
            // Skips a window that closed empty and got a late tick after a newer window had closed.
            if candle.end > self.newest {
                self.newest = candle.end;
                self.close(candle, context);
            }
        }
    }

    fn close(&mut self, candle: &Candle, context: &mut ForecastContext<'_>) {
        context.counts.candles += 1;
        match context.config.row_spec().unusable(candle) {
            Some(UnusableCandle::Thin) => context.counts.thin += 1,
            Some(UnusableCandle::FewPoints) => context.counts.few_points += 1,
            None => self.pending.iter_mut().for_each(|pending| pending.observe(candle)),
        }
        self.lookback.push(candle);
        self.score_pending(candle, context);
        self.activate(candle, context);
        self.start_due_training(candle, context);
        self.forecast(candle, context);
    }

    /// Scores the forecasts whose target ends here, and drops those whose truth cannot come any more.
    fn score_pending(&mut self, candle: &Candle, context: &mut ForecastContext<'_>) {
        let mut still_pending = Vec::new();
        for pending in std::mem::take(&mut self.pending) {
            let target_end = pending.forecast.target_end;
            let is_complete = candle.end == target_end && usize::from(pending.candles) == context.config.horizon;
            if candle.end < target_end {
                still_pending.push(pending);
            } else if let Some(actual) = self.lookback.actual().filter(|_| is_complete) {
                let PendingForecast { forecast, coverage, .. } = &pending;
                self.score(&ScoredForecast { forecast, actual, coverage: *coverage }, context);
            } else {
                context.counts.unscored += 1;
            }
        }
        self.pending = still_pending;
    }

    fn score(&mut self, scored: &ScoredForecast<'_>, context: &mut ForecastContext<'_>) {
        context.counts.scored += 1;
        context.outputs.append(RecordKind::Score, &scored.line(context.config, context.instrument));
        // Scores of an earlier model do not count for the one in use.
        if let Some(in_use) = self.in_use.as_mut().filter(|in_use| in_use.model.id == scored.forecast.model) {
            in_use.adaptive.observe(scored.inside());
            in_use.drift.observe(scored, context.config.horizon);
        }
    }

    /// Decides about the model of the pending training, if this is the candle from which it counts.
    fn activate(&mut self, candle: &Candle, context: &mut ForecastContext<'_>) {
        let counts_now = |training: &mut PendingTraining| training.has_later_record && candle.end >= training.activates;
        let Some(training) = self.training.take_if(counts_now) else { return };
        let outcome = context.outcome.take();
        let outcome = outcome.expect("a record from which a model counts is applied after the training is done");
        let TrainingOutcome::Trained(trained) = &*outcome else {
            context.counts.untrained += 1;
            return context.trainings.settle(context.instrument, None);
        };
        context.counts.models += 1;
        let role = decide_role(trained);
        let expires = training.due + context.config.expire;
        let incumbent = self.in_use.as_ref().zip(trained.comparison);
        let decision = ModelDecision {
            cause: training.cause,
            role,
            valid_from: candle.end,
            expires,
            incumbent: incumbent.map(|(in_use, comparison)| Incumbent {
                model: in_use.model.id.clone(),
                scores: (&comparison.incumbent).into(),
            }),
        };
        let line = decision.line(trained, context.config, context.instrument);
        context.outputs.append(RecordKind::Model, &line);
        if role == ModelRole::Rejected {
            self.confirm_incumbent(trained, expires);
            context.trainings.settle(context.instrument, None);
        } else {
            context.counts.switches += 1;
            self.in_use = Some(ModelInUse {
                model: trained.model.clone(),
                is_champion: role == ModelRole::Champion,
                expires,
                adaptive: Adaptive::default(),
                drift: Drift::default(),
            });
            context.forecaster = Some(Arc::clone(&trained.forecaster));
            context.trainings.settle(context.instrument, Some(trained));
        }
    }

    /// Keeps the model in use, which has won the comparison. On those newest rows it may have stopped beating the naive
    /// baseline, or begun to.
    fn confirm_incumbent(&mut self, challenger: &TrainedModel, expires: EventTime) {
        if let Some(in_use) = &mut self.in_use {
            in_use.is_champion = challenger.comparison.is_some_and(|comparison| comparison.incumbent.is_evident());
            in_use.expires = expires;
        }
    }

    /// Starts a training when event time has passed the next multiple of the span between trainings, or the model in
    /// use has drifted; one at a time.
    fn start_due_training(&mut self, candle: &Candle, context: &mut ForecastContext<'_>) {
        let multiple = candle.end.floor(context.config.every);
        let last_due = *self.last_due.get_or_insert(multiple);
        if self.training.is_some() {
            return;
        }
        let has_drifted = self.in_use.as_ref().is_some_and(|in_use| in_use.drift.has_drifted());
        let cause = if multiple > last_due {
            Cause::Schedule
        } else if has_drifted {
            context.counts.drifts += 1;
            Cause::Drift
        } else {
            return;
        };
        self.last_due = Some(multiple);
        self.in_use.iter_mut().for_each(|in_use| in_use.drift = Drift::default());
        let activates = candle.end + context.config.until_active();
        let through = context.through;
        self.training = Some(PendingTraining { through, cause, due: candle.end, activates, has_later_record: false });
        self.job(context.instrument).iter().for_each(|job| context.trainings.start(job));
    }

    fn forecast(&mut self, candle: &Candle, context: &mut ForecastContext<'_>) {
        let Some(in_use) = &self.in_use else { return };
        if candle.end >= in_use.expires {
            context.counts.expired += 1;
            return;
        }
        let Some(row) = self.lookback.feature_row() else { return };
        let forecaster = context.forecaster.as_ref().expect("a record is applied after the model in use is loaded");
        let predicted = forecaster.predict(&row).expect("a model predicts a row of its own features");
        let status = match (predicted.is_unlike, in_use.is_champion) {
            (true, _) => Status::UnlikeTraining,
            (false, true) => Status::Champion,
            (false, false) => Status::Candidate,
        };
        let bands = in_use.adaptive.bands(forecaster.calibration(), predicted.prediction, predicted.scale);
        let forecast = Forecast {
            model: in_use.model.id.clone(),
            made: candle.end,
            target_end: candle.end + context.config.target(),
            status,
            prediction: predicted.prediction,
            baseline: predicted.baseline,
            bands,
        };
        context.counts.forecasts += 1;
        context.counts.unlike_training += u64::from(status == Status::UnlikeTraining);
        context.outputs.append(RecordKind::Next, &forecast.line(context.config, context.instrument));
        self.pending.push(PendingForecast { forecast, candles: 0, coverage: 1.0 });
    }
}

/// Decides about a challenger: it replaces the incumbent only when its RMSE is lower on rows that neither has learned
/// from.
fn decide_role(challenger: &TrainedModel) -> ModelRole {
    if challenger.comparison.is_some_and(|comparison| comparison.incumbent.rmse <= comparison.challenger.rmse) {
        ModelRole::Rejected
    } else if challenger.scores.is_evident() {
        ModelRole::Champion
    } else {
        ModelRole::Candidate
    }
}
