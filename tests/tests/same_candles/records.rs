//! Records of two instruments by chance, and turns of instances that read them.

use market::Instrument;
use market::heartbeat::HeartbeatLine;
use market::tick::TickLine;
use pipeline_tests::harness::{End, Record, STORED_MS, Turn, gap, heartbeat, tick};
use proptest::prelude::*;

const SECOND: i64 = 1_000;
pub(super) const MINUTE: i64 = 60 * SECOND;
/// Twenty minutes before the end of a day, so that windows of every length close.
pub(super) const START: i64 = 1_583_020_800_000 + 1_420 * MINUTE;
/// The shipped settings.
pub(super) const DISORDER: i64 = 5 * SECOND;
pub(super) const LATENESS: i64 = 10 * MINUTE;

pub(crate) fn instruments() -> [Instrument; 2] {
    [Instrument::new("bitcoin", "usd").unwrap(), Instrument::new("ethereum", "eur").unwrap()]
}

/// The next record of a source.
#[derive(Debug, Clone)]
enum Step {
    /// An observation this far behind the newest one.
    Tick {
        behind_ms: i64,
        close: f64,
        traded: Traded,
        span: Span,
    },
    /// An earlier tick, by its index, sent again with these values.
    Again {
        which: prop::sample::Index,
        close: Option<f64>,
    },
    Heartbeat {
        behind_ms: i64,
        complete_ms: Option<i64>,
    },
    Flush,
    Gap {
        length_ms: i64,
    },
    /// An event time ahead of its ingest time, or an ingest time ahead of the server's.
    Future {
        heartbeat: bool,
        is_ingest_forged: bool,
    },
    Garbage,
}

/// Amounts traded in an observation, and whether it was fetched afterwards.
#[derive(Debug, Clone, Copy)]
struct Traded {
    volume: Option<f64>,
    quote_volume: Option<f64>,
    filled: bool,
}

/// Kind of an observation.
#[derive(Debug, Clone, Copy)]
enum Span {
    Bar(i64),
    Point { complete_ms: Option<i64> },
}

fn step() -> impl Strategy<Value = Step> {
    let close = || (-3.0..6.0_f64).prop_map(|exponent| 10_f64.powf(exponent));
    let complete = || prop::option::of(0..90 * MINUTE);
    let span = prop_oneof![
        3 => prop_oneof![Just(1_000_i64), Just(60_000), Just(3_600_000)].prop_map(Span::Bar),
        2 => complete().prop_map(|complete_ms| Span::Point { complete_ms }),
    ];
    let tick = |behind: std::ops::RangeInclusive<i64>| {
        (behind, close(), traded(), span.clone()).prop_map(|(behind_ms, close, traded, span)| Step::Tick {
            behind_ms,
            close,
            traded,
            span,
        })
    };
    prop_oneof![
        12 => tick(0..=0),
        4 => tick(0..=DISORDER),
        4 => tick(DISORDER..=LATENESS + 2 * MINUTE),
        1 => tick(LATENESS..=30 * LATENESS),
        2 => (any::<prop::sample::Index>(), prop::option::of(close())).prop_map(|(which, close)| Step::Again { which, close }),
        2 => (-MINUTE..=DISORDER, complete())
            .prop_map(|(behind_ms, complete_ms)| Step::Heartbeat { behind_ms, complete_ms }),
        1 => Just(Step::Flush),
        1 => (1..100 * MINUTE).prop_map(|length_ms| Step::Gap { length_ms }),
        1 => any::<[bool; 2]>().prop_map(|[heartbeat, is_ingest_forged]| Step::Future { heartbeat, is_ingest_forged }),
        1 => Just(Step::Garbage),
    ]
}

fn traded() -> impl Strategy<Value = Traded> {
    // Most ticks have both volumes, so that many windows do.
    let volume = || prop::option::weighted(0.8, prop_oneof![9 => 0.0..1e3_f64, 1 => Just(0.0)]);
    (volume(), volume(), prop::bool::weighted(0.2)).prop_map(|(volume, quote_volume, filled)| Traded {
        volume,
        quote_volume,
        filled,
    })
}

/// Advance of event time before a step: mostly seconds, sometimes zero or hours. Often whole seconds, so that ticks lie
/// on window boundaries.
pub(super) fn pace() -> impl Strategy<Value = i64> {
    prop_oneof![
        2 => Just(0),
        6 => 0..90 * SECOND,
        3 => (0_i64..90).prop_map(|seconds| seconds * SECOND),
        1 => 0..20 * MINUTE,
        1 => (0_i64..120).prop_map(|minutes| minutes * MINUTE),
    ]
}

/// The records of two instruments, in order of arrival.
pub(crate) fn records() -> impl Strategy<Value = Vec<Record>> {
    let steps = prop::collection::vec((0_usize..2, pace(), step()), 1..100);
    steps.prop_map(|steps| {
        let mut sources = instruments().map(|instrument| Source { instrument, now_ms: START, ticks: Vec::new() });
        steps.into_iter().map(|(idx, pace_ms, step)| sources[idx].record(pace_ms, step)).collect()
    })
}

struct Source {
    instrument: Instrument,
    now_ms: i64,
    ticks: Vec<Record>,
}

impl Source {
    fn record(&mut self, pace_ms: i64, step: Step) -> Record {
        self.now_ms += pace_ms;
        let Self { instrument, now_ms, ticks } = self;
        match step {
            Step::Tick { behind_ms, close, traded, span } => {
                let mut tick = tick(instrument, *now_ms - behind_ms, close);
                // Of equal event times, the tick that arrives last has the lowest id.
                tick.id = Some(u64::MAX - 2 * ticks.len() as u64);
                (tick.volume, tick.quote_volume, tick.filled) = (traded.volume, traded.quote_volume, traded.filled);
                (tick.grain_ms, tick.complete_ms) = match span {
                    Span::Bar(grain_ms) => (Some(grain_ms), None),
                    Span::Point { complete_ms } => (None, complete_ms),
                };
                (tick.high, tick.low) = (Some(close * 1.5), Some(close / 1.5));
                ticks.push(Record::Tick(tick));
                ticks[ticks.len() - 1].clone()
            }
            Step::Again { which, close } if !ticks.is_empty() => {
                let mut again = ticks[which.index(ticks.len())].clone();
                if let (Record::Tick(tick), Some(close)) = (&mut again, close) {
                    (tick.close, tick.high, tick.low) = (close, None, None);
                }
                again
            }
            Step::Heartbeat { behind_ms, complete_ms } => {
                let heartbeat = heartbeat(instrument, *now_ms - behind_ms, false);
                Record::Heartbeat(HeartbeatLine { complete_ms, ..heartbeat })
            }
            Step::Flush => Record::Heartbeat(heartbeat(instrument, *now_ms, true)),
            Step::Gap { length_ms } => Record::Gap(gap(instrument, *now_ms, *now_ms + length_ms)),
            Step::Future { heartbeat: is_heartbeat, is_ingest_forged } => {
                let (event_ms, ingest_ms) = match is_ingest_forged {
                    true => (STORED_MS + 10 * MINUTE, STORED_MS + 10 * MINUTE),
                    false => (*now_ms + 10 * MINUTE, *now_ms),
                };
                match is_heartbeat {
                    true => Record::Heartbeat(HeartbeatLine { ingest_ms, ..heartbeat(instrument, event_ms, false) }),
                    false => Record::Tick(TickLine { ingest_ms, ..tick(instrument, event_ms, 1.0) }),
                }
            }
            Step::Garbage | Step::Again { .. } => Record::Garbage(instrument.clone()),
        }
    }
}

/// Turns of three instances in any order.
pub(crate) fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let end = prop_oneof![
        3 => Just(End::Commit),
        1 => Just(End::Settle),
        1 => Just(End::Stop),
        1 => Just(End::Crash),
        1 => Just(End::Freeze),
    ];
    let turn = (0_usize..3, 0_usize..12, any::<bool>(), end).prop_map(|(instance, inputs, is_live, end)| Turn {
        instance,
        inputs,
        is_live,
        end,
    });
    prop::collection::vec(turn, 0..40)
}
