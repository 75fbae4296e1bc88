//! When a message was stored first, by the server's clock, which no sender can choose.
//!
//! `topology restore` stores old messages again, so the server's time of such a message is the time of the restore. The
//! restore writes the original time into a header of each message of FEED. A producer can write that header too. It
//! therefore counts only up to the sequence to which the log was restored ([`crate::protocol::LogId`]): the restore
//! stored all messages up to there.

use async_nats::HeaderMap;

use crate::connect::Connection;
use crate::error::Error;
use crate::query::StoredMessage;
use crate::stream::Stream;
use crate::topology::stream_info;

/// Header of a restored message: the time of its first storing, in milliseconds since the epoch.
pub const STORED_HEADER: &str = "Candlewire-Stored";

/// The time of the first storing, in milliseconds: the header's value where a restore wrote it, otherwise `server_ms`.
pub(crate) fn stored_ms(seq: u64, server_ms: i64, headers: Option<&HeaderMap>, restored_to: u64) -> i64 {
    let original_ms = headers.filter(|_| seq <= restored_to).and_then(header_ms);
    original_ms.unwrap_or(server_ms)
}

/// Returns the time of the first storing of a message, in milliseconds. Asks the server for the stream's history only
/// if the message has the header.
///
/// # Errors
/// Any error of a request.
pub async fn of(connection: &Connection, stream: Stream, message: &StoredMessage) -> Result<i64, Error> {
    let StoredMessage { seq, server_ms, headers, .. } = message;
    if header_ms(headers).is_none() {
        return Ok(*server_ms);
    }
    let restored_to = stream_info(connection, stream.name()).await?.log()?.restored_to();
    Ok(stored_ms(*seq, *server_ms, Some(headers), restored_to))
}

fn header_ms(headers: &HeaderMap) -> Option<i64> {
    headers.get(STORED_HEADER)?.as_str().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_counts_only_where_a_restore_wrote_it() {
        let check = |seq, header: Option<&str>, expected: i64| {
            let mut headers = HeaderMap::new();
            header.into_iter().for_each(|value| headers.insert(STORED_HEADER, value));
            assert_eq!(stored_ms(seq, 9_000, Some(&headers), 90), expected, "{seq} {header:?}");
            assert_eq!(stored_ms(seq, 9_000, None, 90), 9_000);
        };
        check(90, Some("1000"), 1_000);
        check(91, Some("1000"), 9_000);
        check(90, None, 9_000);
        check(90, Some("soon"), 9_000);
    }
}
