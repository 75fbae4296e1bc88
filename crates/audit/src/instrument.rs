//! One instrument: what FEED says, what MARKET and STATS hold, and how far they agree.

use std::collections::BTreeSet;

use bus::RecordKind;
use bus::stream::{STATS_WINDOWS, Stream};
use market::Window;

use crate::checkable_range::Horizon;
use crate::compare::Compared;
use crate::judge::{Judged, judge};
use crate::message::Message;
use crate::report::Report;
use crate::rows::{Identity, Price, Row};
use crate::stored::{Market, Stats};
use crate::windows::{Shape, Timeline};
use crate::{Bounds, Names, feed};

/// What the streams hold of one instrument up to the cut. Messages are added in stream order.
#[derive(Debug)]
pub struct Ledger<'a> {
    names: Names<'a>,
    contained: Contained,
    feed: Vec<feed::Message>,
    market: Market,
    stats: Stats,
    /// What MARKET holds beyond what STATS contains, in order.
    unread: Vec<Unread>,
    /// Event time of the first price of MARKET that the aggregator cannot have lost.
    first_kept_ms: Option<i64>,
}

/// How much of MARKET is contained in STATS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contained {
    /// Its last message.
    pub to: u64,
    /// Up to this message some may be missing, as was accepted; 0 when none was lost.
    pub lost_to: u64,
}

/// What is left of the streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// First sequence of FEED.
    pub feed_first: u64,
    /// Whether the oldest results of MARKET were trimmed away.
    pub is_market_trimmed: bool,
    /// Whether the oldest results of STATS were trimmed away.
    pub is_stats_trimmed: bool,
}

/// A record of MARKET that the aggregator had not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unread {
    Price(PriceKey),
    Heartbeat,
}

type PriceKey = (u64, Identity);

fn key_of(price: &Price) -> PriceKey {
    (price.feed_seq, price.identity())
}

impl<'a> Ledger<'a> {
    /// Starts with nothing, for the instrument that subjects name so.
    pub fn new(coin: &'a str, quote: &'a str, contained: Contained) -> Self {
        Self {
            names: Names { coin, quote },
            contained,
            feed: Vec::new(),
            market: Market::default(),
            stats: Stats::default(),
            unread: Vec::new(),
            first_kept_ms: None,
        }
    }

    /// Adds a message.
    pub fn add(&mut self, message: &Message<'_>) {
        match message.stream {
            Stream::Feed => self.feed.push(feed::Message::new(message)),
            Stream::Market => self.add_market(message),
            _ => self.stats.read(message, self.names),
        }
    }

    fn add_market(&mut self, message: &Message<'_>) {
        let before = (self.market.prices.found.len(), self.market.heartbeats.found.len());
        self.market.read(message, self.names);
        let prices = &self.market.prices.found[before.0..];
        if message.seq > self.contained.lost_to {
            self.first_kept_ms = self.first_kept_ms.or(prices.first().map(|found| found.row.event_ms));
        }
        if message.seq > self.contained.to {
            self.unread.extend(prices.iter().map(|found| Unread::Price(key_of(&found.row))));
            let heartbeats = self.market.heartbeats.found.len() - before.1;
            self.unread.extend(std::iter::repeat_n(Unread::Heartbeat, heartbeats));
        }
    }

    /// Computes everything again from FEED, and tells how MARKET and STATS compare with it.
    pub fn check(mut self, left: Left, bounds: Bounds) -> Report {
        self.feed.retain(|message| message.seq >= left.feed_first);
        let judged = judge(&std::mem::take(&mut self.feed), self.names, bounds);
        let mut market_horizon = Horizon::whole(left.feed_first);
        if left.feed_first > 1 {
            market_horizon = market_horizon.after_loss(self.first_accepted_ms(&judged), bounds);
        }
        let mut stats_horizon = market_horizon;
        if self.contained.lost_to > 0 {
            stats_horizon = stats_horizon.after_loss(self.first_kept_ms, bounds);
        }
        let read = self.read_by_stats(&judged);
        let Self { names, mut market, mut stats, .. } = self;
        make_stats(&mut stats, &Timeline::new(&judged, read));
        make_market(&mut market, judged);
        let mut comparison = Comparison { instrument: names.to_string(), report: Report::default() };
        comparison.market(market, &market_horizon, left.is_market_trimmed);
        comparison.stats(stats, &stats_horizon, left.is_stats_trimmed);
        comparison.report
    }

    /// The event time of the first tick in what is left of FEED that MARKET accepted.
    fn first_accepted_ms(&self, judged: &Judged) -> Option<i64> {
        let accepted: BTreeSet<PriceKey> = self.market.prices.found.iter().map(|found| key_of(&found.row)).collect();
        let mut prices = judged.prices.iter().map(|price| &price.row);
        prices.find(|price| accepted.contains(&key_of(price))).map(|price| price.event_ms)
    }

    /// How many lines of FEED had come to the aggregator, through MARKET, when it stored STATS as it is.
    fn read_by_stats(&self, judged: &Judged) -> usize {
        let mut passed: Vec<usize> = judged.prices.iter().map(|price| price.at).collect();
        passed.extend(judged.heartbeats.iter().map(|heartbeat| heartbeat.at));
        passed.sort_unstable();
        // Prices say by themselves which line they are; heartbeats are counted back from the next price.
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

/// Enters what MARKET must hold.
fn make_market(market: &mut Market, judged: Judged) {
    market.candles.made = Timeline::new(&judged, judged.watermarks.len()).candles(shape(Window::Minute));
    market.prices.made = judged.prices;
    market.late.made = judged.late;
    market.rejected.made = judged.rejected;
    market.heartbeats.made = judged.heartbeats;
    market.gaps.made = judged.gaps;
}

/// Enters what STATS must hold.
fn make_stats(stats: &mut Stats, timeline: &Timeline<'_>) {
    for window in STATS_WINDOWS {
        stats.candles.entry(window.name()).or_default().made = timeline.candles(shape(window));
    }
    stats.hours_of_day.made = timeline.hours_of_day(&timeline.candles(shape(Window::Hour)));
}

/// Where comparisons are counted.
struct Comparison {
    instrument: String,
    report: Report,
}

impl Comparison {
    fn market(&mut self, market: Market, horizon: &Horizon, is_trimmed: bool) {
        let Market { prices, late, rejected, heartbeats, gaps, candles } = market;
        let mut prices = prices.compare(horizon);
        let mut late = late.compare(horizon);
        let mut rejected = rejected.compare(horizon);
        let mut heartbeats = heartbeats.compare(horizon);
        let mut gaps = gaps.compare(horizon);
        let mut candles = candles.compare(horizon);
        if is_trimmed {
            let whole = [prices.whole_since, candles.whole_since, heartbeats.whole_since, late.whole_since];
            let since = whole.into_iter().chain([rejected.whole_since, gaps.whole_since]).flatten().min();
            let since = since.unwrap_or(usize::MAX);
            prices.forgive_before(since);
            late.forgive_before(since);
            rejected.forgive_before(since);
            heartbeats.forgive_before(since);
            gaps.forgive_before(since);
            candles.forgive_before(since);
        }
        self.add(RecordKind::Price, &prices);
        self.add(RecordKind::Late, &late);
        self.add(RecordKind::Rejected, &rejected);
        self.add(RecordKind::Heartbeat, &heartbeats);
        self.add(RecordKind::Gap, &gaps);
        self.add(RecordKind::Candle, &candles);
    }

    fn stats(&mut self, stats: Stats, horizon: &Horizon, is_trimmed: bool) {
        let mut hours_of_day = stats.hours_of_day.compare(horizon);
        let mut tables = stats.candles;
        let mut of = |window: Window| tables.remove(window.name()).unwrap_or_default();
        let mut windows = STATS_WINDOWS.map(|window| (window, of(window).compare(horizon)));
        if is_trimmed {
            let whole = windows.iter().map(|(_, candles)| candles.whole_since);
            let since = whole.chain([hours_of_day.whole_since]).flatten().min().unwrap_or(usize::MAX);
            windows.iter_mut().for_each(|(_, candles)| candles.forgive_before(since));
            hours_of_day.forgive_before(since);
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

/// What a window's name says.
fn shape(window: Window) -> Shape {
    const MINUTE_MS: i64 = 60_000;
    let (minutes, every) = match window {
        Window::Minute => (1, 1),
        Window::FiveMinutes => (5, 5),
        Window::QuarterHour => (15, 15),
        Window::Hour => (60, 60),
        Window::Day => (1_440, 1_440),
        Window::HourEveryHalf => (60, 30),
    };
    Shape { size_ms: minutes * MINUTE_MS, hop_ms: every * MINUTE_MS }
}
