//! CoinGecko, asked for all coins at once, every interval.
//!
//! `client` asks, `answer` understands, `markets` reads quotes (both by `json`), `key` keeps the key out of what is shown,
//! `trouble` names what is wrong with a quote. `observer` decides what is new: `certification` says what is known of the time
//! between two prices, `lag` how far heartbeats stay behind. `outbox` holds what waits for NATS, `backoff` says when to ask
//! again after a refusal, `readiness` whether the source is useful, `poll` puts it together.

mod answer;
mod backoff;
mod buffer;
mod certification;
mod client;
#[cfg(test)]
mod coverage_tests;
mod fetch;
mod json;
mod key;
mod lag;
mod markets;
mod observer;
#[cfg(test)]
mod observer_tests;
mod poll;
mod readiness;
mod trouble;

use std::time::Duration;

use market::{Instrument, Span};

pub use self::fetch::{fetch, tick};
pub use self::key::ApiKey;
pub use self::poll::run;

/// The API that everyone may ask.
pub const PUBLIC_URL: &str = "https://api.coingecko.com/api/v3";
/// The source of every tick.
pub(crate) const SOURCE: &str = "coingecko";
/// Coins of one request; the API gives no longer page.
pub(crate) const COINS_MAX: usize = 250;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Plan {
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
pub struct Config {
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
