//! The stream-processor's operator: turns a message of FEED into prices, candles, late and refused records.

use std::collections::BTreeMap;

use bus::RecordKind;
use bus::codec::{LINES_MAX, LineReader, PAYLOAD_BYTES_MAX, ReadTick, lines, price_end};
use bus::stream::{MARKET_STEP, Step};
use market::acceptance::{Acceptance, TickVerdict};
use market::gap::GapLine;
use market::heartbeat::HeartbeatLine;
use market::tick::{LateLine, PriceLine, Tick};
use market::validate::{Reason, RejectedLine, validate};
use market::watermark::WatermarkAdvance;
use market::windowing::{EventTimePolicy, Issue, Windowing};
use market::{Candle, EventTime, Instrument, Span, Window};
use serde::{Deserialize, Serialize};
use step::{Applied, CounterValue, Input, Operator, Outputs};

/// FEED → MARKET.
#[derive(Debug, Clone, Copy)]
pub struct Processing {
    settings: EventTimePolicy,
}

impl Processing {
    /// Creates the operator with these event-time settings.
    pub fn new(settings: EventTimePolicy) -> Self {
        Self { settings }
    }
}

/// State of one instrument.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProcessingState {
    acceptance: Acceptance,
    minutes: Windowing,
}

impl Default for ProcessingState {
    fn default() -> Self {
        Self { acceptance: Acceptance::default(), minutes: Windowing::new(&[Window::Minute]) }
    }
}

/// Counts of a partition's records by outcome; exact even after crashes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessingCounts {
    /// Accepted ticks.
    pub accepted: u64,
    /// Accepted ticks that their source fetched afterwards.
    #[serde(default)]
    pub filled: u64,
    /// Ticks accepted earlier.
    pub duplicate: u64,
    /// Ticks beyond the allowed lateness.
    pub late: u64,
    /// Refused records by reason.
    pub rejected: BTreeMap<Reason, u64>,
    /// 1-minute windows that became final.
    pub candles: u64,
    /// Accepted bars too long for any window of a kind.
    pub coarser: BTreeMap<Window, u64>,
    /// Spans dropped because the coverage of a window was full.
    pub spans_dropped: u64,
}

impl Operator for Processing {
    const STEP: Step = MARKET_STEP;
    type State = ProcessingState;
    type Counts = ProcessingCounts;

    fn event_time(&self) -> EventTimePolicy {
        self.settings
    }

    fn shape(&self) -> String {
        "windows=1m;coverage=union".to_owned()
    }

    fn apply(
        &self,
        input: Input<'_>,
        state: &mut ProcessingState,
        counts: &mut ProcessingCounts,
        outputs: &mut Outputs,
    ) -> Applied {
        let Some(instrument) = input.instrument else {
            reject(input, 0, Reason::WrongInstrument, input.payload, counts, outputs);
            return Applied::All;
        };
        let settings = self.settings;
        let is_after_loss = input.is_after_loss;
        let (reader, price_end) = (LineReader::default(), price_end(input.seq));
        let mut application =
            Application { settings, instrument, input, reader, price_end, is_after_loss, state, counts, outputs };
        if !input.is_known_schema {
            application.reject(0, Reason::UnknownVersion, input.payload);
        } else if input.payload.len() > PAYLOAD_BYTES_MAX || lines(input.payload).nth(LINES_MAX).is_some() {
            application.reject(0, Reason::TooLong, input.payload);
        } else {
            for (line, raw) in lines(input.payload) {
                if let Err(reason) = application.record(line, raw) {
                    application.reject(line, reason, raw);
                }
            }
        }
        Applied::All
    }

    fn provisional(&self, instrument: &Instrument, state: &ProcessingState) -> Vec<Candle> {
        state.minutes.provisional(instrument).collect()
    }

    fn watermark(&self, state: &ProcessingState) -> EventTime {
        state.acceptance.watermark(self.settings)
    }

    fn counter_values(counts: &ProcessingCounts) -> Vec<CounterValue> {
        let ticks = |labels, count| CounterValue {
            metric: "ticks",
            help: "Ticks by outcome; refused heartbeats and gaps count as rejected",
            labels,
            count,
        };
        let outcomes = [("accepted", counts.accepted), ("duplicate", counts.duplicate), ("late", counts.late)];
        let outcomes = outcomes.map(|(outcome, count)| ticks(vec![("outcome", outcome)], count));
        let rejected = counts.rejected.iter();
        let rejected =
            rejected.map(|(reason, &count)| ticks(vec![("outcome", "rejected"), ("reason", reason.as_str())], count));
        let filled = CounterValue {
            metric: "ticks_filled",
            help: "Accepted ticks that their source fetched afterwards",
            labels: Vec::new(),
            count: counts.filled,
        };
        let of_windows = CounterValue::of_windows(counts.candles, &counts.coarser, counts.spans_dropped);
        outcomes.into_iter().chain(rejected).chain([filled]).chain(of_windows).collect()
    }
}

/// A message being applied.
struct Application<'a> {
    settings: EventTimePolicy,
    instrument: &'a Instrument,
    input: Input<'a>,
    reader: LineReader<'a>,
    /// End of its price lines.
    price_end: String,
    /// Whether the next record must be preceded by a gap record for lost input.
    is_after_loss: bool,
    state: &'a mut ProcessingState,
    counts: &'a mut ProcessingCounts,
    outputs: &'a mut Outputs,
}

impl<'a> Application<'a> {
    fn record(&mut self, line: u32, raw: &'a [u8]) -> Result<(), Reason> {
        match self.input.kind {
            RecordKind::Tick => {
                let ReadTick { line: parsed, price_head } = self.reader.tick(raw).map_err(reason)?;
                let tick = validate(&parsed, self.instrument, self.input.seq, self.input.stored_ms)?;
                self.note_loss(tick.event);
                self.tick(line, &tick, price_head);
            }
            RecordKind::Heartbeat => {
                let heartbeat: HeartbeatLine<'_> = serde_json::from_slice(raw).map_err(reason)?;
                heartbeat.validate(self.instrument, self.input.stored_ms)?;
                self.note_loss(heartbeat.event());
                self.heartbeat(&heartbeat);
            }
            _ => {
                let gap: GapLine<'_> = serde_json::from_slice(raw).map_err(reason)?;
                gap.validate(self.instrument)?;
                self.note_loss(EventTime(gap.from_ms));
                self.outputs.append(RecordKind::Gap, &gap);
            }
        }
        Ok(())
    }

    /// Writes one gap record for lost input, from the newest known event time to that of the first newer record.
    fn note_loss(&mut self, to: EventTime) {
        let newest = self.state.acceptance.watermark(EventTimePolicy { disorder: Span(0), ..self.settings });
        if self.is_after_loss && newest < to && newest > EventTime::MIN {
            self.is_after_loss = false;
            let (coin, quote) = (self.instrument.coin().into(), self.instrument.quote().into());
            let gap = GapLine { coin, quote, from_ms: newest.ms(), to_ms: to.ms(), cause: "input-lost".into() };
            self.outputs.append(RecordKind::Gap, &gap);
        }
    }

    /// Judges a tick; `price_head` is the start of its price line, if the reader could copy it.
    fn tick(&mut self, line: u32, tick: &Tick, price_head: Option<&[u8]>) {
        let (coin, quote) = (self.instrument.coin(), self.instrument.quote());
        let before = self.state.acceptance.watermark(self.settings);
        match self.state.acceptance.judge(tick, self.settings) {
            TickVerdict::Duplicate => self.counts.duplicate += 1,
            TickVerdict::Late { late_ms } => {
                self.counts.late += 1;
                let price = PriceLine::new(coin, quote, tick);
                self.outputs.append(RecordKind::Late, &LateLine { price, line, late_ms });
            }
            TickVerdict::Accepted => {
                self.counts.accepted += 1;
                self.counts.filled += u64::from(tick.filled);
                match price_head {
                    Some(head) => self.outputs.append_written(RecordKind::Price, [head, self.price_end.as_bytes()]),
                    None => self.outputs.append(RecordKind::Price, &PriceLine::new(coin, quote, tick)),
                }
                for window in self.state.minutes.too_short_for(tick) {
                    *self.counts.coarser.entry(window).or_default() += 1;
                }
                let progress = WatermarkAdvance { before, after: self.state.acceptance.watermark(self.settings) };
                let issue = issuer(self.instrument, &mut self.counts.candles, self.outputs);
                self.counts.spans_dropped += self.state.minutes.push(tick, progress, self.settings, issue);
            }
        }
    }

    fn heartbeat(&mut self, heartbeat: &HeartbeatLine<'_>) {
        let issue = issuer(self.instrument, &mut self.counts.candles, self.outputs);
        if heartbeat.flush {
            self.state.minutes.flush(issue);
        } else {
            let before = self.state.acceptance.watermark(self.settings);
            self.state.acceptance.observe(heartbeat.event(), self.settings);
            let progress = WatermarkAdvance { before, after: self.state.acceptance.watermark(self.settings) };
            let certified = heartbeat.certified();
            self.counts.spans_dropped += self.state.minutes.heartbeat(certified, progress, self.settings, issue);
        }
        // After the candles that it closes: a reader of the heartbeat has then read them too, and they may be trimmed.
        self.outputs.append(RecordKind::Heartbeat, heartbeat);
    }

    fn reject(&mut self, line: u32, reason: Reason, raw: &[u8]) {
        reject(self.input, line, reason, raw, self.counts, self.outputs);
    }
}

/// Counts and stores a refused record.
fn reject(
    input: Input<'_>,
    line: u32,
    reason: Reason,
    raw: &[u8],
    counts: &mut ProcessingCounts,
    outputs: &mut Outputs,
) {
    *counts.rejected.entry(reason).or_default() += 1;
    outputs.append(RecordKind::Rejected, &RejectedLine::new(input.seq, line, reason, raw));
}

/// Writes each issued candle.
fn issuer<'a>(
    instrument: &'a Instrument,
    candles: &'a mut u64,
    outputs: &'a mut Outputs,
) -> impl FnMut(Issue<'_>) + 'a {
    move |issue| {
        *candles += u64::from(issue.is_first);
        outputs.append_newest(RecordKind::Candle, issue.start.ms(), &issue.candle(instrument));
    }
}

/// Reason for a failed parse: numbers beyond f64 are not finite, all other errors are unparsable.
fn reason(error: serde_json::Error) -> Reason {
    let is_overflow = error.to_string().starts_with("number out of range");
    if is_overflow { Reason::NonFinite } else { Reason::Unparsable }
}
