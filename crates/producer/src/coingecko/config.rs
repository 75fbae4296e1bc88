//! Configuration of the CoinGecko source.

use std::time::Duration;

use market::{Instrument, Span};

use super::key::ApiKey;

/// The API that everyone may ask.
pub const PUBLIC_URL: &str = "https://api.coingecko.com/api/v3";
/// The source of every tick.
pub(crate) const SOURCE: &str = "coingecko";
/// Coins of one request; the API gives no longer page.
pub(crate) const COINS_MAX: usize = 250;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ApiPlan {
    /// Anybody, with few requests
    Keyless,
    /// The owner of a free key
    Demo,
}

/// How CoinGecko is asked.
#[derive(Debug, Clone)]
pub struct Api {
    /// Root of the API, without a slash at its end.
    pub base_url: String,
    /// The key of a demo plan.
    pub key: Option<ApiKey>,
}

/// What to poll, and how often.
#[derive(Debug, Clone)]
pub struct PollingConfig {
    /// The coins, all in one currency.
    pub instruments: Vec<Instrument>,
    /// From one request to the next.
    pub interval: Duration,
    /// The same as a span of event time.
    pub step: Span,
    /// How old an answer may be.
    pub source_delay: Span,
    /// How CoinGecko is asked.
    pub api: Api,
    /// After this long without a sign of life another producer takes over.
    pub lease_ttl: Duration,
}
