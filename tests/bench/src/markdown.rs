//! `docs/benchmarks.md`: a section for each part of the bench, replaced when the part is measured again.

use std::fmt::Write;
use std::path::Path;

use anyhow::Context;

use super::machine::Machine;
use super::report::Figure;

/// The page before anything was measured.
const EMPTY: &str = "\
This page is written by `scripts/bench --markdown`. Change the bench, not the page.

# Benchmarks

Every figure that the bench measures is on this page, and on no other. A section is replaced when its part is measured again, so each
says on which machine and at which commit it was measured. Machines differ by a factor of two from one day to the next: only figures of
one section compare, and a promise is a ratio inside one run. A figure is a median, with the smallest and the largest measurement beside
it. What was measured when a decision was made is in its [record](decisions/README.md).

## Promises

The bench fails when one of these ratios is not kept; all other figures are printed, not judged.

| figure | promise | what it is |
|---|---|---|
| `raw.ratio` | ≤ 0.7 | w1 ÷ nats-server alone with the same lines |
| `latency.100.price_ratio` | ≤ 6 | tick to price ÷ tick to FEED, medians of 100 ticks a second |
| `peers.spark.ratio` | ≥ 15 | Spark, 32,000 rows a micro-batch, in a fresh process ÷ w1 |
| `peers.spark.one_batch_ratio` | ≥ 1.5 | Spark, warm, all files in one batch ÷ w1 |
| `peers.flink.ratio` | ≥ 4.5 | Flink ÷ w1 |
| `peers.spark.learning_ratio` | ≥ 100 | fit and score of the original program's recipe: Spark ÷ `trainer train` |
| `learning.matrix.ratio` | ≤ 1.2 | a fit of a million rows ÷ XGBoost's Python package |
| `growth.rate_ratio.ticks`, `growth.memory_ratio.ticks` | ≥ 0.9, ≤ 1.1 | ten million ticks ÷ one million: ticks a second, memory of the services |
| `attack.*.held_p99_ratio` | ≤ 3 | prices while connections are held ÷ the calm of the same run, 99th percentile |

These counts must be right on every machine: no message written while idle, no price missing after an attack, MARKET never at a
standstill under overload, the R2 of the original program's recipe at least 0.99, and the same trees as the Python package.
";

/// The parts in the order of the page: how the names of their figures begin, the heading, and what they measure.
const PARTS: [(&[&str], &str, &str); 13] = [
    (&["replay", "raw"], "Replay", "\
Seconds from the start of the producer until everything is committed in FEED, MARKET and STATS, on a fresh store. **w1** has a million \
ticks of one instrument, 5 to 55 s apart; **w4** deals them to four instruments; **wm** has a million minutes that make a candle each. \
**raw** is nats-server alone with the lines of w1, in messages and batches of the same sizes; **raw.stored** with the bytes that are \
stored of them."),
    (&["latency"], "Live latency", "\
Feeds of 10, 100 and 1,000 ticks a second, one tick a message and one a second of each instrument. A tick counts from the instant at \
which it is due until it is stored in FEED (**publish**), until a viewer has its price (**price**), and until the viewer has the candle \
that it closes (**candle**). Event time passes 15 times as fast as the clock, or as fast (**event_time_1x**)."),
    (&["attack"], "Attack", "\
Strangers without a password beside 100 live ticks a second: connections that are only held, and floods with half a core or without a \
limit. Each is measured beside the calm of the same run."),
    (&["overload"], "Overload", "\
3,000 single messages a second into FEED, without waiting for answers; and the shipped producer with 10,000 instruments."),
    (&["growth"], "Growth", "\
Replays of 1 to 10,000 instruments, by 1, 2 and 4 instances of each step, and of 0.1, 1 and 10 million ticks."),
    (&["footprint"], "Memory and size", "\
Proportional memory of each process 30 s after a million ticks, with all services running and the trainer trained once; sizes of the \
programs; time from the start of a service until it is ready."),
    (&["recovery"], "Recovery", "\
From the start of a step that was killed with 10,000 instruments until its first stored result, and until every partition has stored one."),
    (&["takeover"], "Takeover", "\
How long a partition has no owner after SIGTERM, `kill -9` and silence (SIGSTOP) of its owner, with leases of 0.5 and 5 s."),
    (&["idle"], "Idle", "\
Two instances of each step with nothing but a heartbeat a second for each of 16 instruments: share of a core, memory, messages written."),
    (&["archive"], "Archive", "A million ticks from memory to files that last, their joining included."),
    (&["learning"], "Learning", "\
`scripts/run --once` and `trainer train` with the recipe of the original program on 9,200 hours; a fit of a million rows beside XGBoost's \
Python package on the same rows, in turns."),
    (&["audit"], "Audit", "`aggregator audit` of a million ticks of 1,000 instruments, one a message."),
    (&["peers"], "Peers", "\
The windows of w1 by Spark (32,000 rows a micro-batch; **one_batch**: all files in one), by Flink and by Polars in one batch; the \
training of the original program's recipe, and 100 ticks a second, by Spark."),
];

/// Writes the sections of the parts that were measured into the page; those of other parts stay.
///
/// # Errors
/// The page cannot be read or written.
pub fn write(figures: &[Figure], machine: &Machine, path: &Path) -> anyhow::Result<()> {
    let old = if path.exists() {
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?
    } else {
        String::new()
    };
    let page = page(&old, figures, &machine.to_string());
    std::fs::write(path, page).with_context(|| format!("cannot write {}", path.display()))
}

fn page(old: &str, figures: &[Figure], machine: &str) -> String {
    let mut page = EMPTY.to_owned();
    for (names, heading, about) in PARTS {
        let of_part: Vec<&Figure> = figures.iter().filter(|figure| names.contains(&figure.part())).collect();
        let section = if of_part.is_empty() {
            section_of(old, heading).map(str::to_owned)
        } else {
            Some(section(heading, about, machine, &of_part))
        };
        if let Some(section) = section {
            page.push('\n');
            page.push_str(&section);
        }
    }
    page
}

/// The section of a heading, up to the next one.
fn section_of<'a>(page: &'a str, heading: &str) -> Option<&'a str> {
    let start = page.find(&format!("## {heading}\n"))?;
    let section = &page[start..];
    Some(section.find("\n## ").map_or(section, |end| &section[..end]))
}

fn section(heading: &str, about: &str, machine: &str, figures: &[&Figure]) -> String {
    let mut text = format!("## {heading}\n\n{about}\n\nMeasured on {machine}.\n\n");
    text.push_str("| figure | median | range | ratio | promise |\n|---|---|---|---|---|\n");
    for figure in figures {
        let [name, median, unit, range, ratio, promise] = figure.cells();
        let median = format!("{median} {unit}");
        writeln!(text, "| `{name}` | {} | {range} | {ratio} | {promise} |", median.trim_end()).expect("text takes all");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_is_measured_again_replaces_its_section_alone() {
        let figure = |name: &str, value| Figure::new(name, "s", vec![value]);
        let both = page("", &[figure("replay.w1.seconds", 1.0), figure("audit.seconds", 2.0)], "one machine");
        assert!(both.contains("| `replay.w1.seconds` | 1.00 s |") && both.contains("Measured on one machine."));
        let again = page(&both, &[figure("audit.seconds", 3.0)], "another machine");
        assert!(again.contains("| `replay.w1.seconds` | 1.00 s |"), "{again}");
        assert!(again.contains("| `audit.seconds` | 3.00 s |") && !again.contains("2.00 s"), "{again}");
        assert_eq!(page(&again, &[], "a third machine"), again);
        assert_eq!(again.matches("## ").count(), 3);
    }
}
