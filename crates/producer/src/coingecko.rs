//! CoinGecko as a source: all coins are requested at once, every poll interval.
//!
//! - Requests: `client` sends them, `answer` classifies the answers, `markets` parses quotes (both with `json`),
//!   `quote_error` names unusable quotes, and `key` hides the API key.
//! - Decisions: `observer` derives new records from answers. `certification` decides what is known of the time between
//!   two prices, and `lag` how far heartbeats stay behind.
//! - Service: `poll` runs the poller and the publisher, `buffer` holds unpublished records, `backoff` decides when to
//!   ask again after a refusal, and `readiness` whether the source is usable.

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
mod readiness;

pub use self::config::{Api, ApiPlan, PUBLIC_URL, PollingConfig};
pub use self::fetch::{fetch, tick};
pub use self::key::ApiKey;
pub use self::poll::run;
