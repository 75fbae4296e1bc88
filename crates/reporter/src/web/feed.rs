//! Fills the page's view: reads what the streams hold, then follows them.

use std::time::Duration;

use async_nats::connection::State;
use bus::connect::wait_for;
use bus::reader::{Event, Reader, Selection};
use bus::{Connection, Error, NatsArgs, RecordKind, Stream, query, subject, topology};
use market::{Instrument, Window};
use service::{Freshness, Shutdown};

use super::Shared;
use super::pipeline_status::{Looks, PipelineStatus};
use crate::view::{WINDOWS, kind_of};

/// MARKET is long: of its prices only those among so many last messages are read. A replayed message holds up to 128 KiB.
const MARKET_TAIL: u64 = 512;
/// How often the steps' positions are read.
const LOOK: Duration = Duration::from_secs(2);
/// Instruments whose last price is fetched in one look.
const FETCHES_MAX: usize = 64;

/// Follows until shutdown, through every outage.
///
/// # Errors
/// What waiting cannot mend: credentials, permissions, another topology.
pub(super) async fn follow(shared: &Shared, nats: &NatsArgs, shutdown: &Shutdown) -> Result<(), Error> {
    let Some(connection) = Connection::wait(nats, Some(crate::USER), &shared.health, shutdown).await? else {
        return Ok(());
    };
    shared.standing().is_connected = true;
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
        never = watch_standing(shared, &connection) => never,
        () = shutdown.requested() => Ok(()),
    }
}

/// What a selection is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Its messages are prices: they tell whether something is alive upstream.
    Prices,
    /// Its messages change tables; when what is stored was read, the page is ready.
    Tables,
}

/// Reads a selection into the view, for ever.
async fn read(shared: &Shared, connection: &Connection, selection: Selection, part: Part) -> Result<(), Error> {
    let mut reader = Reader::start(connection, selection);
    let mut has_read_all = false;
    loop {
        let pending = match reader.next().await? {
            Event::Attached { pending, .. } => pending,
            Event::Message(delivery) => {
                // A line that cannot be shown is no reason to show nothing.
                if let Err(error) = shared.view().apply(&delivery.subject, &delivery.payload) {
                    tracing::warn!(%error, "a stored record is not shown");
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

/// Looks again and again how the steps stand.
async fn watch_standing(shared: &Shared, connection: &Connection) -> Result<(), Error> {
    let pulse = shared.health.pulse("looking at the steps");
    let mut looks = Looks::default();
    loop {
        pulse.during(look(shared, connection, &mut looks)).await;
        tokio::time::sleep(LOOK).await;
    }
}

async fn look(shared: &Shared, connection: &Connection, looks: &mut Looks) {
    if connection.client().connection_state() == State::Connected {
        match PipelineStatus::read(connection, looks).await {
            Ok(standing) => *shared.standing() = standing,
            Err(error) => tracing::debug!(%error, "the standing of the steps is not known"),
        }
        if let Err(error) = fetch_prices(shared, connection).await {
            tracing::debug!(%error, "last prices are not known");
        }
    } else {
        shared.standing().is_connected = false;
        // The reader says when all is read again.
        shared.health.not_ready("the NATS server is away");
    }
    shared.health.data(shared.view().newest().map_or(Freshness::Awaited, |event| Freshness::Newest(event.ms())));
}

/// Fetches the last price of instruments that have tables but no price among MARKET's last messages.
async fn fetch_prices(shared: &Shared, connection: &Connection) -> Result<(), Error> {
    let unpriced = |view: &crate::view::View| -> Vec<Instrument> {
        let without = view.instruments().filter(|(_, rows)| rows.price.is_none());
        without.filter_map(|((coin, quote), _)| Instrument::new(coin, quote).ok()).take(FETCHES_MAX).collect()
    };
    let unpriced = unpriced(&shared.view());
    for instrument in unpriced {
        let subject = subject::of_kind(Stream::Market, RecordKind::Price, Some(&instrument));
        if let Some(message) = query::last(connection, Stream::Market, &subject).await? {
            shared.view().apply(&message.subject, &message.payload)?;
        }
    }
    Ok(())
}
