//! Pull requests of a consumer, and the status messages that end them.

use std::time::Duration;

use async_nats::{Message, StatusCode};
use serde_json::json;

use crate::connect::Connection;
use crate::reader::interruption::Interruption;
use crate::stream::Stream;

/// Messages per pull request.
const PULL: usize = 40;
/// Bytes per pull request; at most two are open. nats.conf lets the server drop a client with more than twice that
/// pending.
const PULL_BYTES: usize = 4_000_000;
const PULL_EXPIRES: Duration = Duration::from_secs(5);
const HEARTBEAT: Duration = Duration::from_millis(500);

/// The open pull requests.
pub(super) struct Pulls<'a> {
    pub(super) connection: &'a Connection,
    pub(super) stream: Stream,
    pub(super) name: &'a str,
    pub(super) inbox: String,
    /// Messages that the server may still send.
    pub(super) outstanding: usize,
}

impl Pulls<'_> {
    /// Sends another pull request when half of the requested messages have arrived.
    pub(super) async fn top_up(&mut self) -> Result<(), Interruption> {
        if self.outstanding > PULL / 2 {
            return Ok(());
        }
        let body = json!({
            "batch": PULL,
            "max_bytes": PULL_BYTES,
            "expires": PULL_EXPIRES.as_nanos() as u64,
            "idle_heartbeat": HEARTBEAT.as_nanos() as u64,
        });
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{}", self.stream, self.name);
        let sent =
            self.connection.client().publish_with_reply(subject, self.inbox.clone(), body.to_string().into()).await;
        sent.map_err(|_| Interruption::Restart("pull not sent"))?;
        self.outstanding += PULL;
        Ok(())
    }

    /// Handles a status message: a heartbeat, or the end of a pull that expired or has delivered all its messages or
    /// bytes. Any other status makes the reader create a new consumer.
    pub(super) fn settle(&mut self, status: StatusCode, message: &Message) -> Result<(), Interruption> {
        match (status.as_u16(), message.description.as_deref()) {
            (100, _) => Ok(()),
            (408, _) | (409, Some("Batch Completed" | "Message Size Exceeds MaxBytes")) => {
                let unsent = message.headers.as_ref().and_then(|headers| headers.get("Nats-Pending-Messages"));
                let unsent = unsent.and_then(|value| value.as_str().parse().ok()).unwrap_or(self.outstanding);
                self.outstanding = self.outstanding.saturating_sub(unsent);
                Ok(())
            }
            _ => Err(Interruption::Restart("unexpected status")),
        }
    }
}
