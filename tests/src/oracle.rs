//! Every table, computed plainly from the rows of a recording: without streams, closing windows or code of the product.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;

/// A row of a recording.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Open time in milliseconds.
    pub ms: i64,
    /// Open.
    pub open: f64,
    /// High.
    pub high: f64,
    /// Low.
    pub low: f64,
    /// Close.
    pub close: f64,
    /// Volume.
    pub volume: f64,
}

/// A window of a table.
#[derive(Debug, Clone, Copy)]
pub struct Expected {
    /// Open of the first row.
    pub open: f64,
    /// Highest high.
    pub high: f64,
    /// Lowest low.
    pub low: f64,
    /// Close of the last row.
    pub close: f64,
    /// Mean of the closes.
    pub average: f64,
    /// Sum of the volumes.
    pub volume: f64,
    /// Rows.
    pub count: u64,
    /// Share of the window covered by rows.
    pub coverage: f64,
}

/// Reads a recording.
pub fn rows(path: &Path) -> Vec<Row> {
    let mut text = String::new();
    GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    let row = |line: &str| {
        let mut cells = line.split(',');
        let ms = cells.next().unwrap().parse().unwrap();
        let mut number = || cells.next().unwrap().parse::<f64>().unwrap();
        Row { ms, open: number(), high: number(), low: number(), close: number(), volume: number() }
    };
    text.lines().skip(1).map(row).collect()
}

/// All windows of `size` that start every `hop`, by start.
pub fn windows(rows: &[Row], grain_ms: i64, size_ms: i64, hop_ms: i64) -> BTreeMap<i64, Expected> {
    let mut members: BTreeMap<i64, Vec<Row>> = BTreeMap::new();
    for row in rows {
        let mut start = row.ms.div_euclid(hop_ms) * hop_ms;
        while start + size_ms > row.ms {
            // A row longer than a minute counts only in windows that contain all of it.
            if grain_ms <= 60_000 || row.ms + grain_ms <= start + size_ms {
                members.entry(start).or_default().push(*row);
            }
            start -= hop_ms;
        }
    }
    members.into_iter().map(|(start, rows)| (start, summary(&rows, grain_ms, start + size_ms, size_ms))).collect()
}

fn summary(rows: &[Row], grain_ms: i64, end_ms: i64, size_ms: i64) -> Expected {
    let first = rows.iter().min_by_key(|row| row.ms).unwrap();
    let last = rows.iter().max_by_key(|row| row.ms).unwrap();
    let covered: i64 = rows.iter().map(|row| grain_ms.min(end_ms - row.ms)).sum();
    Expected {
        open: first.open,
        high: rows.iter().map(|row| row.high).fold(f64::MIN, f64::max),
        low: rows.iter().map(|row| row.low).fold(f64::MAX, f64::min),
        close: last.close,
        average: compensated(rows.iter().map(|row| row.close)) / rows.len() as f64,
        volume: compensated(rows.iter().map(|row| row.volume)),
        count: rows.len() as u64,
        coverage: (covered as f64 / size_ms as f64).min(1.0),
    }
}

/// Milliseconds of the window `[start, end)` that at least one span covers.
pub fn covered_ms(spans: impl Iterator<Item = (i64, i64)>, (start, end): (i64, i64)) -> i64 {
    let mut spans: Vec<(i64, i64)> = spans.collect();
    spans.sort_unstable();
    let mut reached = start;
    let mut covered = 0;
    for (from, to) in spans {
        covered += (to.min(end) - from.max(reached)).max(0);
        reached = reached.max(to.min(end));
    }
    covered
}

/// Hours of the day: mean, minimum, maximum and number of closes.
pub fn hours_of_day(rows: &[Row]) -> BTreeMap<u8, (f64, f64, f64, u64)> {
    let mut closes: BTreeMap<u8, Vec<f64>> = BTreeMap::new();
    for row in rows {
        closes.entry((row.ms / 3_600_000 % 24) as u8).or_default().push(row.close);
    }
    let summary = |closes: Vec<f64>| {
        let mean = compensated(closes.iter().copied()) / closes.len() as f64;
        let min = closes.iter().copied().fold(f64::MAX, f64::min);
        (mean, min, closes.iter().copied().fold(f64::MIN, f64::max), closes.len() as u64)
    };
    closes.into_iter().map(|(hour, closes)| (hour, summary(closes))).collect()
}

/// Neumaier's sum: another algorithm than the exact sum.
fn compensated(terms: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut lost) = (0.0_f64, 0.0_f64);
    for term in terms {
        let total = sum + term;
        lost += if sum.abs() >= term.abs() { (sum - total) + term } else { (term - total) + sum };
        sum = total;
    }
    sum + lost
}

/// Whether two numbers are equal except for the last bits.
pub fn close_enough(found: f64, expected: f64) -> bool {
    (found - expected).abs() <= 1e-12 * expected.abs()
}
