//! `trainer evaluate`: shows how good the live forecasts were, model by model and over time.

mod evaluation;
mod table;

use std::collections::BTreeMap;

use bus::reader::{Selection, read_to_end};
use bus::{Connection, RecordKind, Stream, codec, subject};
use market::forecast::ScoreLine;
use market::span_text::at_least;
use market::{Instrument, Span};
use service::{Code, WithCode};

use self::evaluation::{Evaluation, ScoredForecast, Series, read_score};
use crate::args::parse::coverage;
use crate::args::{Format, InstrumentArgs};
use crate::output;

/// Flags of `evaluate`.
#[derive(Debug, Clone, clap::Args)]
pub struct EvaluateArgs {
    /// The instrument; all by default.
    #[command(flatten)]
    pub instrument: InstrumentArgs,

    /// Length of the spans whose scores are shown one by one, such as 24h
    #[arg(long, default_value = "24h", value_name = "SPAN", value_parser = at_least(Span::SECOND))]
    pub by: Span,

    /// Leave out forecasts with less coverage of a candle of their target, 0 to 1. `run` scores none below its own
    #[arg(long, env = "CANDLEWIRE_MIN_COVERAGE", default_value = "0.5", value_name = "SHARE", value_parser = coverage)]
    pub min_coverage: f64,

    /// Output format
    #[arg(long, value_enum, default_value = "table")]
    pub format: Format,
}

/// Reads all scores and prints summaries of them.
///
/// # Errors
/// Exit code 4: no forecast has been scored yet, or all are left out. Others: FORECAST cannot be read.
pub async fn evaluate(connection: &Connection, args: &EvaluateArgs) -> anyhow::Result<()> {
    let named = args.instrument.instrument().exit_code(Code::BadConfig)?;
    let scored = read(connection, named.as_ref()).await?;
    let evaluation = |(series, scored)| Evaluation::new(series, scored, args.by, args.min_coverage);
    let evaluations: Vec<Evaluation> = scored.into_iter().map(evaluation).collect();
    if evaluations.is_empty() {
        let of = named.map_or_else(String::new, |named| format!(" of {named}"));
        let error = anyhow::anyhow!(
            "no forecast{of} has been scored yet: `trainer run` makes and scores them, candle by candle"
        );
        return Err(error).exit_code(Code::NotEnoughData);
    }
    if evaluations.iter().all(|evaluation| evaluation.all.is_none()) {
        let left_out: Vec<String> = evaluations.iter().filter_map(table::left_out).collect();
        return Err(anyhow::anyhow!("{}", left_out.join("; "))).exit_code(Code::NotEnoughData);
    }
    match args.format {
        Format::Json => output::print_text(&serde_json::to_string(&evaluations)?),
        Format::Table => output::print_text(&table::text(&evaluations)),
    }
    Ok(())
}

/// Reads all scores, in the order of their truths.
async fn read(
    connection: &Connection,
    named: Option<&Instrument>,
) -> anyhow::Result<BTreeMap<Series, Vec<ScoredForecast>>> {
    bus::topology::require(connection, Stream::Forecast).await?;
    let filters = vec![subject::of_kind(Stream::Forecast, RecordKind::Score, named)];
    let selection = Selection { stream: Stream::Forecast, filters, from: 1 };
    let mut all: BTreeMap<Series, Vec<ScoredForecast>> = BTreeMap::new();
    read_to_end(connection, selection, |delivery| -> anyhow::Result<()> {
        if !codec::is_known_schema(delivery.headers.as_ref(), RecordKind::Score) {
            let error = anyhow::anyhow!(
                "FORECAST holds scores of another version: run `topology rebuild forecast`, and the trainer forecasts anew"
            );
            return Err(error).exit_code(Code::Server);
        }
        for (_, line) in codec::lines(&delivery.payload) {
            let line: ScoreLine<'_> = serde_json::from_slice(line)?;
            let (series, scored) = read_score(&line);
            all.entry(series).or_default().push(scored);
        }
        Ok(())
    })
    .await?;
    Ok(all)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use learn::evaluation::PredictionOutcome;
    use market::forecast::Status;
    use market::{EventTime, Recipe, Window};

    use super::evaluation::LEVELS;
    use super::*;
    use crate::cli::{Args, Command};

    fn evaluation(flags: &[&str], coverages: &[f64]) -> Evaluation {
        let args = Args::try_parse_from([&["trainer", "evaluate"], flags].concat()).expect("valid flags");
        let Command::Evaluate(args) = args.command else { panic!("evaluate was asked for") };
        let scored = |(idx, coverage): (i64, &f64)| ScoredForecast {
            made: EventTime(idx * 60_000),
            known: EventTime((idx + 1) * 60_000),
            model: "4be1c1f02b6f2a07".to_owned(),
            status: Status::Champion,
            outcome: PredictionOutcome { baseline: 10.0, actual: 11.0 + idx as f64, predicted: 10.5 },
            coverage: *coverage,
            inside: [Some(true); LEVELS.len()],
        };
        let (coin, quote) = ("bitcoin".to_owned(), "usd".to_owned());
        let series = Series { coin, quote, recipe: Recipe::Returns, interval: Window::Minute };
        Evaluation::new(series, (0..).zip(coverages).map(scored).collect(), args.by, args.min_coverage)
    }

    #[test]
    fn forecasts_of_thin_truths_are_left_out_and_counted() {
        let rows = |flags: &[&str]| {
            let evaluation = evaluation(flags, &[1.0, 0.9, 0.5, 0.4]);
            (evaluation.all.as_ref().map(|all| all.scores.rows), evaluation.left_out, table::text(&[evaluation]))
        };
        let (all, left_out, text) = rows(&[]);
        assert_eq!((all, left_out), (Some(3), 1));
        assert!(text.contains("1 forecasts of bitcoin/usd are left out: less than --min-coverage 0.5"), "{text}");
        let (all, left_out, text) = rows(&["--min-coverage", "0"]);
        assert_eq!((all, left_out), (Some(4), 0));
        assert!(!text.contains("left out"), "{text}");
        assert_eq!(rows(&["--min-coverage", "0.95"]).0, Some(1));
    }

    #[test]
    fn a_series_of_which_nothing_is_left_says_so() {
        let evaluation = evaluation(&["--min-coverage", "1"], &[0.9, 0.9]);
        assert!(evaluation.all.is_none() && evaluation.models.is_empty());
        let text = table::text(&[evaluation]);
        assert!(text.starts_with("bitcoin/usd") && text.contains("2 forecasts of bitcoin/usd are left out"), "{text}");
    }
}
