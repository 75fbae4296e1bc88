//! Record counts of a run, as `reporter metrics` writes them.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use serde::Deserialize;

/// Record counts of a run.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct RunCounts {
    /// Accepted prices.
    pub(super) ticks: u64,
    /// Accepted prices that their source fetched afterwards.
    pub(super) filled: u64,
    /// 1-minute candles.
    pub(super) candles: u64,
    /// Prices beyond the allowed lateness.
    pub(super) late: u64,
    /// Repeated prices.
    pub(super) duplicates: u64,
    /// Refused records.
    pub(super) rejected: u64,
    rejected_by: RejectedBy,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct RejectedBy {
    producer: BTreeMap<String, u64>,
    stream_processor: BTreeMap<String, u64>,
}

impl RunCounts {
    /// Reads the counts of a run; `None` without a file.
    ///
    /// # Errors
    /// The file is unreadable or holds other data.
    pub(super) fn read(path: &Path) -> anyhow::Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        let read = || anyhow::Ok(serde_json::from_slice(&std::fs::read(path)?)?);
        read().map(Some).with_context(|| format!("cannot read the figures of the run from {}", path.display()))
    }

    /// Returns the refused records by reason.
    pub(super) fn reasons(&self) -> BTreeMap<&str, u64> {
        let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
        for (reason, count) in self.rejected_by.producer.iter().chain(&self.rejected_by.stream_processor) {
            *reasons.entry(reason).or_default() += count;
        }
        reasons
    }
}
