//! The reading thread of a replay: reads recordings, packs rows into messages, and hands them over at the replay's
//! speed.

use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use service::Shutdown;
use store::recording::Rejects;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::pace::{self, ReplayClock, Speed};
use super::pack::{PackedRows, Packer};
use crate::clock::now_ms;

/// Packed messages that wait for the publisher, at most: about 2 MiB.
const PACKED_MAX: usize = 16;

/// A running reading thread.
pub(crate) struct ReadingThread {
    thread: JoinHandle<ReadingDone>,
    stop: Shutdown,
}

/// Result of the reading thread.
pub(crate) struct ReadingDone {
    pub(crate) packers: Vec<Packer>,
    pub(crate) rejects: Rejects,
    /// Whether all recordings were read to their ends.
    pub(crate) is_complete: bool,
}

impl ReadingThread {
    /// Starts the thread. Returns it with the packed messages, in the order in which they must be published.
    pub(crate) fn start(packers: Vec<Packer>, rejects: Rejects, speed: Speed) -> (Self, mpsc::Receiver<PackedRows>) {
        let stop = Shutdown::new();
        let (sender, packed) = mpsc::channel(PACKED_MAX);
        let clock = WallClock { started: Instant::now(), handle: Handle::current(), stop: stop.clone() };
        let thread = tokio::task::spawn_blocking(move || read(packers, rejects, speed, &clock, &sender));
        (Self { thread, stop }, packed)
    }

    /// Stops the thread, if it is not done, and waits for it.
    ///
    /// # Errors
    /// The thread panicked.
    pub(crate) async fn finish(self) -> anyhow::Result<ReadingDone> {
        self.stop.request();
        self.thread.await.context("the reading thread ended early")
    }
}

fn read(
    mut packers: Vec<Packer>,
    mut rejects: Rejects,
    speed: Speed,
    clock: &WallClock,
    sender: &mpsc::Sender<PackedRows>,
) -> ReadingDone {
    let mut emit = |packed| !clock.stop.is_requested() && sender.blocking_send(packed).is_ok();
    let is_complete = pace::replay(&mut packers, speed, &mut rejects, clock, &mut emit);
    ReadingDone { packers, rejects, is_complete }
}

/// The clock of the machine.
struct WallClock {
    started: Instant,
    handle: Handle,
    stop: Shutdown,
}

impl ReplayClock for WallClock {
    fn now_ms(&self) -> i64 {
        now_ms(SystemTime::now())
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn wait(&self, duration: Duration) -> bool {
        self.handle.block_on(async { tokio::time::timeout(duration, self.stop.requested()).await.is_err() })
    }
}
