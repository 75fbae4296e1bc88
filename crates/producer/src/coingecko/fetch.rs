//! The command `fetch`: prints one tick.

use std::time::{Duration, SystemTime};

use anyhow::{Context, anyhow};
use bus::{Connection, NatsArgs};
use market::{EventTime, Instrument};
use serde::Serialize;
use service::{Code, Shutdown, WithCode};

use super::answer::{Class, Refusal};
use super::client::Client;
use super::config::{Api, SOURCE};
use super::ledger::{Account, Ledger};
use super::observer::{self, Poll};
use super::quote_error::QuoteError;
use crate::clock::now_ms;

/// Time in which NATS must have recorded the call: the command works without NATS.
const RECORD_MAX: Duration = Duration::from_secs(2);

/// A tick as `fetch` prints it, with all fields of the quote.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fetched {
    /// Coin.
    pub coin: String,
    /// Quote currency.
    pub quote: String,
    /// Time of the observation at the source, in milliseconds.
    pub event_ms: i64,
    /// The same as `close`: a quote is one price.
    pub open: f64,
    /// The same as `close`.
    pub high: f64,
    /// The same as `close`.
    pub low: f64,
    /// Price in quote currency.
    pub close: f64,
    /// Market capitalization in quote currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub market_cap: Option<f64>,
    /// Rolling 24-hour volume, in quote currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_24h: Option<f64>,
    /// Rolling 24-hour high.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high_24h: Option<f64>,
    /// Rolling 24-hour low.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low_24h: Option<f64>,
    /// Time of the answer by the clock of this machine, in milliseconds.
    pub ingest_ms: i64,
    /// Name of the source.
    pub source: &'static str,
}

/// Prints one tick as one JSON object. The credit of a key is counted before, if NATS answers.
///
/// # Errors
/// The client cannot be set up, CoinGecko does not know the coin or has no price of it, or it gives another answer or
/// none.
pub async fn fetch(api: &Api, instrument: &Instrument, nats: &NatsArgs, shutdown: &Shutdown) -> anyhow::Result<()> {
    let counted = async {
        if api.limits().credits.is_some() {
            count(api, nats).await;
        }
        tick(api, instrument).await
    };
    let tick = tokio::select! {
        tick = counted => tick?,
        () = shutdown.requested() => return Ok(()),
    };
    let line = serde_json::to_string(&tick).context("a tick that is no JSON")?;
    Ok(service::output::print_line(line)?)
}

/// Requests one tick.
///
/// # Errors
/// As [`fetch`].
pub async fn tick(api: &Api, instrument: &Instrument) -> anyhow::Result<Fetched> {
    let client = Client::new(api).exit_code(Code::BadConfig)?;
    let (coin, quote) = (instrument.coin(), instrument.quote());
    let list = client.markets(quote, &[coin]).await.map_err(coded)?;
    let poll = Poll { answered_ms: now_ms(SystemTime::now()), date: list.date };
    let tick = observer::tick(instrument, list.quotes.get(coin), poll)
        .map_err(|quote_error| no_price(quote_error, instrument))?;
    Ok(Fetched {
        coin: coin.to_owned(),
        quote: quote.to_owned(),
        event_ms: tick.event_ms,
        open: tick.close,
        high: tick.close,
        low: tick.close,
        close: tick.close,
        market_cap: tick.market_cap,
        volume_24h: tick.volume_24h,
        high_24h: tick.high_24h,
        low_24h: tick.low_24h,
        ingest_ms: tick.ingest_ms,
        source: SOURCE,
    })
}

/// Records a call in the budget that all producers share, or warns that it is not counted.
async fn count(api: &Api, nats: &NatsArgs) {
    let why = match tokio::time::timeout(RECORD_MAX, record(api, nats)).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("NATS did not answer within {} s", RECORD_MAX.as_secs()),
    };
    tracing::warn!("this request is not counted: {why}; producer budget --spent corrects the count");
}

async fn record(api: &Api, nats: &NatsArgs) -> Result<(), bus::Error> {
    // Without a server there is nothing to wait for.
    let nats = NatsArgs { connect_timeout: 0, ..nats.clone() };
    let connection = Connection::open(&nats, Some("producer")).await?;
    let now = EventTime(now_ms(SystemTime::now()));
    let account = Account { connection: &connection, name: api.account() };
    Ledger::open(account, api.limits(), now).await?.record(now).await
}

/// Converts a quote error, with an exit code: an unknown coin is a bad configuration, the other errors may pass.
fn no_price(quote_error: QuoteError, instrument: &Instrument) -> anyhow::Error {
    let code = if quote_error == QuoteError::Missing { Code::BadConfig } else { Code::Failed };
    service::Coded::new(code, anyhow!(quote_error.explain(instrument))).into()
}

/// Converts a refusal, with an exit code: it is a bad configuration if only other flags can help.
pub(super) fn coded(refusal: Refusal) -> anyhow::Error {
    let code = match refusal.class {
        Class::Key | Class::Plan | Class::Request => Code::BadConfig,
        Class::RateLimited | Class::Upstream | Class::Unreachable | Class::Blocked | Class::Redirected => Code::Failed,
    };
    service::Coded::new(code, refusal).into()
}
