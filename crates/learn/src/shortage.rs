//! Explains why ticks give too few rows to learn from, and which change of data or settings would give enough.

mod stretches;

use std::collections::BTreeMap;
use std::fmt;

use market::{Candle, Instrument, Recipe, Span, Tick, Window};
use store::model_card::Skipped;

use self::stretches::Stretches;
use crate::candles::{Folded, INTERVALS, fold};
use crate::features::observed::RANGE_POINTS_MIN;
use crate::row_spec::{ROWS_MIN, RowSpec};

/// Values of --min-coverage that are tried, in this order.
const LESS_COVERAGE: [f64; 6] = [0.4, 0.3, 0.2, 0.1, 0.05, 0.0];

/// Describes ticks: the length of bars, the distance of points.
pub(crate) struct TickSummary<'a>(pub(crate) &'a [Tick]);

impl TickSummary<'_> {
    fn bars(&self) -> impl Iterator<Item = (&Tick, Span)> {
        self.0.iter().filter_map(|tick| Some((tick, tick.grain?)))
    }

    /// Returns the most frequent length of the bars, and how many have it.
    fn usual_bar(&self) -> Option<(Span, usize)> {
        let mut counts: BTreeMap<Span, usize> = BTreeMap::new();
        self.bars().for_each(|(_, grain)| *counts.entry(grain).or_default() += 1);
        counts.into_iter().max_by_key(|(_, count)| *count)
    }

    /// Describes the bars, if there are any.
    fn bars_words(&self) -> Option<String> {
        let (grain, alike) = self.usual_bar()?;
        let count = self.bars().count();
        let most = if alike < count { ", most" } else { "" };
        Some(format!("{count} bars{most} of {}", SpanWords(grain)))
    }

    /// Returns the number of points, and their mean distance.
    fn points(&self) -> (usize, Option<Span>) {
        let events: Vec<_> = self.0.iter().filter(|tick| tick.grain.is_none()).map(|tick| tick.event).collect();
        let step = match &events[..] {
            [first, .., last] => Some(Span((*last - *first).ms() / (events.len() as i64 - 1))),
            _ => None,
        };
        (events.len(), step)
    }

    fn points_words(&self) -> Option<String> {
        match self.points() {
            (0, _) => None,
            (_, None) => Some("1 point".to_owned()),
            (count, Some(step)) => Some(format!("{count} points, {} apart on average", SpanWords(step))),
        }
    }

    /// Whether all ticks are points, so far apart that no two candles are adjacent.
    fn are_sparse_points(&self) -> bool {
        let [longest, ..] = INTERVALS;
        self.usual_bar().is_none() && self.points().1.is_some_and(|step| step > longest.size())
    }

    /// Advises on bars that fit into no candle of any length.
    fn shorter_bars(&self) -> String {
        let [longest, ..] = INTERVALS;
        let unaligned = self.bars().find(|(tick, grain)| {
            let start = tick.event.floor(longest.size());
            *grain <= longest.size() && !tick.counts_in(start, longest.end(start))
        });
        match unaligned {
            Some((tick, _)) => format!(
                "no candle holds all of a bar that begins at {} UTC: take bars that begin at 00:00 UTC, or shorter ones",
                tick.event.to_utc().format("%H:%M")
            ),
            None => format!("the longest candle is {longest}: take bars of at most that length"),
        }
    }
}

impl fmt::Display for TickSummary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds: Vec<String> = self.bars_words().into_iter().chain(self.points_words()).collect();
        f.write_str(if kinds.is_empty() { "no ticks" } else { "" })?;
        f.write_str(&kinds.join(" and "))
    }
}

/// Settings that would give enough rows.
struct Alternative {
    window: Window,
    spec: RowSpec,
    rows: usize,
}

/// Ticks that give too few rows, and the settings.
pub(crate) struct Shortage<'a> {
    pub(crate) ticks: &'a [Tick],
    pub(crate) instrument: &'a Instrument,
    pub(crate) spec: RowSpec,
    /// Length of the candles.
    pub(crate) window: Window,
    /// Whether the length is configured rather than chosen.
    pub(crate) is_fixed: bool,
    /// Candles that gave no row, by cause.
    pub(crate) skipped: Skipped,
}

impl Shortage<'_> {
    /// Whether no bar fits into a candle of the configured length, while longer candles hold some. Other data of this
    /// kind would not help either.
    pub(crate) fn is_of_the_interval(&self) -> bool {
        let holds = |window: Window| {
            let start = |tick: &Tick| tick.event.floor(window.size());
            self.ticks.iter().any(|tick| tick.counts_in(start(tick), window.end(start(tick))))
        };
        self.is_fixed && !holds(self.window) && INTERVALS.into_iter().any(holds)
    }

    /// Returns a description of the data, the reasons for missing rows, and advice.
    pub(crate) fn words(&self) -> String {
        let tried = INTERVALS.map(|window| (window, fold(self.ticks, self.instrument, window)));
        let found = tried.iter().find(|(window, _)| *window == self.window).and_then(|(_, folded)| self.found(folded));
        let parts = [Some(format!("the data are {}", TickSummary(self.ticks))), found, Some(self.advice(&tried))];
        parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
    }

    /// Returns the reasons for missing rows, for candles of this length.
    fn found(&self, folded: &Folded) -> Option<String> {
        let (window, candles) = (self.window, folded.candles.len());
        let Skipped { thin, few_points, trailing_window, horizon, open: _, long_bars } = self.skipped;
        let RowSpec { min_coverage, .. } = self.spec;
        let stretches = Stretches::of(&folded.candles, window, self.spec);
        let causes = [
            (long_bars, format!("{long_bars} bars are in no candle of {window}, which holds only whole bars")),
            (
                thin,
                format!(
                    "{thin} of {candles} candles of {window} are known to less than --min-coverage {min_coverage}, the \
                     usual one to {}",
                    usual_coverage(&folded.candles)
                ),
            ),
            (
                few_points,
                format!(
                    "{few_points} of {candles} candles of {window} have no bar and fewer than {RANGE_POINTS_MIN} points, so that their range is not known"
                ),
            ),
            (trailing_window + horizon, stretches.words(window, self.spec, (trailing_window, horizon))),
        ];
        let causes = causes.into_iter().filter(|(count, _)| *count > 0).map(|(_, words)| words);
        let causes: Vec<String> = causes.chain(stretches.holes_words(window)).collect();
        (!causes.is_empty()).then(|| causes.join("; "))
    }

    /// Returns the smallest change of settings that gives enough rows, or else advice on the data.
    fn advice(&self, tried: &[(Window, Folded)]) -> String {
        let alternatives = |spec: RowSpec| {
            let of = tried.iter().map(move |(window, folded)| (*window, spec.count_rows(&folded.candles)));
            of.filter(|(_, rows)| *rows >= ROWS_MIN).map(move |(window, rows)| Alternative { window, spec, rows })
        };
        let intervals: Vec<Alternative> = alternatives(self.spec).collect();
        if !intervals.is_empty() {
            let of =
                |alternative: &Alternative| format!("--interval {} ({} rows)", alternative.window, alternative.rows);
            return format!("what works is {}", intervals.iter().map(of).collect::<Vec<_>>().join(" or "));
        }
        let lower = LESS_COVERAGE.into_iter().filter(|coverage| *coverage < self.spec.min_coverage);
        let most = |spec: RowSpec| {
            alternatives(spec).max_by_key(|alternative| (alternative.window == self.window, alternative.rows))
        };
        if let Some(alternative) = lower.map(|min_coverage| RowSpec { min_coverage, ..self.spec }).find_map(most) {
            let Alternative { window, spec, rows } = alternative;
            return format!(
                "what works is --min-coverage {} --interval {window} ({rows} rows), or data that tell more of each candle",
                spec.min_coverage
            );
        }
        let of_prices = RowSpec { recipe: Recipe::Returns, ..self.spec };
        if let Some(alternative) = most(of_prices).filter(|_| self.spec.recipe == Recipe::Volatility) {
            return format!(
                "what works is --recipe returns, which needs no ranges ({} rows of {})",
                alternative.rows, alternative.window
            );
        }
        if tried.iter().all(|(_, folded)| folded.long_bars > 0 && folded.candles.is_empty() && folded.open == 0) {
            return TickSummary(self.ticks).shorter_bars();
        }
        self.more_data(tried)
    }

    /// Returns advice on the data, where no setting helps.
    fn more_data(&self, tried: &[(Window, Folded)]) -> String {
        let needed = ROWS_MIN - 1 + self.spec.lookback() + self.spec.horizon;
        if TickSummary(self.ticks).are_sparse_points() {
            let [longest, ..] = INTERVALS;
            return format!(
                "take prices at most {longest} apart, the longest candle: {ROWS_MIN} rows are {needed} candles in a row"
            );
        }
        let stretches = tried.iter().find(|(window, _)| *window == self.window);
        let stretches = stretches.map(|(window, folded)| Stretches::of(&folded.candles, *window, self.spec));
        let fill = match stretches {
            Some(Stretches { holes: 1.., windows, .. }) if windows >= needed => "fill the holes, or ",
            _ => "",
        };
        format!("{fill}take more data: {ROWS_MIN} rows are {needed} candles in a row")
    }
}

/// Returns the median coverage of the candles, rounded down to hundredths.
fn usual_coverage(candles: &[Candle]) -> f64 {
    let mut coverages: Vec<f64> = candles.iter().map(|candle| candle.coverage).collect();
    coverages.sort_unstable_by(f64::total_cmp);
    let middle = coverages.get(coverages.len() / 2).copied().unwrap_or_default();
    (middle * 100.0 + 1e-9).floor() / 100.0
}

/// Shows a span by its two largest units, such as `1h 30m`.
struct SpanWords(Span);

impl fmt::Display for SpanWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(Span::DAY, "d"), (Span::HOUR, "h"), (Span::MINUTE, "m"), (Span::SECOND, "s"), (Span(1), "ms")];
        let largest = units.iter().position(|(unit, _)| self.0 >= *unit).unwrap_or(units.len() - 1);
        let mut rest = self.0.ms();
        let mut words = Vec::new();
        for (unit, name) in units.iter().skip(largest).take(2) {
            let count = rest / unit.ms();
            rest %= unit.ms();
            if count > 0 || (words.is_empty() && unit.ms() == 1) {
                words.push(format!("{count}{name}"));
            }
        }
        f.write_str(&words.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_named_by_their_two_largest_units() {
        let cases = [
            (Span(0), "0ms"),
            (Span(250), "250ms"),
            (Span(1_000), "1s"),
            (Span(90_500), "1m 30s"),
            (Span::HOUR, "1h"),
            (Span(3_600_000 + 5_000), "1h"),
            (Span(8 * Span::DAY.0 + Span::HOUR.0), "8d 1h"),
        ];
        for (span, expected) in cases {
            assert_eq!(SpanWords(span).to_string(), expected);
        }
    }
}
