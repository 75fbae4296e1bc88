//! Follows the provisional candles, which no stream stores.

use std::collections::BTreeSet;

use async_nats::Message;
use bus::{Connection, codec, subject};
use futures::StreamExt;
use market::{Candle, Instrument};
use tokio::time::{Duration, sleep};

use crate::web::page_state::PageState;

/// Candles that are taken at once. A step publishes all windows of an instrument together.
const BATCH: usize = 64;
/// Time before another attempt to subscribe.
const RETRY: Duration = Duration::from_secs(1);

/// Takes provisional candles, forever. After an outage the client subscribes again by itself; what was published
/// meanwhile is lost, and the next candle follows within a second.
pub(super) async fn follow(shared: &PageState, connection: &Connection) {
    loop {
        match connection.client().subscribe(subject::PROVISIONAL_ALL).await {
            Ok(messages) => {
                let mut batches = messages.ready_chunks(BATCH);
                while let Some(batch) = batches.next().await {
                    take(shared, &batch);
                }
            }
            Err(error) => tracing::debug!(%error, "cannot subscribe to provisional candles"),
        }
        sleep(RETRY).await;
    }
}

fn take(shared: &PageState, batch: &[Message]) {
    let candles: Vec<(Instrument, Candle)> = batch.iter().filter_map(candle).collect();
    let mut live = shared.live();
    let news = candles.into_iter().filter(|(instrument, candle)| live.set_open(instrument, candle));
    let instruments: BTreeSet<Instrument> = news.map(|(instrument, _)| instrument).collect();
    drop(live);
    shared.clients.wake(instruments);
}

/// Parses a provisional candle. A message on the subject of another candle is no provisional candle: a reader can have
/// stored messages delivered to live subjects.
fn candle(message: &Message) -> Option<(Instrument, Candle)> {
    let (_, payload) = codec::decode(message.headers.clone(), message.payload.clone());
    let candle: Candle = serde_json::from_slice(&payload).ok()?;
    let is_own = *message.subject == *subject::provisional(candle.window, &candle.coin, &candle.quote);
    let instrument = Instrument::new(&candle.coin, &candle.quote).ok()?;
    (is_own && !candle.is_final).then_some((instrument, candle))
}
