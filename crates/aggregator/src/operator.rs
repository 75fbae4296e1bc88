//! The step: accepted prices and heartbeats in, candles of longer windows and profile rows out.

use bus::Kind;
use bus::codec::{LineReader, lines};
use bus::outputs::Outputs;
use bus::task::{Applied, Figure, Input, LeftOut, Operator};
use bus::topology::{STATS_STEP, STATS_WINDOWS, Step};
use market::heartbeat::HeartbeatLine;
use market::profile::Profile;
use market::tick::Tick;
use market::validate::revalidate;
use market::watermark::Watermark;
use market::windowing::{Issue, Settings, Windowing};
use market::{Candle, EventTime, Instrument, Window};
use serde::{Deserialize, Serialize};

/// MARKET → STATS.
#[derive(Debug)]
pub struct Aggregation {
    settings: Settings,
    left_out: LeftOut,
}

impl Aggregation {
    /// A step that judges event time as told. It must be told what the stream-processor is told.
    pub fn new(settings: Settings) -> Self {
        Self { settings, left_out: LeftOut::default() }
    }

    /// The name of the service, which is its user's name too.
    pub fn service() -> &'static str {
        STATS_STEP.service
    }
}

/// What is remembered of an instrument.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct State {
    watermark: Watermark,
    windows: Windowing,
    profile: Profile,
}

impl Default for State {
    fn default() -> Self {
        Self { watermark: Watermark::default(), windows: Windowing::new(&STATS_WINDOWS), profile: Profile::default() }
    }
}

/// What was done with the records of a partition.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Prices aggregated.
    pub prices: u64,
    /// Windows that became final, of all kinds.
    pub candles: u64,
    /// Lines of MARKET that could not be read; none is expected.
    pub unreadable: u64,
}

impl Operator for Aggregation {
    const STEP: Step = STATS_STEP;
    type State = State;
    type Counts = Counts;

    fn event_time(&self) -> Settings {
        self.settings
    }

    fn shape(&self) -> String {
        format!("windows={}", STATS_WINDOWS.map(Window::name).join(","))
    }

    fn apply(&self, input: Input<'_>, state: &mut State, counts: &mut Counts, outputs: &mut Outputs) -> Applied {
        // MARKET holds only what the stream-processor accepted. Anything else is left out, and must not stop the rest.
        let Some(instrument) = input.instrument.filter(|_| input.is_known_schema) else {
            counts.unreadable += 1;
            self.left_out.note(&input, 0);
            return Applied::All;
        };
        let mut reader = LineReader::default();
        for (line, raw) in lines(input.payload) {
            let is_read = if input.kind == Kind::Price.token() {
                let price = reader.price(raw).ok();
                let tick = price.and_then(|price| revalidate(&price, instrument).ok());
                tick.map(|tick| self.price(&tick, instrument, state, counts, outputs)).is_some()
            } else {
                let heartbeat = serde_json::from_slice::<HeartbeatLine<'_>>(raw).ok();
                let heartbeat = heartbeat.filter(|heartbeat| heartbeat.revalidate(instrument).is_ok());
                heartbeat.map(|heartbeat| self.heartbeat(&heartbeat, instrument, state, counts, outputs)).is_some()
            };
            if !is_read {
                counts.unreadable += 1;
                self.left_out.note(&input, line);
            }
        }
        Applied::All
    }

    fn provisional(&self, instrument: &Instrument, state: &State) -> Vec<Candle> {
        state.windows.provisional(instrument).collect()
    }

    fn watermark(&self, state: &State) -> EventTime {
        state.watermark.value(self.settings.disorder)
    }

    fn figures(counts: &Counts) -> Vec<Figure> {
        let ticks = |outcome, count| Figure {
            metric: "ticks",
            help: "Prices by what became of them",
            labels: vec![("outcome", outcome)],
            count,
        };
        vec![
            ticks("aggregated", counts.prices),
            ticks("unreadable", counts.unreadable),
            Figure::candles(counts.candles),
        ]
    }
}

impl Aggregation {
    fn price(
        &self,
        tick: &Tick,
        instrument: &Instrument,
        state: &mut State,
        counts: &mut Counts,
        outputs: &mut Outputs,
    ) {
        counts.prices += 1;
        let before = state.watermark.value(self.settings.disorder);
        state.profile.add(tick);
        state.watermark.observe(tick.event);
        let after = state.watermark.value(self.settings.disorder);
        let mut issue = issuer(instrument, &state.profile, counts, outputs);
        state.windows.push(tick, before, &mut issue);
        state.windows.advance(after, self.settings, &mut issue);
    }

    fn heartbeat(
        &self,
        heartbeat: &HeartbeatLine<'_>,
        instrument: &Instrument,
        state: &mut State,
        counts: &mut Counts,
        outputs: &mut Outputs,
    ) {
        let mut issue = issuer(instrument, &state.profile, counts, outputs);
        if heartbeat.flush {
            state.windows.flush(&mut issue);
        } else {
            state.watermark.observe(heartbeat.event());
            let watermark = state.watermark.value(self.settings.disorder);
            state.windows.advance(watermark, self.settings, &mut issue);
        }
    }
}

/// Writes candles as their windows are issued, and the profile row of an hour with every 1-hour candle of it.
fn issuer<'a>(
    instrument: &'a Instrument,
    profile: &'a Profile,
    counts: &'a mut Counts,
    outputs: &'a mut Outputs,
) -> impl FnMut(Issue<'_>) + 'a {
    move |issue| {
        counts.candles += u64::from(issue.is_first);
        outputs.append_newest(Kind::Stats(issue.window), issue.start.ms(), &issue.candle(instrument));
        if issue.window == Window::Hour {
            let hour = issue.start.hour_of_day();
            if let Some(row) = profile.row(instrument, hour) {
                outputs.append_newest(Kind::HourOfDay, i64::from(hour), &row);
            }
        }
    }
}
