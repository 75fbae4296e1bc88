//! The verdict of `aggregator audit` on the stored rows.

use audit::{AuditedMessage, ConsumedMarket, EventTimeBounds, InstrumentAudit, Retained};
use bus::RecordKind;
use bus::stream::{STATS_WINDOWS, Stream};

use crate::checks::failure::{Checked, Failure};
use crate::checks::plain::is_lossy;
use crate::checks::records::Name;
use crate::checks::records::StreamContents;
use crate::jetstream::{ConsumerDelivery, LogEntry};
use crate::world::{RunResult, wire};

const BOUNDS: EventTimeBounds = EventTimeBounds { disorder_ms: 5_000, lateness_ms: 600_000 };

pub(crate) fn check(result: &RunResult, recorded: &StreamContents) -> Checked {
    let streams = [Stream::Feed, Stream::Market, Stream::Stats];
    for name in recorded.feed.keys().chain(recorded.market.keys()) {
        let (partition, coin, quote) = name;
        if has_forgotten(recorded, *partition) {
            continue;
        }
        let market = recorded.last(Stream::Market, *partition);
        let stats = recorded.last(Stream::Stats, *partition);
        let contained = ConsumedMarket {
            to: stats.map_or(0, |(_, position)| position.position),
            lost_to: stats.map_or(0, |(_, position)| position.lost_to),
        };
        let mut audit = InstrumentAudit::new(coin, quote, contained);
        let ends = [
            market.map_or(0, |(_, position)| position.position),
            market.map_or(0, |(seq, _)| *seq),
            stats.map_or(0, |(seq, _)| *seq),
        ];
        for ((stream, history), end) in streams.into_iter().zip(&result.histories).zip(ends) {
            if result.follows_a_cut(stream) {
                continue;
            }
            for (kind, stored) in history.iter().filter_map(|stored| Some((kind_of(stored, name)?, stored))) {
                let delivery = ConsumerDelivery { stored: stored.clone(), consumer_seq: 0, pending: 0 };
                let delivery = wire::delivery(&delivery);
                if stored.seq <= end {
                    audit.add(&AuditedMessage::new(stream, kind, &delivery, true));
                }
            }
        }
        let feed_first = if is_lossy(result, recorded, *partition) { result.feed_first } else { 1 };
        let report = audit.check(Retained { feed_first, is_market_trimmed: false, is_stats_trimmed: false }, BOUNDS);
        let is_judged = |stream: Stream| !result.follows_a_cut(stream);
        let differences = report.differences.iter().filter(|difference| is_judged(stream_of(difference.kind)));
        if let Some(difference) = differences.into_iter().next() {
            return Err(Failure::new("the audit finds nothing", format!("partition {partition}: {difference:?}")));
        }
    }
    Ok(())
}

fn stream_of(kind: RecordKind) -> Stream {
    if matches!(kind, RecordKind::Stats(_) | RecordKind::HourOfDay) { Stream::Stats } else { Stream::Market }
}

/// The kind of a message of the instrument; `None` for any other message.
fn kind_of(stored: &LogEntry, (partition, coin, quote): &Name) -> Option<RecordKind> {
    let kinds = [
        RecordKind::Tick,
        RecordKind::Heartbeat,
        RecordKind::Gap,
        RecordKind::Price,
        RecordKind::Candle,
        RecordKind::Late,
        RecordKind::Rejected,
        RecordKind::HourOfDay,
    ];
    let subject = bus::subject::SubjectParts::parse(&stored.message.subject)?;
    let is_it = (subject.partition, subject.coin, subject.quote) == (*partition, coin.as_str(), quote.as_str());
    let mut kinds = kinds.into_iter().chain(STATS_WINDOWS.map(RecordKind::Stats));
    kinds.find(|kind| is_it && kind.token() == subject.kind)
}

/// Whether states of MARKET lack input whose results are stored, because FEED lost it before the states were stored.
/// Such a partition accepts ticks again that are too late, which the audit does not expect.
fn has_forgotten(recorded: &StreamContents, partition: u32) -> bool {
    let positions = recorded.positions.get(&(Stream::Market, partition)).map_or(&[][..], Vec::as_slice);
    positions.windows(2).any(|pair| pair[1].1.applied < pair[0].1.applied)
}
