//! A replay: a thread that reads and packs, and lanes that publish.

use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use bus::Error;
use bus::publish::FeedMessage;
use service::{Code, Shutdown, WithCode};
use store::recording::{Rejects, Unusable};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::ledger::{Acked, Ledger, Note};
use super::pace::{self, Speed, Time};
use super::pack::{Packer, Parcel};
use super::resume::{self, Older, Standing};
use super::sent::Sent;
use super::summary::{Counts, Summary};
use super::{Recording, flush};
use crate::batch_publisher::Lanes;
use crate::clock::now_ms;
use crate::feed::Feed;
use crate::metrics::ProducerMetrics;

/// Parcels that are packed ahead of publishing: 2 MiB.
const AHEAD: usize = 16;
/// How long a stopping replay waits for what is under way.
const DRAIN: Duration = Duration::from_secs(3);

/// How to replay.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Whether holes become gap records.
    pub(crate) gaps: bool,
    pub(crate) speed: Speed,
    pub(crate) older: Older,
    pub(crate) flush: bool,
    /// FEED's last sequence before the replay.
    pub(crate) feed_end: u64,
}

/// How a replay ended.
#[derive(Debug)]
pub(crate) enum Ending {
    /// Everything was read and published.
    Done,
    /// Shutdown came first.
    Stopped,
    /// A file broke off; everything before was published.
    Cut(Unusable),
    /// A refused row could not be kept.
    Rejects(std::io::Error),
}

/// What a replay did.
#[derive(Debug)]
pub(crate) struct Replayed {
    pub(crate) summary: Summary,
    pub(crate) ending: Ending,
    /// The messages that it added to FEED.
    pub(crate) sent: Sent,
}

/// What the reading thread gives back.
struct ReadingDone {
    packers: Vec<Packer>,
    rejects: Rejects,
    is_complete: bool,
}

/// Replays recordings, all instruments side by side, and counts. `begin` is called when nothing stands against the
/// first publish.
///
/// # Errors
/// A file with too many rows from before FEED begins (exit code 2), and what publishing cannot mend.
pub(crate) async fn replay(
    feed: &impl Feed,
    recordings: Vec<Recording>,
    plan: Plan,
    rejects: Rejects,
    begin: impl FnOnce(),
    metrics: &ProducerMetrics,
    shutdown: &Shutdown,
) -> anyhow::Result<Replayed> {
    let standings = tokio::select! {
        standings = resume::standings(feed, &recordings, plan.older) => standings?,
        () = shutdown.requested() => return Ok(replayed(Vec::new(), Ledger::new(0, plan.feed_end), Ending::Stopped)),
    };
    let (recordings, standings) = check(recordings, standings).await?;
    begin();

    let packers = packers(recordings, &standings, plan);
    let mut ledger = Ledger::new(packers.len(), plan.feed_end);
    let stop = Shutdown::new();
    let (sender, parcels) = mpsc::channel(AHEAD);
    let time = RunningTime { started: Instant::now(), handle: Handle::current(), stop: stop.clone() };
    let reading = tokio::task::spawn_blocking(move || read(packers, rejects, plan.speed, &time, &sender));
    let published =
        publish(feed, parcels, plan.flush.then_some(standings.as_slice()), &mut ledger, metrics, shutdown).await;
    stop.request();
    let ReadingDone { packers, rejects, is_complete } = reading.await.context("the reading thread ended early")?;
    let is_published = published?;

    let cut = packers.iter().find_map(|packer| packer.track().cut().cloned());
    let ending = match (rejects.finish(), is_complete && is_published, cut) {
        (Err(error), _, _) => Ending::Rejects(error),
        (Ok(()), false, _) => Ending::Stopped,
        (Ok(()), true, Some(cut)) => Ending::Cut(cut),
        (Ok(()), true, None) => Ending::Done,
    };
    if plan.flush && matches!(ending, Ending::Done | Ending::Cut(_)) {
        tokio::select! {
            flushed = flush::flush_rest(feed, &packers, &standings, &mut ledger, metrics) => flushed?,
            () = shutdown.requested() => return Ok(replayed(packers, ledger, Ending::Stopped)),
        }
    }
    Ok(replayed(packers, ledger, ending))
}

async fn check(
    recordings: Vec<Recording>,
    standings: Vec<Option<Standing>>,
) -> anyhow::Result<(Vec<Recording>, Vec<Option<Standing>>)> {
    tokio::task::spawn_blocking(move || {
        resume::check(&recordings, &standings)?;
        anyhow::Ok((recordings, standings))
    })
    .await?
    .exit_code(Code::BadConfig)
}

fn packers(recordings: Vec<Recording>, standings: &[Option<Standing>], plan: Plan) -> Vec<Packer> {
    let packer = |(lane, (recording, standing)): (usize, (Recording, &Option<Standing>))| {
        let have = standing.as_ref().filter(|_| plan.older != Older::Publish);
        Packer::new(lane, recording.instrument, recording.track, plan.gaps, have)
    };
    recordings.into_iter().zip(standings).enumerate().map(packer).collect()
}

fn read(
    mut packers: Vec<Packer>,
    mut rejects: Rejects,
    speed: Speed,
    time: &RunningTime,
    sender: &mpsc::Sender<Parcel>,
) -> ReadingDone {
    let mut emit = |parcel| !time.stop.is_requested() && sender.blocking_send(parcel).is_ok();
    let is_complete = pace::replay(&mut packers, speed, &mut rejects, time, &mut emit);
    ReadingDone { packers, rejects, is_complete }
}

struct RunningTime {
    started: Instant,
    handle: Handle,
    stop: Shutdown,
}

impl Time for RunningTime {
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

/// The flush that belongs behind its instrument's last messages.
fn flush_behind(Parcel { lane, messages, end, .. }: &Parcel, standings: &[Option<Standing>]) -> Option<FeedMessage> {
    let (end, last) = ((*end)?, messages.last()?);
    Some(flush::behind(&last.instrument, standings[*lane].as_ref(), end, &last.id))
}

/// Publishes parcels as they come, each instrument's last one together with its flush: whatever closes its windows then meets
/// them while they are at hand. There is none without `standings`. Returns whether all were stored before shutdown.
async fn publish(
    feed: &impl Feed,
    mut parcels: mpsc::Receiver<Parcel>,
    standings: Option<&[Option<Standing>]>,
    ledger: &mut Ledger,
    metrics: &ProducerMetrics,
    shutdown: &Shutdown,
) -> Result<bool, Error> {
    let mut lanes = Lanes::new(feed, ledger.acked.len(), metrics);
    let mut held: Option<Parcel> = None;
    let mut is_open = true;
    while is_open || held.is_some() || !lanes.is_idle() {
        tokio::select! {
            stored = lanes.next() => ledger.add(&stored?),
            parcel = parcels.recv(), if held.is_none() && is_open => {
                is_open = parcel.is_some();
                held = parcel;
            }
            () = shutdown.requested() => {
                drain(&mut lanes, ledger).await?;
                return Ok(false);
            }
        }
        if let Some(parcel) = held.take_if(|_| lanes.has_room()) {
            let flush = standings.and_then(|standings| flush_behind(&parcel, standings));
            let Parcel { lane, mut messages, ticks, gaps, rows, .. } = parcel;
            let flushes = u64::from(flush.is_some());
            messages.extend(flush);
            lanes.launch(lane, messages, Note { ticks, gaps, flushes, rows });
        }
    }
    Ok(true)
}

/// Waits a little for what is under way. What does not come back is found in FEED, or not, at the next start.
async fn drain<F: Feed>(lanes: &mut Lanes<'_, F, Note>, ledger: &mut Ledger) -> Result<(), Error> {
    let deadline = tokio::time::Instant::now() + DRAIN;
    while !lanes.is_idle() {
        let Ok(stored) = tokio::time::timeout_at(deadline, lanes.next()).await else { break };
        ledger.add(&stored?);
    }
    Ok(())
}

fn replayed(packers: Vec<Packer>, ledger: Ledger, ending: Ending) -> Replayed {
    let Ledger { acked, mut sent } = ledger;
    sent.finish();
    let counts = |(packer, acked): (Packer, Acked)| {
        let counts = Counts {
            published: acked.ticks,
            gaps: acked.gaps,
            known_messages: acked.known,
            flushes: acked.flushes,
            tally: packer.tally.clone(),
            fit: packer.fit.clone(),
        };
        (packer.instrument().clone(), counts)
    };
    let instruments = packers.into_iter().zip(acked).map(counts).collect();
    let is_complete = matches!(ending, Ending::Done);
    Replayed { summary: Summary { instruments, is_complete, ..Summary::default() }, ending, sent }
}
