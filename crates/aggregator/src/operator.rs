//! The step operator: turns accepted prices and heartbeats into candles of longer windows and profile rows.

use std::collections::BTreeMap;

use bus::RecordKind;
use bus::codec::{LineReader, lines};
use bus::stream::{STATS_STEP, STATS_WINDOWS, Step};
use market::heartbeat::HeartbeatLine;
use market::profile::Profile;
use market::tick::Tick;
use market::validate::revalidate;
use market::watermark::Watermark;
use market::windowing::{EventTimePolicy, Issue, Windowing};
use market::{Candle, EventTime, Instrument, Window};
use serde::{Deserialize, Serialize};
use step::{Applied, CounterValue, Input, Operator, Outputs, SkipLog};

/// MARKET → STATS.
#[derive(Debug)]
pub struct Aggregation {
    settings: EventTimePolicy,
    skip_log: SkipLog,
}

impl Aggregation {
    /// Creates the operator. `settings` must equal those of the stream-processor.
    pub fn new(settings: EventTimePolicy) -> Self {
        Self { settings, skip_log: SkipLog::default() }
    }
}

/// State of one instrument.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AggregationState {
    watermark: Watermark,
    windows: Windowing,
    profile: Profile,
}

impl Default for AggregationState {
    fn default() -> Self {
        Self { watermark: Watermark::default(), windows: Windowing::new(&STATS_WINDOWS), profile: Profile::default() }
    }
}

/// Exact counts of a partition's records by result.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AggregationCounts {
    /// Prices aggregated.
    pub prices: u64,
    /// Windows that became final, of all kinds.
    pub candles: u64,
    /// Bars too long for any window of a kind.
    pub coarser: BTreeMap<Window, u64>,
    /// Spans dropped because the coverage of a window was full.
    pub spans_dropped: u64,
    /// Unreadable lines of MARKET; none is expected.
    pub unreadable: u64,
}

impl Operator for Aggregation {
    const STEP: Step = STATS_STEP;
    type State = AggregationState;
    type Counts = AggregationCounts;

    fn event_time(&self) -> EventTimePolicy {
        self.settings
    }

    fn shape(&self) -> String {
        format!("windows={};coverage=union", STATS_WINDOWS.map(Window::name).join(","))
    }

    fn apply(
        &self,
        input: Input<'_>,
        state: &mut AggregationState,
        counts: &mut AggregationCounts,
        outputs: &mut Outputs,
    ) -> Applied {
        // MARKET holds only records of the stream-processor. An unreadable record is skipped and must not stop the others.
        let Some(instrument) = input.instrument.filter(|_| input.is_known_schema) else {
            counts.unreadable += 1;
            self.skip_log.note(&input, 0);
            return Applied::All;
        };
        let mut reader = LineReader::default();
        for (line, raw) in lines(input.payload) {
            let is_read = if input.kind == RecordKind::Price {
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
                self.skip_log.note(&input, line);
            }
        }
        Applied::All
    }

    fn provisional(&self, instrument: &Instrument, state: &AggregationState) -> Vec<Candle> {
        state.windows.provisional(instrument).collect()
    }

    fn watermark(&self, state: &AggregationState) -> EventTime {
        state.watermark.value(self.settings.disorder)
    }

    fn counter_values(counts: &AggregationCounts) -> Vec<CounterValue> {
        let ticks = |outcome, count| CounterValue {
            metric: "ticks",
            help: "Prices by outcome",
            labels: vec![("outcome", outcome)],
            count,
        };
        let ticks = [ticks("aggregated", counts.prices), ticks("unreadable", counts.unreadable)];
        let of_windows = CounterValue::of_windows(counts.candles, &counts.coarser, counts.spans_dropped);
        ticks.into_iter().chain(of_windows).collect()
    }
}

impl Aggregation {
    fn price(
        &self,
        tick: &Tick,
        instrument: &Instrument,
        state: &mut AggregationState,
        counts: &mut AggregationCounts,
        outputs: &mut Outputs,
    ) {
        counts.prices += 1;
        for window in state.windows.too_short_for(tick) {
            *counts.coarser.entry(window).or_default() += 1;
        }
        state.profile.add(tick);
        let progress = state.watermark.advance(tick.event, self.settings.disorder);
        let issue = issuer(instrument, &state.profile, &mut counts.candles, outputs);
        counts.spans_dropped += state.windows.push(tick, progress, self.settings, issue);
    }

    fn heartbeat(
        &self,
        heartbeat: &HeartbeatLine<'_>,
        instrument: &Instrument,
        state: &mut AggregationState,
        counts: &mut AggregationCounts,
        outputs: &mut Outputs,
    ) {
        if heartbeat.flush {
            state.windows.flush(issuer(instrument, &state.profile, &mut counts.candles, outputs));
        } else {
            let progress = state.watermark.advance(heartbeat.event(), self.settings.disorder);
            let issue = issuer(instrument, &state.profile, &mut counts.candles, outputs);
            counts.spans_dropped += state.windows.heartbeat(heartbeat.certified(), progress, self.settings, issue);
        }
    }
}

/// Writes each issued candle, and with every 1-hour candle the profile row of its hour.
fn issuer<'a>(
    instrument: &'a Instrument,
    profile: &'a Profile,
    candles: &'a mut u64,
    outputs: &'a mut Outputs,
) -> impl FnMut(Issue<'_>) + 'a {
    move |issue| {
        *candles += u64::from(issue.is_first);
        outputs.append_newest(RecordKind::Stats(issue.window), issue.start.ms(), &issue.candle(instrument));
        if issue.window == Window::Hour {
            let hour = issue.start.hour_of_day();
            if let Some(row) = profile.row(instrument, hour) {
                outputs.append_newest(RecordKind::HourOfDay, i64::from(hour), &row);
            }
        }
    }
}
