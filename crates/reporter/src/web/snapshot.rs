//! JSON answers for the page.

use bus::{RecordKind, Stream, subject};
use market::profile::HourOfDayLine;
use market::{Candle, EventTime, Span, Window};
use serde::{Deserialize, Serialize};

use crate::number::{PriceFormat, number};
use crate::query::pipeline::PipelineStatus;
use crate::query::rows::StepRow;
use crate::view::{InstrumentView, Name, View};

/// Rows of a table on the page.
const ROWS: usize = 24;
/// Hours of the chart.
const CHART_HOURS: usize = 48;
/// Instruments in the list, at most; others are reached by their address (`#coin/quote`).
const INSTRUMENTS_MAX: usize = 500;

/// Instrument that the page shows; the first one unless coin and quote are both given.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Choice {
    coin: Option<String>,
    quote: Option<String>,
}

/// Live part of the page, which changes all the time.
#[derive(Debug, Serialize)]
pub(super) struct LiveSnapshot {
    /// Instruments with data.
    instruments: Vec<String>,
    /// Subject of the live price.
    subject: Option<String>,
    instrument: Option<String>,
    price: Option<LivePrice>,
    pub(super) health: HealthReport,
    /// Whether prices are being committed now, from a live source or a recording.
    is_moving: bool,
    #[serde(flatten)]
    versions: PartVersions,
}

/// Times by the local clock, used only for ages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Freshness {
    /// The current time.
    pub(super) now_ms: i64,
    /// Time of the last price that was committed while the reporter ran; 0 for none.
    pub(super) moved_ms: i64,
}

/// Versions of the other parts of the page, by which a browser notices changes.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct PartVersions {
    /// Version of the tables.
    pub(super) version: u64,
    /// Version of the plot; null without a plot.
    pub(super) plot: Option<u64>,
}

/// Time after the last price during which a source counts as active, in milliseconds: a few polls of a slow source.
const MOVING_MS_MAX: i64 = 900_000;

#[derive(Debug, Serialize)]
struct LivePrice {
    close: f64,
    format: PriceFormat,
    event_ms: i64,
    /// Time since the end of the price's span, in milliseconds; at least 0.
    age_ms: i64,
}

#[derive(Debug, Serialize)]
pub(super) struct HealthReport {
    /// The report as one line of text.
    pub(super) line: String,
    connected: bool,
    steps: Vec<StepRow>,
    accepted: u64,
    filled: u64,
    duplicate: u64,
    late: u64,
    rejected: u64,
    candles: u64,
}

/// The tables of one instrument, newest rows first.
#[derive(Debug, Serialize)]
pub(super) struct TablesSnapshot {
    version: u64,
    instrument: String,
    hourly: CandleTable,
    daily: CandleTable,
    moving_average: CandleTable,
    hour_of_day: HourTable,
    chart: Chart,
}

#[derive(Debug, Serialize)]
struct CandleTable {
    format: PriceFormat,
    rows: Vec<CandleRow>,
}

#[derive(Debug, Serialize)]
struct CandleRow {
    start_ms: i64,
    open: f64,
    high: f64,
    low: f64,
    close: f64,
    average: f64,
    volume: Option<f64>,
    /// Number of ticks with a volume, if only some have one; `volume` is then a partial sum.
    #[serde(skip_serializing_if = "Option::is_none")]
    volume_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quote_volume: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vwap: Option<f64>,
    count: u64,
    /// Number of ticks that were fetched afterwards, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    filled: Option<u64>,
    coverage: f64,
    revision: u32,
}

#[derive(Debug, Serialize)]
struct HourTable {
    format: PriceFormat,
    rows: Vec<Hour>,
}

#[derive(Debug, Serialize)]
struct Hour {
    hour: u8,
    average: f64,
    min: f64,
    max: f64,
    count: u64,
}

/// Closes of the last hours.
#[derive(Debug, Serialize)]
struct Chart {
    format: PriceFormat,
    /// Points by time, oldest first. A new piece begins after hours without a candle, where the line breaks.
    pieces: Vec<Vec<ChartPoint>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct ChartPoint {
    end_ms: i64,
    close: f64,
}

fn chosen<'a>(view: &'a View, choice: &Choice) -> Option<(&'a Name, &'a InstrumentView)> {
    match (&choice.coin, &choice.quote) {
        (Some(coin), Some(quote)) => view.instruments().find(|((c, q), _)| c == coin && q == quote),
        _ => view.instruments().next(),
    }
}

fn name_of((coin, quote): &Name) -> String {
    format!("{coin}/{quote}")
}

/// Returns the live part of the page.
pub(super) fn live(
    view: &View,
    status: &PipelineStatus,
    choice: &Choice,
    freshness: Freshness,
    versions: PartVersions,
) -> LiveSnapshot {
    let now_ms = freshness.now_ms;
    let chosen = chosen(view, choice);
    let price = chosen.and_then(|(_, rows)| rows.price);
    let price = price.map(|price| {
        let (close, age_ms) = (price.close, (now_ms - price.known.ms()).max(0));
        LivePrice { close, format: PriceFormat::of([close]), event_ms: price.event.ms(), age_ms }
    });
    let newest = view.instruments().filter_map(|(_, rows)| rows.price).max_by_key(|price| price.event);
    let counts = &status.counts;
    let health = HealthReport {
        line: health_line(status, newest.map(|price| (price.event, now_ms - price.known.ms()))),
        connected: status.is_connected,
        steps: status.steps.clone(),
        accepted: counts.accepted,
        filled: counts.filled,
        duplicate: counts.duplicate,
        late: counts.late,
        rejected: counts.rejected_total(),
        candles: counts.candles,
    };
    LiveSnapshot {
        instruments: view.instruments().take(INSTRUMENTS_MAX).map(|(name, _)| name_of(name)).collect(),
        subject: chosen.map(|((coin, quote), _)| subject::live(Stream::Market, RecordKind::Price, coin, quote)),
        instrument: chosen.map(|(name, _)| name_of(name)),
        price,
        health,
        is_moving: now_ms - freshness.moved_ms <= MOVING_MS_MAX,
        versions,
    }
}

fn health_line(status: &PipelineStatus, newest: Option<(EventTime, i64)>) -> String {
    let mut parts = vec![match (status.is_connected, status.steps.is_empty()) {
        (true, _) => "nats connected".to_owned(),
        (false, true) => "nats away".to_owned(),
        (false, false) => "nats away, the following is the last known state".to_owned(),
    }];
    parts.push(match newest {
        Some((event, age_ms)) => format!("last price {event}, {} ago", age(age_ms)),
        None => "no price yet".to_owned(),
    });
    parts.extend(status.steps.iter().map(|step| match (step.has_begun, step.behind) {
        (_, 0) => format!("{} up to date", step.service),
        (true, behind) => format!("{} {} messages behind", step.service, number(behind as f64, 0)),
        (false, behind) => format!("{} has not begun, {} messages wait", step.service, number(behind as f64, 0)),
    }));
    if status.steps.is_empty() {
        parts.push("steps not known yet".to_owned());
        return parts.join(" · ");
    }
    let counts = &status.counts;
    let counted = [("accepted", counts.accepted), ("late", counts.late), ("rejected", counts.rejected_total())];
    parts.extend(counted.iter().map(|(name, count)| format!("{name} {}", number(*count as f64, 0))));
    parts.join(" · ")
}

/// Formats a duration in its largest unit: `7 s`, `3 min`, `5 h`, `12 days`, `6 years`.
fn age(ms: i64) -> String {
    let seconds = ms.max(0) / 1_000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        172_800..63_072_000 => format!("{} days", seconds / 86_400),
        _ => format!("{} years", seconds / 31_536_000),
    }
}

/// Returns the tables of the chosen instrument; `None` if it has no data.
pub(super) fn tables(view: &View, choice: &Choice, version: u64) -> Option<TablesSnapshot> {
    let (name, rows) = chosen(view, choice)?;
    Some(TablesSnapshot {
        version,
        instrument: name_of(name),
        hourly: candle_table(rows, Window::Hour),
        daily: candle_table(rows, Window::Day),
        moving_average: candle_table(rows, Window::HourEveryHalf),
        hour_of_day: hour_table(rows),
        chart: chart(rows),
    })
}

fn chart(rows: &InstrumentView) -> Chart {
    let point = |candle: &Candle| ChartPoint { end_ms: candle.end.ms(), close: candle.close };
    let mut points: Vec<ChartPoint> = rows.candles(Window::Hour).rev().take(CHART_HOURS).map(point).collect();
    points.reverse();
    let is_next = |a: &ChartPoint, b: &ChartPoint| b.end_ms - a.end_ms <= Span::HOUR.ms();
    Chart {
        format: PriceFormat::of(points.iter().map(|point| point.close)),
        pieces: points.chunk_by(is_next).map(<[_]>::to_vec).collect(),
    }
}

fn candle_table(rows: &InstrumentView, window: Window) -> CandleTable {
    let rows: Vec<CandleRow> = rows.candles(window).rev().take(ROWS).map(candle_row).collect();
    let prices = rows.iter().flat_map(|row| [row.open, row.high, row.low, row.close]);
    CandleTable { format: PriceFormat::of(prices), rows }
}

fn hour_table(rows: &InstrumentView) -> HourTable {
    let rows: Vec<Hour> = rows.hours().map(hour).collect();
    HourTable { format: PriceFormat::of(rows.iter().flat_map(|hour| [hour.min, hour.max])), rows }
}

fn candle_row(candle: &Candle) -> CandleRow {
    CandleRow {
        start_ms: candle.start.ms(),
        open: candle.open,
        high: candle.high,
        low: candle.low,
        close: candle.close,
        average: candle.average,
        volume: candle.volume,
        volume_count: candle.volume_count,
        quote_volume: candle.quote_volume,
        vwap: candle.vwap(),
        count: candle.count,
        filled: Some(candle.filled).filter(|&filled| filled > 0),
        coverage: candle.coverage,
        revision: candle.revision,
    }
}

fn hour(row: &HourOfDayLine<'static>) -> Hour {
    Hour { hour: row.hour, average: row.average, min: row.min, max: row.max, count: row.count }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hourly(start: i64, close: f64) -> String {
        let end = start + Span::HOUR.ms();
        format!(
            r#"{{"coin":"bitcoin","quote":"usdt","window":"1h","start_ms":{start},"end_ms":{end},"close":{close:e},"average":{close:e},"count":1,"coverage":1.0,"grain_ms":60000,"revision":1,"final":true,"first_seq":1,"last_seq":1}}"#
        )
    }

    fn view() -> View {
        let mut view = View::new(50);
        let price = r#"{"coin":"bitcoin","quote":"usdt","event_ms":60000,"grain_ms":60000,"close":2.5,"feed_seq":1}"#;
        view.apply("market.1.price.bitcoin.usdt", 1, price.as_bytes()).expect("a price");
        for start in [0, 3_600_000] {
            view.apply("stats.1.1h.bitcoin.usdt", 1, hourly(start, 1.0).as_bytes()).expect("a candle");
        }
        view
    }

    const NONE: PartVersions = PartVersions { version: 0, plot: None };

    fn at(now_ms: i64) -> Freshness {
        Freshness { now_ms, moved_ms: 0 }
    }

    #[test]
    fn newest_rows_come_first() {
        let tables = tables(&view(), &Choice::default(), 7).expect("an instrument");
        let starts: Vec<_> = tables.hourly.rows.iter().map(|row| row.start_ms).collect();
        assert_eq!((starts, tables.version), (vec![3_600_000, 0], 7));
        let other = Choice { coin: Some("dogecoin".to_owned()), quote: Some("usdt".to_owned()) };
        assert!(super::tables(&view(), &other, 7).is_none());
    }

    #[test]
    fn the_line_of_the_chart_breaks_at_missing_hours() {
        let mut view = View::new(50);
        for hour in [0, 1, 2, 4, 9, 10] {
            let candle = hourly(hour * Span::HOUR.ms(), hour as f64 + 1.0);
            view.apply("stats.1.1h.bitcoin.usdt", 1, candle.as_bytes()).expect("a candle");
        }
        let tables = tables(&view, &Choice::default(), 7).expect("an instrument");
        let closes = |piece: &Vec<ChartPoint>| piece.iter().map(|point| point.close).collect::<Vec<_>>();
        let pieces: Vec<_> = tables.chart.pieces.iter().map(closes).collect();
        assert_eq!(pieces, [vec![1.0, 2.0, 3.0], vec![5.0], vec![10.0, 11.0]]);
    }

    #[test]
    fn tiny_prices_are_shown_with_their_digits() {
        let mut view = View::new(50);
        let price = r#"{"coin":"bitcoin","quote":"usdt","event_ms":60000,"close":1e-15,"feed_seq":1}"#;
        view.apply("market.1.price.bitcoin.usdt", 1, price.as_bytes()).expect("a price");
        view.apply("stats.1.1h.bitcoin.usdt", 1, hourly(0, 2.15e-14).as_bytes()).expect("a candle");
        let live = live(&view, &PipelineStatus::default(), &Choice::default(), at(123_000), NONE);
        assert_eq!(live.price.map(|price| price.format), Some(PriceFormat::Exponential(0)));
        let tables = tables(&view, &Choice::default(), 7).expect("an instrument");
        let json = serde_json::to_value(&tables).expect("JSON");
        assert_eq!(json["hourly"]["format"], serde_json::json!({"exponential": 2}));
        assert_eq!(json["chart"]["format"], json["hourly"]["format"]);
    }

    #[test]
    fn a_partial_volume_has_its_number_of_ticks() {
        let mut view = View::new(50);
        for (start, volume) in
            [(0, r#""volume":15.0,"volume_count":3"#), (3_600_000, r#""volume":15.0"#), (7_200_000, r#""open":1.0"#)]
        {
            let candle = hourly(start, 1.0).replace(r#""count":1"#, &format!(r#"{volume},"count":60"#));
            view.apply("stats.1.1h.bitcoin.usdt", 1, candle.as_bytes()).expect("a candle");
        }
        let json = serde_json::to_value(tables(&view, &Choice::default(), 7)).expect("JSON");
        let told = |row: usize| {
            let row = &json["hourly"]["rows"][row];
            (row["volume"].as_f64(), row.get("volume_count").and_then(serde_json::Value::as_u64))
        };
        assert_eq!([told(0), told(1), told(2)], [(None, None), (Some(15.0), None), (Some(15.0), Some(3))]);
    }

    #[test]
    fn rows_have_quote_volume_vwap_and_filled_ticks_if_known() {
        let mut view = View::new(50);
        let traded = r#""volume":4.0,"quote_volume":6.0,"filled":12,"count":60"#;
        view.apply("stats.1.1h.bitcoin.usdt", 1, hourly(0, 1.0).replace(r#""count":1"#, traded).as_bytes())
            .expect("a candle");
        view.apply("stats.1.1h.bitcoin.usdt", 1, hourly(3_600_000, 1.0).as_bytes()).expect("a candle");
        let json = serde_json::to_value(tables(&view, &Choice::default(), 7)).expect("JSON");
        let told =
            |row: usize| ["quote_volume", "vwap", "filled"].map(|name| json["hourly"]["rows"][row][name].as_f64());
        assert_eq!([told(0), told(1)], [[None; 3], [Some(6.0), Some(1.5), Some(12.0)]]);
    }

    #[test]
    fn a_price_ages_from_the_end_of_its_span() {
        let live = live(&view(), &PipelineStatus::default(), &Choice::default(), at(123_000), NONE);
        assert_eq!(live.price.map(|price| price.age_ms), Some(3_000));
        assert_eq!(live.health.line, "nats away · last price 1970-01-01T00:01:00Z, 3 s ago · steps not known yet");
    }

    #[test]
    fn without_data_the_page_shows_that() {
        let live = live(&View::new(1), &PipelineStatus::default(), &Choice::default(), at(0), NONE);
        assert!(live.instruments.is_empty() && live.price.is_none());
        assert!(live.health.line.contains("no price yet"));
    }

    #[test]
    fn ages_are_shown_in_their_largest_unit() {
        let cases = [(-5, "0 s"), (119_999, "119 s"), (120_000, "2 min"), (7_200_000, "2 h"), (172_800_000, "2 days")];
        for (ms, expected) in cases {
            assert_eq!(age(ms), expected);
        }
        assert_eq!(age(5 * 31_536_000_000), "5 years");
    }
}
