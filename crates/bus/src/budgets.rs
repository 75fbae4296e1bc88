//! The bucket of request budgets: one value for each account at a source, which all producers change by comparing
//! revisions. The source defines the form of its values, of which every reader knows the fields of [`KnownBudget`].

use bytes::Bytes;
use serde::Deserialize;

use crate::connect::Connection;
use crate::error::Error;
use crate::query::direct;
use crate::revision::{expecting, unless_overtaken, write};
use crate::snapshot::all_last;
use crate::stream::BUDGETS_STREAM;
use crate::subject;

/// A stored value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBudget {
    /// The value, in the form of its source.
    pub payload: Bytes,
    /// The revision to be expected by the next write.
    pub revision: u64,
}

/// Reads the budget of an account at a source; `None` if it was never written. A lagging replica may answer: a write
/// based on an old revision is refused.
///
/// # Errors
/// No answer, or a missing permission.
pub async fn load(connection: &Connection, source: &str, account: &str) -> Result<Option<StoredBudget>, Error> {
    let request = format!("$JS.API.DIRECT.GET.{BUDGETS_STREAM}.{}", subject::budget(source, account));
    let stored = direct(connection, request, Bytes::new()).await?;
    Ok(stored.map(|stored| StoredBudget { payload: stored.payload, revision: stored.seq }))
}

/// Writes the budget of an account, if `revision` (0 if it was never written) is still the latest; returns the new
/// revision. `None` when another producer was faster.
///
/// # Errors
/// No answer, a full bucket, or a missing permission. Without an answer the value may have been written.
pub async fn store(
    connection: &Connection,
    source: &str,
    account: &str,
    payload: Bytes,
    revision: u64,
) -> Result<Option<u64>, Error> {
    let subject = subject::budget(source, account);
    unless_overtaken(write(connection, "a budget", subject, expecting(revision), payload).await)
}

/// The fields of a budget that do not depend on its source.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct KnownBudget {
    /// The calendar month, UTC, that `spent` counts, such as `2026-12`.
    pub month: String,
    /// Calls of the month.
    pub spent: u64,
    /// Calls that the account may make in a month; absent without a limit.
    #[serde(default)]
    pub credits: Option<u64>,
    /// Time between two polls that the producer has chosen, in milliseconds.
    #[serde(default)]
    pub interval_ms: Option<i64>,
}

/// Reads the budget that was written last, with the name of its account; `None` without a budget, or if its form is
/// unknown.
///
/// # Errors
/// No answer, or a missing permission.
pub async fn newest(connection: &Connection) -> Result<Option<(String, KnownBudget)>, Error> {
    let stored = all_last(connection, BUDGETS_STREAM, &subject::budget("*", "*")).await?;
    let newest = stored.into_iter().max_by_key(|stored| stored.seq);
    Ok(newest.and_then(|stored| {
        let account = stored.subject.rsplit('.').next()?.to_owned();
        Some((account, serde_json::from_slice(&stored.payload).ok()?))
    }))
}
