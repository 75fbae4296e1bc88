//! What is remembered of an instrument to forecast it, and what each closed candle does to it: a pure function of the
//! records, one by one, however they are packed.

use std::sync::Arc;

use bus::RecordKind;
use learn::dataset::Unusable;
use learn::forecaster::Forecaster;
use learn::interval::Adaptive;
use learn::lookback::Lookback;
use market::candle::Candle;
use market::forecast::{Cause, Incumbent, ModelRole, Status};
use market::heartbeat::HeartbeatLine;
use market::watermark::Watermark;
use market::windowing::{Issue, Windowing};
use market::{EventTime, Instrument, Tick};
use serde::{Deserialize, Serialize};
use step::Outputs;
use store::archive::Through;

use super::config::Rules;
use super::counts::Counts;
use super::drift::Drift;
use super::lines::{Fate, Forecast, Scored};
use super::trainings::{Job, ModelRef, Outcome, Trained, Trainings};

/// The form in which [`Live`] is stored, which a change of it raises: states of another form cannot be read, and FORECAST is
/// to be rebuilt.
pub(super) const FORM: u32 = 3;

/// An instrument under forecast.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Live {
    watermark: Watermark,
    windows: Windowing,
    trail: Lookback,
    /// End of the newest candle.
    newest: EventTime,
    /// Forecasts whose truth has not come yet, oldest first; at most one for each candle of the horizon.
    open: Vec<Open>,
    in_use: Option<InUse>,
    under_way: Option<UnderWay>,
    /// The newest multiple of the span between trainings that event time has passed; at first that of the first candle.
    passed: Option<EventTime>,
}

/// A forecast that waits for its truth.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Open {
    forecast: Forecast,
    /// Candles of its target so far that do not count as missing.
    seen: u16,
    /// Their least coverage.
    coverage: f64,
}

impl Open {
    /// Takes a candle of its target.
    fn see(&mut self, candle: &Candle) {
        self.seen += 1;
        self.coverage = self.coverage.min(candle.coverage);
    }
}

/// The model that makes the forecasts.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct InUse {
    model: ModelRef,
    is_champion: bool,
    expires: EventTime,
    adaptive: Adaptive,
    drift: Drift,
}

/// A training that is due, and when its model begins to count.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct UnderWay {
    through: Through,
    cause: Cause,
    /// End of the candle that made it due.
    asked: EventTime,
    /// The model counts from the first candle that ends here or later, by a later record than the one that made it due.
    activates: EventTime,
    /// Whether a later record has come.
    is_armed: bool,
}

/// Everything that a record is applied with.
pub(crate) struct Desk<'a> {
    pub(crate) rules: &'a Rules,
    pub(crate) instrument: &'a Instrument,
    pub(crate) trainings: &'a Trainings,
    /// What the training under way came to, if it is done.
    pub(crate) outcome: Option<Arc<Outcome>>,
    /// The model in use.
    pub(crate) forecaster: Option<Arc<Forecaster>>,
    /// Up to where MARKET is known, this record included.
    pub(crate) through: Through,
    pub(crate) counts: &'a mut Counts,
    pub(crate) outputs: &'a mut Outputs,
}

impl Live {
    /// Nothing known yet.
    pub(crate) fn new(rules: &Rules) -> Self {
        Self {
            watermark: Watermark::default(),
            windows: Windowing::new(&[rules.interval]),
            trail: Lookback::new(rules.row_spec()),
            newest: EventTime::MIN,
            open: Vec::new(),
            in_use: None,
            under_way: None,
            passed: None,
        }
    }

    /// How far event time has certainly come.
    pub(crate) fn watermark(&self, rules: &Rules) -> EventTime {
        self.watermark.value(rules.settings.disorder)
    }

    /// The model whose files must be at hand before anything is applied.
    pub(crate) fn model_in_use(&self) -> Option<&ModelRef> {
        self.in_use.as_ref().map(|in_use| &in_use.model)
    }

    /// The training that is under way, if any.
    pub(crate) fn job(&self, instrument: &Instrument) -> Option<Job> {
        let under_way = self.under_way.as_ref()?;
        let rival = self.model_in_use().cloned();
        Some(Job { instrument: instrument.clone(), through: under_way.through, rival })
    }

    /// Whether the model under way must be at hand before a record of this event time is applied: a candle may close from
    /// which on it counts. A flush closes whatever is open.
    pub(crate) fn needs_model(&self, event: EventTime, is_flush: bool, rules: &Rules) -> bool {
        let Some(under_way) = &self.under_way else { return false };
        let mut watermark = self.watermark;
        watermark.observe(event);
        is_flush || watermark.value(rules.settings.disorder) >= under_way.activates
    }

    /// Applies an accepted tick.
    pub(crate) fn price(&mut self, tick: &Tick, desk: &mut Desk<'_>) {
        self.arm();
        let settings = desk.rules.settings;
        let progress = self.watermark.pass(tick.event, settings.disorder);
        // Spans that coverage has no room for are counted by the steps before.
        self.follow(desk, |windows, issue| _ = windows.push(tick, progress, settings, issue));
    }

    /// Applies a heartbeat or a flush.
    pub(crate) fn heartbeat(&mut self, heartbeat: &HeartbeatLine<'_>, desk: &mut Desk<'_>) {
        self.arm();
        let settings = desk.rules.settings;
        if heartbeat.flush {
            self.follow(desk, |windows, issue| windows.flush(issue));
        } else {
            let progress = self.watermark.pass(heartbeat.event(), settings.disorder);
            let certified = heartbeat.certified();
            self.follow(desk, |windows, issue| _ = windows.heartbeat(certified, progress, settings, issue));
        }
    }

    fn arm(&mut self) {
        if let Some(under_way) = &mut self.under_way {
            under_way.is_armed = true;
        }
    }

    /// Moves the windows, and follows each candle that closes for the first time: revisions change no forecast.
    fn follow(&mut self, desk: &mut Desk<'_>, step: impl FnOnce(&mut Windowing, &mut dyn FnMut(Issue<'_>))) {
        let mut closed = Vec::new();
        step(&mut self.windows, &mut |issue| {
            if issue.is_first {
                closed.push(issue.candle(desk.instrument));
            }
        });
        for candle in &closed {
            // One that closed empty and was filled late, when a newer one had closed already, is too late for everything.
            if candle.end > self.newest {
                self.newest = candle.end;
                self.close(candle, desk);
            }
        }
    }

    fn close(&mut self, candle: &Candle, desk: &mut Desk<'_>) {
        desk.counts.candles += 1;
        match desk.rules.row_spec().unusable(candle) {
            Some(Unusable::Thin) => desk.counts.thin += 1,
            Some(Unusable::FewPoints) => desk.counts.few_points += 1,
            None => self.open.iter_mut().for_each(|open| open.see(candle)),
        }
        self.trail.push(candle);
        self.settle(candle, desk);
        self.activate(candle, desk);
        self.ask_for_training(candle, desk);
        self.forecast(candle, desk);
    }

    /// Scores the forecasts whose target ends here, and drops those whose truth cannot come any more.
    fn settle(&mut self, candle: &Candle, desk: &mut Desk<'_>) {
        let mut still_open = Vec::new();
        for open in std::mem::take(&mut self.open) {
            let is_complete = candle.end == open.forecast.target_end && usize::from(open.seen) == desk.rules.horizon;
            if candle.end < open.forecast.target_end {
                still_open.push(open);
            } else if let Some(actual) = self.trail.actual().filter(|_| is_complete) {
                self.score(&Scored { forecast: &open.forecast, actual, coverage: open.coverage }, desk);
            } else {
                desk.counts.unscored += 1;
            }
        }
        self.open = still_open;
    }

    fn score(&mut self, scored: &Scored<'_>, desk: &mut Desk<'_>) {
        desk.counts.scored += 1;
        desk.outputs.append(RecordKind::Score, &scored.line(desk.rules, desk.instrument));
        // What another model has missed says nothing of this one.
        if let Some(in_use) = self.in_use.as_mut().filter(|in_use| in_use.model.id == scored.forecast.model) {
            in_use.adaptive.observe(scored.inside());
            in_use.drift.observe(scored, desk.rules.horizon);
        }
    }

    /// Decides what becomes of the model under way, if this is the candle from which on it counts.
    fn activate(&mut self, candle: &Candle, desk: &mut Desk<'_>) {
        let is_due = |under_way: &mut UnderWay| under_way.is_armed && candle.end >= under_way.activates;
        let Some(under_way) = self.under_way.take_if(is_due) else { return };
        let outcome = desk.outcome.take();
        let outcome = outcome.expect("a record that a model counts from is applied when the model is at hand");
        let Outcome::Trained(trained) = &*outcome else {
            desk.counts.untrained += 1;
            return desk.trainings.settle(desk.instrument, None);
        };
        desk.counts.models += 1;
        let standing = stand(trained);
        let expires = under_way.asked + desk.rules.expire;
        let rival = self.in_use.as_ref().zip(trained.duel);
        let fate = Fate {
            cause: under_way.cause,
            standing,
            valid_from: candle.end,
            expires,
            rival: rival.map(|(rival, duel)| Incumbent { model: rival.model.id.clone(), scores: (&duel.rival).into() }),
        };
        desk.outputs.append(RecordKind::Model, &fate.line(trained, desk.rules, desk.instrument));
        if standing == ModelRole::Lost {
            // It has just been tried on the newest rows, where it may have stopped beating the baseline, or begun to.
            if let Some(in_use) = &mut self.in_use {
                in_use.is_champion = trained.duel.is_some_and(|duel| duel.rival.is_evident());
                in_use.expires = expires;
            }
            desk.trainings.settle(desk.instrument, None);
        } else {
            desk.counts.switches += 1;
            self.in_use = Some(InUse {
                model: trained.model.clone(),
                is_champion: standing == ModelRole::Champion,
                expires,
                adaptive: Adaptive::default(),
                drift: Drift::default(),
            });
            desk.forecaster = Some(Arc::clone(&trained.forecaster));
            desk.trainings.settle(desk.instrument, Some(trained));
        }
    }

    /// Asks for a training when event time has passed the next multiple of the span between trainings, or the model in use
    /// has drifted away; one at a time.
    fn ask_for_training(&mut self, candle: &Candle, desk: &mut Desk<'_>) {
        let multiple = candle.end.floor(desk.rules.every);
        let passed = *self.passed.get_or_insert(multiple);
        if self.under_way.is_some() {
            return;
        }
        let has_drifted = self.in_use.as_ref().is_some_and(|in_use| in_use.drift.is_far());
        let cause = if multiple > passed {
            Cause::Schedule
        } else if has_drifted {
            desk.counts.drifts += 1;
            Cause::Drift
        } else {
            return;
        };
        self.passed = Some(multiple);
        self.in_use.iter_mut().for_each(|in_use| in_use.drift = Drift::default());
        let activates = candle.end + desk.rules.until_active();
        let through = desk.through;
        self.under_way = Some(UnderWay { through, cause, asked: candle.end, activates, is_armed: false });
        self.job(desk.instrument).iter().for_each(|job| desk.trainings.start(job));
    }

    fn forecast(&mut self, candle: &Candle, desk: &mut Desk<'_>) {
        let Some(in_use) = &self.in_use else { return };
        if candle.end >= in_use.expires {
            desk.counts.expired += 1;
            return;
        }
        let Some(known) = self.trail.known() else { return };
        let forecaster = desk.forecaster.as_ref().expect("a record is applied when the model in use is at hand");
        let predicted = forecaster.predict(&known).expect("a model predicts a row of its own features");
        let status = match (predicted.is_unlike, in_use.is_champion) {
            (true, _) => Status::UnlikeTraining,
            (false, true) => Status::Champion,
            (false, false) => Status::Candidate,
        };
        let bands = in_use.adaptive.bands(forecaster.calibration(), predicted.prediction, predicted.scale);
        let forecast = Forecast {
            model: in_use.model.id.clone(),
            made: candle.end,
            target_end: candle.end + desk.rules.target(),
            status,
            prediction: predicted.prediction,
            baseline: predicted.baseline,
            bands,
        };
        desk.counts.forecasts += 1;
        desk.counts.unlike_training += u64::from(status == Status::UnlikeTraining);
        desk.outputs.append(RecordKind::Next, &forecast.line(desk.rules, desk.instrument));
        self.open.push(Open { forecast, seen: 0, coverage: 1.0 });
    }
}

/// A challenger replaces the model in use only when it wins on rows that neither has learned from.
fn stand(trained: &Trained) -> ModelRole {
    if trained.duel.is_some_and(|duel| duel.rival.rmse <= duel.challenger.rmse) {
        ModelRole::Lost
    } else if trained.scores.is_evident() {
        ModelRole::Champion
    } else {
        ModelRole::Candidate
    }
}
