use clap::Parser;
use market::{EventTime, Instrument, Span};

use super::*;
use crate::cli::{Args, Command};

/// Returns the settings of these flags, with few and small trees.
fn config(recipe: Recipe, split: &str) -> LearnConfig {
    let fixed = ["trainer", "check", "--rounds", "30", "--depth", "3", "--folds", "3", "--threads", "1"];
    let flags = ["--recipe", recipe.name(), "--split", split];
    let args = Args::try_parse_from([&fixed[..], &flags].concat()).expect("valid flags");
    let Command::Check(check) = args.command else { panic!("check was asked for") };
    check.learn.config(Instrument::new("bitcoin", "usd").expect("valid")).expect("valid flags")
}

/// Hours of a price that swings, so that there is something to learn.
fn hours(count: i64) -> Vec<Tick> {
    let tick = |idx: i64| {
        let swing = |factor: f64| (idx as f64 * factor).sin();
        let close = 1_000.0 * (0.2 * swing(0.13) + 0.1 * swing(1.7)).exp();
        let event = EventTime(1_583_020_800_000 + idx * Span::HOUR.ms());
        let prices = [close, close * (1.003 + 0.002 * swing(0.29)), close * 0.997, close];
        Tick { volume: Some(1.0), ..Tick::bar(event, Span::HOUR, prices) }
    };
    (0..count).map(tick).collect()
}

#[test]
fn an_honest_training_passes_every_check() {
    for recipe in Recipe::ALL {
        let findings = run_checks(&hours(600), &config(recipe, "time"), |_| ()).expect("enough data");
        assert_eq!(findings.len(), 6);
        assert!(findings.iter().all(|finding| finding.ok), "{recipe}: {findings:#?}");
        conclude(&findings).expect("all is well");
    }
}

#[test]
fn a_random_split_leaks_and_fails_by_its_label() {
    let findings = run_checks(&hours(600), &config(Recipe::Calendar, "random"), |_| ()).expect("enough data");
    let failed: Vec<_> = findings.iter().filter(|finding| !finding.ok).collect();
    assert!(failed.len() == 1 && failed[0].detail == "random: leaks the future", "{findings:#?}");
    assert!(conclude(&findings).is_err());
}

#[test]
fn a_check_that_misses_the_planted_leak_fails() {
    assert!(judge_planted(Some("return_1"), Some(0.9)).ok);
    assert!(!judge_planted(None, Some(0.9)).ok);
    assert!(!judge_planted(Some("return_1"), Some(0.01)).ok);
    assert!(!judge_planted(Some("return_1"), None).ok);
}

/// Skill from shuffled labels fails, unless it is luck or a mere correction of the baseline's level.
#[test]
fn skill_from_shuffled_labels_fails() {
    let check = |model: f64, baseline: f64, constant: f64, expected: bool| {
        let finding = shuffled_finding(Recipe::Volatility, &Errors { model, baseline, constant });
        assert_eq!(finding.ok, expected, "{}", finding.detail);
    };
    check(1.0, 1.0, 1.0, true);
    check(0.99, 1.0, 1.0, true);
    check(0.97, 1.0, 1.0, false);
    // The gain of a constant on the naive baseline is not leakage.
    check(0.9, 1.0, 0.9, true);
    check(0.5, 1.0, 0.9, false);
    check(0.0, 0.0, 0.0, true);
}

#[test]
fn a_split_that_shares_rows_fails() {
    let config = config(Recipe::Returns, "time");
    let (prepared, outer) = prepare_and_split(&hours(600), &config).expect("enough data");
    assert!(split_finding(&prepared.dataset, &outer, &config).ok);
    let mut unpurged = outer.clone();
    unpurged.train.push(outer.validation[0] - 1);
    assert!(!split_finding(&prepared.dataset, &unpurged, &config).ok);
    let mut shared = outer.clone();
    shared.validation.push(outer.train[5]);
    assert!(!split_finding(&prepared.dataset, &shared, &config).ok);
}

#[test]
fn few_rows_are_recomputed_but_never_none() {
    for (rows, candles) in [(1, 25), (40, 64), (41, 65), (1_000, 1_024), (43_000, 43_024), (1_000_000, 1_000_024)] {
        let (count, every) = sample(rows, candles);
        assert_eq!(count, (0..rows).step_by(every).count());
        assert!((1..=RECOMPUTED_ROWS_MAX).contains(&count), "{rows}: {count}");
    }
}

/// Runs the command on hours of a recording; the exit code when it fails.
fn run(hours: i64) -> Result<(), Option<Code>> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("hours.csv");
    let row = |tick: &Tick| {
        let Tick { event, open, high, low, close, .. } = tick;
        format!("{},{open},{high},{low},{close},1\n", event.ms())
    };
    let rows: String = self::hours(hours).iter().map(row).collect();
    std::fs::write(&file, format!("timestamp_ms,open,high,low,close,volume\n{rows}")).expect("written");
    let file = file.display().to_string();
    let args = ["trainer", "check", "--input", &file, "--coin", "bitcoin", "--quote", "usd", "--threads", "1"];
    let args = Args::try_parse_from(args).expect("valid flags");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let done = runtime.block_on(crate::run(args, service::Shutdown::new()));
    done.map_err(|error| crate::error::code_of(&error))
}

#[test]
fn the_exit_code_follows_from_the_findings() {
    assert_eq!(run(400), Ok(()));
    assert_eq!(run(10), Err(Some(Code::NotEnoughData)));
    let failed = Finding { check: "times stay distinct".to_owned(), ok: false, detail: String::new() };
    let error = conclude(&[failed]).expect_err("one failed");
    assert_eq!(error.to_string(), "1 of 1 checks failed: times stay distinct");
    assert_eq!(error.downcast_ref::<service::Coded>().map(service::Coded::code), Some(Code::Failed));
}
