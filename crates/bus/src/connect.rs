//! The connection of a user to NATS, with requests that fail as soon as the connection is lost.

use std::future::Future;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream;
use async_nats::{Client, HeaderMap, Message, Request, RequestErrorKind};
use bytes::Bytes;
use prometheus_client::metrics::gauge::Gauge;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use service::{Health, HealthArgs, Shutdown};
use tokio::sync::watch;

use crate::error::Error;
use crate::retry::{Backoff, wait_for};

mod args;
mod events;
mod identity;
mod refused;

pub use args::{NatsArgs, Password};

use events::ConnectionEvents;
use identity::Identity;

/// Oldest server version with a tested atomic publish.
pub const SERVER_FLOOR: (u64, u64) = (2, 15);
/// Time limit for an answer; then the request counts as unanswered.
pub const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Time limit for one attempt to connect.
const ATTEMPT_MAX: Duration = Duration::from_secs(2);
/// Interval of pings. A server that hangs with open connections is left after three of them, for another server of the
/// cluster if there is one.
const PING: Duration = Duration::from_secs(5);
/// Delays between attempts to reconnect.
const RECONNECT: Backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(500));
/// Delays between attempts of a command to connect.
const CONNECT: Backoff = Backoff::constant(Duration::from_millis(100));

/// A connection to the server as one user. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Connection {
    client: Client,
    jetstream: jetstream::Context,
    events: ConnectionEvents,
    url: String,
    user: String,
}

impl Connection {
    /// Connects as `user` (unless the flags name another one) within the flags' time limit. `None` connects without
    /// credentials.
    ///
    /// # Errors
    /// Invalid settings; no server within the limit; a server that refuses this user, is not trusted, or is too old.
    pub async fn open(args: &NatsArgs, user: Option<&str>) -> Result<Self, Error> {
        let identity = Identity::new(args, user)?;
        let is_retryable =
            |error: &Error, elapsed: Duration| matches!(error, Error::NoServer { .. }) && elapsed < args.patience();
        CONNECT.retry_while(is_retryable, || Self::attempt(args, &identity, Gauge::default())).await
    }

    /// Connects as [`Connection::open`], but waits for the server without a limit; meanwhile health is not ready. `None`
    /// after a shutdown request.
    ///
    /// # Errors
    /// An error that waiting cannot resolve: invalid settings, a server that refuses this user, is not trusted, or is too
    /// old.
    pub async fn wait(
        args: &NatsArgs,
        user: Option<&str>,
        health: &Health,
        shutdown: &Shutdown,
    ) -> Result<Option<Self>, Error> {
        let identity = Identity::new(args, user)?;
        let connected: Gauge =
            health.metrics().register("nats_connected", "Whether the NATS server is connected: 1 or 0");
        wait_for(|| Self::attempt(args, &identity, connected.clone()), health, shutdown).await
    }

    async fn attempt(args: &NatsArgs, identity: &Identity, connected: Gauge) -> Result<Self, Error> {
        let url = args.nats_url.clone();
        let (mut events, listen) = ConnectionEvents::new(connected);
        let options = identity
            .options()?
            .connection_timeout(ATTEMPT_MAX)
            .request_timeout(Some(ANSWER_MAX))
            .ping_interval(PING)
            .reconnect_delay_callback(|attempts| RECONNECT.delay(u32::try_from(attempts).unwrap_or(u32::MAX)))
            .event_callback(listen);
        let connected = options.connect(&identity.addresses[..]).await;
        let client = connected.map_err(|error| refused::error_of(&error, &url, identity))?;
        check_version(&client.server_info().version, &url)?;
        // The first connect is an event too; a request must not mistake it for a loss of the connection.
        events.first_event(ATTEMPT_MAX).await;
        let jetstream = jetstream::new(client.clone());
        Ok(Self { client, jetstream, events, url, user: identity.user.clone() })
    }

    /// The client, for plain publish and subscribe.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The JetStream context of the client crate, for single messages and object stores.
    pub fn jetstream(&self) -> &jetstream::Context {
        &self.jetstream
    }

    /// The address, as given in the flags.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The user; empty without a user name.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// A receiver that changes on every connect and disconnect. Obtain it before a request, then wait for its change or the
    /// answer.
    pub fn epoch(&self) -> watch::Receiver<u64> {
        self.events.epoch()
    }

    /// Whether the server is connected.
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Waits until the server is connected.
    pub async fn connected(&self) {
        let mut epoch = self.epoch();
        while !self.is_connected() {
            // The state changes just after the event, so it is polled as well.
            drop(tokio::time::timeout(Duration::from_millis(20), epoch.changed()).await);
        }
    }

    /// Checks that the server accepts a message of this size. Must be called before it is sent, because the server closes
    /// the connection of a client that sends more.
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

    /// Sends a request and waits for its answer, until the connection is lost.
    ///
    /// # Errors
    /// [`Error::Silent`] when no answer came in time; [`Error::Unanswered`] when the connection was lost or no subscriber
    /// listens; [`Error::TooLarge`] for a message beyond the server's limit.
    pub async fn request(&self, subject: String, headers: Option<HeaderMap>, payload: Bytes) -> Result<Message, Error> {
        self.check_size(&subject, headers.as_ref(), &payload)?;
        let mut request = Request::new().payload(payload).timeout(Some(ANSWER_MAX));
        request.headers = headers;
        let answer = self.answered(&subject, self.client.send_request(subject.clone(), request)).await?;
        answer.map_err(|error| match (self.events.denial_of(&subject), error.kind()) {
            (Some(detail), _) => Error::Permission { user: self.user.clone(), detail },
            (None, RequestErrorKind::MaxPayloadExceeded | RequestErrorKind::InvalidSubject) => {
                Error::Unreadable { what: subject, detail: error.to_string() }
            }
            (None, RequestErrorKind::TimedOut) => Error::Silent { what: subject },
            (None, _) => Error::Unanswered { what: subject },
        })
    }

    /// Calls the JetStream API and decodes its answer.
    ///
    /// # Errors
    /// As [`Connection::request`]; [`Error::Api`] when the server refuses; [`Error::Unreadable`] for an answer of
    /// another form.
    pub async fn api<T: DeserializeOwned>(&self, call: &str, body: &Value) -> Result<T, Error> {
        let payload = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        let message = self.request(format!("$JS.API.{call}"), None, payload).await?;
        parse_answer(call, &message.payload)
    }

    /// Waits for an answer until the connection is lost.
    ///
    /// # Errors
    /// [`Error::Unanswered`] when the connection was lost.
    pub async fn answered<T>(&self, what: &str, answer: impl Future<Output = T>) -> Result<T, Error> {
        let mut epoch = self.epoch();
        tokio::select! {
            answer = answer => Ok(answer),
            () = disconnected(&self.client, &mut epoch) => Err(Error::Unanswered { what: what.to_owned() }),
        }
    }

    /// The missing permission, if the server named one together with `subject`.
    pub fn denied(&self, subject: &str) -> Option<Error> {
        self.events.denial_of(subject).map(|detail| Error::Permission { user: self.user.clone(), detail })
    }
}

/// Checks the user and its password, serves health, and waits for the server. `None` after a shutdown request.
///
/// # Errors
/// A user without a password, an address that health cannot be served at, or a server that refuses this user.
pub async fn start_service(
    nats: &NatsArgs,
    user: &str,
    health_args: &HealthArgs,
    shutdown: &Shutdown,
) -> anyhow::Result<Option<(Connection, Health)>> {
    // Before health is served: bad flags end the process at once.
    nats.check(Some(user))?;
    let health = Health::new();
    health.serve(health_args, shutdown.clone()).await?;
    let connection = Connection::wait(nats, Some(user), &health, shutdown).await?;
    Ok(connection.map(|connection| (connection, health)))
}

/// Bytes of headers in the protocol: a version line, a line per value, an empty line.
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
        // A reconnect loses earlier requests as well.
        if client.connection_state() != State::Pending {
            return;
        }
    }
}

/// Decodes the answer of an API call: an object with either the result or `error`.
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

/// The body of a request without parameters.
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
