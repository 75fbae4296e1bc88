//! Text of a replay's summary.

use std::fmt::{self, Display, Write as _};
use std::path::Path;

use store::recording::{LayoutWords, RowCounts};

use super::downstream::{Downstream, DownstreamOutcome};
use super::summary::{RefusedRows, ReplayCounts, Summary};

/// Number of instruments above which only their sum is printed, and of files above which their layouts are not.
const PRINTED_MAX: usize = 20;

impl Summary {
    /// Formats the summary; `rejects` is the file of refused rows. If any row was refused, the last line says so.
    pub(crate) fn to_text(&self, rejects: &Path) -> String {
        let mut text = Text::default();
        if self.layouts.len() <= PRINTED_MAX {
            self.layouts.iter().for_each(|(name, words)| text.layout(name, words));
        }
        if self.instruments.len() <= PRINTED_MAX {
            for (instrument, counts) in &self.instruments {
                text.instrument(&instrument.to_string(), counts);
            }
        } else {
            text.instrument(&format!("{} instruments", self.instruments.len()), &self.total());
        }
        text.downstream(&self.downstream, self.total().row_counts.skipped);
        let refused = self.refused();
        if refused.count() > 0 {
            text.line(&format!("{}: see {}", refused.in_words(), rejects.display()));
        }
        text.0
    }
}

impl RefusedRows {
    /// Formats the refused rows: `2 of 44,512 rows refused (2 high-low-order)`.
    pub(crate) fn in_words(&self) -> String {
        let reasons = reasons(&self.by_reason);
        format!("{} of {} refused ({reasons})", grouped(self.count()), some(self.of, "row"))
    }
}

/// Lines of text.
#[derive(Default)]
pub(super) struct Text(pub(super) String);

impl Text {
    pub(super) fn line(&mut self, line: &(impl Display + ?Sized)) {
        writeln!(self.0, "{line}").expect("a string takes every byte");
    }

    fn layout(&mut self, name: &str, words: &LayoutWords) {
        self.line(&format!("{name}: read as {words}; {}", some(words.rows, "row")));
        if let Some(remark) = words.remark {
            self.line(&format!("  {remark}"));
        }
    }

    fn instrument(&mut self, name: &str, counts: &ReplayCounts) {
        let ReplayCounts { row_counts, published, gaps, known_messages, fit, .. } = counts;
        let range = row_counts.range.map(|(first, last)| format!(" from {first} to {last}")).unwrap_or_default();
        let (rows, ticks, gaps) = (some(row_counts.rows, "row"), some(*published, "tick"), some(*gaps, "gap"));
        self.line(&format!("{name}: {rows}{range}; published {ticks} and {gaps}"));
        if let Some(fit) = fit.in_words() {
            self.line(&format!("  {fit}"));
        }
        if let Some((first, last)) = row_counts.skipped_range {
            let skipped = some(row_counts.skipped, "row");
            self.line(&format!("  skipped {skipped} from {first} to {last}: FEED has that time already"));
        }
        self.left_out(row_counts);
        if row_counts.rejected_count() > 0 {
            let refused = some(row_counts.rejected_count(), "row");
            self.line(&format!("  refused {refused} ({})", reasons(&row_counts.rejected)));
        }
        if *known_messages > 0 {
            let known = some(*known_messages, "message");
            self.line(&format!("  FEED did not store {known} again: it received the same within the last 10 minutes"));
        }
    }

    /// Adds lines for rows that were left out without being refused, and for rows with changed values.
    pub(super) fn left_out(&mut self, row_counts: &RowCounts) {
        if row_counts.duplicates > 0 {
            let duplicates = some(row_counts.duplicates, "duplicate row");
            let conflicts = grouped(row_counts.conflicts);
            self.line(&format!(
                "  left out {duplicates}, {conflicts} with other values (--conflict says which one counts)"
            ));
        }
        if row_counts.widened > 0 {
            let widened = some(row_counts.widened, "row");
            self.line(&format!(
                "  widened low and high of {widened} to hold open and close (--outside reject refuses them)"
            ));
        }
        let others = [
            (row_counts.unfinished, "candle that has not ended yet", "candles that have not ended yet"),
            (row_counts.without_price, "row without a price", "rows without a price"),
            (row_counts.foreign, "line that is no row", "lines that are no rows"),
            (
                row_counts.headers,
                "further header, whose columns count from there on",
                "further headers, whose columns count from there on",
            ),
        ];
        for (count, one, several) in others.into_iter().filter(|(count, ..)| *count > 0) {
            self.line(&format!("  left out {} {}", grouped(count), if count == 1 { one } else { several }));
        }
    }

    /// Adds the outcome downstream. None of its counts includes rows that FEED had before.
    fn downstream(&mut self, downstream: &Downstream, skipped: u64) {
        match downstream {
            Downstream::Unasked => {}
            Downstream::Unchecked(why) => self.line(&format!("not checked downstream: {why}")),
            Downstream::Checked(outcome) => {
                let without = match skipped {
                    0 => String::new(),
                    skipped => format!("; without the {} that FEED had", some(skipped, "row")),
                };
                self.line(&format!("downstream: {outcome}{without}"));
            }
        }
    }
}

impl Display for DownstreamOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} accepted", grouped(self.accepted))?;
        if self.duplicates > 0 {
            write!(f, ", {} already there", grouped(self.duplicates))?;
        }
        let rejected = self.rejected.values().sum();
        write!(f, ", {} late, {} rejected", grouped(self.late), grouped(rejected))?;
        if rejected > 0 {
            write!(f, " ({})", reasons(&self.rejected))?;
        }
        match self.rejected_others.values().sum() {
            0 => Ok(()),
            others => {
                let others = some(others, "gap or flush record");
                write!(f, ", {others} rejected ({})", reasons(&self.rejected_others))
            }
        }
    }
}

/// Formats counts by reason: `2 future, 1 zero-price`.
pub(super) fn reasons<'a, R: Display + 'a>(by_reason: impl IntoIterator<Item = (&'a R, &'a u64)>) -> String {
    let words = by_reason.into_iter().map(|(reason, &count)| format!("{} {reason}", grouped(count)));
    words.collect::<Vec<_>>().join(", ")
}

/// Formats a count with its noun: `1 row`, `44,512 rows`.
pub(super) fn some(count: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(count), if count == 1 { "" } else { "s" })
}

/// Formats a count with thousands separators: `44,512`.
pub(super) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (idx, digit) in digits.chars().enumerate() {
        if idx > 0 && (digits.len() - idx).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::summary::tests::summary;
    use super::*;

    #[test]
    fn the_text_accounts_for_every_row() {
        let instrument = "\
bitcoin/usd: 9 rows from 1970-01-01T00:00:00Z to 1970-01-01T00:03:00Z; published 4 ticks and 1 gap
  bars of 1m: the shortest window they fill is 1m
  skipped 2 rows from 1970-01-01T00:00:00Z to 1970-01-01T00:01:00Z: FEED has that time already
  left out 1 duplicate row, 0 with other values (--conflict says which one counts)
  refused 3 rows (2 jump, 1 unparsable)
";
        let total = "\
downstream: 6 accepted, 0 late, 2 rejected (2 future); without the 4 rows that FEED had
8 of 18 rows refused (2 future, 4 jump, 2 unparsable): see rejects.jsonl
";
        let expected = instrument.to_owned() + &instrument.replace("bitcoin", "ethereum") + total;
        assert_eq!(summary().to_text(Path::new("rejects.jsonl")), expected);
    }

    #[test]
    fn an_unchecked_outcome_is_printed_with_its_reason() {
        let summary = Summary { downstream: Downstream::Unchecked("no reader".to_owned()), ..Summary::default() };
        assert_eq!(summary.to_text(Path::new("x")), "not checked downstream: no reader\n");
        assert_eq!(Summary::default().to_text(Path::new("x")), "");
    }

    #[test]
    fn counts_are_read_in_groups_of_three_digits() {
        let check = |count, expected: &str| assert_eq!(grouped(count), expected);
        check(0, "0");
        check(999, "999");
        check(1_000, "1,000");
        check(1_234_567, "1,234,567");
    }
}
