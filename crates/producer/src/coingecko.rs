//! CoinGecko as a source: all coins are requested at once, as often as the credits of the plan allow.
//!
//! - Requests: `client` sends them, `answer` classifies the answers, `markets` parses quotes, `chart` past prices and
//!   `usage` the limits of a paid key (all with `json`), `quote_error` names unusable quotes, and `key` hides the API key.
//! - Budget: `plan` has the limits, `budget` counts credits and calls of a minute, `ledger` keeps the count in NATS, and
//!   `limits_of_key` asks for the limits of a paid key.
//! - Decisions: `observer` derives new records from answers. `certification` decides what is known of the time between
//!   two prices, and `lag` how far heartbeats stay behind. `hole` fills the time before a price, `chart_request` chooses
//!   the requests for it, and `filler` holds the prices that wait.
//! - Service: `poll` runs the poller and the publisher, `poller` does what `agenda` says is next, `buffer` holds
//!   unpublished records, `backoff` decides when to ask again after a refusal, and `readiness` whether the source is
//!   usable.
//! - Commands: `fetch`, `budget_command` and `backfill`. `received` reads answers without a request.

mod agenda;
mod answer;
mod args;
mod backfill;
mod backoff;
mod budget;
mod budget_command;
mod buffer;
mod certification;
mod chart;
mod chart_request;
mod client;
mod config;
#[cfg(test)]
mod coverage_tests;
mod fetch;
mod filler;
mod hole;
mod json;
mod key;
mod lag;
mod ledger;
mod limits_of_key;
mod markets;
mod observer;
#[cfg(test)]
mod observer_tests;
mod plan;
mod poll;
mod poller;
mod quote_error;
mod readiness;
mod received;
mod shared_buffer;
mod usage;
mod words;

pub use self::args::{ApiArgs, BackfillArgs, BudgetArgs, FetchArgs, FillHoles, HistoryLength, LimitArgs, PollingArgs};
pub use self::backfill::backfill;
pub use self::budget_command::budget;
pub use self::config::{Api, Filling, PollingConfig};
pub use self::fetch::{fetch, tick};
pub use self::key::ApiKey;
pub use self::plan::{ApiPlan, PRO_URL, PUBLIC_URL};
pub use self::poll::run;
pub use self::received::ReceivedAnswer;
