//! Configuration of the CoinGecko source.

use std::time::Duration;

use market::{Instrument, Span};

use super::key::ApiKey;

/// Root URL of the public API.
pub const PUBLIC_URL: &str = "https://api.coingecko.com/api/v3";
/// Name of this source in ticks.
pub(crate) const SOURCE: &str = "coingecko";
/// Coins of one request, at most; the API has no longer page.
pub(crate) const COINS_MAX: usize = 250;

/// Plan at CoinGecko.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ApiPlan {
    /// Without a key, with few requests
    Keyless,
    /// With a free key
    Demo,
}

/// Access to the API.
#[derive(Debug, Clone)]
pub struct Api {
    /// Root URL of the API, without a slash at its end.
    pub base_url: String,
    /// API key of the demo plan.
    pub key: Option<ApiKey>,
}

/// Configuration of the poller.
#[derive(Debug, Clone)]
pub struct PollingConfig {
    /// The coins, all in one quote currency.
    pub instruments: Vec<Instrument>,
    /// Time between two requests.
    pub interval: Duration,
    /// `interval` as a span of event time.
    pub step: Span,
    /// Minimum age of an answer.
    pub source_delay: Span,
    /// Access to the API.
    pub api: Api,
    /// Time without a renewal of the lease after which another producer takes over.
    pub lease_ttl: Duration,
}
