//! Fills the rows at the start, or when a stream is another one than before.

use bus::reader::{ReaderEvent, Selection, read_to_end};
use bus::{Error, RecordKind, Stream, query, subject};
use futures::{StreamExt, TryStreamExt};
use market::Window;

use super::{Follower, Tail};
use crate::view::kind_of;

/// Requests for single messages at the same time.
const REQUESTS: usize = 16;

impl Follower<'_> {
    /// Reads what is stored, and returns the streams at their ends: MARKET, STATS and FORECAST; `None` for one that does not
    /// exist.
    pub(super) async fn load(&self) -> Result<[Option<Tail>; 3], Error> {
        self.read_history().await?;
        let mut tails = [None, None, None];
        for (stream, tail) in [Stream::Market, Stream::Stats, Stream::Forecast].into_iter().zip(&mut tails) {
            *tail = self.open(stream).await?;
            if let Some(tail) = tail {
                self.read_stored(stream, tail).await?;
                self.fetch_missing(stream).await?;
            }
        }
        Ok(tails)
    }

    /// Reads the kinds that are shown as tables from their beginning: some rows an hour of each instrument.
    async fn read_history(&self) -> Result<(), Error> {
        let windows = [Window::Hour, Window::Day, Window::HourEveryHalf].map(kind_of);
        let kinds = windows.into_iter().chain([RecordKind::HourOfDay]);
        let filters = kinds.map(|kind| subject::of_kind(Stream::Stats, kind, None)).collect();
        let selection = Selection { stream: Stream::Stats, filters, from: 1 };
        read_to_end(self.connection, selection, |delivery| {
            self.store(Stream::Stats, &delivery);
            Ok::<_, Error>(())
        })
        .await
        .map(drop)
    }

    /// Reads a stream to its end.
    async fn read_stored(&self, stream: Stream, tail: &mut Tail) -> Result<(), Error> {
        loop {
            let pending = match tail.reader.next().await? {
                ReaderEvent::Attached { info, pending } => {
                    tail.log = info.log()?;
                    pending
                }
                ReaderEvent::Message(delivery) => {
                    tail.seq = delivery.seq;
                    self.store(stream, &delivery);
                    delivery.pending
                }
            };
            if pending == 0 {
                return Ok(());
            }
        }
    }

    /// Fetches the newest message of each subject of which no message was among those that were read.
    async fn fetch_missing(&self, stream: Stream) -> Result<(), Error> {
        let connection = self.connection;
        let mut missing = query::subjects(connection, stream).await?;
        missing.retain(|subject| self.shared.view().lacks(subject));
        let requests = missing.iter().map(|subject| query::last(connection, stream, subject));
        let found: Vec<_> = futures::stream::iter(requests).buffer_unordered(REQUESTS).try_collect().await?;
        for message in found.into_iter().flatten() {
            if let Err(error) = self.shared.view().apply(&message.subject, message.seq, &message.payload) {
                tracing::warn!(%error, "ignored an unreadable stored record");
            }
        }
        Ok(())
    }
}
