//! Retries of requests while three servers elect a leader, or while one of them hangs.

use std::time::{Duration, Instant};

use bus::error::Disposition;
use bus::topology::{Stream, stream_info};
use bus::{Connection, Error};

/// Longer than three servers take to elect a leader.
const RETRY_FOR: Duration = Duration::from_secs(10);
const RETRY_DELAY: Duration = Duration::from_millis(200);

/// Repeats a request until it is answered. "Does not exist" counts as an answer.
pub(crate) async fn retried<T>(ask: impl AsyncFn() -> Result<T, Error>) -> Result<T, Error> {
    let start = Instant::now();
    loop {
        match ask().await {
            Err(error) if is_silence(&error) && start.elapsed() < RETRY_FOR => tokio::time::sleep(RETRY_DELAY).await,
            result => return result,
        }
    }
}

/// Returns once the server answers requests about streams.
pub(crate) async fn until_answered(connection: &Connection) -> Result<(), Error> {
    match retried(async || stream_info(connection, Stream::Feed.name()).await).await {
        Err(Error::StreamMissing { .. } | Error::Restoring { .. }) => Ok(()),
        result => result.map(drop),
    }
}

fn is_silence(error: &Error) -> bool {
    let is_answer = matches!(error, Error::StreamMissing { .. } | Error::Restoring { .. });
    error.disposition() == Disposition::Retry && !is_answer
}
