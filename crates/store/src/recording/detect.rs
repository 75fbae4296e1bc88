//! Detection of a file's layout from its first lines.

use std::borrow::Cow;

use super::columns::{Columns, has_row_form};
use super::fields::{Separator, fields};
use super::format::{Content, FileFormat};
use super::header::{NoHeader, excerpt, is_close_time, is_in_ms};
use super::json::Object;
use super::layout::{Layout, LayoutOptions, StampedAt};
use super::lines::Lines;
use super::number::{self, Decimal, DecimalEvidence};
use super::slots::Slot;
use super::time::{Stamp, TimeNotation, Unit};
use super::time_text::{TextTime, TextZone, has_year_last};
use super::unusable::UnusableFile;
use market::EventTime;

/// Lines that are examined, at most.
const SAMPLE_LINES_MAX: usize = 1_000;
/// Bytes of lines that are examined, at most.
const SAMPLE_BYTES_MAX: usize = 1 << 20;
/// Lines of comments and titles before the header, at most.
const PREAMBLE_MAX: usize = 20;
/// Share of the rows, in percent, whose open and close must be within low and high for an order of columns.
const FITTING_PERCENT: usize = 99;

/// Lines of a header of yfinance after its first one.
const YFINANCE_LINES: usize = 2;

/// The first lines of a file that are not blank, with their numbers.
struct Sample(Vec<(u32, Vec<u8>)>);

/// A problem with its line, if there is one.
type Problem = (Option<u32>, String);

/// Detects the layout of a file from its first lines.
///
/// # Errors
/// The file breaks off in its first line, or no layout fits; the error names the candidates and the flag that decides.
pub(crate) fn detect(lines: &mut Lines, content: Content, options: &LayoutOptions) -> Result<Layout, UnusableFile> {
    let name = lines.name().to_owned();
    let (sample, end) = Sample::read(lines);
    let unusable = |(line, problem): Problem| {
        let place = line.map_or(name.clone(), |line| format!("{name} line {line}"));
        UnusableFile::new(place, problem)
    };
    if let (Some(end), true) = (end, sample.0.is_empty()) {
        return Err(end);
    }
    sample.layout(content, options).map_err(unusable)
}

impl Sample {
    /// Reads the first lines, and the error of a file that breaks off among them.
    fn read(lines: &mut Lines) -> (Self, Option<UnusableFile>) {
        let (mut sample, mut bytes) = (Vec::new(), 0);
        while sample.len() < SAMPLE_LINES_MAX && bytes < SAMPLE_BYTES_MAX {
            match lines.next() {
                Ok(Some((number, _))) => {
                    sample.push((number, lines.text().to_vec()));
                    bytes += lines.text().len();
                }
                Ok(None) => break,
                Err(end) => return (Self(sample), Some(end)),
            }
        }
        (Self(sample), None)
    }

    fn layout(&self, content: Content, options: &LayoutOptions) -> Result<Layout, Problem> {
        let content = match content {
            Content::Csv if self.has_objects() => Content::Json,
            content => content,
        };
        if let Some(format) = options.format.filter(|format| format.content() != content) {
            let problem = format!(
                "the file is not {}, which --format {} says: leave --format out",
                format.words(),
                format.name()
            );
            return Err((None, problem));
        }
        let (columns, format, preamble, has_header) = match content {
            Content::Json => self.keyed(options)?,
            Content::Csv | Content::Parquet => self.columns(content, options)?,
        };
        let first_row = preamble + usize::from(has_header && content != Content::Json);
        let mut layout = Layout {
            format,
            times: TimeNotation::Number(Unit::Milliseconds),
            has_local_times: false,
            decimal: options.decimal.unwrap_or_default(),
            decimals: None,
            stamped_at: stamped_at(&columns, options),
            has_header,
            preamble: preamble as u64,
            choices: options.columns.clone(),
            columns,
        };
        let rows = &self.0[first_row.min(self.0.len())..];
        self.find_times(&mut layout, rows, options)?;
        if options.decimal.is_none() {
            let evidence = decimals(&layout, rows);
            // The whole file decides where the first rows do not.
            layout.decimal = evidence.judge(layout.is_point_usual()).unwrap_or_default();
            layout.decimals = Some(evidence);
        }
        Ok(layout)
    }

    /// Whether most lines are JSON objects.
    fn has_objects(&self) -> bool {
        let is_object = |(_, text): &&(u32, Vec<u8>)| text.starts_with(b"{") && Object::parse(text).is_some();
        let objects = self.0.iter().filter(is_object).count();
        objects > 0 && objects * 2 >= self.0.len()
    }

    /// Returns the columns of JSON lines: all keys of the first lines.
    fn keyed(&self, options: &LayoutOptions) -> Result<(Columns, FileFormat, usize, bool), Problem> {
        let mut keys: Vec<String> = Vec::new();
        for (_, text) in &self.0 {
            for (key, _) in Object::parse(text).map(|Object(entries)| entries).unwrap_or_default() {
                if !keys.iter().any(|known| *known == key) {
                    keys.push(key.into_owned());
                }
            }
        }
        let keys: Vec<Cow<'_, str>> = keys.into_iter().map(Cow::Owned).collect();
        let columns = Columns::of_keys(&keys, &options.columns).map_err(|NoHeader { text, .. }| (Some(1), text))?;
        let format = options.format.unwrap_or_else(|| FileFormat::of_header(&keys, Content::Json));
        Ok((columns, format, 0, true))
    }

    /// Returns the columns of lines with fields, the format, the number of lines before the header, and whether there is
    /// one.
    fn columns(
        &self,
        content: Content,
        options: &LayoutOptions,
    ) -> Result<(Columns, FileFormat, usize, bool), Problem> {
        let mut first_problem: Option<Problem> = None;
        if let Some((line, _)) = self.0.first().filter(|(_, text)| text.starts_with(b"{")) {
            let problem =
                "this is JSON, but not one object per line; write it so, such as with jq -c, or as CSV with a header";
            return Err((Some(*line), problem.to_owned()));
        }
        for (preamble, (line, text)) in self.0.iter().take(PREAMBLE_MAX + 1).enumerate() {
            let separator = Separator::of(text);
            if has_row_form(text, separator) && options.columns.is_empty() {
                let format = self.headerless(preamble, separator, options)?;
                return Ok((Columns::without_header(format, separator), format, preamble, false));
            }
            if let Some(header) = self.header_of_yfinance(preamble) {
                let columns = Columns::of_header(&header, separator, &options.columns);
                let columns = columns.map_err(|problem| (Some(*line), problem.text))?;
                let columns = columns.in_format(FileFormat::Yahoo, &options.columns);
                return Ok((columns, FileFormat::Yahoo, preamble + YFINANCE_LINES, true));
            }
            let problem = match Columns::of_header(text, separator, &options.columns) {
                Ok(columns) => return Ok(self.headed(columns, content, preamble, options)),
                Err(problem) => problem,
            };
            if problem.is_header || !is_remark(text, separator) {
                return Err((Some(*line), problem.text));
            }
            first_problem.get_or_insert((Some(*line), problem.text));
        }
        let empty =
            "the file is empty; expected the header timestamp_ms,open,high,low,close,volume, or that of another format";
        Err(first_problem.unwrap_or((Some(1), empty.to_owned())))
    }

    /// Returns the header that yfinance writes in three lines: names of which the first is `Price`, the ticker, and the name
    /// of the first column.
    fn header_of_yfinance(&self, preamble: usize) -> Option<Vec<u8>> {
        let [(_, names), (_, ticker), (_, index)] = self.0.get(preamble..)?.first_chunk()?;
        let name = index.split(|byte| *byte == b',').next()?;
        let is_index =
            [b"Date".as_slice(), b"Datetime"].contains(&name) && index[name.len()..].iter().all(|byte| *byte == b',');
        let rest = names.strip_prefix(b"Price,")?;
        (is_index && ticker.starts_with(b"Ticker,")).then(|| [name, b",", rest].concat())
    }

    fn headed(
        &self,
        columns: Columns,
        content: Content,
        preamble: usize,
        options: &LayoutOptions,
    ) -> (Columns, FileFormat, usize, bool) {
        let titles: Vec<Cow<'_, str>> = columns.titles().iter().map(|title| Cow::Borrowed(title.as_str())).collect();
        let format = options.format.unwrap_or_else(|| FileFormat::of_header(&titles, content));
        (columns.in_format(format, &options.columns), format, preamble, true)
    }

    /// Returns the format of rows without header, by the number of their fields and the order of their prices.
    fn headerless(
        &self,
        preamble: usize,
        separator: Separator,
        options: &LayoutOptions,
    ) -> Result<FileFormat, Problem> {
        let rows = &self.0[preamble..];
        let (line, count) = rows.first().map_or((1, 0), |(line, text)| (*line, field_count(text, separator)));
        if let Some(format) = options.format {
            let expected = format.columns().len();
            if expected == count {
                return Ok(format);
            }
            let problem = match expected {
                0 => format!(
                    "this is a row, and {} has a header: put a line before it that names its columns",
                    format.words()
                ),
                _ => format!(
                    "this row has {count} columns, and {} has {expected}: pass another --format",
                    format.words()
                ),
            };
            return Err((Some(line), problem));
        }
        let candidates: Vec<FileFormat> = FileFormat::without_header(count).collect();
        let fitting: Vec<FileFormat> =
            candidates.iter().copied().filter(|format| fits(rows, separator, *format)).collect();
        let flags = |formats: &[FileFormat]| {
            let flags = formats.iter().map(|format| format!("--format {} ({})", format.name(), format.words()));
            flags.collect::<Vec<_>>().join(" or ")
        };
        let problem = match (fitting.as_slice(), candidates.is_empty()) {
            ([only], _) => return Ok(*only),
            ([], true) => format!(
                "this is a row of {count} columns, not a header, and no known format without header has so many: put a line before \
                 it that names its columns, such as timestamp_ms,open,high,low,close,volume"
            ),
            ([], false) => format!(
                "this is a row, not a header, and its prices are in no known order: put a line before it that names its columns, \
                 or pass {}",
                flags(&candidates)
            ),
            (several, _) => format!("this row can be read in {} ways: pass {}", several.len(), flags(several)),
        };
        Err((Some(line), problem))
    }

    /// Finds the notation of the times.
    fn find_times(&self, layout: &mut Layout, rows: &[(u32, Vec<u8>)], options: &LayoutOptions) -> Result<(), Problem> {
        let title = layout.columns.time_title();
        if is_in_ms(title) {
            return Ok(());
        }
        let mut cells = TimeCells::default();
        rows.iter().filter_map(|(line, text)| Some((*line, layout.columns.time(text)?))).for_each(|(line, field)| {
            cells.note(&field, line);
        });
        let units = layout.format.units();
        if cells.texts > cells.numbers.len() {
            layout.times = TimeNotation::Text(options.time_zone);
            layout.has_local_times = cells.has_local;
        } else if !cells.numbers.is_empty() {
            layout.times =
                if units.is_empty() { TimeNotation::Number(cells.unit()) } else { TimeNotation::Numbers(units) };
        } else if let Some(problem) = cells.problem(title) {
            return Err(problem);
        }
        Ok(())
    }
}

/// Time fields of the first lines.
#[derive(Default)]
struct TimeCells {
    numbers: Vec<f64>,
    texts: usize,
    has_local: bool,
    year_last: Option<(u32, String)>,
    other: Option<(u32, String)>,
}

impl TimeCells {
    fn note(&mut self, field: &[u8], line: u32) {
        if let Some(number) = number::plain_of(field) {
            if number.is_finite() {
                self.numbers.push(number);
            }
        } else if let Some(time) = TextTime::parse(field) {
            self.texts += 1;
            self.has_local |= time.zone == TextZone::Local;
        } else if has_year_last(field) {
            self.year_last.get_or_insert_with(|| (line, excerpt(field)));
        } else if field.iter().any(u8::is_ascii_digit) {
            self.other.get_or_insert_with(|| (line, excerpt(field)));
        }
    }

    /// Returns the unit of most numbers: those between 2009 and 2262, or all when there are none.
    fn unit(&self) -> Unit {
        let count = |unit: Unit, possible_only: bool| {
            let is_of = |number: &&f64| {
                let is_possible = Unit::of_magnitude(**number).to_ms(**number) >= EventTime::EARLIEST.ms() as f64;
                Unit::of_magnitude(**number) == unit && (is_possible || !possible_only)
            };
            self.numbers.iter().filter(is_of).count()
        };
        let most = |possible_only: bool| {
            let counted = Unit::ALL.into_iter().map(|unit| (count(unit, possible_only), unit));
            counted.filter(|(count, _)| *count > 0).max_by_key(|(count, _)| *count).map(|(_, unit)| unit)
        };
        most(true).or_else(|| most(false)).unwrap_or(Unit::Milliseconds)
    }

    /// Returns the problem of times that cannot be read.
    fn problem(&self, title: &str) -> Option<Problem> {
        if let Some((line, text)) = &self.year_last {
            let problem = format!(
                "{title} has dates such as {text}, whose day and month can be read in two ways: write the year first, such as \
                 2024-01-31"
            );
            return Some((Some(*line), problem));
        }
        let (line, text) = self.other.as_ref()?;
        let problem = format!(
            "{title} has times such as {text}, which cannot be read: write 2024-01-31T00:00:00Z, or a number since 1970, or name \
             another column with --columns time=NAME"
        );
        Some((Some(*line), problem))
    }
}

/// Returns the end of a candle to which its time belongs.
fn stamped_at(columns: &Columns, options: &LayoutOptions) -> StampedAt {
    let is_close = is_close_time(columns.time_title());
    options.stamp.unwrap_or(if is_close { StampedAt::Close } else { StampedAt::Open })
}

/// Returns the evidence of the first rows for the decimal mark.
fn decimals(layout: &Layout, rows: &[(u32, Vec<u8>)]) -> DecimalEvidence {
    let mut evidence = DecimalEvidence::default();
    rows.iter().for_each(|(line, text)| layout.note_decimals(&layout.columns, text, *line, &mut evidence));
    evidence
}

/// Beginnings of comments, of addresses, and of the line in which Excel names the separator.
const REMARKS: [&[u8]; 3] = [b"#", b"http", b"sep="];

/// Whether a line before the header is a comment, an address or a title.
fn is_remark(text: &[u8], separator: Separator) -> bool {
    REMARKS.iter().any(|remark| text.starts_with(remark)) || fields(text, separator).nth(1).is_none()
}

/// Returns the number of fields without empty ones at the end.
fn field_count(text: &[u8], separator: Separator) -> usize {
    fields(text, separator)
        .enumerate()
        .filter(|(_, field)| !field.is_empty())
        .map(|(idx, _)| idx + 1)
        .last()
        .unwrap_or(0)
}

/// Whether nearly all rows can be of a format without header: they have its columns, a time and numbers, and open and close
/// lie within low and high.
fn fits(rows: &[(u32, Vec<u8>)], separator: Separator, format: FileFormat) -> bool {
    let columns = Columns::without_header(format, separator);
    let fits = |text: &[u8]| {
        let cells = columns.pick(text, separator)?;
        let number = |slot: Slot| {
            let field = cells[slot as usize]?;
            [Decimal::Point, Decimal::Comma]
                .into_iter()
                .find_map(|decimal| number::parse(field, decimal).ok().flatten())
        };
        let time = cells[Slot::Time as usize]?;
        let has_time =
            Stamp::parse(time, TimeNotation::Number(Unit::Seconds)).is_some() || TextTime::parse(time).is_some();
        let close = number(Slot::Close)?;
        if !columns.has(Slot::Open) {
            return Some(has_time);
        }
        let [open, high, low] = Slot::CANDLE.map(number);
        let (open, high, low) = (open?, high?, low?);
        Some(has_time && low <= open.min(close) && open.max(close) <= high)
    };
    let judged: Vec<bool> = rows.iter().filter_map(|(_, text)| fits(text)).collect();
    let fitting = judged.iter().filter(|fits| **fits).count();
    fitting > 0 && fitting * 100 >= judged.len() * FITTING_PERCENT
}
