//! Limits and spent credits of a paid key, which CoinGecko tells.

use bus::Error;
use market::EventTime;

use super::budget::{Purpose, Verdict};
use super::client::Client;
use super::config::Api;
use super::ledger::{Ledger, Store};

/// Asks for limits and spent credits, and takes them over; the call is recorded. Without an answer those of the plan
/// count. Returns whether a call was made.
///
/// # Errors
/// The budget cannot be kept in NATS, and waiting does not help.
pub(crate) async fn ask<S: Store>(
    ledger: &mut Ledger<S>,
    client: &Client,
    api: &Api,
    now: EventTime,
) -> Result<bool, Error> {
    if ledger.spend(Purpose::Poll, now).await? != Some(Verdict::Go) {
        return Ok(false);
    }
    match client.usage().await {
        Ok(usage) => {
            let (limits, spent) = (api.told(usage.limits(api.plan.limits())), usage.spent);
            ledger.told(limits, spent, now).await?;
            tracing::info!(credits = limits.credits, per_minute = limits.per_minute, spent, "limits of the key");
        }
        Err(refusal) => {
            tracing::warn!("the limits of the key are not known, so those of the smallest plan count: {refusal}");
        }
    }
    Ok(true)
}
