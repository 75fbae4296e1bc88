//! CoinGecko, asked for all coins at once, every interval.
//!
//! `client` asks, `answer` understands, `markets` reads quotes (both by `json`), `key` keeps the key out of what is shown,
//! `quote_error` names what is wrong with a quote. `observer` decides what is new: `certification` says what is known of the time
//! between two prices, `lag` how far heartbeats stay behind. `buffer` holds what waits for NATS, `backoff` says when to ask
//! again after a refusal, `readiness` whether the source is useful, `poll` puts it together.

mod answer;
mod backoff;
mod buffer;
mod certification;
mod client;
mod config;
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
mod quote_error;
mod quote_error;
mod readiness;

pub use self::config::{Api, ApiPlan, PUBLIC_URL, PollingConfig};
pub use self::fetch::{fetch, tick};
pub use self::key::ApiKey;
pub use self::poll::run;
