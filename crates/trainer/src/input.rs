//! Reads a recording into ticks to learn from, without a server.
//!
//! The producer reads and checks rows in the same way, so a model learns the same from a file as from its replay. Rows
//! that are left out are counted by reason.

use std::fmt;
use std::path::PathBuf;

use anyhow::anyhow;
use market::validate::validate;
use market::{Instrument, Tick};
use service::{Code, WithCode};
use store::recording::{
    InstrumentRows, LayoutWords, OnRead, ReadingOptions, RecordingFile, Rejects, RowCounts, RowRefusal, RowShape,
    UnusableFile,
};

/// Flag for the format of the files.
pub(crate) const FORMAT_FLAG: &str = "input-format";
/// Number of files above which their layouts are not printed.
const FILES_PRINTED_MAX: usize = 20;

/// The content of a recording.
#[derive(Debug)]
pub struct Recorded {
    /// Ascending by event time and id, each accepted by the rules of `market`.
    pub ticks: Vec<Tick>,
    /// The meaning of a row.
    pub shape: RowShape,
    /// Counts of the rows by result.
    pub tally: RowCounts,
    /// Layout of each file, with the name of the file.
    pub layouts: Vec<(String, LayoutWords)>,
}

/// Reads the files of one instrument.
///
/// # Errors
/// Exit code 2: a file is not a recording or breaks off, or the rows do not tell their length. 4: no row counts.
pub fn read(
    files: &[PathBuf],
    instrument: &Instrument,
    reading: &ReadingOptions,
    on_read: &OnRead,
) -> anyhow::Result<Recorded> {
    let input = |path: &PathBuf| {
        RecordingFile::at(path, OnRead::clone(on_read)).map(|input| input.with_layout(reading.layout.clone()))
    };
    let (inputs, rules): (Result<Vec<_>, UnusableFile>, _) = (files.iter().map(input).collect(), reading.rules);
    let track = inputs.and_then(|inputs| InstrumentRows::open(inputs, instrument, rules));
    let mut track = track.map_err(in_own_flags).exit_code(Code::BadConfig)?;
    let (mut ticks, mut tally) = (Vec::new(), RowCounts::default());
    let (mut rejects, now, grain) = (Rejects::nowhere(), rules.now.ms(), track.shape().grain());
    while let Some(row) = track.next(&mut tally, &mut rejects) {
        match validate(&row.to_line(instrument, grain, now), instrument, 0, now) {
            Ok(tick) => ticks.push(tick),
            Err(reason) => tally.count_rejected(reason.into()),
        }
    }
    if let Some(cut) = track.cut() {
        return Err(in_own_flags(cut.clone())).exit_code(Code::BadConfig);
    }
    if ticks.is_empty() {
        let names = files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ");
        let error = anyhow!("not enough data: {names} holds no row that can be used; {}", LeftOut(&tally));
        return Err(error).exit_code(Code::NotEnoughData);
    }
    let layouts = track.layouts().map(|(name, words)| (name.to_owned(), words)).collect();
    Ok(Recorded { ticks, shape: track.shape(), tally, layouts })
}

/// Returns the error with the names of the trainer's flags.
fn in_own_flags(error: UnusableFile) -> anyhow::Error {
    anyhow!(error.to_string().replace("--format ", &format!("--{FORMAT_FLAG} ")))
}

impl Recorded {
    /// Formats the layout of each file in a line of its own, unless there are many files.
    pub(crate) fn layout_lines(&self) -> String {
        if self.layouts.len() > FILES_PRINTED_MAX {
            return String::new();
        }
        let line = |(name, words): &(String, LayoutWords)| {
            let remark = words.remark.map(|remark| format!("; {remark}")).unwrap_or_default();
            format!("{name}: read as {words}; {} rows{remark}\n", words.rows)
        };
        self.layouts.iter().map(line).collect()
    }
}

impl fmt::Display for Recorded {
    /// Writes one line for people: the ticks, and the rows left out by reason.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ticks, read as {}; {}", self.ticks.len(), self.shape.words(), LeftOut(&self.tally))?;
        match self.tally.widened {
            0 => Ok(()),
            widened => write!(f, "; low and high of {widened} widened to hold open and close"),
        }
    }
}

/// Shows the rows left out by reason.
struct LeftOut<'a>(&'a RowCounts);

impl fmt::Display for LeftOut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RowCounts { rows, duplicates, conflicts, unfinished, without_price, foreign, rejected, .. } = self.0;
        let counted = [
            (*duplicates, "duplicate"),
            (*conflicts, "of these with other values"),
            (*unfinished, "unfinished"),
            (*without_price, "without a price"),
            (*foreign, "foreign"),
        ];
        let counted = counted.into_iter().chain(rejected.iter().map(|(reason, count)| (*count, *reason)));
        let left: Vec<_> =
            counted.filter(|(count, _)| *count > 0).map(|(count, name)| format!("{count} {name}")).collect();
        let left = if left.is_empty() { "none".to_owned() } else { left.join(", ") };
        write!(f, "left out of {rows} rows: {left}")?;
        match rejected.contains_key(RowRefusal::Jump.as_str()) {
            true => f.write_str(" (a jump is a lone row further than --max-step from the others)"),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use market::{EventTime, Span};
    use store::recording::Grain;

    use super::*;

    /// 2023-11-14T22:13:20Z.
    const NOW: EventTime = EventTime(1_700_000_000_000);
    /// 2023-01-01.
    const START: i64 = 1_672_531_200_000;

    fn read_text(text: &str, grain: Option<&str>) -> anyhow::Result<Recorded> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("rows.csv");
        std::fs::write(&file, format!("timestamp_ms,open,high,low,close,volume\n{text}")).expect("written");
        let instrument = Instrument::new("bitcoin", "usd").expect("valid");
        let on_read: OnRead = Arc::new(|_| ());
        let grain = grain.map(|grain| grain.parse::<Grain>().expect("a grain"));
        let mut reading = ReadingOptions::at(NOW);
        reading.rules.grain = grain;
        read(&[file], &instrument, &reading, &on_read)
    }

    fn prices(minute: i64, prices: &str) -> String {
        format!("{},{prices}\n", START + minute * 60_000)
    }

    fn minutes(minutes: impl IntoIterator<Item = i64>) -> String {
        minutes.into_iter().map(|minute| prices(minute, "2,3,1,2,5")).collect()
    }

    fn code(error: &anyhow::Error) -> Option<Code> {
        error.downcast_ref::<service::Coded>().map(service::Coded::code)
    }

    #[test]
    fn rows_in_any_order_become_sorted_ticks() {
        let text = minutes([5, 3, 4, 4, 1, 2])
            + "junk\n1690000000000,2,3,1,2,5\n"
            + &prices(6, "1,1,1,-1,1")
            + &prices(7, "1,0.5,1,1,1")
            + &prices(8, "1,,1,1,1")
            + &prices(9, ",,,,0");
        let recorded = read_text(&text, None).expect("a recording");
        let events: Vec<_> = recorded.ticks.iter().map(|tick| (tick.event.ms() - START) / 60_000).collect();
        assert_eq!((events, recorded.shape), (vec![1, 2, 3, 4, 5], RowShape::Candles(Span::MINUTE)));
        assert_eq!(
            recorded.to_string(),
            "5 ticks, read as candles of 1m; left out of 12 rows: 1 duplicate, 1 without a price, 1 foreign, 1 high-low-order, \
             1 incomplete-price, 1 jump, 1 negative-price (a jump is a lone row further than --max-step from the others)"
        );
        assert!(recorded.ticks.iter().all(|tick| tick.volume == Some(5.0) && tick.grain == Some(Span::MINUTE)));
    }

    #[test]
    fn rows_from_after_now_are_refused_as_in_the_pipeline() {
        let ahead = (NOW.ms() - START) / 60_000 + 10;
        let recorded = read_text(&minutes([ahead - 13, ahead - 12, ahead - 11, ahead]), None).expect("a recording");
        assert_eq!((recorded.tally.rejected["future"], recorded.ticks.len()), (1, 3));
    }

    #[test]
    fn rows_of_unknown_length_need_the_flag_grain() {
        let error = read_text(&minutes([7]), None).expect_err("no grain");
        assert_eq!(code(&error), Some(Code::BadConfig));
        assert!(error.to_string().contains("pass it with --grain"), "{error}");
        assert_eq!(read_text(&minutes([7]), Some("1d")).expect("a recording").shape, RowShape::Candles(Span::DAY));
    }

    #[test]
    fn a_file_without_a_usable_row_says_why() {
        let error = read_text(&("junk\nrubbish\n".to_owned() + &prices(1, "1,1,1,NaN,1")), None).expect_err("nothing");
        assert_eq!(code(&error), Some(Code::NotEnoughData));
        assert!(error.to_string().ends_with("left out of 3 rows: 2 foreign, 1 incomplete-price"), "{error}");
        let error = read_text(&(prices(1, "0,0,0,0,1") + &prices(2, "0,0,0,0,1")), None).expect_err("nothing");
        assert!(error.to_string().ends_with("left out of 2 rows: 2 zero-price"), "{error}");
    }
}
