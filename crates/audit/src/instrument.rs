//! One instrument: recomputes its rows from FEED and compares them with MARKET and STATS.

use std::collections::BTreeSet;

use bus::RecordKind;
use bus::stream::{STATS_WINDOWS, Stream};
use market::Window;

use crate::bounds::EventTimeBounds;
use crate::checkable_range::CheckableRange;
use crate::compare::Compared;
use crate::feed::FeedMessage;
use crate::judge::{Judged, judge};
use crate::message::AuditedMessage;
use crate::names::InstrumentNames;
use crate::report::AuditReport;
use crate::rows::{Identity, Price, Row};
use crate::stored::{MarketTables, StatsTables};
use crate::windows::{Timeline, WindowShape};

/// All messages of one instrument up to the cut. Messages are added in stream order.
#[derive(Debug)]
pub struct InstrumentAudit<'a> {
    names: InstrumentNames<'a>,
    consumed: ConsumedMarket,
    feed: Vec<FeedMessage>,
    market: MarketTables,
    stats: StatsTables,
    /// Records of MARKET that STATS does not contain yet, in order.
    unread: Vec<Unread>,
    /// Event time of the first price of MARKET that the aggregator cannot have lost.
    first_kept_ms: Option<i64>,
}

/// The part of MARKET that STATS contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsumedMarket {
    /// Its last message.
    pub to: u64,
    /// Messages up to this sequence may be missing, with the loss accepted; 0 when none was lost.
    pub lost_to: u64,
}

/// The retained part of the streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retained {
    /// First sequence of FEED.
    pub feed_first: u64,
    /// Whether the oldest results of MARKET were trimmed away.
    pub is_market_trimmed: bool,
    /// Whether the oldest results of STATS were trimmed away.
    pub is_stats_trimmed: bool,
}

/// A record of MARKET that the aggregator had not read yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unread {
    Price(PriceKey),
    Heartbeat,
}

type PriceKey = (u64, Identity);

fn key_of(price: &Price) -> PriceKey {
    (price.feed_seq, price.identity())
}

impl<'a> InstrumentAudit<'a> {
    /// Starts empty, for the instrument with these names in subjects.
    pub fn new(coin: &'a str, quote: &'a str, consumed: ConsumedMarket) -> Self {
        Self {
            names: InstrumentNames { coin, quote },
            consumed,
            feed: Vec::new(),
            market: MarketTables::default(),
            stats: StatsTables::default(),
            unread: Vec::new(),
            first_kept_ms: None,
        }
    }

    /// Adds a message.
    pub fn add(&mut self, message: &AuditedMessage<'_>) {
        match message.stream {
            Stream::Feed => self.feed.push(FeedMessage::new(message)),
            Stream::Market => self.add_market(message),
            _ => self.stats.read(message, self.names),
        }
    }

    fn add_market(&mut self, message: &AuditedMessage<'_>) {
        let before = (self.market.prices.found.len(), self.market.heartbeats.found.len());
        self.market.read(message, self.names);
        let prices = &self.market.prices.found[before.0..];
        if message.seq > self.consumed.lost_to {
            self.first_kept_ms = self.first_kept_ms.or(prices.first().map(|found| found.row.event_ms));
        }
        if message.seq > self.consumed.to {
            self.unread.extend(prices.iter().map(|found| Unread::Price(key_of(&found.row))));
            let heartbeats = self.market.heartbeats.found.len() - before.1;
            self.unread.extend(std::iter::repeat_n(Unread::Heartbeat, heartbeats));
        }
    }

    /// Recomputes everything from FEED and compares MARKET and STATS with it.
    pub fn check(mut self, retained: Retained, bounds: EventTimeBounds) -> AuditReport {
        self.feed.retain(|message| message.seq >= retained.feed_first);
        let judged = judge(&std::mem::take(&mut self.feed), self.names, bounds);
        let mut market_range = CheckableRange::complete(retained.feed_first);
        if retained.feed_first > 1 {
            market_range = market_range.after_loss(self.first_accepted_ms(&judged), bounds);
        }
        let mut stats_range = market_range;
        if self.consumed.lost_to > 0 {
            stats_range = stats_range.after_loss(self.first_kept_ms, bounds);
        }
        let read = self.read_by_stats(&judged);
        let Self { names, mut market, mut stats, .. } = self;
        expect_stats(&mut stats, &Timeline::new(&judged, read));
        expect_market(&mut market, judged);
        let mut comparison = Comparison { instrument: names.to_string(), report: AuditReport::default() };
        comparison.market(market, &market_range, retained.is_market_trimmed);
        comparison.stats(stats, &stats_range, retained.is_stats_trimmed);
        comparison.report
    }

    /// The event time of the first retained tick of FEED that MARKET accepted.
    fn first_accepted_ms(&self, judged: &Judged) -> Option<i64> {
        let accepted: BTreeSet<PriceKey> = self.market.prices.found.iter().map(|found| key_of(&found.row)).collect();
        let mut prices = judged.prices.iter().map(|price| &price.row);
        prices.find(|price| accepted.contains(&key_of(price))).map(|price| price.event_ms)
    }

    /// The number of lines of FEED that the aggregator had received through MARKET when it stored this STATS.
    fn read_by_stats(&self, judged: &Judged) -> usize {
        let mut passed: Vec<usize> = judged.prices.iter().map(|price| price.at).collect();
        passed.extend(judged.heartbeats.iter().map(|heartbeat| heartbeat.at));
        passed.sort_unstable();
        // Prices name their FEED message and so their line; heartbeats are counted backward from the next price.
        let mut heartbeats = 0;
        for unread in &self.unread {
            match unread {
                Unread::Heartbeat => heartbeats += 1,
                Unread::Price(key) => {
                    if let Some(price) = judged.prices.iter().find(|price| key_of(&price.row) == *key) {
                        let place = passed.partition_point(|&at| at < price.at);
                        return passed[place.saturating_sub(heartbeats)];
                    }
                }
            }
        }
        match passed.len().checked_sub(heartbeats).and_then(|place| passed.get(place)) {
            Some(&at) if heartbeats > 0 => at,
            _ => judged.watermarks.len(),
        }
    }
}

/// Sets the rows that MARKET must hold.
fn expect_market(market: &mut MarketTables, judged: Judged) {
    market.candles.expected = Timeline::new(&judged, judged.watermarks.len()).candles(shape(Window::Minute));
    market.prices.expected = judged.prices;
    market.late.expected = judged.late;
    market.rejected.expected = judged.rejected;
    market.heartbeats.expected = judged.heartbeats;
    market.gaps.expected = judged.gaps;
}

/// Sets the rows that STATS must hold.
fn expect_stats(stats: &mut StatsTables, timeline: &Timeline<'_>) {
    for window in STATS_WINDOWS {
        stats.candles.entry(window.name()).or_default().expected = timeline.candles(shape(window));
    }
    stats.hours_of_day.expected = timeline.hours_of_day(&timeline.candles(shape(Window::Hour)));
}

/// Collects the results of the comparisons of one instrument.
struct Comparison {
    instrument: String,
    report: AuditReport,
}

impl Comparison {
    fn market(&mut self, market: MarketTables, range: &CheckableRange, is_trimmed: bool) {
        let MarketTables { prices, late, rejected, heartbeats, gaps, candles } = market;
        let mut prices = prices.compare(range);
        let mut late = late.compare(range);
        let mut rejected = rejected.compare(range);
        let mut heartbeats = heartbeats.compare(range);
        let mut gaps = gaps.compare(range);
        let mut candles = candles.compare(range);
        if is_trimmed {
            let since = [prices.complete_since, candles.complete_since, heartbeats.complete_since, late.complete_since];
            let since = since.into_iter().chain([rejected.complete_since, gaps.complete_since]).flatten().min();
            let since = since.unwrap_or(usize::MAX);
            prices.exclude_before(since);
            late.exclude_before(since);
            rejected.exclude_before(since);
            heartbeats.exclude_before(since);
            gaps.exclude_before(since);
            candles.exclude_before(since);
        }
        self.add(RecordKind::Price, &prices);
        self.add(RecordKind::Late, &late);
        self.add(RecordKind::Rejected, &rejected);
        self.add(RecordKind::Heartbeat, &heartbeats);
        self.add(RecordKind::Gap, &gaps);
        self.add(RecordKind::Candle, &candles);
    }

    fn stats(&mut self, stats: StatsTables, range: &CheckableRange, is_trimmed: bool) {
        let mut hours_of_day = stats.hours_of_day.compare(range);
        let mut tables = stats.candles;
        let mut of = |window: Window| tables.remove(window.name()).unwrap_or_default();
        let mut windows = STATS_WINDOWS.map(|window| (window, of(window).compare(range)));
        if is_trimmed {
            let since = windows.iter().map(|(_, candles)| candles.complete_since);
            let since = since.chain([hours_of_day.complete_since]).flatten().min().unwrap_or(usize::MAX);
            windows.iter_mut().for_each(|(_, candles)| candles.exclude_before(since));
            hours_of_day.exclude_before(since);
        }
        for (window, candles) in &windows {
            self.add(RecordKind::Stats(*window), candles);
        }
        self.add(RecordKind::HourOfDay, &hours_of_day);
    }

    fn add<R: Row>(&mut self, kind: RecordKind, compared: &Compared<R>) {
        self.report.compared(kind, &self.instrument, compared);
    }
}

/// Length and hop of a window, by its name.
fn shape(window: Window) -> WindowShape {
    const MINUTE_MS: i64 = 60_000;
    let (minutes, every) = match window {
        Window::Minute => (1, 1),
        Window::FiveMinutes => (5, 5),
        Window::QuarterHour => (15, 15),
        Window::Hour => (60, 60),
        Window::Day => (1_440, 1_440),
        Window::HourEveryHalf => (60, 30),
    };
    WindowShape { size_ms: minutes * MINUTE_MS, hop_ms: every * MINUTE_MS }
}
