//! Counts of a replay, and its summary as JSON. `summary_text` formats the summary for people.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use market::{EventTime, Instrument};
use serde::Serialize;
use store::recording::{LayoutWords, RowCounts};

use super::downstream::{Downstream, DownstreamOutcome};
use super::window_fit::WindowFit;

/// Refused rows in percent of the rows with a price, above which a replay fails.
pub(crate) const REFUSED_MAX_PERCENT: u64 = 1;

/// Counts of one instrument, or of all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct ReplayCounts {
    #[serde(flatten)]
    pub(crate) row_counts: RowCounts,
    /// Ticks that FEED has stored.
    pub(crate) published: u64,
    /// Gap records that FEED has stored.
    pub(crate) gaps: u64,
    /// Messages that FEED reported as duplicates.
    pub(crate) known_messages: u64,
    /// Flushes that FEED has stored.
    pub(crate) flushes: u64,
    /// Windows that the rows fill.
    pub(crate) fit: WindowFit,
}

impl ReplayCounts {
    fn add(&mut self, other: &Self) {
        self.row_counts.add(&other.row_counts);
        self.published += other.published;
        self.gaps += other.gaps;
        self.known_messages += other.known_messages;
        self.flushes += other.flushes;
        self.fit.merge(&other.fit);
    }
}

/// The summary of a replay.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Layout of each file, with the name of the file.
    pub(crate) layouts: Vec<(String, LayoutWords)>,
    /// Counts of each instrument, in the order of the command line.
    pub(crate) instruments: Vec<(Instrument, ReplayCounts)>,
    /// Whether all rows were read and published.
    pub(crate) is_complete: bool,
    /// Outcome downstream.
    pub(crate) downstream: Downstream,
}

/// Refused rows of all instruments, by the reader and by the stream-processor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RefusedRows {
    /// By reason.
    pub(crate) by_reason: BTreeMap<&'static str, u64>,
    /// Rows with a price, refused or not.
    pub(crate) of: u64,
}

impl RefusedRows {
    /// Returns the number of refused rows.
    pub(crate) fn count(&self) -> u64 {
        self.by_reason.values().sum()
    }

    /// Whether more rows are refused than a replay may refuse by default.
    pub(crate) fn is_too_many(&self) -> bool {
        self.count() * 100 > self.of * REFUSED_MAX_PERCENT
    }
}

/// The summary as JSON: sums at the top, instruments below.
#[derive(Serialize)]
struct Json<'a> {
    #[serde(flatten)]
    counts: &'a ReplayCounts,
    #[serde(flatten)]
    range: Range,
    complete: bool,
    /// Refused rows, by the reader and downstream.
    refused: u64,
    /// Rows with a price.
    refused_of: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    downstream: Option<JsonDownstream<'a>>,
    instruments: Vec<JsonInstrument<'a>>,
}

#[derive(Serialize)]
struct JsonDownstream<'a> {
    checked: bool,
    #[serde(flatten)]
    outcome: Option<&'a DownstreamOutcome>,
    /// Reason why the outcome is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
}

impl<'a> JsonDownstream<'a> {
    fn of(downstream: &'a Downstream) -> Option<Self> {
        match downstream {
            Downstream::Unasked => None,
            Downstream::Checked(outcome) => Some(Self { checked: true, outcome: Some(outcome), why: None }),
            Downstream::Unchecked(why) => Some(Self { checked: false, outcome: None, why: Some(why) }),
        }
    }
}

#[derive(Serialize)]
struct JsonInstrument<'a> {
    coin: &'a str,
    quote: &'a str,
    #[serde(flatten)]
    counts: &'a ReplayCounts,
    #[serde(flatten)]
    range: Range,
}

#[derive(Serialize)]
struct Range {
    #[serde(skip_serializing_if = "Option::is_none")]
    first_ms: Option<EventTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_ms: Option<EventTime>,
}

impl From<&ReplayCounts> for Range {
    fn from(counts: &ReplayCounts) -> Self {
        let (first_ms, last_ms) = counts.row_counts.range.unzip();
        Self { first_ms, last_ms }
    }
}

impl Summary {
    /// Returns the sums over all instruments.
    pub(crate) fn total(&self) -> ReplayCounts {
        let mut total = ReplayCounts::default();
        self.instruments.iter().for_each(|(_, counts)| total.add(counts));
        total
    }

    /// Returns the refused rows of all instruments.
    pub(crate) fn refused(&self) -> RefusedRows {
        let ReplayCounts { row_counts, .. } = self.total();
        let mut refused = RefusedRows { of: row_counts.priced_count(), by_reason: row_counts.rejected };
        if let Downstream::Checked(outcome) = &self.downstream {
            for (reason, count) in &outcome.rejected {
                *refused.by_reason.entry(reason.as_str()).or_default() += count;
            }
        }
        refused
    }

    /// Writes the summary as JSON, under a temporary name that is then renamed, so that a reader never sees half of it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(format!(".tmp-{}", std::process::id()));
        let mut file = File::create(&temporary)?;
        file.write_all(self.to_json().as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    }

    fn to_json(&self) -> String {
        let (total, refused) = (self.total(), self.refused());
        let json = Json {
            counts: &total,
            range: Range::from(&total),
            complete: self.is_complete,
            refused: refused.count(),
            refused_of: refused.of,
            downstream: JsonDownstream::of(&self.downstream),
            instruments: self
                .instruments
                .iter()
                .map(|(instrument, counts)| JsonInstrument {
                    coin: instrument.coin(),
                    quote: instrument.quote(),
                    counts,
                    range: Range::from(counts),
                })
                .collect(),
        };
        serde_json::to_string_pretty(&json).expect("counts and names are always JSON") + "\n"
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use market::validate::Reason;
    use store::recording::RowRefusal;

    use super::*;

    pub(crate) fn summary() -> Summary {
        let mut row_counts = RowCounts { rows: 9, duplicates: 1, ..RowCounts::default() };
        row_counts.count_rejected(RowRefusal::Jump);
        row_counts.count_rejected(RowRefusal::Unparsable);
        row_counts.count_rejected(RowRefusal::Jump);
        [0, 60_000].into_iter().for_each(|ms| row_counts.count_skipped(EventTime(ms)));
        [0, 180_000].into_iter().for_each(|ms| row_counts.count_accepted(EventTime(ms)));
        let mut counts = ReplayCounts { row_counts, published: 4, gaps: 1, ..ReplayCounts::default() };
        counts.fit.add(EventTime(0), Some(market::Span::MINUTE), None, Some(1.0));
        let instrument = |coin| Instrument::new(coin, "usd").unwrap();
        Summary {
            layouts: Vec::new(),
            instruments: vec![(instrument("bitcoin"), counts.clone()), (instrument("ethereum"), counts)],
            is_complete: true,
            downstream: Downstream::Checked(DownstreamOutcome {
                accepted: 6,
                rejected: [(Reason::Future, 2)].into(),
                ..DownstreamOutcome::default()
            }),
        }
    }

    #[test]
    fn json_holds_the_sums_and_each_instrument() {
        let json: serde_json::Value = serde_json::from_str(&summary().to_json()).unwrap();
        let pick = |value: &serde_json::Value| {
            ["rows", "published", "skipped", "duplicates", "gaps", "first_ms", "last_ms"]
                .map(|key| value[key].as_i64().unwrap())
        };
        assert_eq!(pick(&json), [18, 8, 4, 2, 2, 0, 180_000]);
        assert_eq!(pick(&json["instruments"][1]), [9, 4, 2, 1, 1, 0, 180_000]);
        assert_eq!(json["rejected"], serde_json::json!({"jump": 4, "unparsable": 2}));
        assert_eq!((&json["complete"], &json["instruments"][1]["coin"]), (&true.into(), &"ethereum".into()));
        assert_eq!((&json["refused"], &json["refused_of"]), (&8.into(), &18.into()));
        assert_eq!(json["downstream"]["rejected"], serde_json::json!({"future": 2}));
        assert_eq!(json["fit"]["shortest_window"], "1m");
    }

    #[test]
    fn more_than_one_percent_refused_is_too_many() {
        let refused = |count, of| RefusedRows { by_reason: [("jump", count)].into(), of };
        assert!(!refused(1, 100).is_too_many() && refused(2, 100).is_too_many());
        assert!(!refused(0, 0).is_too_many());
    }
}
