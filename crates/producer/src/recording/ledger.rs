//! What FEED has confirmed of a replay.

use super::sent::{Runs, Sent};
use crate::batch_publisher::Stored;

/// What FEED has confirmed of one instrument.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Acked {
    pub(crate) ticks: u64,
    pub(crate) gaps: u64,
    /// Messages that FEED had already.
    pub(crate) known: u64,
    pub(crate) flushes: u64,
}

/// What is on its way.
#[derive(Debug, Default)]
pub(crate) struct Note {
    pub(crate) ticks: u64,
    pub(crate) gaps: u64,
    pub(crate) flushes: u64,
    /// The rows of the ticks.
    pub(crate) rows: Runs,
}

/// What FEED has confirmed, by instrument and by message.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) acked: Vec<Acked>,
    pub(crate) sent: Sent,
}

impl Ledger {
    /// Nothing yet of so many instruments, into a FEED that ends at `feed_end`.
    pub(crate) fn new(instruments: usize, feed_end: u64) -> Self {
        Self { acked: vec![Acked::default(); instruments], sent: Sent::new(feed_end) }
    }

    /// Takes note of what is stored.
    pub(crate) fn add(&mut self, stored: &Stored<Note>) {
        let Stored { lane, note, receipts } = stored;
        let acked = &mut self.acked[*lane];
        acked.ticks += note.ticks;
        acked.gaps += note.gaps;
        acked.flushes += note.flushes;
        for &(kind, receipt) in receipts {
            acked.known += u64::from(receipt.duplicate);
            self.sent.add(*lane, kind, receipt, &note.rows);
        }
    }
}
