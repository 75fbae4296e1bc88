//! From answers to records: what is a new tick, what is only a heartbeat, and what has been missed.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use market::gap::GapLine;
use market::heartbeat::HeartbeatLine;
use market::tick::TickLine;
use market::validate::{FUTURE_BOUND, validate};
use market::{EventTime, Instrument, Span};

use super::buffer::Record;
use super::certification::{Certification, TimeBefore};
use super::config::SOURCE;
use super::lag::Lags;
use super::markets::Quote;
use super::quote_error::QuoteError;
use crate::feed::{Certified, Feed, LastTick};

/// At most one heartbeat a minute, less what one answer may take longer than the next. By the source's clock: none of ours
/// that is set back silences them.
const HEARTBEAT_EVERY: Span = Span::seconds(55);
/// How far ahead of its answer an observation may be: the Date header has whole seconds, and clocks differ.
const AHEAD_MAX: Span = Span::seconds(5);

/// Times of one poll.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Poll {
    /// When its answer was there, by our clock: the ingest time of what it brings.
    pub(crate) answered_ms: i64,
    /// When the source sent the answer, by the source's clock.
    pub(crate) date: Option<EventTime>,
}

/// What an answer comes to for one coin.
#[derive(Debug, PartialEq)]
pub(crate) struct Observed {
    /// Its place.
    pub(crate) instrument_idx: usize,
    /// In the order in which they go into FEED.
    pub(crate) records: Vec<Record>,
    /// Why it gave no usable price, if it gave none.
    pub(crate) quote_error: Option<QuoteError>,
    /// Whether the quote_error, or its end, is new.
    pub(crate) is_news: bool,
}

/// What the observer has seen since it began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) ticks: u64,
    pub(crate) heartbeats: u64,
    pub(crate) gaps: u64,
    /// Coins of answers that reported what they had reported before.
    pub(crate) unchanged: u64,
    /// Coins without a usable price.
    pub(crate) quote_errors: u64,
}

/// Remembers what each coin reported last. Knows no clock and no network.
#[derive(Debug)]
pub(crate) struct Observer {
    source_delay: Span,
    coins: Vec<Coin>,
    pub(crate) counts: Counts,
}

#[derive(Debug)]
struct Coin {
    instrument: Instrument,
    /// The time of the newest tick.
    last: Option<EventTime>,
    certification: Certification,
    lags: Lags,
    /// The newest heartbeat that certifies.
    last_heartbeat: Option<EventTime>,
    /// What was wrong with the last answer.
    quote_error: Option<QuoteError>,
    /// The quote_error that was news last, if it has not ended.
    reported: Option<QuoteError>,
}

/// What FEED ends with, of one instrument.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FeedEnd {
    pub(crate) instrument: Instrument,
    /// Its last tick.
    pub(crate) last: Option<LastTick>,
    /// Up to where a heartbeat has certified that there was no other.
    pub(crate) certified: Option<Certified>,
}

impl FeedEnd {
    /// Asks FEED.
    ///
    /// # Errors
    /// What asking again does not help against.
    pub(crate) async fn of(instrument: &Instrument, feed: &impl Feed) -> Result<Self, bus::Error> {
        let (last, certified) = (feed.last_tick(instrument).await?, feed.last_certified(instrument).await?);
        Ok(Self { instrument: instrument.clone(), last, certified })
    }
}

impl Observer {
    /// Goes on where FEED ends, with a poll every `interval`. A last tick ahead of the clock is one that was rejected: it does
    /// not count.
    pub(crate) fn new(ends: Vec<FeedEnd>, interval: Span, source_delay: Span, now_ms: i64) -> Self {
        let coin = |FeedEnd { instrument, last, certified }: FeedEnd| {
            let last = last.filter(|last| last.event <= EventTime(now_ms) + FUTURE_BOUND);
            let certified = certified.filter(|certified| certified.end <= EventTime(now_ms) + FUTURE_BOUND);
            // It stayed behind the largest lag of its day: a restart keeps what was learned.
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
        Self { source_delay, coins: ends.into_iter().map(coin).collect(), counts: Counts::default() }
    }

    /// Takes an answer about the coins of these places.
    pub(crate) fn answered(
        &mut self,
        range: Range<usize>,
        quotes: &HashMap<String, Quote>,
        poll: Poll,
    ) -> Vec<Observed> {
        let Self { source_delay, coins, counts } = self;
        range
            .map(|instrument_idx| {
                let coin = &mut coins[instrument_idx];
                let quote = quotes.get(coin.instrument.coin());
                let observed = coin.answered(quote, poll, *source_delay);
                let (records, quote_error) =
                    observed.map_or_else(|quote_error| (Vec::new(), Some(quote_error)), |records| (records, None));
                if let Some(quote_error) = quote_error {
                    coin.certification.interrupted(quote_error.cause(), poll.now());
                }
                counts.add(&records, quote_error);
                coin.quote_error = quote_error;
                let is_news = coin.is_news(quote_error);
                Observed { instrument_idx, records, quote_error, is_news }
            })
            .collect()
    }

    /// A poll about this coin failed at this time of our clock: if ticks turn out to be missing, this is why.
    pub(crate) fn failed(&mut self, instrument_idx: usize, cause: &'static str, now_ms: i64) {
        self.coins[instrument_idx].certification.interrupted(cause, EventTime(now_ms));
    }

    /// The instruments in order of their places, each with the time of our clock at which it last gave a usable price, and with
    /// what was wrong with the last answer.
    pub(crate) fn states(&self) -> impl Iterator<Item = (&Instrument, Option<i64>, Option<QuoteError>)> {
        self.coins.iter().map(|coin| (&coin.instrument, coin.certification.last_answer_ms(), coin.quote_error))
    }

    /// The instrument of a place.
    pub(crate) fn instrument(&self, instrument_idx: usize) -> &Instrument {
        &self.coins[instrument_idx].instrument
    }
}

impl Poll {
    /// When the source answered, by its own clock where it says so.
    fn now(self) -> EventTime {
        self.date.unwrap_or(EventTime(self.answered_ms))
    }

    /// When the source answered, if it says so.
    ///
    /// # Errors
    /// It is so far ahead of our clock that the stream-processor might refuse a heartbeat that stays `source_delay` behind it, and
    /// those that follow would have to be later still.
    fn date_in_time(self, source_delay: Span) -> Result<Option<EventTime>, QuoteError> {
        let latest = EventTime(self.answered_ms) + FUTURE_BOUND;
        let is_ahead = self.date.is_some_and(|date| date.saturating_sub(source_delay) > latest);
        if is_ahead { Err(QuoteError::AheadOfClock) } else { Ok(self.date) }
    }
}

impl Counts {
    fn add(&mut self, records: &[Record], quote_error: Option<QuoteError>) {
        let count = |is_of: fn(&Record) -> bool| records.iter().filter(|record| is_of(record)).count() as u64;
        let ticks = count(|record| matches!(record, Record::Tick(_)));
        self.ticks += ticks;
        self.heartbeats += count(|record| matches!(record, Record::Heartbeat(_)));
        self.gaps += count(|record| matches!(record, Record::Gap(_)));
        self.quote_errors += u64::from(quote_error.is_some());
        self.unchanged += u64::from(quote_error.is_none() && ticks == 0);
    }
}

/// The tick that a quote is, as the stream-processor would take it.
///
/// # Errors
/// Why it is none. One from the future would hide every good one that comes before its time.
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
    let line = TickLine {
        coin: Cow::Owned(instrument.coin().to_owned()),
        quote: Cow::Owned(instrument.quote().to_owned()),
        event_ms: event.ms(),
        grain_ms: None,
        complete_ms: None,
        id: None,
        open: None,
        high: None,
        low: None,
        close,
        volume: None,
        ingest_ms: poll.answered_ms,
        source: Some(Cow::Borrowed(SOURCE)),
        market_cap: quote.market_cap,
        volume_24h: quote.volume_24h,
        high_24h: quote.high_24h,
        low_24h: quote.low_24h,
    };
    // FEED stores it later than this, by a clock that may be behind; that is the only thing left to refuse.
    validate(&line, instrument, 0, poll.answered_ms).map_err(QuoteError::Refused)?;
    Ok(line)
}

impl Coin {
    /// Whether a quote_error, or its end, has to be reported. Answers of different edges may be older by turns, which is no news; if it
    /// lasts, readiness and the gap tell of it.
    fn is_news(&mut self, quote_error: Option<QuoteError>) -> bool {
        quote_error != Some(QuoteError::Older) && std::mem::replace(&mut self.reported, quote_error) != quote_error
    }

    /// The records that an answer comes to.
    fn answered(&mut self, quote: Option<&Quote>, poll: Poll, source_delay: Span) -> Result<Vec<Record>, QuoteError> {
        let mut line = tick(&self.instrument, quote, poll)?;
        let event = EventTime(line.event_ms);
        match self.last {
            Some(last) if event < last => Err(QuoteError::Older),
            Some(last) if event == last => {
                let heartbeat = self.heartbeat_time(source_delay, poll)?;
                self.certification.unchanged(poll.answered_ms);
                Ok(heartbeat.map(|event| self.heartbeat(event, poll)).into_iter().collect())
            }
            _ => {
                self.learn_lag(event, source_delay, poll);
                let mut records = Vec::new();
                match self.certification.tick(event, poll.answered_ms) {
                    TimeBefore::Nothing => {}
                    TimeBefore::Certified(span) => line.complete_ms = Some(span.ms()),
                    TimeBefore::Gap { from, cause } => records.push(self.gap(from, event, cause)),
                }
                records.push(Record::Tick(Box::new(line)));
                self.last = Some(event);
                Ok(records)
            }
        }
    }

    /// A new time teaches how far answers lag, if the poll before would have shown it: else it may have been there for long.
    fn learn_lag(&mut self, event: EventTime, source_delay: Span, poll: Poll) {
        if let Ok(Some(date)) = poll.date_in_time(source_delay)
            && self.certification.is_unbroken(poll.answered_ms)
        {
            self.lags.learn(date, event);
        }
    }

    /// The time of a heartbeat that says anything that the last tick and the last heartbeat did not.
    fn heartbeat_time(&mut self, source_delay: Span, poll: Poll) -> Result<Option<EventTime>, QuoteError> {
        let (Some(date), Some(last)) = (poll.date_in_time(source_delay)?, self.last) else { return Ok(None) };
        let event = date.saturating_sub(self.lags.largest(date, source_delay));
        let is_due = self.last_heartbeat.is_none_or(|last_heartbeat| event - last_heartbeat >= HEARTBEAT_EVERY);
        Ok((event > last && is_due).then_some(event))
    }

    fn heartbeat(&mut self, event: EventTime, poll: Poll) -> Record {
        self.last_heartbeat = Some(event);
        Record::Heartbeat(HeartbeatLine {
            coin: Cow::Owned(self.instrument.coin().to_owned()),
            quote: Cow::Owned(self.instrument.quote().to_owned()),
            event_ms: event.ms(),
            complete_ms: self.certification.heartbeat(event).map(Span::ms),
            ingest_ms: poll.answered_ms,
            flush: false,
        })
    }

    fn gap(&self, from: EventTime, to: EventTime, cause: &'static str) -> Record {
        Record::Gap(GapLine {
            coin: Cow::Owned(self.instrument.coin().to_owned()),
            quote: Cow::Owned(self.instrument.quote().to_owned()),
            from_ms: from.ms(),
            to_ms: to.ms(),
            cause: Cow::Borrowed(cause),
        })
    }
}
