//! What the rows of an instrument are, from what the user says and what its files show.

use market::Span;
use market::validate::GRAIN_MAX;

use super::file::{Input, Unusable};
use super::rules::{Grain, Rules, Shape, span_words};
use super::steps::Steps;
use super::survey::{Kind, Survey};
use super::time;

/// Fewer distances than this do not show that a file has another grain than its neighbours.
const TELLING_STEPS: u64 = 10;
/// Among candles and polled prices so many rows of another row's time are no sign of trades.
const OTHERS_MAX: u64 = 2;

/// What the rows are.
///
/// # Errors
/// When the files differ, when they contradict the grain that was said, or when they do not tell it.
pub(crate) fn shape(files: &mut [(Input, Survey)], rules: &Rules) -> Result<Shape, Unusable> {
    if all_are_trades(files)? {
        return Ok(Shape::Trades);
    }
    let mut steps = Steps::default();
    files.iter().for_each(|(_, survey)| steps.add(&survey.steps));
    let usual = steps.usual();
    let has_candles = files.iter().any(|(_, survey)| survey.kind == Kind::Candles);
    match rules.grain {
        Some(Grain::Candles(grain)) if has_candles => {
            files.iter_mut().try_for_each(|(input, survey)| check_said(input, survey, grain))?;
            Ok(Shape::Candles(grain))
        }
        Some(Grain::Candles(grain)) => Ok(Shape::Points(usual.unwrap_or(grain))),
        _ => {
            files.iter_mut().try_for_each(|(input, survey)| check_for_trades(input, survey))?;
            if has_candles {
                inferred(files, usual, rules).map(Shape::Candles)
            } else {
                Ok(Shape::Points(usual.unwrap_or(Span::MINUTE)))
            }
        }
    }
}

/// Whether the files hold trades, all of them in the same way.
fn all_are_trades(files: &[(Input, Survey)]) -> Result<bool, Unusable> {
    let kind = |survey: &Survey| match (survey.kind, survey.is_numbered) {
        (Kind::Trades, true) => "trades with ids",
        (Kind::Trades, false) => "trades without ids",
        (Kind::Candles | Kind::Prices, _) => "candles or prices",
    };
    let Some((first, survey)) = files.first() else { return Ok(false) };
    if let Some((other, differing)) = files.iter().find(|(_, other)| kind(other) != kind(survey)) {
        let problem = format!(
            "it holds {}, and {} holds {}: read them one after the other",
            kind(differing),
            first.name(),
            kind(survey)
        );
        return Err(Unusable::new(other.name().to_owned(), problem));
    }
    Ok(survey.kind == Kind::Trades)
}

/// Compares what was said with the rows of a file.
fn check_said(input: &Input, survey: &mut Survey, said: Span) -> Result<(), Unusable> {
    let usual = survey.steps.usual().filter(|usual| *usual != said && survey.steps.count(*usual) > 1);
    match usual.filter(|_| survey.kind == Kind::Candles && survey.steps.contradict(said)) {
        Some(usual) => {
            let (usual, said) = (span_words(usual), span_words(said));
            let problem = format!(
                "its rows are {usual} apart, and --grain says {said}: say --grain {}, or leave it out",
                usual.replace(' ', "")
            );
            Err(Unusable::new(input.name().to_owned(), problem))
        }
        None => Ok(()),
    }
}

/// Asks where many rows share their time with others and nothing says what they are: trades would be lost as conflicts.
fn check_for_trades(input: &Input, survey: &mut Survey) -> Result<(), Unusable> {
    let Survey { rows, others, .. } = *survey;
    let is_regular = survey.kind == Kind::Candles
        && survey.steps.usual().is_some_and(|usual| survey.steps.count(usual) * 2 > survey.steps.total());
    if others <= OTHERS_MAX || others * 4 <= rows || is_regular {
        return Ok(());
    }
    let problem = format!(
        "{others} of {rows} rows have the time of the row before and say something else: if they are trades, say --grain \
         trades; if not, say how long a row is, such as --grain 1m"
    );
    Err(Unusable::new(input.name().to_owned(), problem))
}

fn inferred(files: &mut [(Input, Survey)], usual: Option<Span>, rules: &Rules) -> Result<Span, Unusable> {
    let names = files.iter().map(|(input, _)| input.name()).collect::<Vec<_>>().join(", ");
    let Some(usual) = usual.filter(|usual| *usual <= GRAIN_MAX) else {
        // Without a row that counts nothing depends on it, and the rows themselves are what is wrong.
        let is_empty = !files.iter().any(|(input, _)| has_row(input, rules));
        let problem = "its rows do not tell how long one is: say it with --grain, such as --grain 1h".to_owned();
        return if is_empty { Ok(Span::MINUTE) } else { Err(Unusable::new(names, problem)) };
    };
    for (input, survey) in files {
        let is_other =
            survey.kind == Kind::Candles && survey.steps.total() >= TELLING_STEPS && survey.steps.contradict(usual);
        if let Some(other) = survey.steps.usual().filter(|other| is_other && *other != usual) {
            let problem = format!(
                "its rows are {} apart, and those of the other files {}: read them one after the other",
                span_words(other),
                span_words(usual)
            );
            return Err(Unusable::new(input.name().to_owned(), problem));
        }
    }
    Ok(usual)
}

/// Whether a file has a row.
fn has_row(input: &Input, rules: &Rules) -> bool {
    let Ok(mut rows) = input.look() else { return false };
    while let Ok(Some(line)) = rows.next_line() {
        if line.row(0, time::latest(rules.now)).is_ok() {
            return true;
        }
    }
    false
}
