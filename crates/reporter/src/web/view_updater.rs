//! Updates the page's view: reads the stored messages of the streams, then follows new ones.

use std::time::Duration;

use async_nats::connection::State;
use bus::reader::{Reader, ReaderEvent, Selection};
use bus::retry::wait_for;
use bus::{Connection, Error, NatsArgs, RecordKind, Stream, query, subject, topology};
use market::{Instrument, Window};
use service::{Freshness, Shutdown};

use super::page_state::PageState;
use crate::query::pipeline::PipelineWatch;
use crate::view::{WINDOWS, kind_of};

/// Number of the newest messages of MARKET that are read for prices at the start. MARKET is long, and a replayed message holds up to
/// 128 KiB.
const MARKET_TAIL: u64 = 512;
/// Time between two reads of the steps' positions.
const STATUS_INTERVAL: Duration = Duration::from_secs(2);
/// Instruments whose last price is fetched per status read, at most.
const FETCHES_MAX: usize = 64;

/// Follows the streams until shutdown, through outages.
///
/// # Errors
/// Waiting does not help: wrong credentials, missing permissions, or streams with other settings.
pub(super) async fn follow(shared: &PageState, nats: &NatsArgs, shutdown: &Shutdown) -> Result<(), Error> {
    let Some(connection) = Connection::wait(nats, Some(crate::user::USER), &shared.health, shutdown).await? else {
        return Ok(());
    };
    shared.connected(&connection);
    let required = async |stream| wait_for(|| topology::require(&connection, stream), &shared.health, shutdown).await;
    let Some(market) = required(Stream::Market).await? else { return Ok(()) };
    let Some(_) = required(Stream::Stats).await? else { return Ok(()) };
    shared.health.not_ready("reading what is stored");
    let prices = Selection {
        stream: Stream::Market,
        filters: vec![subject::of_kind(Stream::Market, RecordKind::Price, None)],
        from: market.state.last_seq.saturating_sub(MARKET_TAIL).max(1),
    };
    let longer = WINDOWS.into_iter().filter(|&window| window != Window::Minute).map(kind_of);
    let kinds = longer.chain([RecordKind::HourOfDay]);
    let filters = kinds.map(|kind| subject::of_kind(Stream::Stats, kind, None)).collect();
    let statistics = Selection { stream: Stream::Stats, filters, from: 1 };
    tokio::select! {
        never = read(shared, &connection, prices, Part::Prices) => never,
        never = read(shared, &connection, statistics, Part::Tables) => never,
        never = watch_steps(shared, &connection) => never,
        () = shutdown.requested() => Ok(()),
    }
}

/// Purpose of a selection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Messages with prices. A new one shows that the source is active.
    Prices,
    /// Messages that change tables. When the stored ones are read, the page is ready.
    Tables,
}

/// Reads a selection into the view, forever.
async fn read(shared: &PageState, connection: &Connection, selection: Selection, part: Part) -> Result<(), Error> {
    let mut reader = Reader::start(connection, selection);
    let mut has_read_all = false;
    loop {
        let pending = match reader.next().await? {
            ReaderEvent::Attached { pending, .. } => pending,
            ReaderEvent::Message(delivery) => {
                // The other lines can still be shown.
                if let Err(error) = shared.view().apply(&delivery.subject, delivery.seq, &delivery.payload) {
                    tracing::warn!(%error, "ignored an unreadable stored record");
                }
                match part {
                    Part::Tables => shared.changed(),
                    Part::Prices if has_read_all => shared.moved(),
                    Part::Prices => {}
                }
                delivery.pending
            }
        };
        if pending == 0 {
            has_read_all = true;
            if part == Part::Tables {
                shared.health.ready();
            }
        }
    }
}

/// Reads the status of the steps periodically, forever.
async fn watch_steps(shared: &PageState, connection: &Connection) -> Result<(), Error> {
    let pulse = shared.health.pulse("looking at the steps");
    let mut watch = PipelineWatch::new(connection);
    loop {
        pulse.during(refresh(shared, connection, &mut watch)).await;
        tokio::time::sleep(STATUS_INTERVAL).await;
    }
}

async fn refresh(shared: &PageState, connection: &Connection, watch: &mut PipelineWatch) {
    if connection.client().connection_state() == State::Connected {
        match watch.look().await {
            Ok(status) => *shared.status() = status,
            Err(error) => tracing::debug!(%error, "cannot read the status of the steps"),
        }
        if let Err(error) = fetch_prices(shared, connection).await {
            tracing::debug!(%error, "cannot fetch last prices");
        }
    } else {
        shared.status().is_connected = false;
        // The reader sets ready again when it has read all stored messages.
        shared.health.not_ready("the NATS server is away");
    }
    shared.health.data(shared.view().newest().map_or(Freshness::Awaited, |event| Freshness::Newest(event.ms())));
}

/// Fetches the last price of instruments that have tables but no price among MARKET's last messages.
async fn fetch_prices(shared: &PageState, connection: &Connection) -> Result<(), Error> {
    let unpriced = |view: &crate::view::View| -> Vec<Instrument> {
        let without = view.instruments().filter(|(_, rows)| rows.price.is_none());
        without.filter_map(|((coin, quote), _)| Instrument::new(coin, quote).ok()).take(FETCHES_MAX).collect()
    };
    let unpriced = unpriced(&shared.view());
    for instrument in unpriced {
        let subject = subject::of_kind(Stream::Market, RecordKind::Price, Some(&instrument));
        if let Some(message) = query::last(connection, Stream::Market, &subject).await? {
            shared.view().apply(&message.subject, message.seq, &message.payload)?;
        }
    }
    Ok(())
}
