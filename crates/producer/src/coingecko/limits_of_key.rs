//! Limits and spent credits of a paid key, which CoinGecko tells.

use bus::Error;
use bus::error::Disposition;
use market::EventTime;

use super::client::Client;
use super::config::Api;
use super::ledger::{Ledger, Store};

/// Asks for limits and spent credits, and takes them over. Without an answer those of the plan count. The call is recorded
/// also beyond the limits, which may be those of a smaller plan until then. Returns whether it was made.
///
/// # Errors
/// The budget cannot be kept in NATS, and waiting does not help.
pub(crate) async fn ask<S: Store>(
    ledger: &mut Ledger<S>,
    client: &Client,
    api: &Api,
    now: EventTime,
) -> Result<bool, Error> {
    match ledger.record(now).await {
        Ok(()) => {}
        Err(error) if error.disposition() == Disposition::Stop => return Err(error),
        Err(_) => return Ok(false),
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
