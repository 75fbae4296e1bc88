//! The command `inspect`: it prints how files are read, and publishes nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use market::{EventTime, Instrument};
use service::{Code, WithCode};
use store::recording::{
    InstrumentRows, LayoutWords, ReadingOptions, RecordingFile, RecordingRow, Rejects, RowCounts, RowShape,
};

use super::summary::RefusedRows;
use super::summary_text::{Text, grouped, reasons, some};

/// Coin and quote currency of a file whose instrument does not matter.
const ANY: (&str, &str) = ("coin", "quote");

/// Content of a file.
#[derive(Debug)]
struct Inspection {
    layout: LayoutWords,
    shape: RowShape,
    counts: RowCounts,
    /// Rows that count.
    accepted: u64,
    first: Option<RecordingRow>,
    last: Option<RecordingRow>,
    /// Why the file breaks off.
    cut: Option<String>,
}

/// Inspects files and prints what they hold.
///
/// # Errors
/// As a replay of the files: exit code 2 when one is not usable or breaks off, 4 when no row of one can be used, 1 when more
/// than 1 % of the rows of one are refused, unless `allow_rejects`. The other files are inspected nevertheless.
pub fn run(files: &[PathBuf], reading: &ReadingOptions, allow_rejects: bool) -> anyhow::Result<()> {
    let mut first_error = Ok(());
    for file in files {
        let inspected = inspect(file, reading).and_then(|inspection| {
            service::output::print(|out| out.write_all(inspection.to_text(file).as_bytes()))?;
            inspection.judge(file, allow_rejects)
        });
        match (inspected, &first_error) {
            (Ok(()), _) => {}
            (error, Ok(())) => first_error = error,
            (Err(error), Err(_)) => tracing::error!("{error:#}"),
        }
    }
    first_error
}

fn inspect(file: &Path, reading: &ReadingOptions) -> anyhow::Result<Inspection> {
    let instrument = Instrument::new(ANY.0, ANY.1)?;
    let input = RecordingFile::at(file, Arc::new(|_| ())).exit_code(Code::BadConfig)?;
    let input = input.with_layout(reading.layout.clone());
    let mut rows = InstrumentRows::open(vec![input], &instrument, reading.rules).exit_code(Code::BadConfig)?;
    let (mut counts, mut rejects) = (RowCounts::default(), Rejects::nowhere());
    let (mut accepted, mut first, mut last) = (0, None, None);
    while let Some(row) = rows.next(&mut counts, &mut rejects) {
        accepted += 1;
        first.get_or_insert(row);
        last = Some(row);
    }
    let (_, layout) = rows.layouts().next().ok_or_else(|| anyhow::anyhow!("no file was read"))?;
    let cut = rows.cut().map(ToString::to_string);
    Ok(Inspection { layout, shape: rows.shape(), counts, accepted, first, last, cut })
}

impl Inspection {
    fn to_text(&self, file: &Path) -> String {
        let Self { layout, shape, counts, accepted, .. } = self;
        let mut text = Text::default();
        let header = if layout.has_header { "" } else { ", no header" };
        let notes: String = layout.notes.iter().map(|note| format!(", {note}")).collect();
        text.line(&file.display());
        text.line(&format!("  format   {}{header}{notes}", layout.format));
        text.line(&format!("  columns  {} of {}", layout.columns.join(" "), layout.column_count));
        text.line(&format!("  time     {}", layout.time));
        if let Some(zone) = &layout.zone {
            text.line(&format!("  zone     {zone} for times without offset (--time-zone)"));
        }
        text.line(&format!("  rows     {}", shape.words()));
        for (name, row) in [("first", &self.first), ("last", &self.last)] {
            if let Some(row) = row {
                text.line(&format!("  {name:<7}  {}", row_words(row)));
            }
        }
        text.line(&format!("  outcome  {} of {} count", grouped(*accepted), some(counts.rows, "line")));
        text.left_out(counts);
        if counts.rejected_count() > 0 {
            text.line(&format!("  refused {} ({})", some(counts.rejected_count(), "row"), reasons(&counts.rejected)));
        }
        if let Some(remark) = layout.remark {
            text.line(&format!("  {remark}"));
        }
        if let Some(cut) = &self.cut {
            text.line(&format!("  {cut}"));
        }
        text.0
    }

    /// Judges the file as a replay would.
    fn judge(&self, file: &Path, allow_rejects: bool) -> anyhow::Result<()> {
        let name = file.display();
        if let Some(cut) = &self.cut {
            return Err(anyhow::anyhow!("{cut}")).exit_code(Code::BadConfig);
        }
        if self.accepted == 0 {
            return Err(anyhow::anyhow!("{name}: no row can be used")).exit_code(Code::NotEnoughData);
        }
        let refused = RefusedRows { by_reason: self.counts.rejected.clone(), of: self.counts.priced_count() };
        if refused.is_too_many() && !allow_rejects {
            return Err(anyhow::anyhow!("{name}: {}, more than 1 %", refused.in_words())).exit_code(Code::Failed);
        }
        Ok(())
    }
}

/// Formats a row as a person reads it.
fn row_words(row: &RecordingRow) -> String {
    let RecordingRow { event, open, high, low, close, volume, quote_volume, id, is_point, .. } = row;
    let prices =
        if *is_point { format!("price {close}") } else { format!("open {open} high {high} low {low} close {close}") };
    let optional = [("volume", volume), ("quote volume", quote_volume)];
    let amounts: String =
        optional.into_iter().filter_map(|(name, amount)| Some(format!(" {name} {}", (*amount)?))).collect();
    let id = id.map(|id| format!(" id {id}")).unwrap_or_default();
    let event: &EventTime = event;
    format!("{event} {prices}{amounts}{id}")
}
