//! A replay: asks FEED where each instrument ends, then reads on one thread and publishes what it reads.

use service::{Code, Shutdown, WithCode};
use store::recording::{Rejects, UnusableFile};

use super::opened::Recording;
use super::pace::Speed;
use super::pack::Packer;
use super::progress::{InstrumentProgress, ReplayProgress};
use super::published::PublishedMessages;
use super::reading::{ReadingDone, ReadingThread};
use super::resume::{self, FeedTail, OlderRows};
use super::summary::{ReplayCounts, Summary};
use super::{flush, publishing};
use crate::feed::Feed;
use crate::metrics::ProducerMetrics;

/// Settings of a replay.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReplayPlan {
    /// Whether holes become gap records.
    pub(crate) gaps: bool,
    pub(crate) speed: Speed,
    pub(crate) older: OlderRows,
    /// Whether each instrument ends with a flush.
    pub(crate) flush: bool,
    /// FEED's last sequence before the replay.
    pub(crate) feed_end: u64,
}

/// Ending of a replay.
#[derive(Debug)]
pub(crate) enum Ending {
    /// All rows were read and published.
    Done,
    /// Shutdown came first.
    Stopped,
    /// A file broke off; all rows before that were published.
    Cut(UnusableFile),
    /// A refused row could not be written to the rejects file.
    Rejects(std::io::Error),
}

/// The result of a replay.
#[derive(Debug)]
pub(crate) struct Replayed {
    pub(crate) summary: Summary,
    pub(crate) ending: Ending,
    /// The messages that it added to FEED.
    pub(crate) published: PublishedMessages,
}

/// A replay that is about to run.
pub(crate) struct Replay<'a, F> {
    pub(crate) feed: &'a F,
    pub(crate) plan: ReplayPlan,
    pub(crate) metrics: &'a ProducerMetrics,
    pub(crate) shutdown: &'a Shutdown,
}

impl<F: Feed> Replay<'_, F> {
    /// Replays recordings, all instruments side by side. `begin` is called after the last check, before the first
    /// publish.
    ///
    /// # Errors
    /// A file with too many rows from before FEED begins (exit code 2), and a publish that fails for good.
    pub(crate) async fn run(
        self,
        recordings: Vec<Recording>,
        rejects: Rejects,
        begin: impl FnOnce(),
    ) -> anyhow::Result<Replayed> {
        let Self { feed, plan, metrics, shutdown } = self;
        let tails = tokio::select! {
            tails = resume::tails(feed, &recordings, plan.older) => tails?,
            () = shutdown.requested() => {
                return Ok(replayed(Vec::new(), ReplayProgress::new(0, plan.feed_end), Ending::Stopped));
            }
        };
        let (recordings, tails) = check(recordings, tails).await?;
        begin();

        let packers = packers(recordings, &tails, plan);
        let mut progress = ReplayProgress::new(packers.len(), plan.feed_end);
        let (reading, packed) = ReadingThread::start(packers, rejects, plan.speed);
        let flushed_tails = plan.flush.then_some(tails.as_slice());
        let published = publishing::publish(feed, packed, flushed_tails, &mut progress, metrics, shutdown).await;
        let done = reading.finish().await?;
        let is_published = published?;

        let (packers, ending) = ending(done, is_published);
        if plan.flush && matches!(ending, Ending::Done | Ending::Cut(_)) {
            tokio::select! {
                flushed = flush::flush_rest(feed, &packers, &tails, &mut progress, metrics) => flushed?,
                () = shutdown.requested() => return Ok(replayed(packers, progress, Ending::Stopped)),
            }
        }
        Ok(replayed(packers, progress, ending))
    }
}

/// Checks the recordings against FEED on a blocking thread, because it may read whole files.
async fn check(
    recordings: Vec<Recording>,
    tails: Vec<Option<FeedTail>>,
) -> anyhow::Result<(Vec<Recording>, Vec<Option<FeedTail>>)> {
    tokio::task::spawn_blocking(move || {
        resume::check(&recordings, &tails)?;
        anyhow::Ok((recordings, tails))
    })
    .await?
    .exit_code(Code::BadConfig)
}

fn packers(recordings: Vec<Recording>, tails: &[Option<FeedTail>], plan: ReplayPlan) -> Vec<Packer> {
    let packer = |(instrument_idx, (recording, tail)): (usize, (Recording, &Option<FeedTail>))| {
        let tail = tail.as_ref().filter(|_| plan.older != OlderRows::Publish);
        Packer::new(instrument_idx, recording.instrument, recording.rows, plan.gaps, tail)
    };
    recordings.into_iter().zip(tails).enumerate().map(packer).collect()
}

fn ending(done: ReadingDone, is_published: bool) -> (Vec<Packer>, Ending) {
    let ReadingDone { packers, rejects, is_complete } = done;
    let cut = packers.iter().find_map(|packer| packer.rows().cut().cloned());
    let ending = match (rejects.finish(), is_complete && is_published, cut) {
        (Err(error), _, _) => Ending::Rejects(error),
        (Ok(()), false, _) => Ending::Stopped,
        (Ok(()), true, Some(cut)) => Ending::Cut(cut),
        (Ok(()), true, None) => Ending::Done,
    };
    (packers, ending)
}

fn replayed(packers: Vec<Packer>, progress: ReplayProgress, ending: Ending) -> Replayed {
    let ReplayProgress { confirmed, mut published } = progress;
    published.finish();
    let counts = |(packer, confirmed): (Packer, InstrumentProgress)| {
        let counts = ReplayCounts {
            row_counts: packer.row_counts.clone(),
            published: confirmed.ticks,
            gaps: confirmed.gaps,
            known_messages: confirmed.known,
            flushes: confirmed.flushes,
            fit: packer.fit.clone(),
        };
        (packer.instrument().clone(), counts)
    };
    let instruments = packers.into_iter().zip(confirmed).map(counts).collect();
    let is_complete = matches!(ending, Ending::Done);
    Replayed { summary: Summary { instruments, is_complete, ..Summary::default() }, ending, published }
}
