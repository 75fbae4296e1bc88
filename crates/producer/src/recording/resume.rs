//! Resuming a replay: FEED only grows forward, so rows that are not newer than its last tick need a policy.

use bus::Error;
use futures::{StreamExt, TryStreamExt};
use market::{EventTime, Instrument};
use store::recording::UnusableFile;

use super::opened::Recording;
use crate::feed::{ASKED_MAX, Feed, LastTick};

/// Policy for rows that are not newer than the instrument's last tick in FEED.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum OlderRows {
    /// Skip them, but refuse a file with more than 1 % of rows from before FEED begins
    Refuse,
    /// Skip them
    Skip,
    /// Publish them; they become duplicates, revisions or late ticks
    Publish,
}

/// The end of FEED for one instrument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FeedTail {
    pub(crate) last: LastTick,
    /// Gaps (from, to) that no tick follows, because a replay died in between.
    pub(crate) known_gaps: Vec<(EventTime, EventTime)>,
    /// Event time of the first tick; read only if the policy needs it.
    begin: Option<EventTime>,
}

/// Reads the end of FEED for the instrument of each recording.
///
/// # Errors
/// FEED cannot be read, and retrying does not help.
pub(crate) async fn tails(
    feed: &impl Feed,
    recordings: &[Recording],
    older: OlderRows,
) -> Result<Vec<Option<FeedTail>>, Error> {
    // One request instead of thousands if FEED is empty.
    if feed.is_empty().await? {
        return Ok(vec![None; recordings.len()]);
    }
    let ask = async |recording: &Recording| {
        let Some(last) = feed.last_tick(&recording.instrument).await? else { return Ok(None) };
        let begin = match older {
            OlderRows::Refuse => Some(feed.first_event(&recording.instrument).await?),
            OlderRows::Skip | OlderRows::Publish => None,
        };
        let known_gaps = feed.gaps_after(&recording.instrument, last.seq).await?;
        Ok(Some(FeedTail { last, known_gaps, begin }))
    };
    futures::stream::iter(recordings).map(ask).buffered(ASKED_MAX).try_collect().await
}

/// Error of a file that begins too early, or that can no longer be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResumeError {
    #[error(
        "{file} holds {older} rows (of {all}) from before {begin}, where FEED begins for {instrument}, and FEED only grows \
         forward: publish history first and live data second, into an empty FEED; or leave those rows out with --older \
         skip, or send them as late ticks with --older publish"
    )]
    TooOld { file: String, older: u64, all: u64, begin: EventTime, instrument: Instrument },
    #[error(transparent)]
    UnusableFile(#[from] UnusableFile),
}

/// Checks that no file holds more than 1 % of rows from before FEED begins. Reads only the files that begin earlier.
///
/// # Errors
/// The first file that does, or that cannot be read.
pub(crate) fn check(recordings: &[Recording], tails: &[Option<FeedTail>]) -> Result<(), ResumeError> {
    for (recording, tail) in recordings.iter().zip(tails) {
        let Some(begin) = tail.as_ref().and_then(|tail| tail.begin) else { continue };
        for (idx, (input, start)) in recording.rows.files().enumerate() {
            if start.is_none_or(|start| start >= begin) {
                continue;
            }
            let (all, older) = recording.rows.count_older(idx, begin)?;
            if older * 100 > all {
                let (file, instrument) = (input.name().to_owned(), recording.instrument.clone());
                return Err(ResumeError::TooOld { file, older, all, begin, instrument });
            }
        }
    }
    Ok(())
}
