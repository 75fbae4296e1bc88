//! `--print`: every committed batch as a table on standard output.

use std::io::{Write, stdout};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

use bus::codec::lines;
use bus::subject::SubjectParts;
use comfy_table::{Table, presets};
use market::tick::PriceLine;
use market::{Candle, EventTime};
use step::part::{Outgoing, Role};

/// Most printed rows of a batch; further rows are only counted.
const ROWS_MAX: usize = 20;

/// Batches that may wait to be printed. Further batches are not printed, since a slow terminal must not hold up a
/// commit.
const WAITING_MAX: usize = 16;

/// Starts a thread that prints batches until standard output is closed.
pub(crate) fn printer() -> SyncSender<Vec<Outgoing>> {
    let (sender, batches) = sync_channel::<Vec<Outgoing>>(WAITING_MAX);
    std::thread::spawn(move || {
        for batch in batches {
            if stdout().write_all(table(&batch).as_bytes()).is_err() {
                return;
            }
        }
    });
    sender
}

/// Hands a batch to the printer, or drops it when the printer is busy or has ended.
pub(crate) fn offer(printer: &SyncSender<Vec<Outgoing>>, batch: &[Outgoing]) {
    if let Err(TrySendError::Full(_)) = printer.try_send(batch.to_vec()) {
        tracing::debug!("a batch was not printed");
    }
}

/// Formats the prices and candles of a committed batch.
fn table(messages: &[Outgoing]) -> String {
    let mut rows = Vec::new();
    for message in messages {
        let (Role::Output(_), Some(subject)) = (message.role, SubjectParts::parse(&message.subject)) else { continue };
        for (_, line) in lines(&message.payload) {
            rows.extend(row(subject, line));
        }
    }
    if rows.is_empty() {
        return String::new();
    }
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["record", "instrument", "time", "open", "high", "low", "close", "average", "ticks", "revision"]);
    let left = rows.len().saturating_sub(ROWS_MAX);
    table.add_rows(rows.into_iter().take(ROWS_MAX));
    match left {
        0 => format!("{table}\n"),
        _ => format!("{table}\n… and {left} more rows of this batch\n"),
    }
}

fn row(subject: SubjectParts<'_>, line: &[u8]) -> Option<[String; 10]> {
    let instrument = format!("{}/{}", subject.coin, subject.quote);
    let record = subject.kind.to_owned();
    if subject.kind == "price" {
        let price: PriceLine<'_> = serde_json::from_slice(line).ok()?;
        let tick = price.tick();
        let [open, high, low, close] = [tick.open, tick.high, tick.low, tick.close].map(|price| price.to_string());
        let time = EventTime(price.event_ms).to_rfc3339();
        return Some([record, instrument, time, open, high, low, close, String::new(), String::new(), String::new()]);
    }
    if subject.kind == "candle-1m" {
        let candle: Candle = serde_json::from_slice(line).ok()?;
        let [open, high, low, close] =
            [candle.open, candle.high, candle.low, candle.close].map(|price| price.to_string());
        let (average, count) = (candle.average.to_string(), candle.count.to_string());
        let (time, revision) = (candle.start.to_rfc3339(), candle.revision.to_string());
        return Some([record, instrument, time, open, high, low, close, average, count, revision]);
    }
    None
}
