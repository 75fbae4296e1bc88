//! The command line of the trainer.

use crate::args::ArchiveArgs;
use crate::check::CheckArgs;
use crate::evaluate::EvaluateArgs;
use crate::run_args::RunArgs;
use crate::train::TrainArgs;

/// Keeps accepted ticks as Parquet, trains on them, and scores the model beside the naive baseline.
#[derive(Debug, clap::Parser)]
#[command(name = "trainer", version)]
pub struct Args {
    /// Flags that every program has.
    #[command(flatten)]
    pub process: service::ProcessArgs,

    /// The NATS server.
    #[command(flatten)]
    pub nats: bus::NatsArgs,

    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

impl service::Program for Args {
    fn process(&self) -> &service::ProcessArgs {
        &self.process
    }

    fn is_service(&self) -> bool {
        matches!(self.command, Command::Run(_))
    }
}

/// The commands of the trainer.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Bring the Parquet archive of accepted ticks up to date with MARKET, then stop
    Archive(ArchiveArgs),
    /// Train one model on the archive (brought up to date if a server answers) or on a recording, print how good it is
    Train(TrainArgs),
    /// Check that such a model does not know the future and that its score is not flattered; exit code 1 when a check
    /// fails
    Check(CheckArgs),
    /// Run as a service: archive continuously, train as event time passes, forecast each candle and score the forecasts
    Run(RunArgs),
    /// Show how good the live forecasts were so far, model by model
    Evaluate(EvaluateArgs),
    /// Ask a running trainer whether it is ready; exit code 1 when it is not
    Health(service::AskArgs),
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};
    use learn::config::LearnConfig;
    use learn::split::Split;
    use market::Recipe;

    use super::*;

    fn learn(flags: &[&str]) -> anyhow::Result<LearnConfig> {
        let args =
            Args::try_parse_from([&["trainer", "train", "--coin", "bitcoin", "--quote", "usd"], flags].concat())?;
        let Command::Train(train) = args.command else { panic!("train was asked for") };
        train.learn.config(train.data.instrument.instrument()?.expect("it was named"))
    }

    #[test]
    fn flags_are_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_coverage_is_a_share() {
        let min_coverage = |flags: &[&str]| learn(flags).map(|config| config.min_coverage);
        assert_eq!(min_coverage(&[]).expect("valid"), 0.5);
        assert_eq!(min_coverage(&["--min-coverage", "0"]).expect("valid"), 0.0);
        for wrong in ["1.01", "50", "NaN", "half"] {
            let error = min_coverage(&["--min-coverage", wrong]).expect_err("no share").to_string();
            assert!(error.contains("from 0 to 1"), "{error}");
        }
    }

    #[test]
    fn each_recipe_has_defaults_that_flags_overrule() {
        let returns = learn(&[]).expect("valid");
        assert_eq!((returns.recipe, returns.split, returns.folds), (Recipe::Returns, Split::Time, 5));
        let calendar = learn(&["--recipe", "calendar", "--split", "random", "--depth", "7"]).expect("valid");
        let boosting = calendar.boosting;
        assert_eq!((boosting.rounds_max, boosting.depth, boosting.learning_rate, boosting.seed), (100, 7, 0.1, 42));
    }

    #[test]
    fn flags_out_of_range_or_in_contradiction_are_refused() {
        for bad in [
            vec!["--holdout", "1.5"],
            vec!["--holdout", "NaN"],
            vec!["--learning-rate", "0"],
            vec!["--horizon", "0"],
            vec!["--interval", "2m"],
            vec!["--interval", "1h-30m"],
            vec!["--recipe", "calendar", "--horizon", "2"],
            vec!["--threads", "0"],
        ] {
            assert!(learn(&bad).is_err(), "{bad:?}");
        }
    }
}
