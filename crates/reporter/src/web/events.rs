//! `/api/v1/events`: server-sent events, from one log for all clients.
//!
//! Each event is encoded once, and clients share its bytes. A client has a place in the log and no queue, so a slow one
//! costs no memory: it gets a new snapshot when its place has left the log, and its connection ends when it takes nothing.
//! Start reading at [`live`]; `log` has the rules of ids and places, `held` those of floods.

mod held;
mod listeners;
pub(super) mod live;
mod log;
mod open_candles;
mod snapshot;

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use bytes::Bytes;
use futures::stream;
use market::Instrument;
use serde::Deserialize;
use service::{Endless, Shutdown};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Duration, Instant, sleep_until};

pub(super) use held::{Held, HeldMessage};
use listeners::Listeners;
use live::Reading;
use log::Filter;

use super::page_state::PageState;
use super::refused::Refused;
use crate::query::error::{ErrorCode, QueryError};

/// Clients at the same time, at most. Each has a connection, so the page has room for more of them.
const CLIENTS_MAX: usize = 512;
/// Longest time without a byte. It keeps proxies from closing the connection, and finds clients that are gone.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const KEEP_ALIVE_TEXT: &[u8] = b": keep-alive\n\n";
/// The first text: a client that loses the connection comes back after a second.
const RETRY_TEXT: &[u8] = b"retry: 1000\n\n";
/// Seconds after which a client that was refused should try again.
const RETRY_AFTER_S: &str = "5";
/// The header with the id of the last event that a client has.
const LAST_EVENT_ID: &str = "last-event-id";

/// The clients of the events.
#[derive(Debug)]
pub(super) struct Clients {
    slots: Arc<Semaphore>,
    listeners: Listeners,
    shutdown: Shutdown,
}

impl Clients {
    /// Returns an empty set of clients, which end on shutdown.
    pub(super) fn new(shutdown: Shutdown) -> Self {
        Self { slots: Arc::new(Semaphore::new(CLIENTS_MAX)), listeners: Listeners::default(), shutdown }
    }

    /// Wakes the clients of these instruments.
    pub(super) fn wake(&self, instruments: impl IntoIterator<Item = Instrument>) {
        self.listeners.wake(instruments);
    }

    /// Wakes all clients.
    pub(super) fn wake_all(&self) {
        self.listeners.wake_all();
    }
}

/// Returns the route of the events.
pub(super) fn routes() -> Router<Arc<PageState>> {
    Router::new().route("/api/v1/events", get(events))
}

/// The instrument of which a client wants events.
#[derive(Debug, Deserialize)]
struct Choice {
    coin: Option<String>,
    quote: Option<String>,
}

impl Choice {
    fn filter(&self) -> Result<Filter, String> {
        match (&self.coin, &self.quote) {
            (None, None) => Ok(Filter::All),
            (Some(coin), Some(quote)) => {
                Instrument::new(coin, quote).map(Filter::One).map_err(|error| error.to_string())
            }
            _ => Err("give both coin and quote, or neither for all instruments".to_owned()),
        }
    }
}

async fn events(
    State(shared): State<Arc<PageState>>,
    Extension(endless): Extension<Endless>,
    Query(choice): Query<Choice>,
    headers: HeaderMap,
) -> Response {
    let filter = match choice.filter() {
        Ok(filter) => filter,
        Err(message) => return Refused(QueryError::bad_request(message)).into_response(),
    };
    let Ok(slot) = shared.clients.slots.clone().try_acquire_owned() else {
        let message = format!("all {CLIENTS_MAX} streams of events are in use: try again later");
        let refused = Refused(QueryError::new(ErrorCode::Unavailable, message));
        return ([(RETRY_AFTER, RETRY_AFTER_S)], refused).into_response();
    };
    endless.mark();
    let last_id = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok());
    let client = Client::new(shared, filter, last_id, slot);
    let texts = stream::unfold(client, |mut client| async move {
        let text = client.next().await?;
        Some((Ok::<_, Infallible>(text), client))
    });
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        // The connection is marked, so it must not be used for anything else.
        (CONNECTION, HeaderValue::from_static("close")),
        // Proxies must not wait for more.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    (headers, Body::from_stream(texts)).into_response()
}

/// A client: what it has received, and what wakes it.
struct Client {
    shared: Arc<PageState>,
    reading: Reading,
    news: watch::Receiver<()>,
    keep_alive_at: Instant,
    has_begun: bool,
    _slot: OwnedSemaphorePermit,
}

impl Client {
    fn new(shared: Arc<PageState>, filter: Filter, last_id: Option<&str>, slot: OwnedSemaphorePermit) -> Self {
        let (news, now) = (shared.clients.listeners.subscribe(&filter), Instant::now());
        let reading = shared.live().begin(filter, last_id, now);
        Self { shared, reading, news, keep_alive_at: now + KEEP_ALIVE, has_begun: false, _slot: slot }
    }

    /// Returns the next text to be sent; `None` at the end, on shutdown.
    async fn next(&mut self) -> Option<Bytes> {
        if !std::mem::replace(&mut self.has_begun, true) {
            return Some(Bytes::from_static(RETRY_TEXT));
        }
        let text = loop {
            // News from here on ends the wait below.
            self.news.borrow_and_update();
            let now = Instant::now();
            if let Some(text) = self.shared.live().next(&mut self.reading, now) {
                break text;
            }
            if self.keep_alive_at <= now {
                break Bytes::from_static(KEEP_ALIVE_TEXT);
            }
            let until = self.reading.snapshot_at().map_or(self.keep_alive_at, |at| at.min(self.keep_alive_at));
            tokio::select! {
                // The sender lives as long as there is a receiver, so this cannot fail.
                changed = self.news.changed() => changed.ok()?,
                () = sleep_until(until) => {}
                () = self.shared.clients.shutdown.requested() => return None,
            }
        };
        self.keep_alive_at = Instant::now() + KEEP_ALIVE;
        Some(text)
    }
}
