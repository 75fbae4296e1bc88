//! Retries while a cluster elects a leader or one of its servers hangs.

use std::time::Duration;

use bus::error::Disposition;
use bus::retry::Backoff;
use bus::stream::Stream;
use bus::topology::stream_info;
use bus::{Connection, Error};

/// Longer than three servers take to elect a leader.
const ELECTION_MAX: Duration = Duration::from_secs(10);
const RETRY: Backoff = Backoff::constant(Duration::from_millis(200));

/// Repeats a request while the server does not answer. "It does not exist" is an answer.
pub(crate) async fn retried<T>(ask: impl AsyncFn() -> Result<T, Error>) -> Result<T, Error> {
    RETRY.retry_while(|error, elapsed| is_silence(error) && elapsed < ELECTION_MAX, || ask()).await
}

/// Waits until the server answers a request about a stream.
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
