//! Stream descriptions from a leader that may have been elected a moment ago.
//!
//! In a cluster a new leader answers before it has applied all of its log, and a server that hung answers as the former
//! leader for a moment. Such an answer ends before messages that were read already. It passes, unlike another log.

use std::time::Duration;

use tokio::time::Instant;

use crate::connect::Connection;
use crate::error::Error;
use crate::protocol::LogId;
use crate::reminder::Reminder;
use crate::stream::Stream;
use crate::topology::{StreamInfo, stream_info};

/// How long a replicated stream may end before a sequence that was read. An election takes seconds; a server that hung
/// catches up some seconds later.
const CATCH_UP_MAX: Duration = Duration::from_secs(45);
/// Delay before the leader is asked again.
pub const RETRY_DELAY: Duration = Duration::from_millis(250);

/// Reads the description of a stream that was read up to `seq` in the log `log` (`None` if unknown). Asks again while
/// the leader may lag. Returns an end before `seq` only when it is final: at once for another log or a single server,
/// otherwise after 45 s.
///
/// # Errors
/// As [`stream_info`] and [`StreamInfo::log`].
pub async fn info_reaching(
    connection: &Connection,
    stream: Stream,
    log: Option<&LogId>,
    seq: u64,
) -> Result<StreamInfo, Error> {
    let start = Instant::now();
    let mut reminder = Reminder::default();
    loop {
        let info = stream_info(connection, stream.name()).await?;
        let now = info.log()?;
        let is_other = log.is_some_and(|log| *log != now);
        if is_other || !may_catch_up(&info, seq, start.elapsed()) {
            reminder.settle(&format!("{stream} ends at sequence {}", info.state.last_seq));
            return Ok(info);
        }
        reminder.warn(&format!(
            "{stream} was read up to sequence {seq}, but its leader reports the end {}: asking again for up to {} s, because a \
             new leader may lag",
            info.state.last_seq,
            CATCH_UP_MAX.as_secs()
        ));
        tokio::time::sleep(RETRY_DELAY).await;
    }
}

/// Whether a stream that ends before `seq` may still reach it, `waited` after the first request.
pub fn may_catch_up(info: &StreamInfo, seq: u64, waited: Duration) -> bool {
    info.state.last_seq < seq && info.replicas() > 1 && waited < CATCH_UP_MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_a_replicated_stream_may_catch_up_for_a_limited_time() {
        let info = |replicas: u32, last_seq: u64| {
            let state = json!({ "messages": 0, "bytes": 0, "first_seq": 1, "last_seq": last_seq });
            let info = json!({ "created": "then", "config": { "num_replicas": replicas }, "state": state });
            serde_json::from_value::<StreamInfo>(info).unwrap()
        };
        let thirty = Duration::from_secs(30);
        assert!(may_catch_up(&info(3, 99), 100, thirty));
        assert!(!may_catch_up(&info(3, 100), 100, Duration::ZERO));
        assert!(!may_catch_up(&info(1, 99), 100, Duration::ZERO));
        assert!(!may_catch_up(&info(3, 99), 100, CATCH_UP_MAX));
    }
}
