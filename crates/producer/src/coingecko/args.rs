//! Flags of the CoinGecko source and of its commands.

use std::time::Duration;

use anyhow::{bail, ensure};
use market::span_text::at_least;
use market::{Instrument, Span};

use super::config::{Api, Filling, PollingConfig};
use super::key::ApiKey;
use super::plan::ApiPlan;

/// Days of history that a command may ask for, at most.
const DAYS_MAX: u32 = 730;

/// Flags of `run --source coingecko`.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "CoinGecko")]
pub struct PollingArgs {
    /// Time between two requests to CoinGecko, at least; it becomes longer as the credits of the month require [default:
    /// the time between two updates there, 60s or with a paid plan 20s]
    #[arg(long, env = "COINGECKO_INTERVAL", value_parser = at_least(Span(1)))]
    pub interval: Option<Span>,

    /// Minimum age of an answer. Heartbeats stay this far behind, or as far as the largest lag of an answer in the last
    /// 24 hours
    #[arg(long, env = "COINGECKO_SOURCE_DELAY", default_value = "5m", value_parser = at_least(Span(1)))]
    pub source_delay: Span,

    /// History to fetch before the first live price of an instrument: points of 5 minutes for the last day, hourly ones
    /// before
    #[arg(long, env = "COINGECKO_HISTORY", value_enum, default_value = "90d")]
    pub history: HistoryLength,

    /// Fetch the prices that were missed in an interruption of more than 5 minutes
    #[arg(long, env = "COINGECKO_FILL", value_enum, default_value = "on")]
    pub fill: FillHoles,
}

/// Length of the history to fetch at the first start of an instrument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum HistoryLength {
    /// None
    #[value(name = "0")]
    None,
    /// A day
    #[value(name = "1d")]
    Day,
    /// 90 days
    #[value(name = "90d")]
    Quarter,
    /// A year
    #[value(name = "365d")]
    Year,
}

impl HistoryLength {
    /// Returns the length in days.
    pub(crate) fn days(self) -> i64 {
        match self {
            Self::None => 0,
            Self::Day => 1,
            Self::Quarter => 90,
            Self::Year => 365,
        }
    }
}

/// Whether holes are filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum FillHoles {
    /// Yes
    On,
    /// No: they stay gaps
    Off,
}

/// Access to CoinGecko.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "CoinGecko")]
pub struct ApiArgs {
    /// Root URL of the API [default: that of the plan at CoinGecko]
    #[arg(long, env = "COINGECKO_BASE_URL", value_name = "URL")]
    pub base_url: Option<String>,

    /// Plan at CoinGecko [default: demo if the environment variable COINGECKO_API_KEY holds a key, else keyless]
    #[arg(long, env = "COINGECKO_PLAN", value_enum)]
    pub plan: Option<ApiPlan>,

    /// API key of the plan
    #[arg(long, env = "COINGECKO_API_KEY", hide = true, hide_env_values = true)]
    pub api_key: Option<ApiKey>,
}

/// Limits of the account, for `run`, `budget` and `backfill`.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "CoinGecko")]
pub struct LimitArgs {
    /// Credits of a calendar month (UTC) that producers may spend, one for each request [default: those of the plan]
    #[arg(long, env = "COINGECKO_CREDITS", value_name = "COUNT")]
    pub credits: Option<u64>,

    /// Requests in any minute, at most [default: those of the plan]
    #[arg(long, env = "COINGECKO_CALLS_PER_MINUTE", value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub calls_per_minute: Option<u32>,
}

/// Flags of `fetch`.
#[derive(Debug, clap::Args)]
pub struct FetchArgs {
    /// Coin, by its CoinGecko id
    #[arg(long, env = "CANDLEWIRE_COIN", default_value = "bitcoin")]
    pub coin: String,

    /// Currency of the price
    #[arg(long, env = "CANDLEWIRE_QUOTE", default_value = "usd")]
    pub quote: String,

    /// Access to CoinGecko.
    #[command(flatten)]
    pub api: ApiArgs,
}

/// Flags of `budget`.
#[derive(Debug, clap::Args)]
pub struct BudgetArgs {
    /// Coins that a producer asks for, of which 250 take one request: they decide how long the credits last
    #[arg(
        long = "coin",
        visible_alias = "coins",
        env = "CANDLEWIRE_COINS",
        value_delimiter = ',',
        value_name = "COIN"
    )]
    pub coins: Vec<String>,

    /// Set the credits that were spent this month, for example elsewhere with the same key
    #[arg(long, value_name = "COUNT")]
    pub spent: Option<u64>,

    /// Access to CoinGecko.
    #[command(flatten)]
    pub api: ApiArgs,

    /// Limits of the account.
    #[command(flatten)]
    pub limits: LimitArgs,
}

/// Flags of `backfill`.
#[derive(Debug, clap::Args)]
pub struct BackfillArgs {
    /// Coin, by its CoinGecko id; repeat it, or a,b for several
    #[arg(
        long = "coin",
        visible_alias = "coins",
        env = "CANDLEWIRE_COINS",
        value_delimiter = ',',
        value_name = "COIN",
        required = true
    )]
    pub coins: Vec<String>,

    /// Currency of the prices
    #[arg(long, env = "CANDLEWIRE_QUOTE", default_value = "usd")]
    pub quote: String,

    /// Days of history, up to now
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=i64::from(DAYS_MAX)))]
    pub days: u32,

    /// Print the requests and credits that it would take, and do nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Access to CoinGecko.
    #[command(flatten)]
    pub api: ApiArgs,

    /// Limits of the account.
    #[command(flatten)]
    pub limits: LimitArgs,
}

impl PollingArgs {
    /// Converts the flags to the configuration of a poller of these coins.
    ///
    /// # Errors
    /// Flags are missing or contradict each other.
    pub(crate) fn to_config(
        &self,
        coins: &[String],
        quote: &str,
        api: &ApiArgs,
        limits: &LimitArgs,
        lease_ttl: Duration,
    ) -> anyhow::Result<PollingConfig> {
        ensure!(!coins.is_empty(), "--source coingecko needs a coin: --coin bitcoin");
        let api = api.to_api(limits)?;
        let asked = self.interval.unwrap_or(api.plan.update());
        ensure!(asked <= market::validate::GRAIN_MAX, "--interval is longer than a year");
        // Another host, such as a proxy, may update more often.
        let least = if api.is_elsewhere() { asked } else { asked.max(api.plan.update()) };
        let filling = Filling { history_days: self.history.days(), holes: self.fill == FillHoles::On };
        let source_delay = self.source_delay;
        Ok(PollingConfig {
            instruments: instruments(coins, quote)?,
            interval: least,
            source_delay,
            filling,
            api,
            lease_ttl,
        })
    }
}

impl FetchArgs {
    /// Converts the flags to an API and an instrument.
    ///
    /// # Errors
    /// The instrument is not valid, or plan and key do not fit together.
    pub(crate) fn to_request(&self) -> anyhow::Result<(Api, Instrument)> {
        let instrument = Instrument::new(&self.coin, &self.quote)?;
        let limits = LimitArgs { credits: None, calls_per_minute: None };
        Ok((self.api.to_api(&limits)?, instrument))
    }
}

impl BackfillArgs {
    /// Converts the flags to an API and instruments.
    ///
    /// # Errors
    /// An instrument is not valid, plan and key do not fit together, or the plan has less history.
    pub(crate) fn to_request(&self) -> anyhow::Result<(Api, Vec<Instrument>)> {
        let api = self.api.to_api(&self.limits)?;
        let depth = api.plan.depth().ms() / Span::DAY.ms();
        ensure!(
            i64::from(self.days) <= depth,
            "--days {} is more than the {depth} days of history that the plan {} has",
            self.days,
            api.plan.name()
        );
        Ok((api, instruments(&self.coins, &self.quote)?))
    }
}

impl ApiArgs {
    /// Converts the flags to the access to the API.
    ///
    /// # Errors
    /// The plan needs a key, or a key is set for the plan without one.
    pub(crate) fn to_api(&self, limits: &LimitArgs) -> anyhow::Result<Api> {
        let key = self.api_key.clone().filter(|key| !key.is_empty());
        let plan = self.plan.unwrap_or(if key.is_some() { ApiPlan::Demo } else { ApiPlan::Keyless });
        match (plan, &key) {
            (ApiPlan::Keyless, Some(_)) => {
                bail!("COINGECKO_API_KEY is set and the plan is keyless: remove the key, or set COINGECKO_PLAN=demo")
            }
            (ApiPlan::Demo | ApiPlan::Pro, None) => {
                bail!("the plan {} needs a key: set COINGECKO_API_KEY, or COINGECKO_PLAN=keyless", plan.name())
            }
            (ApiPlan::Keyless, None) | (ApiPlan::Demo | ApiPlan::Pro, Some(_)) => {}
        }
        let given = self.base_url.as_deref().filter(|url| !url.is_empty());
        let base_url = given.unwrap_or(plan.url()).trim_end_matches('/').to_owned();
        Ok(Api { base_url, plan, key, credits: limits.credits, calls_per_minute: limits.calls_per_minute })
    }
}

/// Returns each instrument once.
fn instruments(coins: &[String], quote: &str) -> anyhow::Result<Vec<Instrument>> {
    let mut instruments: Vec<Instrument> = Vec::new();
    for coin in coins {
        let instrument = Instrument::new(coin, quote)?;
        if !instruments.contains(&instrument) {
            instruments.push(instrument);
        }
    }
    Ok(instruments)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::coingecko::budget::Limits;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        polling: PollingArgs,
        #[command(flatten)]
        api: ApiArgs,
        #[command(flatten)]
        limits: LimitArgs,
    }

    fn config(flags: &str) -> anyhow::Result<PollingConfig> {
        let flags = Flags::parse_from(["run"].into_iter().chain(flags.split_whitespace()));
        let coins = ["bitcoin", "ethereum", "bitcoin"].map(str::to_owned);
        flags.polling.to_config(&coins, "usd", &flags.api, &flags.limits, Duration::from_secs(5))
    }

    #[test]
    fn coins_are_asked_once_with_the_plan_of_the_key() {
        let keyless = config("").unwrap();
        let coins: Vec<_> = keyless.instruments.iter().map(ToString::to_string).collect();
        assert_eq!(coins, ["bitcoin/usd", "ethereum/usd"]);
        assert_eq!((keyless.interval, keyless.source_delay), (Span::MINUTE, Span::minutes(5)));
        assert_eq!((keyless.filling.history_days, keyless.filling.holes), (90, true));
        let check = |flags: &str, plan: &str, url: &str, interval: Span| {
            let config = config(flags).unwrap();
            assert_eq!((config.api.plan.name(), config.api.base_url.as_str()), (plan, url), "{flags}");
            assert_eq!(config.interval, interval, "{flags}");
        };
        let (public, pro) = ("https://api.coingecko.com/api/v3", "https://pro-api.coingecko.com/api/v3");
        check("", "keyless", public, Span::MINUTE);
        check("--api-key CG-x", "demo", public, Span::MINUTE);
        check("--api-key CG-x --plan pro", "pro", pro, Span::seconds(20));
        check("--interval 10s", "keyless", public, Span::MINUTE);
        check("--interval 10m", "keyless", public, Span::minutes(10));
        check("--interval 10s --base-url http://127.0.0.1:1/", "keyless", "http://127.0.0.1:1", Span::seconds(10));
    }

    #[test]
    fn plan_and_key_must_fit() {
        let check = |flags: &str, expected: &str| {
            let error = config(flags).unwrap_err().to_string();
            assert!(error.contains(expected), "{flags}: {error}");
        };
        check("--plan demo", "COINGECKO_API_KEY");
        check("--plan pro", "the plan pro needs a key");
        check("--plan keyless --api-key CG-x", "COINGECKO_PLAN=demo");
    }

    #[test]
    fn limits_are_those_of_the_plan_unless_told_otherwise() {
        let limits = |flags: &str| config(flags).unwrap().api.limits();
        assert_eq!(limits("--api-key CG-x"), Limits { per_minute: 30, credits: Some(10_000) });
        assert_eq!(limits(""), Limits { per_minute: 5, credits: None });
        let told = Limits { per_minute: 100, credits: Some(500) };
        assert_eq!(limits("--api-key CG-x --credits 500 --calls-per-minute 100"), told);
        // A proxy without a key has limits of its own.
        assert_eq!(limits("--base-url http://127.0.0.1:1"), Limits { per_minute: u32::MAX, credits: None });
        assert_eq!(limits("--base-url http://127.0.0.1:1 --api-key CG-x").credits, Some(10_000));
    }
}
