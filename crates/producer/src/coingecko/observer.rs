//! Conversion of answers to records: new ticks, heartbeats, and holes before ticks.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use market::heartbeat::HeartbeatLine;
use market::tick::TickLine;
use market::validate::{FUTURE_BOUND, validate};
use market::{EventTime, Instrument, Span, Tick};

use super::buffer::BufferedRecord;
use super::certification::{Certification, TimeBefore};
use super::config::SOURCE;
use super::hole::Hole;
use super::lag::Lags;
use super::markets::Quote;
use super::quote_error::QuoteError;
use crate::feed::{Certified, Feed, LastTick};

/// Shortest distance of two heartbeats: a minute, less the variation of the answer time. It is measured by the source's
/// clock, so that a local clock that is set back does not silence heartbeats.
const HEARTBEAT_EVERY: Span = Span::seconds(55);
/// Largest lead of an observation over its answer: the Date header has whole seconds, and clocks differ.
const AHEAD_MAX: Span = Span::seconds(5);

/// Times of one poll.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Poll {
    /// Time of the answer by the local clock: the ingest time of its records.
    pub(crate) answered_ms: i64,
    /// Date of the answer by the source's clock.
    pub(crate) date: Option<EventTime>,
}

/// Result of an answer for one coin.
#[derive(Debug, PartialEq)]
pub(crate) struct ObservedCoin {
    /// Index of the instrument.
    pub(crate) instrument_idx: usize,
    /// Records in the order of publishing.
    pub(crate) records: Vec<BufferedRecord>,
    /// Time without prices before the first record, which is a tick.
    pub(crate) hole: Option<Hole>,
    /// Error of an answer without a usable price of the coin.
    pub(crate) quote_error: Option<QuoteError>,
    /// Whether the error, or its end, is new and should be logged.
    pub(crate) is_news: bool,
}

/// Counts since the start of the observer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ObserverCounts {
    pub(crate) ticks: u64,
    pub(crate) heartbeats: u64,
    /// Holes before ticks, and first ticks of an instrument.
    pub(crate) holes: u64,
    /// Coins with the same price time as in the answer before.
    pub(crate) unchanged: u64,
    /// Coins without a usable price.
    pub(crate) quote_errors: u64,
}

/// State of all coins. It has no clock and no network access.
#[derive(Debug)]
pub(crate) struct Observer {
    source_delay: Span,
    coins: Vec<Coin>,
    pub(crate) counts: ObserverCounts,
}

#[derive(Debug)]
struct Coin {
    instrument: Instrument,
    /// Event time of the newest tick.
    last: Option<EventTime>,
    certification: Certification,
    lags: Lags,
    /// Event time of the newest heartbeat that certifies.
    last_heartbeat: Option<EventTime>,
    /// Error of the last answer.
    quote_error: Option<QuoteError>,
    /// Error that was last reported as new, until it ends.
    reported: Option<QuoteError>,
}

/// The end of FEED for one instrument.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FeedEnd {
    pub(crate) instrument: Instrument,
    /// Last tick.
    pub(crate) last: Option<LastTick>,
    /// End of the time that heartbeats certified to hold no other tick.
    pub(crate) certified: Option<Certified>,
}

impl FeedEnd {
    /// Reads the end from FEED.
    ///
    /// # Errors
    /// FEED cannot be read, and retrying does not help.
    pub(crate) async fn of(instrument: &Instrument, feed: &impl Feed) -> Result<Self, bus::Error> {
        let (last, certified) = (feed.last_tick(instrument).await?, feed.last_certified(instrument).await?);
        Ok(Self { instrument: instrument.clone(), last, certified })
    }
}

impl Observer {
    /// Continues from the end of FEED, with a poll every `interval`. A last tick ahead of the clock was rejected and
    /// does not count.
    pub(crate) fn new(ends: Vec<FeedEnd>, interval: Span, source_delay: Span, now_ms: i64) -> Self {
        let coin = |FeedEnd { instrument, last, certified }: FeedEnd| {
            let last = last.filter(|last| last.event <= EventTime(now_ms) + FUTURE_BOUND);
            let certified = certified.filter(|certified| certified.end <= EventTime(now_ms) + FUTURE_BOUND);
            // The heartbeat was behind by the largest lag of its day, so a restart keeps that lag.
            let mut lags = Lags::default();
            certified.iter().for_each(|certified| lags.learn(certified.issued, certified.end));
            let certified = certified.map(|certified| certified.end);
            let end = last.as_ref().map(|last| last.grain.map_or(last.event, |grain| last.event + grain));
            Coin {
                instrument,
                last: last.map(|last| last.event),
                certification: Certification::new(interval, end, certified),
                lags,
                last_heartbeat: certified,
                quote_error: None,
                reported: None,
            }
        };
        Self { source_delay, coins: ends.into_iter().map(coin).collect(), counts: ObserverCounts::default() }
    }

    /// Sets the time between two polls from now on.
    pub(crate) fn set_interval(&mut self, interval: Span) {
        self.coins.iter_mut().for_each(|coin| coin.certification.set_interval(interval));
    }

    /// Processes an answer about the coins with these indexes.
    pub(crate) fn answered(
        &mut self,
        range: Range<usize>,
        quotes: &HashMap<String, Quote>,
        poll: Poll,
    ) -> Vec<ObservedCoin> {
        let Self { source_delay, coins, counts } = self;
        range
            .map(|instrument_idx| {
                let coin = &mut coins[instrument_idx];
                let quote = quotes.get(coin.instrument.coin());
                let (records, hole, quote_error) = match coin.answered(quote, poll, *source_delay) {
                    Ok((record, hole)) => (Vec::from_iter(record), hole, None),
                    Err(quote_error) => (Vec::new(), None, Some(quote_error)),
                };
                if let Some(quote_error) = quote_error {
                    coin.certification.interrupted(quote_error.cause(), poll.now());
                }
                counts.add(&records, hole, quote_error);
                coin.quote_error = quote_error;
                let is_news = coin.is_news(quote_error);
                ObservedCoin { instrument_idx, records, hole, quote_error, is_news }
            })
            .collect()
    }

    /// Records a failed poll of a coin at this time of the local clock. It is the cause of a gap, if prices turn out to
    /// be missing.
    pub(crate) fn failed(&mut self, instrument_idx: usize, cause: &'static str, now_ms: i64) {
        self.coins[instrument_idx].certification.interrupted(cause, EventTime(now_ms));
    }

    /// Returns each instrument with the local time of its last usable price and the error of its last answer.
    pub(crate) fn states(&self) -> impl Iterator<Item = (&Instrument, Option<i64>, Option<QuoteError>)> {
        self.coins.iter().map(|coin| (&coin.instrument, coin.certification.last_answer_ms(), coin.quote_error))
    }

    /// Returns an instrument by its index.
    pub(crate) fn instrument(&self, instrument_idx: usize) -> &Instrument {
        &self.coins[instrument_idx].instrument
    }
}

impl Poll {
    /// Returns the date of the answer; without one, its time by the local clock.
    pub(crate) fn now(self) -> EventTime {
        self.date.unwrap_or(EventTime(self.answered_ms))
    }

    /// Returns the date of the answer, if it has one.
    ///
    /// # Errors
    /// The date is so far ahead of the local clock that the stream-processor might reject a heartbeat that is
    /// `source_delay` behind it. Later heartbeats would have to be later still.
    fn date_in_time(self, source_delay: Span) -> Result<Option<EventTime>, QuoteError> {
        let latest = EventTime(self.answered_ms) + FUTURE_BOUND;
        let is_ahead = self.date.is_some_and(|date| date.saturating_sub(source_delay) > latest);
        if is_ahead { Err(QuoteError::AheadOfClock) } else { Ok(self.date) }
    }
}

impl ObserverCounts {
    fn add(&mut self, records: &[BufferedRecord], hole: Option<Hole>, quote_error: Option<QuoteError>) {
        let count = |is_of: fn(&BufferedRecord) -> bool| records.iter().filter(|record| is_of(record)).count() as u64;
        let ticks = count(|record| matches!(record, BufferedRecord::Tick(_)));
        self.ticks += ticks;
        self.heartbeats += count(|record| matches!(record, BufferedRecord::Heartbeat(_)));
        self.holes += u64::from(hole.is_some());
        self.quote_errors += u64::from(quote_error.is_some());
        self.unchanged += u64::from(quote_error.is_none() && ticks == 0);
    }
}

/// Converts a quote to a tick that the stream-processor accepts.
///
/// # Errors
/// The quote is not usable. A tick from the future would hide all good ones before its time.
pub(crate) fn tick(
    instrument: &Instrument,
    quote: Option<&Quote>,
    poll: Poll,
) -> Result<TickLine<'static>, QuoteError> {
    let quote = quote.ok_or(QuoteError::Missing)?;
    let (close, event) = (quote.price?, quote.last_updated?);
    let answered = EventTime(poll.answered_ms);
    if event > poll.now() + AHEAD_MAX {
        return Err(QuoteError::AheadOfAnswer);
    }
    if event > answered + FUTURE_BOUND {
        return Err(QuoteError::AheadOfClock);
    }
    let (coin, currency) = (instrument.coin().to_owned(), instrument.quote().to_owned());
    let line = TickLine {
        source: Some(Cow::Borrowed(SOURCE)),
        market_cap: quote.market_cap,
        volume_24h: quote.volume_24h,
        high_24h: quote.high_24h,
        low_24h: quote.low_24h,
        ..TickLine::new(coin, currency, &Tick::point(event, close), poll.answered_ms)
    };
    // FEED stores the tick later, by a clock that may be behind. No other check can fail there.
    validate(&line, instrument, 0, poll.answered_ms).map_err(QuoteError::Refused)?;
    Ok(line)
}

impl Coin {
    /// Whether an error, or its end, must be reported. An older price is not reported, because edge servers may answer
    /// out of step; if that lasts, readiness and the gap report it.
    fn is_news(&mut self, quote_error: Option<QuoteError>) -> bool {
        quote_error != Some(QuoteError::Older) && std::mem::replace(&mut self.reported, quote_error) != quote_error
    }

    /// Converts an answer to a record, and the hole before it.
    fn answered(
        &mut self,
        quote: Option<&Quote>,
        poll: Poll,
        source_delay: Span,
    ) -> Result<(Option<BufferedRecord>, Option<Hole>), QuoteError> {
        let mut line = tick(&self.instrument, quote, poll)?;
        let event = EventTime(line.event_ms);
        match self.last {
            Some(last) if event < last => Err(QuoteError::Older),
            Some(last) if event == last => {
                let heartbeat = self.heartbeat_time(source_delay, poll)?;
                self.certification.unchanged(poll.answered_ms);
                Ok((heartbeat.map(|event| self.heartbeat(event, poll)), None))
            }
            _ => {
                self.learn_lag(event, source_delay, poll);
                let hole = match self.certification.tick(event, poll.answered_ms) {
                    TimeBefore::Certified(span) => {
                        line.complete_ms = Some(span.ms());
                        None
                    }
                    TimeBefore::Gap { since, from, cause } => {
                        Some(Hole { since, from: Some(from), to: event, cause: Some(cause) })
                    }
                    TimeBefore::Nothing => {
                        let is_first = self.last.is_none();
                        is_first.then_some(Hole { since: None, from: None, to: event, cause: None })
                    }
                };
                self.last = Some(event);
                Ok((Some(BufferedRecord::Tick(Box::new(line))), hole))
            }
        }
    }

    /// Adds a lag, if the previous poll would have shown the new price: otherwise the price may have been visible for
    /// long.
    fn learn_lag(&mut self, event: EventTime, source_delay: Span, poll: Poll) {
        if let Ok(Some(date)) = poll.date_in_time(source_delay)
            && self.certification.is_unbroken(poll.answered_ms)
        {
            self.lags.learn(date, event);
        }
    }

    /// Returns the time of a heartbeat, if it adds something to the last tick and the last heartbeat.
    fn heartbeat_time(&mut self, source_delay: Span, poll: Poll) -> Result<Option<EventTime>, QuoteError> {
        let (Some(date), Some(last)) = (poll.date_in_time(source_delay)?, self.last) else { return Ok(None) };
        let event = date.saturating_sub(self.lags.largest(date, source_delay));
        let is_due = self.last_heartbeat.is_none_or(|last_heartbeat| event - last_heartbeat >= HEARTBEAT_EVERY);
        Ok((event > last && is_due).then_some(event))
    }

    fn heartbeat(&mut self, event: EventTime, poll: Poll) -> BufferedRecord {
        self.last_heartbeat = Some(event);
        BufferedRecord::Heartbeat(HeartbeatLine {
            coin: Cow::Owned(self.instrument.coin().to_owned()),
            quote: Cow::Owned(self.instrument.quote().to_owned()),
            event_ms: event.ms(),
            complete_ms: self.certification.heartbeat(event).map(Span::ms),
            ingest_ms: poll.answered_ms,
            flush: false,
        })
    }
}
