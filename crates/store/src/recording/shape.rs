//! The shape of an instrument's rows, from the user's settings and the survey of its files.

use market::Span;
use market::validate::GRAIN_MAX;

use super::file::RecordingFile;
use super::rules::{Grain, RowShape, Rules, span_words};
use super::steps::Steps;
use super::survey::{RowKind, Survey};
use super::time;
use super::unusable::UnusableFile;

/// Distances that a file needs at least to show a grain other than that of the other files.
const TELLING_STEPS: u64 = 10;
/// Rows per file that may differ from another row of their time, and candles per file that may overlap, at most.
const CONFLICTS_MAX: u64 = 2;
const OVERLAPS_MAX: u64 = 2;

/// Returns the shape of the rows.
///
/// # Errors
/// The files differ, contradict the given grain, or do not show a grain.
pub(crate) fn shape(files: &mut [(RecordingFile, Survey)], rules: &Rules) -> Result<RowShape, UnusableFile> {
    if all_are_trades(files)? {
        return Ok(RowShape::Trades);
    }
    if rules.conflict.is_none() {
        files.iter().try_for_each(|(input, survey)| check_conflicts(input, survey))?;
    }
    let mut steps = Steps::default();
    files.iter().for_each(|(_, survey)| steps.add(&survey.steps));
    let usual = steps.usual();
    let said = match rules.grain {
        Some(Grain::Candles(grain)) => Some(grain),
        Some(Grain::Trades) | None => None,
    };
    if let Some(said) = said {
        files.iter_mut().try_for_each(|(input, survey)| check_said(input, survey, said))?;
    }
    if !files.iter().any(|(_, survey)| survey.kind == RowKind::Candles) {
        return Ok(RowShape::Points(usual.or(said).unwrap_or(Span::MINUTE)));
    }
    let grain = said.map_or_else(|| inferred(files, usual, rules), Ok)?;
    files.iter().try_for_each(|(input, survey)| check_mixed(input, survey, grain))?;
    Ok(RowShape::Candles(grain))
}

/// Whether all files hold trades, either all with ids or all without.
fn all_are_trades(files: &[(RecordingFile, Survey)]) -> Result<bool, UnusableFile> {
    let kind = |survey: &Survey| match (survey.kind, survey.is_numbered) {
        (RowKind::Trades, true) => "trades with ids",
        (RowKind::Trades, false) => "trades without ids",
        (RowKind::Candles | RowKind::Prices, _) => "candles or prices",
    };
    let Some((first, survey)) = files.first() else { return Ok(false) };
    if let Some((other, differing)) = files.iter().find(|(_, other)| kind(other) != kind(survey)) {
        let problem = format!(
            "it holds {}, and {} holds {}: read them one after the other",
            kind(differing),
            first.name(),
            kind(survey)
        );
        return Err(UnusableFile::new(other.name().to_owned(), problem));
    }
    Ok(survey.kind == RowKind::Trades)
}

/// Compares the given grain with the rows of a file.
fn check_said(input: &RecordingFile, survey: &mut Survey, said: Span) -> Result<(), UnusableFile> {
    let usual = survey.steps.usual().filter(|usual| *usual != said);
    let (steps, total) = (&survey.steps, survey.steps.total());
    // Where most candles are missing, no distance is typical, and some candles follow sooner than the most frequent
    // distance.
    let is_sparse = |usual: Span| steps.count(usual) * 2 <= total && overlaps(steps, usual).is_some();
    let is_other = |usual: &Span| steps.count(*usual) > 1 && steps.contradict(said) && !is_sparse(*usual);
    let Some(usual) = usual.filter(is_other) else { return Ok(()) };
    let (apart, said) = (span_words(usual), span_words(said));
    let problem = match survey.kind {
        RowKind::Candles => {
            format!(
                "its rows are {apart} apart, and --grain says {said}: pass --grain {}, or leave it out",
                apart.replace(' ', "")
            )
        }
        _ => format!(
            "its rows are prices about {apart} apart, and --grain says {said}: leave --grain out, which is for candles"
        ),
    };
    Err(UnusableFile::new(input.name().to_owned(), problem))
}

/// Refuses a file in which many rows share their time with other rows and differ from them: all but one per time would
/// be lost.
fn check_conflicts(input: &RecordingFile, survey: &Survey) -> Result<(), UnusableFile> {
    let Survey { rows, others, .. } = *survey;
    if !are_many(others, rows) {
        return Ok(());
    }
    let remedy = if survey.has_single_prices {
        "if they are trades, pass --grain trades, and all of them count; if not"
    } else {
        "if it holds several instruments or markets, write one file for each; if not"
    };
    let problem = format!(
        "{others} of {rows} rows have the time of the row before and other values: {remedy}, choose the row that counts with \
         --conflict last or --conflict first"
    );
    Err(UnusableFile::new(input.name().to_owned(), problem))
}

/// Whether this number of conflicts among these rows is too large to be corrections.
pub(crate) fn are_many(conflicts: u64, rows: u64) -> bool {
    conflicts > CONFLICTS_MAX && conflicts * 4 > rows
}

/// Refuses a file with candles of several lengths: candles of another length than `grain` would get a wrong end.
fn check_mixed(input: &RecordingFile, survey: &Survey, grain: Span) -> Result<(), UnusableFile> {
    if survey.kind != RowKind::Candles {
        return Ok(());
    }
    let total = survey.steps.total();
    if let Some((step, count)) = overlaps(&survey.steps, grain) {
        let problem = format!(
            "its rows are mostly {} apart, and {count} of {total} follow sooner, such as {}: candles would overlap; pass \
             their length with --grain, or split the file by length",
            span_words(grain),
            span_words(step)
        );
        return Err(UnusableFile::new(input.name().to_owned(), problem));
    }
    match survey.steps.coarser_stretch(grain) {
        Some((step, line)) => {
            let problem = format!(
                "from here on rows are {} apart, and others {}: write the candles of each length into a file of their own",
                span_words(step),
                span_words(grain)
            );
            Err(input.unusable(line, problem))
        }
        None => Ok(()),
    }
}

/// Returns the most frequent distance of overlapping candles and their number, if there are more than one or two
/// mistyped times.
fn overlaps(steps: &Steps, grain: Span) -> Option<(Span, u64)> {
    steps.overlapping(grain).filter(|(_, count)| *count > OVERLAPS_MAX && *count * 50 > steps.total())
}

fn inferred(files: &mut [(RecordingFile, Survey)], usual: Option<Span>, rules: &Rules) -> Result<Span, UnusableFile> {
    let names = files.iter().map(|(input, _)| input.name()).collect::<Vec<_>>().join(", ");
    let Some(usual) = usual.filter(|usual| *usual <= GRAIN_MAX) else {
        // Without a row that counts the shape does not matter, and the refused rows are the problem to report.
        let is_empty = !files.iter().any(|(input, survey)| has_row(input, survey, rules));
        let problem = "the length of its rows is unknown: pass it with --grain, such as --grain 1h".to_owned();
        return if is_empty { Ok(Span::MINUTE) } else { Err(UnusableFile::new(names, problem)) };
    };
    for (input, survey) in files {
        let total = survey.steps.total();
        let own = survey.steps.usual().filter(|own| *own != usual && survey.kind == RowKind::Candles);
        let tells = |own: &Span| {
            let count = survey.steps.count(*own);
            (total >= TELLING_STEPS && survey.steps.contradict(usual)) || (count == total && count > 1)
        };
        if let Some(other) = own.filter(tells) {
            let problem = format!(
                "its rows are {} apart, and those of the other files {}: read them one after the other",
                span_words(other),
                span_words(usual)
            );
            return Err(UnusableFile::new(input.name().to_owned(), problem));
        }
    }
    Ok(usual)
}

/// Whether a file has a row.
fn has_row(input: &RecordingFile, survey: &Survey, rules: &Rules) -> bool {
    let Ok(mut rows) = input.rows_unreported(&survey.layout) else { return false };
    while let Ok(Some(line)) = rows.next_line() {
        if line.row(0, time::latest(rules.now)).is_ok() {
            return true;
        }
    }
    false
}
