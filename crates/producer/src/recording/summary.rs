//! What a replay did, for people and for programs.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use market::{EventTime, Instrument};
use serde::Serialize;
use store::recording::Tally;

/// With more instruments than this only their sum is printed.
const PRINTED_MAX: usize = 20;

/// What became of one instrument, or of all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    #[serde(flatten)]
    pub(crate) tally: Tally,
    /// Ticks that FEED has stored.
    pub(crate) published: u64,
    /// Gap records that FEED has stored.
    pub(crate) gaps: u64,
    /// Messages that FEED said it had already.
    pub(crate) known_messages: u64,
    /// Flushes that FEED has stored.
    pub(crate) flushes: u64,
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.tally.add(&other.tally);
        self.published += other.published;
        self.gaps += other.gaps;
        self.known_messages += other.known_messages;
        self.flushes += other.flushes;
    }
}

/// The summary of a replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Each instrument, in the order of the command line.
    pub(crate) instruments: Vec<(Instrument, Counts)>,
    /// Whether everything was read and published.
    pub(crate) is_complete: bool,
}

/// The summary as JSON: the sums at the top, the instruments below.
#[derive(Serialize)]
struct Json<'a> {
    #[serde(flatten)]
    counts: &'a Counts,
    #[serde(flatten)]
    range: Range,
    complete: bool,
    instruments: Vec<JsonInstrument<'a>>,
}

#[derive(Serialize)]
struct JsonInstrument<'a> {
    coin: &'a str,
    quote: &'a str,
    #[serde(flatten)]
    counts: &'a Counts,
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

impl From<&Counts> for Range {
    fn from(counts: &Counts) -> Self {
        let (first_ms, last_ms) = counts.tally.range.unzip();
        Self { first_ms, last_ms }
    }
}

impl Summary {
    /// The sums over all instruments.
    pub(crate) fn total(&self) -> Counts {
        let mut total = Counts::default();
        self.instruments.iter().for_each(|(_, counts)| total.add(counts));
        total
    }

    /// Writes it as JSON under a temporary name and renames it, so that no half summary is ever seen.
    ///
    /// # Errors
    /// Whatever writing a file can meet.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(format!(".tmp-{}", std::process::id()));
        let mut file = File::create(&temporary)?;
        file.write_all(self.to_json().as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    }

    fn to_json(&self) -> String {
        let total = self.total();
        let json = Json {
            counts: &total,
            range: Range::from(&total),
            complete: self.is_complete,
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

    /// The summary in lines for people; `rejects` is where refused rows are kept.
    pub(crate) fn to_text(&self, rejects: &Path) -> String {
        let mut text = String::new();
        if self.instruments.len() <= PRINTED_MAX {
            for (instrument, counts) in &self.instruments {
                describe(&mut text, &instrument.to_string(), counts, rejects);
            }
        } else {
            describe(&mut text, &format!("{} instruments", self.instruments.len()), &self.total(), rejects);
        }
        text
    }
}

fn describe(text: &mut String, name: &str, counts: &Counts, rejects: &Path) {
    let Counts { tally, published, gaps, known_messages, .. } = counts;
    let mut line = |what: String| writeln!(text, "{what}").expect("a string takes every byte");
    let range = tally.range.map(|(first, last)| format!(", {first} to {last}")).unwrap_or_default();
    line(format!("{name}: {}, {published} published, {}{range}", some(tally.rows, "row"), some(*gaps, "gap")));
    if let Some((first, last)) = tally.skipped_range {
        line(format!("  skipped {} from {first} to {last}: FEED has that time already", some(tally.skipped, "row")));
    }
    if tally.duplicates > 0 {
        let duplicates = some(tally.duplicates, "duplicate row");
        line(format!("  left out {duplicates}, {} with other values: see --conflict", tally.conflicts));
    }
    if tally.widened > 0 {
        line(format!("  widened low and high of {} to hold open and close: see --outside", some(tally.widened, "row")));
    }
    if tally.unfinished > 0 {
        line(format!("  left out {}: it has not ended yet", some(tally.unfinished, "candle")));
    }
    if tally.without_price + tally.foreign > 0 {
        let (without, foreign) = (some(tally.without_price, "row"), some(tally.foreign, "line"));
        line(format!("  left out {without} without a price and {foreign} without a row"));
    }
    if tally.rejected_count() > 0 {
        let reasons: Vec<String> = tally.rejected.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        let rejected = some(tally.rejected_count(), "row");
        line(format!("  rejected {rejected} ({}), kept in {}", reasons.join(", "), rejects.display()));
    }
    if *known_messages > 0 {
        let known = some(*known_messages, "message");
        line(format!("  FEED did not store {known} again: it has had the same within the last 10 minutes"));
    }
}

/// `1 row`, `2 rows`.
fn some(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use store::recording::Refusal;

    use super::*;

    fn summary() -> Summary {
        let mut tally = Tally { rows: 9, duplicates: 1, ..Tally::default() };
        tally.count_rejected(Refusal::Jump);
        tally.count_rejected(Refusal::Unparsable);
        tally.count_rejected(Refusal::Jump);
        [0, 60_000].into_iter().for_each(|ms| tally.count_skipped(EventTime(ms)));
        [0, 180_000].into_iter().for_each(|ms| tally.count_accepted(EventTime(ms)));
        let counts = Counts { tally, published: 4, gaps: 1, ..Counts::default() };
        let instrument = |coin| Instrument::new(coin, "usd").unwrap();
        Summary {
            instruments: vec![(instrument("bitcoin"), counts.clone()), (instrument("ethereum"), counts)],
            is_complete: true,
        }
    }

    #[test]
    fn people_read_what_became_of_every_row() {
        let text = summary().to_text(Path::new("rejects.jsonl"));
        let expected = "\
bitcoin/usd: 9 rows, 4 published, 1 gap, 1970-01-01T00:00:00Z to 1970-01-01T00:03:00Z
  skipped 2 rows from 1970-01-01T00:00:00Z to 1970-01-01T00:01:00Z: FEED has that time already
  left out 1 duplicate row, 0 with other values: see --conflict
  rejected 3 rows (2 jump, 1 unparsable), kept in rejects.jsonl
";
        assert_eq!(text, expected.to_owned() + &expected.replace("bitcoin", "ethereum"));
    }

    #[test]
    fn programs_read_the_sums_and_each_instrument() {
        let json: serde_json::Value = serde_json::from_str(&summary().to_json()).unwrap();
        let pick = |value: &serde_json::Value| {
            ["rows", "published", "skipped", "duplicates", "gaps", "first_ms", "last_ms"]
                .map(|key| value[key].as_i64().unwrap())
        };
        assert_eq!(pick(&json), [18, 8, 4, 2, 2, 0, 180_000]);
        assert_eq!(pick(&json["instruments"][1]), [9, 4, 2, 1, 1, 0, 180_000]);
        assert_eq!(json["rejected"], serde_json::json!({"jump": 4, "unparsable": 2}));
        assert_eq!((&json["complete"], &json["instruments"][1]["coin"]), (&true.into(), &"ethereum".into()));
    }
}
