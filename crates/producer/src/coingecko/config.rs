//! Configuration of the CoinGecko source.

use std::time::Duration;

use market::{Instrument, Span};
use sha2::{Digest, Sha256};

use super::budget::Limits;
use super::key::ApiKey;
use super::plan::ApiPlan;

/// Name of this source in ticks.
pub(crate) const SOURCE: &str = "coingecko";
/// Coins of one request, at most; the API has no longer page.
pub(crate) const COINS_MAX: usize = 250;
/// Digits of the digest that names an account.
const ACCOUNT_DIGITS: usize = 12;

/// Access to the API.
#[derive(Debug, Clone)]
pub struct Api {
    /// Root URL of the API, without a slash at its end.
    pub base_url: String,
    /// The plan.
    pub plan: ApiPlan,
    /// API key of the plan.
    pub key: Option<ApiKey>,
    /// Credits of a month that differ from those of the plan.
    pub credits: Option<u64>,
    /// Calls in any minute that differ from those of the plan.
    pub calls_per_minute: Option<u32>,
}

impl Api {
    /// Whether the API is not at CoinGecko's own host, but at a proxy or a replica.
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.base_url != self.plan.url()
    }

    /// Returns the name of the account in NATS: the plan, and a digest of the key that does not tell the key.
    pub(crate) fn account(&self) -> String {
        let plan = self.plan.name();
        match &self.key {
            None => plan.to_owned(),
            Some(key) => {
                let digest = Sha256::new_with_prefix(b"candlewire account ").chain_update(key.secret()).finalize();
                let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).take(ACCOUNT_DIGITS / 2).collect();
                format!("{plan}-{digits}")
            }
        }
    }

    /// Returns the limits by flags and plan. Another host than CoinGecko's has limits of its own, unless a key is known
    /// at CoinGecko.
    pub(crate) fn limits(&self) -> Limits {
        let is_free = self.is_elsewhere() && self.key.is_none();
        let of_plan = if is_free { Limits { per_minute: u32::MAX, credits: None } } else { self.plan.limits() };
        self.told(of_plan)
    }

    /// Returns limits with those that flags replace.
    pub(crate) fn told(&self, limits: Limits) -> Limits {
        Limits {
            per_minute: self.calls_per_minute.unwrap_or(limits.per_minute),
            credits: self.credits.or(limits.credits),
        }
    }
}

/// Prices to fetch afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filling {
    /// Days of history before the first live price of an instrument; 0 for none.
    pub history_days: i64,
    /// Whether holes after an interruption are filled.
    pub holes: bool,
}

/// Configuration of the poller.
#[derive(Debug, Clone)]
pub struct PollingConfig {
    /// The coins, all in one quote currency.
    pub instruments: Vec<Instrument>,
    /// Time between two polls, at least.
    pub interval: Span,
    /// Minimum age of an answer.
    pub source_delay: Span,
    /// Prices to fetch afterwards.
    pub filling: Filling,
    /// Access to the API.
    pub api: Api,
    /// Time without a renewal of the lease after which another producer takes over.
    pub lease_ttl: Duration,
}

impl PollingConfig {
    /// Returns the number of requests that one poll takes.
    pub(crate) fn requests(&self) -> u64 {
        requests(self.instruments.len())
    }
}

/// Returns the number of requests for the prices of this many coins.
pub(crate) fn requests(coins: usize) -> u64 {
    coins.div_ceil(COINS_MAX).max(1) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_named_without_its_key() {
        let api = |key: Option<&str>| Api {
            base_url: String::new(),
            plan: if key.is_some() { ApiPlan::Demo } else { ApiPlan::Keyless },
            key: key.map(|key| key.parse().unwrap()),
            credits: None,
            calls_per_minute: None,
        };
        assert_eq!(api(None).account(), "keyless");
        let account = api(Some("CG-SuperSecretKey1234567890")).account();
        assert!(account.starts_with("demo-") && account.len() == 17, "{account}");
        assert_ne!(account, api(Some("CG-SuperSecretKey1234567891")).account());
    }
}
