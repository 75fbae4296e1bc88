//! A recording → ticks to learn from, without a server.
//!
//! Rows are read as the producer reads them and judged as the stream-processor judges ticks, so a file teaches what its
//! replay would. What does not count is counted by its reason.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use market::validate::{GRAIN_MAX, validate};
use market::{EventTime, Instrument, Span, Tick};
use service::{Code, WithCode};
use store::recording::{Input, OnRead, Rejects, Row, Rules, Tally, Track};

/// A lone row further than this from its neighbours is a mistyped time, not an observation: as in a replay.
const STEP_MAX: Span = Span(30 * Span::DAY.0);

/// What a recording holds.
#[derive(Debug)]
pub struct Recorded {
    /// Ascending by event time, each accepted by the rules of `market`.
    pub ticks: Vec<Tick>,
    /// The span that each row stands for.
    pub grain: Span,
    /// What became of the rows. Rows that are no tick are among the rejected ones, by the same names as on MARKET.
    pub tally: Tally,
}

/// Reads the files of one instrument. Rows stand for `grain`, or else for their most frequent distance; rows stamped
/// later than `now` are refused, as they would be on their way through the pipeline.
///
/// # Errors
/// With exit code 2 when a file is no recording or breaks off, or there is no telling how long a row is; with exit code 4
/// when no row counts.
pub fn read(
    files: &[PathBuf],
    instrument: &Instrument,
    grain: Option<Span>,
    now: EventTime,
    on_read: &OnRead,
) -> anyhow::Result<Recorded> {
    let (rows, mut tally) = read_rows(files, on_read)?;
    let names = || files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ");
    if rows.is_empty() {
        let error =
            anyhow!("not enough data: {} holds no row that can be used; {tally}", names(), tally = Left(&tally));
        return Err(error).exit_code(Code::NotEnoughData);
    }
    let grain = grain.or_else(|| usual_step(&rows)).filter(|grain| *grain <= GRAIN_MAX);
    let grain = grain
        .with_context(|| format!("how long is a row of {}? Say it with --grain, such as --grain 1h", names()))
        .exit_code(Code::BadConfig)?;
    let mut ticks = Vec::with_capacity(rows.len());
    for row in &rows {
        match validate(&row.to_line(instrument, grain, now.ms()), instrument, 0, now.ms()) {
            Ok(tick) => ticks.push(tick),
            Err(reason) => *tally.rejected.entry(reason.as_str()).or_default() += 1,
        }
    }
    if ticks.is_empty() {
        let error = anyhow!("not enough data: no row of {} can be used; {}", names(), Left(&tally));
        return Err(error).exit_code(Code::NotEnoughData);
    }
    Ok(Recorded { ticks, grain, tally })
}

fn read_rows(files: &[PathBuf], on_read: &OnRead) -> anyhow::Result<(Vec<Row>, Tally)> {
    // What is read to look at the beginning is read again, and counts once.
    let unseen: OnRead = Arc::new(|_| ());
    let look = |path: &PathBuf| {
        let start = Input::at(path, OnRead::clone(&unseen))?.inspect()?;
        Ok((Input::at(path, OnRead::clone(on_read))?, start.event))
    };
    let inputs: Result<Vec<_>, store::recording::Unusable> = files.iter().map(look).collect();
    // All rows come into memory anyway: none is too late to be put in its place.
    let rules = Rules { reorder_rows: usize::MAX, step_max: STEP_MAX };
    let mut track = Track::new(inputs.exit_code(Code::BadConfig)?, rules);
    let (mut rows, mut tally) = (Vec::new(), Tally::default());
    let mut rejects = Rejects::new(|| Ok(Box::new(std::io::sink())));
    while let Some(row) = track.next(&mut tally, &mut rejects) {
        rows.push(row);
    }
    match track.cut() {
        Some(cut) => Err(anyhow!("{cut}: mend the file")).exit_code(Code::BadConfig),
        None => Ok((rows, tally)),
    }
}

/// The most frequent distance between neighbours, the shortest of equals; None for fewer than two rows.
fn usual_step(rows: &[Row]) -> Option<Span> {
    let mut counts: BTreeMap<Span, usize> = BTreeMap::new();
    for pair in rows.windows(2) {
        *counts.entry(pair[1].event - pair[0].event).or_default() += 1;
    }
    // The last of equals is what `max_by_key` returns: the shortest, when they come in falling order.
    counts.into_iter().rev().max_by_key(|(_, count)| *count).map(|(step, _)| step)
}

impl fmt::Display for Recorded {
    /// One line for people: what there is, and what was left out why.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let grain = humantime::format_duration(std::time::Duration::from_millis(self.grain.ms().unsigned_abs()));
        write!(f, "{} ticks of {grain} each; {}", self.ticks.len(), Left(&self.tally))
    }
}

/// What was left out, in words.
struct Left<'a>(&'a Tally);

impl fmt::Display for Left<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { rows, duplicates, rejected, .. } = self.0;
        let duplicates = (*duplicates > 0).then(|| format!("{duplicates} duplicate"));
        let rejected = rejected.iter().map(|(reason, count)| format!("{count} {reason}"));
        let left: Vec<_> = duplicates.into_iter().chain(rejected).collect();
        let left = if left.is_empty() { "none".to_owned() } else { left.join(", ") };
        write!(f, "left out of {rows} rows: {left}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: EventTime = EventTime(1_700_000_000_000);

    fn read_text(text: &str, grain: Option<Span>) -> anyhow::Result<Recorded> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("rows.csv");
        std::fs::write(&file, format!("timestamp_ms,open,high,low,close,volume\n{text}")).expect("written");
        let instrument = Instrument::new("bitcoin", "usd").expect("valid");
        let on_read: OnRead = Arc::new(|_| ());
        read(&[file], &instrument, grain, NOW, &on_read)
    }

    fn minutes(minutes: impl IntoIterator<Item = i64>) -> String {
        minutes.into_iter().map(|minute| format!("{},2,3,1,2,5\n", minute * 60_000)).collect()
    }

    fn code(error: &anyhow::Error) -> Option<Code> {
        error.downcast_ref::<service::Coded>().map(service::Coded::code)
    }

    #[test]
    fn rows_of_any_order_become_ticks_in_order_and_the_rest_is_counted_by_reason() {
        let text =
            minutes([5, 3, 4, 4, 1, 2]) + "junk\n360000,1,1,1,-1,1\n420000,1,0.5,1,1,1\n1800000000000,1,1,1,1,1\n";
        let recorded = read_text(&text, None).expect("a recording");
        let events: Vec<_> = recorded.ticks.iter().map(|tick| tick.event.ms() / 60_000).collect();
        assert_eq!((events, recorded.grain), (vec![1, 2, 3, 4, 5], Span::MINUTE));
        assert_eq!(
            recorded.to_string(),
            "5 ticks of 1m each; left out of 10 rows: 1 duplicate, 1 high-low-order, 1 jump, 1 negative-price, 1 unparsable"
        );
        assert!(recorded.ticks.iter().all(|tick| tick.volume == Some(5.0) && tick.grain == Some(Span::MINUTE)));
    }

    #[test]
    fn rows_from_after_now_are_refused_as_in_the_pipeline() {
        let ahead = NOW.ms() / 60_000 + 10;
        let recorded = read_text(&minutes([ahead - 12, ahead - 11, ahead]), None).expect("a recording");
        assert_eq!(recorded.tally.rejected["future"], 1);
    }

    #[test]
    fn the_grain_is_what_was_said_or_the_usual_distance() {
        let check = |rows: &[i64], said: Option<Span>, expected: Option<Span>| {
            let found = read_text(&minutes(rows.iter().copied()), said);
            match expected {
                Some(grain) => assert_eq!(found.expect("a recording").grain, grain, "{rows:?}"),
                None => assert_eq!(code(&found.expect_err("no grain")), Some(Code::BadConfig), "{rows:?}"),
            }
        };
        check(&[0, 60, 120, 121, 300, 360], None, Some(Span::HOUR));
        check(&[0, 1, 3], None, Some(Span::MINUTE));
        check(&[0, 60, 120], Some(Span::MINUTE), Some(Span::MINUTE));
        check(&[7], None, None);
        check(&[7], Some(Span::DAY), Some(Span::DAY));
    }

    #[test]
    fn a_file_without_a_usable_row_says_why() {
        let error = read_text("junk\nrubbish\n60000,1,1,1,NaN,1\n", None).expect_err("nothing");
        assert_eq!(code(&error), Some(Code::NotEnoughData));
        assert!(error.to_string().ends_with("left out of 3 rows: 1 non-finite, 2 unparsable"), "{error}");
        let error = read_text("60000,0,0,0,0,1\n120000,0,0,0,0,1\n", None).expect_err("nothing");
        assert!(error.to_string().ends_with("left out of 2 rows: 2 zero-price"), "{error}");
    }
}
