//! The judgement of `aggregator audit`, from the rows that are stored.

use audit::{AuditedMessage, ConsumedMarket, EventTimeBounds, InstrumentAudit, Retained};
use bus::RecordKind;
use bus::topology::{STATS_WINDOWS, Stream};

use crate::checks::plain::is_lossy;
use crate::checks::records::Name;
use crate::checks::{Checked, Failure, Recorded, is_downstream_of_a_cut};
use crate::jetstream::{Delivery, Stored};
use crate::world::{Remains, wire};

const BOUNDS: EventTimeBounds = EventTimeBounds { disorder_ms: 5_000, lateness_ms: 600_000 };

pub(crate) fn check(remains: &Remains, recorded: &Recorded) -> Checked {
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
        for ((stream, history), end) in streams.into_iter().zip(&remains.histories).zip(ends) {
            if is_downstream_of_a_cut(remains, stream) {
                continue;
            }
            for (kind, stored) in history.iter().filter_map(|stored| Some((kind_of(stored, name)?, stored))) {
                let delivery = Delivery { stored: stored.clone(), consumer_seq: 0, pending: 0 };
                let delivery = wire::delivery(&delivery);
                if stored.seq <= end {
                    audit.add(&AuditedMessage::new(stream, kind, &delivery, true));
                }
            }
        }
        let feed_first = if is_lossy(remains, recorded, *partition) { remains.feed_first } else { 1 };
        let report = audit.check(Retained { feed_first, is_market_trimmed: false, is_stats_trimmed: false }, BOUNDS);
        let is_judged = |stream: Stream| !is_downstream_of_a_cut(remains, stream);
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

/// The kind of a message of the instrument; `None` for all others.
fn kind_of(stored: &Stored, (partition, coin, quote): &Name) -> Option<RecordKind> {
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

/// Whether states of MARKET lack what was shown already, because FEED lost it before they were stored: such a partition takes
/// ticks again that are too late, which the audit's horizon does not foresee.
fn has_forgotten(recorded: &Recorded, partition: u32) -> bool {
    let positions = recorded.positions.get(&(Stream::Market, partition)).map_or(&[][..], Vec::as_slice);
    positions.windows(2).any(|pair| pair[1].1.applied < pair[0].1.applied)
}
