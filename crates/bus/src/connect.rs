//! One connection of one user to the server, and requests whose answer may never come.

use std::future::Future;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream;
use async_nats::{Client, HeaderMap, Message, Request, RequestErrorKind};
use bytes::Bytes;
use prometheus_client::metrics::gauge::Gauge;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use service::{Health, Shutdown};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::error::Error;

mod args;
mod events;
mod identity;
mod refused;
mod start;
mod wait;

pub use args::{NatsArgs, Password};
pub use start::start_service;
pub use wait::{Reminder, patiently, wait_for};

use events::Watch;
use identity::Identity;

/// Oldest server whose atomic publish was tried and holds.
pub const SERVER_FLOOR: (u64, u64) = (2, 15);
/// How long an answer may take before the request counts as unanswered.
pub const ANSWER_MAX: Duration = Duration::from_secs(5);
/// How long one attempt to connect may take.
const ATTEMPT_MAX: Duration = Duration::from_secs(2);
/// How often the server is asked whether it is still there. One that hangs with its connections open is left after three
/// of these, for another one if there is one.
const PING: Duration = Duration::from_secs(5);
/// Reconnects are tried at least this often.
const RECONNECT_MAX: Duration = Duration::from_millis(500);

/// A connection to the server as one user. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Connection {
    client: Client,
    jetstream: jetstream::Context,
    watch: Watch,
    url: String,
    user: String,
}

impl Connection {
    /// Connects as `user` (unless the flags name another one) within the flags' time limit. `None` connects without
    /// credentials.
    ///
    /// # Errors
    /// Settings that make no sense; no server within the limit; a server that refuses us, that we do not trust, or that is
    /// too old.
    pub async fn open(args: &NatsArgs, user: Option<&str>) -> Result<Self, Error> {
        let identity = Identity::new(args, user)?;
        let deadline = Instant::now() + args.patience();
        loop {
            match Self::attempt(args, &identity, Gauge::default()).await {
                Err(Error::NoServer { .. }) if Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                result => return result,
            }
        }
    }

    /// Connects as [`Connection::open`], but waits for the server until shutdown, not ready, with one warning at once and
    /// then one a minute. `None` when shutdown came first.
    ///
    /// # Errors
    /// What waiting cannot mend: settings that make no sense, refusal, no trust, a server that is too old.
    pub async fn wait(
        args: &NatsArgs,
        user: Option<&str>,
        health: &Health,
        shutdown: &Shutdown,
    ) -> Result<Option<Self>, Error> {
        let identity = Identity::new(args, user)?;
        let mut patience = Reminder::default();
        let connected: Gauge =
            health.metrics().register("nats_connected", "Whether the NATS server is connected: 1 or 0");
        loop {
            let error = match Self::attempt(args, &identity, connected.clone()).await {
                Ok(connection) => return Ok(Some(connection)),
                Err(error @ Error::NoServer { .. }) => error,
                Err(error) => return Err(error),
            };
            health.not_ready(error.to_string());
            patience.warn(&error);
            tokio::select! {
                () = shutdown.requested() => return Ok(None),
                () = tokio::time::sleep(Duration::from_millis(200)) => {}
            }
        }
    }

    async fn attempt(args: &NatsArgs, identity: &Identity, connected: Gauge) -> Result<Self, Error> {
        let url = args.nats_url.clone();
        let (mut watch, listen) = Watch::new(connected);
        let options = identity
            .options()?
            .connection_timeout(ATTEMPT_MAX)
            .request_timeout(Some(ANSWER_MAX))
            .ping_interval(PING)
            .reconnect_delay_callback(|attempts| RECONNECT_MAX.min(Duration::from_millis(20 << attempts.min(10))))
            .event_callback(listen);
        let connected = options.connect(&identity.addresses[..]).await;
        let client = connected.map_err(|error| refused::error_of(&error, &url, identity))?;
        check_version(&client.server_info().version, &url)?;
        // The first connect is an event too; a request must not take it for a loss.
        watch.begun(ATTEMPT_MAX).await;
        let jetstream = jetstream::new(client.clone());
        Ok(Self { client, jetstream, watch, url, user: identity.user.clone() })
    }

    /// The client, for plain publish and subscribe.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The JetStream context, for what the client crate does well: single messages and object stores.
    pub fn jetstream(&self) -> &jetstream::Context {
        &self.jetstream
    }

    /// Where it is connected to.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Who is connected; empty for whoever came without a name.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Changes whenever the connection goes or comes back. Mark it seen before asking, then race its change with the
    /// answer.
    pub fn epoch(&self) -> watch::Receiver<u64> {
        self.watch.epoch()
    }

    /// Waits until the server is connected.
    pub async fn connected(&self) {
        let mut epoch = self.epoch();
        while self.client.connection_state() != State::Connected {
            // The state changes just after the event: look again soon, whatever the events say.
            drop(tokio::time::timeout(Duration::from_millis(20), epoch.changed()).await);
        }
    }

    /// Whether the server takes a message of this size; to be asked before it is sent, because the server drops the
    /// connection of whoever sends more.
    ///
    /// # Errors
    /// [`Error::TooLarge`].
    pub fn check_size(&self, subject: &str, headers: Option<&HeaderMap>, payload: &Bytes) -> Result<(), Error> {
        let (bytes, limit) = (headers.map_or(0, header_bytes) + payload.len(), self.client.max_payload());
        if bytes > limit {
            return Err(Error::TooLarge { subject: subject.to_owned(), bytes, limit });
        }
        Ok(())
    }

    /// Sends a request and waits for its answer, no longer than the connection lives.
    ///
    /// # Errors
    /// [`Error::Silent`] when nothing came in time; [`Error::Unanswered`] when the connection went or nobody listens;
    /// [`Error::TooLarge`] for what the server does not take.
    pub async fn request(&self, subject: String, headers: Option<HeaderMap>, payload: Bytes) -> Result<Message, Error> {
        self.check_size(&subject, headers.as_ref(), &payload)?;
        let mut request = Request::new().payload(payload).timeout(Some(ANSWER_MAX));
        request.headers = headers;
        let answer = self.answered(&subject, self.client.send_request(subject.clone(), request)).await?;
        answer.map_err(|error| match (self.watch.denial_of(&subject), error.kind()) {
            (Some(detail), _) => Error::Permission { user: self.user.clone(), detail },
            (None, RequestErrorKind::MaxPayloadExceeded | RequestErrorKind::InvalidSubject) => {
                Error::Unreadable { what: subject, detail: error.to_string() }
            }
            (None, RequestErrorKind::TimedOut) => Error::Silent { what: subject },
            (None, _) => Error::Unanswered { what: subject },
        })
    }

    /// Calls the JetStream API and reads its answer.
    ///
    /// # Errors
    /// As [`Connection::request`]; [`Error::Api`] when the server refuses; [`Error::Unreadable`] for an answer of
    /// another form.
    pub async fn api<T: DeserializeOwned>(&self, call: &str, body: &Value) -> Result<T, Error> {
        let payload = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        let message = self.request(format!("$JS.API.{call}"), None, payload).await?;
        parse_answer(call, &message.payload)
    }

    /// Waits for an answer no longer than the connection lives.
    ///
    /// # Errors
    /// [`Error::Unanswered`] when the connection went.
    pub async fn answered<T>(&self, what: &str, answer: impl Future<Output = T>) -> Result<T, Error> {
        let mut epoch = self.epoch();
        tokio::select! {
            answer = answer => Ok(answer),
            () = disconnected(&self.client, &mut epoch) => Err(Error::Unanswered { what: what.to_owned() }),
        }
    }

    /// The missing permission that the server named together with `subject`, if it did.
    pub fn denied(&self, subject: &str) -> Option<Error> {
        self.watch.denial_of(subject).map(|detail| Error::Permission { user: self.user.clone(), detail })
    }
}

/// Bytes of headers as the protocol writes them: a first line, a line for each value, an empty line.
fn header_bytes(headers: &HeaderMap) -> usize {
    let line = |name: &str, value: &str| name.len() + ": ".len() + value.len() + "\r\n".len();
    let lines = headers.iter().flat_map(|(name, values)| values.iter().map(move |value| (name, value)));
    let lines: usize = lines.map(|(name, value)| line(name.as_ref(), value.as_str())).sum();
    "NATS/1.0\r\n".len() + lines + "\r\n".len()
}

/// Resolves when the connection is lost after `epoch` was marked.
async fn disconnected(client: &Client, epoch: &mut watch::Receiver<u64>) {
    loop {
        if epoch.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        // A reconnect is as much of a loss for what was asked before it.
        if client.connection_state() != State::Pending {
            return;
        }
    }
}

/// Reads the answer of an API call, which is an object with either the result or `error`.
pub(crate) fn parse_answer<T: DeserializeOwned>(call: &str, payload: &[u8]) -> Result<T, Error> {
    let unreadable = |error: serde_json::Error| Error::Unreadable {
        what: format!("the answer to {call}"),
        detail: error.to_string(),
    };
    let answer: Value = serde_json::from_slice(payload).map_err(unreadable)?;
    if let Some(error) = answer.get("error") {
        let number = |name: &str| error.get(name).and_then(Value::as_u64).unwrap_or_default();
        let description = error.get("description").and_then(Value::as_str).unwrap_or("no description").to_owned();
        return Err(Error::refusal(call.to_owned(), number("code") as u16, number("err_code") as u32, description));
    }
    serde_json::from_value(answer).map_err(unreadable)
}

fn check_version(found: &str, url: &str) -> Result<(), Error> {
    let mut numbers = found.split(['.', '-']).map_while(|part| part.parse::<u64>().ok());
    let version = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    if version < SERVER_FLOOR {
        let floor = format!("{}.{}", SERVER_FLOOR.0, SERVER_FLOOR.1);
        return Err(Error::ServerTooOld { url: url.to_owned(), found: found.to_owned(), floor });
    }
    Ok(())
}

/// What an empty object asks for.
pub fn nothing() -> Value {
    json!({})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_before_the_floor_are_refused() {
        for (version, accepted) in [
            ("2.15.0", true),
            ("2.15.1-beta", true),
            ("3.0.0", true),
            ("2.14.9", false),
            ("2.9.10", false),
            ("", false),
        ] {
            assert_eq!(check_version(version, "nats://x").is_ok(), accepted, "{version}");
        }
    }
}
