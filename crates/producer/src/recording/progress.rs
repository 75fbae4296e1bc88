//! Progress of a replay, as FEED has confirmed it.

use super::published::{PublishedMessages, RowRuns};
use crate::batch_publisher::StoredSubmission;

/// Counts that FEED has confirmed of one instrument.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct InstrumentProgress {
    pub(crate) ticks: u64,
    pub(crate) gaps: u64,
    /// Messages that FEED already had.
    pub(crate) known: u64,
    pub(crate) flushes: u64,
}

/// Contents of one submission: the context that comes back with its receipts.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) ticks: u64,
    pub(crate) gaps: u64,
    pub(crate) flushes: u64,
    /// The rows of the ticks.
    pub(crate) rows: RowRuns,
}

/// Confirmations of FEED, by instrument and by message.
#[derive(Debug)]
pub(crate) struct ReplayProgress {
    pub(crate) confirmed: Vec<InstrumentProgress>,
    pub(crate) published: PublishedMessages,
}

impl ReplayProgress {
    /// No progress yet, for this number of instruments and a FEED that ends at sequence `feed_end`.
    pub(crate) fn new(instruments: usize, feed_end: u64) -> Self {
        let confirmed = vec![InstrumentProgress::default(); instruments];
        Self { confirmed, published: PublishedMessages::new(feed_end) }
    }

    /// Adds a stored submission.
    pub(crate) fn add(&mut self, stored: &StoredSubmission<Contents>) {
        let StoredSubmission { instrument_idx, context, receipts } = stored;
        let confirmed = &mut self.confirmed[*instrument_idx];
        confirmed.ticks += context.ticks;
        confirmed.gaps += context.gaps;
        confirmed.flushes += context.flushes;
        for &(kind, receipt) in receipts {
            confirmed.known += u64::from(receipt.duplicate);
            self.published.add(*instrument_idx, kind, receipt, &context.rows);
        }
    }
}
