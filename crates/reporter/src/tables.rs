//! `reporter tables`: prints the newest rows of every table.

use bus::reader::{Selection, read_to_end};
use bus::{Connection, NatsArgs, RecordKind, Stream, query, subject};
use market::profile::HourOfDayLine;
use market::table::{CANDLE_COLUMNS, HOUR_OF_DAY_COLUMNS, candle_row, hour_of_day_row, moving_average_note};
use market::{Candle, EventTime, Instrument, Window};
use service::{Code, WithCode};

use crate::number::{PriceFormat, number, significant};
use crate::view::{InstrumentView, Name, View, WINDOWS, kind_of};
use crate::{count, output, volume};

/// Prints the newest rows of every table, with the last price.
#[derive(Debug, Clone, clap::Args)]
pub struct TablesArgs {
    /// Only this coin
    #[arg(long, requires = "quote")]
    pub coin: Option<String>,

    /// Only this quote currency
    #[arg(long, requires = "coin")]
    pub quote: Option<String>,

    /// Rows of each table
    #[arg(long, default_value = "10", value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub last: u16,
}

/// MARKET messages that are read first, from the end, to find the newest 1-minute candles.
const TAIL: u64 = 2_048;

/// Prints the tables.
///
/// # Errors
/// Exit code 2 if the instrument is not valid; otherwise no server, no streams, or a missing permission.
pub async fn run(args: &TablesArgs, nats: &NatsArgs) -> anyhow::Result<()> {
    let instrument = match (&args.coin, &args.quote) {
        (Some(coin), Some(quote)) => Some(Instrument::new(coin, quote).exit_code(Code::BadConfig)?),
        _ => None,
    };
    let connection = Connection::open(nats, Some(crate::user::USER)).await?;
    let mut view = View::new(usize::from(args.last));
    read_stats(&connection, instrument.as_ref(), &mut view).await?;
    read_minutes(&connection, instrument.as_ref(), usize::from(args.last), &mut view).await?;
    read_prices(&connection, instrument.as_ref(), &mut view).await?;
    let mut texts: Vec<String> = view.instruments().map(|(name, rows)| text_of(name, rows)).collect();
    if texts.is_empty() {
        texts.push(match instrument {
            Some(instrument) => format!("no data of {instrument} yet"),
            None => "no data yet: start the producer, the stream-processor and the aggregator".to_owned(),
        });
    }
    output::lines(texts)?;
    Ok(())
}

async fn read_stats(
    connection: &Connection,
    instrument: Option<&Instrument>,
    view: &mut View,
) -> Result<(), bus::Error> {
    let longer = WINDOWS.into_iter().filter(|&window| window != Window::Minute).map(kind_of);
    let kinds = longer.chain([RecordKind::HourOfDay]);
    let filters = kinds.map(|kind| subject::of_kind(Stream::Stats, kind, instrument)).collect();
    let selection = Selection { stream: Stream::Stats, filters, from: 1 };
    read_to_end(connection, selection, |delivery| view.apply(&delivery.subject, delivery.seq, &delivery.payload))
        .await
        .map(drop)
}

/// Reads the newest 1-minute candles. MARKET is long, so it reads its end, and starts further back until every
/// instrument has enough rows.
async fn read_minutes(
    connection: &Connection,
    instrument: Option<&Instrument>,
    rows: usize,
    view: &mut View,
) -> Result<(), bus::Error> {
    let filter = subject::of_kind(Stream::Market, RecordKind::Candle, instrument);
    let Some(newest) = query::last(connection, Stream::Market, &filter).await? else { return Ok(()) };
    let mut tail = TAIL;
    loop {
        let from = newest.seq.saturating_sub(tail).max(1);
        let selection = Selection { stream: Stream::Market, filters: vec![filter.clone()], from };
        read_to_end(connection, selection, |delivery| view.apply(&delivery.subject, delivery.seq, &delivery.payload))
            .await?;
        let is_full = |(_, of_one): (&Name, &InstrumentView)| of_one.candles(Window::Minute).count() >= rows;
        if from == 1 || view.instruments().all(is_full) {
            return Ok(());
        }
        tail = tail.saturating_mul(16);
    }
}

async fn read_prices(
    connection: &Connection,
    instrument: Option<&Instrument>,
    view: &mut View,
) -> Result<(), bus::Error> {
    let known = view.instruments().filter_map(|((coin, quote), _)| Instrument::new(coin, quote).ok());
    let mut filters: Vec<String> =
        known.map(|known| subject::of_kind(Stream::Market, RecordKind::Price, Some(&known))).collect();
    // An instrument that is only minutes old has prices and no candles.
    filters.push(subject::of_kind(Stream::Market, RecordKind::Price, instrument));
    for filter in filters {
        if let Some(message) = query::last(connection, Stream::Market, &filter).await? {
            view.apply(&message.subject, message.seq, &message.payload)?;
        }
    }
    Ok(())
}

fn text_of((coin, quote): &Name, rows: &InstrumentView) -> String {
    let mut text = format!("{coin}/{quote}");
    match rows.price {
        Some(price) => {
            text += &format!(
                "   last price {} at {}\n",
                PriceFormat::of([price.close]).write(price.close),
                utc(price.event)
            )
        }
        None => text += "   no price yet\n",
    }
    for (title, window) in [
        ("1-minute candles", Window::Minute),
        ("hourly", Window::Hour),
        ("daily", Window::Day),
        ("moving average (1 hour every 30 minutes)", Window::HourEveryHalf),
    ] {
        let candles: Vec<&Candle> = rows.candles(window).collect();
        text += &titled(title, candles.is_empty(), || candle_table(&candles));
        if let Some(note) = moving_average_note(candles).filter(|_| window == Window::HourEveryHalf) {
            text += &format!("{note}\n");
        }
    }
    let hours: Vec<_> = rows.hours().collect();
    text += &titled("hour of day (UTC), over all days", hours.is_empty(), || hour_table(&hours));
    text
}

fn titled(title: &str, is_empty: bool, table: impl FnOnce() -> String) -> String {
    let body = if is_empty { "no rows yet".to_owned() } else { table() };
    format!("\n{title}\n{body}\n")
}

/// Columns that are shown. The others are the same in every row, part of another cell, or for programs only.
const SHOWN: [&str; 10] =
    ["start", "open", "high", "low", "close", "average", "volume", "count", "coverage", "revision"];
/// Columns that are shown too if a candle of the table has a quote volume.
const SHOWN_OF_TRADES: [&str; 2] = ["quote_volume", "vwap"];

fn candle_table(candles: &[&Candle]) -> String {
    let has_quote_volume = candles.iter().any(|candle| candle.quote_volume.is_some());
    let is_shown = |column: &&str| SHOWN.contains(column) || (has_quote_volume && SHOWN_OF_TRADES.contains(column));
    let prices = candles.iter().flat_map(|candle| [candle.open, candle.high, candle.low, candle.close]);
    let format = PriceFormat::of(prices);
    let rows = candles.iter().map(|candle| {
        let row = candle_row(candle);
        let cells = CANDLE_COLUMNS.iter().zip(row).filter(|(column, _)| is_shown(column));
        let cells = cells.map(|(&column, cell)| match column {
            "start" => utc(candle.start),
            "open" | "high" | "low" | "close" | "average" | "vwap" => written(&cell, format),
            "volume" => volume::words(candle, significant).unwrap_or_default(),
            "quote_volume" => candle.quote_volume.map(significant).unwrap_or_default(),
            "count" => count::words(candle),
            "coverage" => format!("{} %", number(candle.coverage * 100.0, 1)),
            _ => cell,
        });
        cells.collect()
    });
    let headings: Vec<&str> = CANDLE_COLUMNS.into_iter().filter(is_shown).map(heading).collect();
    output::table(&headings, rows)
}

fn heading(column: &str) -> &str {
    match column {
        "start" => "start (UTC)",
        "count" => "ticks",
        "quote_volume" => "quote volume",
        column => column,
    }
}

fn hour_table(hours: &[&HourOfDayLine<'static>]) -> String {
    let format = PriceFormat::of(hours.iter().flat_map(|hour| [hour.min, hour.max]));
    let rows = hours.iter().map(|hour| {
        let cells = HOUR_OF_DAY_COLUMNS.iter().zip(hour_of_day_row(hour)).skip(2);
        let cells = cells.map(|(&column, cell)| match column {
            "average" | "min" | "max" => written(&cell, format),
            "hour" => format!("{:02}:00", hour.hour),
            _ => cell,
        });
        cells.collect()
    });
    let headings: Vec<&str> = HOUR_OF_DAY_COLUMNS.into_iter().skip(2).map(heading).collect();
    output::table(&headings, rows)
}

fn written(cell: &str, format: PriceFormat) -> String {
    cell.parse().map_or_else(|_| cell.to_owned(), |price| format.write(price))
}

fn utc(time: EventTime) -> String {
    time.to_utc().format("%Y-%m-%d %H:%M").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_the_instrument_its_price_and_empty_tables() {
        let mut view = View::new(3);
        let price = r#"{"coin":"bitcoin","quote":"usdt","event_ms":1583020800000,"grain_ms":60000,"close":8552.76,"feed_seq":1}"#;
        view.apply("market.1.price.bitcoin.usdt", 1, price.as_bytes()).expect("a price");
        let candle = r#"{"coin":"bitcoin","quote":"usdt","window":"1h","start_ms":1583020800000,"end_ms":1583024400000,
            "open":8523.61,"close":8531.9,"average":8540.123456789,"count":60,"coverage":0.995,"grain_ms":60000,"revision":1,
            "final":true,"first_seq":1,"last_seq":1}"#;
        view.apply("stats.1.1h.bitcoin.usdt", 1, candle.replace('\n', " ").as_bytes()).expect("a candle");
        let texts: Vec<_> = view.instruments().map(|(name, rows)| text_of(name, rows)).collect();
        let text = texts.concat();
        assert!(text.starts_with("bitcoin/usdt   last price 8,552.76 at 2020-03-01 00:00\n"), "{text}");
        for part in ["hourly\n", "8,523.61", "8,531.90", "8,540.12", "2020-03-01 00:00", "99.5 %", "daily\nno rows yet"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    /// The tables of an instrument with hours of these fields, from 1970 on.
    fn of_hours(fields: &[&str]) -> String {
        let mut view = View::new(3);
        for (hour, fields) in (0..).zip(fields) {
            let (start, end) = (hour * 3_600_000, (hour + 1) * 3_600_000);
            let candle = format!(
                r#"{{"coin":"bitcoin","quote":"usdt","window":"1h","start_ms":{start},"end_ms":{end},"close":2.0,"average":2.0,{fields},"count":60,"coverage":1.0,"revision":1,"final":true,"first_seq":1,"last_seq":1}}"#
            );
            view.apply("stats.1.1h.bitcoin.usdt", 1, candle.as_bytes()).expect("a candle");
        }
        view.instruments().map(|(name, rows)| text_of(name, rows)).collect()
    }

    #[test]
    fn quote_volume_vwap_and_filled_ticks_are_shown_if_known() {
        let text = of_hours(&[r#""volume":15.0"#, r#""volume":7123.0,"quote_volume":15670.6,"filled":12"#]);
        let row = |start: &str| text.lines().find(|line| line.contains(start)).expect(start).to_owned();
        assert!(row("start (UTC)").contains("quote volume") && row("start (UTC)").contains("vwap"), "{text}");
        assert!(row("1970-01-01 01:00").contains(" 60 (12 filled) "), "{text}");
        assert!(row("1970-01-01 01:00").contains(" 15,671 "), "{text}");
        assert!(row("1970-01-01 01:00").trim_end().ends_with(" 2"), "{text}");
        let plain = of_hours(&[r#""volume":15.0"#]);
        assert!(!plain.contains("vwap") && !plain.contains("filled") && plain.contains(" 60 "), "{plain}");
    }

    #[test]
    fn a_partial_volume_is_shown_as_a_lower_bound() {
        let text = of_hours(&[r#""volume":15.0,"volume_count":3"#, r#""volume":7123.0"#]);
        let row = |start: &str| text.lines().find(|line| line.contains(start)).expect(start).to_owned();
        assert!(row("1970-01-01 00:00").contains(" ≥ 15.00 (3 of 60) "), "{text}");
        assert!(row("1970-01-01 01:00").contains(" 7,123 ") && !row("1970-01-01 01:00").contains('≥'), "{text}");
    }
}
