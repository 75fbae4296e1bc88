//! Survey of a whole file before the first of its rows counts: whether its times are possible, the order and kind of
//! its rows, and their distances.

use std::sync::Arc;

use market::{EventTime, Span};

use super::file::RecordingFile;
use super::layout::{Layout, StampedAt};
use super::names::Names;
use super::number::DecimalEvidence;
use super::row::RecordingRow;
use super::rows::Line;
use super::rules::{Grain, Rules};
use super::slots::Slot;
use super::sort::{LineOrder, Sorter};
use super::steps::Steps;
use super::time::{self, Unit};
use super::time_statistics::TimeStatistics;
use super::unusable::UnusableFile;

/// Rows whose prices are examined, at most: a trade has a single price.
const PRICED_ROWS_MAX: u64 = 1_000;

/// Order of a file's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileOrder {
    /// Times never decrease; trades of one instant are in the order of their ids.
    Ascending,
    /// Times never increase.
    Descending,
    /// Neither of both.
    Shuffled,
}

/// RowKind of a file's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowKind {
    Candles,
    Prices,
    Trades,
}

/// Result of a survey.
#[derive(Debug)]
pub(crate) struct Survey {
    pub(crate) layout: Arc<Layout>,
    /// Units of the times.
    pub(crate) units: Vec<Unit>,
    pub(crate) kind: RowKind,
    pub(crate) order: FileOrder,
    /// Times of the oldest and the newest row; `None` when no row has a possible time.
    pub(crate) range: Option<(EventTime, EventTime)>,
    pub(crate) steps: Steps,
    /// Whether the trades have ids.
    pub(crate) is_numbered: bool,
    /// Whether more than half of the trades have the id that follows the one before, so that a skipped id shows a
    /// missing trade.
    pub(crate) is_consecutive: bool,
    /// Rows with a possible time.
    pub(crate) rows: u64,
    /// Rows that have the time of the row before and other values.
    pub(crate) others: u64,
    /// Whether open, high, low and close are equal in all examined rows.
    pub(crate) has_single_prices: bool,
    /// When the file was written, if a candle may not have ended by then.
    pub(crate) written: Option<EventTime>,
}

/// Surveys a file.
///
/// # Errors
/// The file is not a recording, has no row, or has impossible times; or it breaks off and is not in order, because the
/// missing part may belong before the present part.
pub(crate) fn survey(input: &RecordingFile, rules: &Rules) -> Result<Survey, UnusableFile> {
    let layout = Arc::new(input.layout()?);
    let (survey, decimals) = survey_as(input, &layout, rules)?;
    let Some(decimals) = decimals else { return Ok(survey) };
    let unusable = |(line, problem)| input.unusable(line, problem);
    let decimal = decimals.judge(layout.is_point_usual()).map_err(unusable)?;
    if decimal == layout.decimal {
        return Ok(survey);
    }
    // The first rows did not show the decimal mark of the others.
    let layout = Arc::new(Layout { decimal, ..Arc::unwrap_or_clone(layout) });
    Ok(survey_as(input, &layout, rules)?.0)
}

/// Surveys a file of this layout, and collects evidence for its decimal mark.
fn survey_as(
    input: &RecordingFile,
    layout: &Arc<Layout>,
    rules: &Rules,
) -> Result<(Survey, Option<DecimalEvidence>), UnusableFile> {
    let mut rows = input.rows_unreported(layout)?;
    let mut state = SurveyState::new(layout, rules);
    let end = loop {
        match rows.next_line() {
            Ok(Some(line)) => state.note(&line),
            Ok(None) => break None,
            Err(end) => break Some(end),
        }
    };
    state.times.judge(&mut state.steps, state.shared).map_err(|(line, problem)| input.unusable(line, problem))?;
    state.names.judge().map_err(|(line, problem)| input.unusable(line, problem))?;
    match end {
        Some(end) if state.lines == 0 => return Err(end),
        None if state.lines == 0 => {
            return Err(input.unusable(1, "no row follows the header: name a file with rows".to_owned()));
        }
        Some(end) if state.order() != FileOrder::Ascending => {
            return Err(end.and("its rows are not in order of time, so none of them is used"));
        }
        _ => {}
    }
    let (mut survey, decimals) = state.survey(layout, rules.grain.or(layout.format.grain()));
    if survey.order == FileOrder::Shuffled {
        survey.measure_in_order(input, rules)?;
    }
    Ok((survey, decimals))
}

/// Order of the trade ids, for files with the newest row first or last.
#[derive(Debug, Default)]
struct Numbers {
    all: u64,
    consecutive: u64,
}

impl Numbers {
    fn note(&mut self, before: Option<u64>, number: Option<u64>) {
        if let (Some(before), Some(number)) = (before, number) {
            self.all += 1;
            self.consecutive += u64::from(before.abs_diff(number) == 1);
        }
    }

    fn are_consecutive(&self) -> bool {
        self.consecutive * 2 > self.all
    }
}

/// State of a survey.
struct SurveyState {
    latest: EventTime,
    lines: u64,
    rows: u64,
    others: u64,
    /// Rows that have the time of the row before.
    shared: u64,
    /// Whether the distances of rows show a grain; those of trades do not.
    has_steps: bool,
    times: TimeStatistics,
    decimals: Option<DecimalEvidence>,
    names: Names,
    steps: Steps,
    range: Option<(EventTime, EventTime)>,
    before: Option<(EventTime, Option<u64>)>,
    before_text: Vec<u8>,
    is_ascending: bool,
    is_descending: bool,
    has_id: bool,
    numbers: Numbers,
    /// Whether open, high, low and close are equal in the rows examined so far.
    has_single_prices: bool,
}

impl SurveyState {
    fn new(layout: &Layout, rules: &Rules) -> Self {
        let latest = time::latest(rules.now);
        Self {
            latest,
            lines: 0,
            rows: 0,
            others: 0,
            shared: 0,
            has_steps: rules.grain.or(layout.format.grain()) != Some(Grain::Trades),
            times: TimeStatistics::new(layout.times, latest),
            decimals: layout.decimals.clone(),
            names: Names::default(),
            steps: Steps::default(),
            range: None,
            before: None,
            before_text: Vec::new(),
            is_ascending: true,
            is_descending: true,
            has_id: layout.columns.has(Slot::Id),
            numbers: Numbers::default(),
            has_single_prices: true,
        }
    }

    fn note(&mut self, line: &Line<'_>) {
        self.lines += 1;
        let Some((stamp, field)) = line.stamp() else { return };
        let Some(event) = self.times.note(stamp, line.number, &field) else { return };
        if let Some(decimals) = &mut self.decimals {
            line.note_decimals(decimals);
        }
        self.names.note(line);
        // A column named id may hold anything else.
        self.has_id &= self.rows > 0 || line.id().is_some();
        self.rows += 1;
        let place = (event, if self.has_id { line.id() } else { None });
        if let Some(before) = self.before {
            self.is_ascending &= before <= place;
            self.numbers.note(before.1, place.1);
            self.is_descending &= event <= before.0;
            if self.has_steps {
                self.steps.note(Span((event - before.0).ms().abs()), line.number);
            }
            self.shared += u64::from(event == before.0);
            self.others += u64::from(event == before.0 && self.differs(line));
        }
        self.before = Some(place);
        self.before_text.clear();
        self.before_text.extend_from_slice(line.text);
        self.range = Some(self.range.map_or((event, event), |(first, last)| (first.min(event), last.max(event))));
        if self.rows <= PRICED_ROWS_MAX && self.has_single_prices {
            let is_single = |row: RecordingRow| row.open == row.close && row.high == row.close && row.low == row.close;
            self.has_single_prices = line.row(0, self.latest).map_or(true, is_single);
        }
    }

    /// Whether a row has other values than the one before. A row that cannot count does not contradict another.
    fn differs(&self, line: &Line<'_>) -> bool {
        line.text != self.before_text
            && line.row(0, self.latest).is_ok_and(|row| {
                line.like(&self.before_text).row(0, self.latest).is_ok_and(|before| !row.agrees_with(&before))
            })
    }

    fn order(&self) -> FileOrder {
        match (self.is_ascending, self.is_descending) {
            (true, _) => FileOrder::Ascending,
            (false, true) => FileOrder::Descending,
            (false, false) => FileOrder::Shuffled,
        }
    }

    fn survey(self, layout: &Arc<Layout>, said: Option<Grain>) -> (Survey, Option<DecimalEvidence>) {
        let has_candles = layout.columns.has(Slot::Open);
        let is_numbered = self.has_id && (!has_candles || self.has_single_prices);
        let kind = match said {
            Some(Grain::Trades) => RowKind::Trades,
            None if is_numbered => RowKind::Trades,
            _ if has_candles => RowKind::Candles,
            _ => RowKind::Prices,
        };
        let (order, is_numbered) = (self.order(), kind == RowKind::Trades && self.has_id);
        let is_consecutive = is_numbered && self.numbers.are_consecutive();
        let survey = Survey {
            layout: Arc::clone(layout),
            units: self.times.units().collect(),
            kind,
            order,
            range: self.range,
            steps: self.steps,
            is_numbered,
            is_consecutive,
            rows: self.rows,
            others: self.others,
            has_single_prices: self.has_single_prices,
            written: None,
        };
        (survey, self.decimals)
    }
}

impl Survey {
    /// Returns how much later the times of the file are than the begins of its candles.
    pub(crate) fn shift(&self, grain: Option<Span>) -> Span {
        grain.filter(|_| self.layout.stamped_at == StampedAt::Close).unwrap_or(Span(0))
    }

    /// Completes the survey with the length of a candle: moves the range to the begins of candles, and notes when the file
    /// was written, unless its times contradict that.
    pub(crate) fn complete(&mut self, grain: Option<Span>, written: Option<EventTime>) {
        let shift = self.shift(grain);
        self.range = self.range.map(|(first, last)| (first.saturating_sub(shift), last.saturating_sub(shift)));
        // A file that was unpacked or fetched may have a time of its own, such as 1980.
        self.written = written.filter(|written| self.range.is_some_and(|(_, last)| last <= *written));
    }

    /// Returns the time of the oldest row.
    pub(crate) fn start(&self) -> Option<EventTime> {
        self.range.map(|(start, _)| start)
    }

    /// Returns the order of two trades of one instant without ids.
    pub(crate) fn line_order(&self) -> LineOrder {
        let is_backward = self.kind == RowKind::Trades && !self.is_numbered && self.order == FileOrder::Descending;
        if is_backward { LineOrder::Backward } else { LineOrder::Forward }
    }

    /// Measures the order-dependent figures again.
    fn measure_in_order(&mut self, input: &RecordingFile, rules: &Rules) -> Result<(), UnusableFile> {
        let unsorted = |error| unsorted(input, &error);
        let mut sorter = Sorter::new(LineOrder::Forward, rules.reorder_rows);
        let mut rows = input.rows_unreported(&self.layout)?;
        while let Some(line) = rows.next_line()? {
            if let Ok(row) = line.row(0, time::latest(rules.now)) {
                sorter.push(row).map_err(unsorted)?;
            }
        }
        let mut sorted = sorter.finish().map_err(unsorted)?;
        (self.steps, self.others) = (Steps::default(), 0);
        let mut numbers = Numbers::default();
        let mut before: Option<RecordingRow> = None;
        while let Some(row) = sorted.next().map_err(unsorted)? {
            if let Some(before) = before {
                self.steps.note(row.event - before.event, row.line);
                numbers.note(before.id, row.id);
                self.others += u64::from(row.event == before.event && !row.agrees_with(&before));
            }
            before = Some(row);
        }
        self.is_consecutive = self.is_numbered && numbers.are_consecutive();
        Ok(())
    }
}

/// Returns the error of a file whose rows cannot be sorted.
pub(crate) fn unsorted(input: &RecordingFile, error: &std::io::Error) -> UnusableFile {
    let folder = std::env::temp_dir();
    let problem = format!(
        "its rows cannot be sorted: {error}; free space in {}, or set TMPDIR to another folder",
        folder.display()
    );
    UnusableFile::new(input.name().to_owned(), problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2024-01-01.
    const START: i64 = 1_704_067_200_000;

    fn rules() -> Rules {
        Rules { reorder_rows: 3, ..Rules::at(EventTime(START + Span::DAY.ms())) }
    }

    fn surveyed(text: &str) -> Result<Survey, String> {
        survey(&RecordingFile::of_bytes("a.csv", text.into()), &rules()).map_err(|error| error.to_string())
    }

    fn candles(minutes: &[i64]) -> String {
        let rows: String = minutes.iter().map(|minute| format!("{},2,3,1,2,5\n", START + minute * 60_000)).collect();
        format!("timestamp_ms,open,high,low,close,volume\n{rows}")
    }

    #[test]
    fn order_start_and_usual_step_are_found_in_any_order() {
        let check = |minutes: &[i64], order: FileOrder, step: Option<i64>| {
            let mut found = surveyed(&candles(minutes)).unwrap();
            let expected = minutes.iter().min().map(|minute| EventTime(START + minute * 60_000));
            assert_eq!((found.order, found.start()), (order, expected), "{minutes:?}");
            assert_eq!(found.steps.usual(), step.map(Span::minutes), "{minutes:?}");
        };
        check(&[0, 5, 10, 11, 20, 25], FileOrder::Ascending, Some(5));
        check(&[25, 20, 11, 10, 5, 0], FileOrder::Descending, Some(5));
        check(&[10, 25, 0, 20, 5, 11], FileOrder::Shuffled, Some(5));
        check(&[7], FileOrder::Ascending, None);
        check(&[7, 7, 7], FileOrder::Ascending, None);
    }

    #[test]
    fn rows_are_candles_prices_or_trades() {
        let check = |text: &str, kind: RowKind| {
            let text = text.replace('T', &START.to_string());
            assert_eq!(surveyed(&text).unwrap().kind, kind, "{text}");
        };
        check("timestamp_ms,open,high,low,close\nT,1,1,1,1\n", RowKind::Candles);
        check("timestamp_ms,price\nT,1\n", RowKind::Prices);
        check("timestamp_ms,price,id\nT,1,7\n", RowKind::Trades);
        check("timestamp_ms,open,high,low,close,id\nT,1,1,1,1,7\n", RowKind::Trades);
        check("id,timestamp_ms,open,high,low,close\n1,T,1,1,1,1\n2,T,1,2,1,1\n", RowKind::Candles);
    }

    #[test]
    fn a_file_that_breaks_off_out_of_order_is_not_used() {
        let second = "close,open\n";
        assert!(surveyed(&(candles(&[0, 1]) + second)).is_ok());
        let error = surveyed(&(candles(&[1, 0]) + second)).unwrap_err();
        assert!(error.starts_with("a.csv line 4: the file has a second header"), "{error}");
        assert!(error.ends_with("not in order of time, so none of them is used"), "{error}");
    }

    #[test]
    fn a_file_without_rows_is_refused() {
        for text in ["", "\n \n"] {
            let error = surveyed(&format!("timestamp_ms,price\n{text}")).unwrap_err();
            assert!(error.starts_with("a.csv line 1: no row follows the header"), "{error}");
        }
    }
}
