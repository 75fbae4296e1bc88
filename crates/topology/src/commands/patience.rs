//! Waits for three servers that choose a leader, or of which one hangs.

use std::time::{Duration, Instant};

use bus::error::Disposition;
use bus::topology::{Stream, stream_info};
use bus::{Connection, Error};

/// Longer than three servers take to choose a leader.
const PATIENCE: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_millis(200);

/// Asks again while there is no answer. That something does not exist is one.
pub(crate) async fn patiently<T>(ask: impl AsyncFn() -> Result<T, Error>) -> Result<T, Error> {
    let start = Instant::now();
    loop {
        match ask().await {
            Err(error) if is_silence(&error) && start.elapsed() < PATIENCE => tokio::time::sleep(AGAIN).await,
            result => return result,
        }
    }
}

/// Returns when the server answers what is asked about streams.
pub(crate) async fn until_answered(connection: &Connection) -> Result<(), Error> {
    match patiently(async || stream_info(connection, Stream::Feed.name()).await).await {
        Err(Error::StreamMissing { .. } | Error::Restoring { .. }) => Ok(()),
        result => result.map(drop),
    }
}

fn is_silence(error: &Error) -> bool {
    let is_answer = matches!(error, Error::StreamMissing { .. } | Error::Restoring { .. });
    error.disposition() == Disposition::Retry && !is_answer
}
