//! From answers to records: what is a new tick, what is only a heartbeat, and what has been missed.

use std::borrow::Cow;
use std::collections::HashMap;

use market::gap::GapLine;
use market::heartbeat::HeartbeatLine;
use market::tick::TickLine;
use market::validate::FUTURE_BOUND;
use market::{EventTime, Instrument, Span};

use super::SOURCE;
use super::markets::Quote;
use super::outbox::Record;
use crate::feed::LastTick;

/// At most one heartbeat a minute, less what one answer may take longer than the next. By the source's clock: none of ours
/// that is set back silences them.
const HEARTBEAT_EVERY: Span = Span::seconds(55);
/// Ticks closer than this never have a gap between them, however short the interval.
const GAP_MIN: Span = Span::MINUTE;
/// The cause of a gap that began before this process.
const STOPPED: &str = "producer-stopped";
/// The cause of a gap whose prices were refused because their times were ahead of their answers.
pub(crate) const TIME_AHEAD: &str = "time-ahead";
/// The same when our own clock is behind.
const CLOCK_BEHIND: &str = "clock-behind";
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

/// Why a coin gave no observation although the source answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The answer does not name it.
    Missing,
    /// It has no price.
    NoPrice,
    /// It has no time of observation.
    NoTime,
    /// Its time is ahead of the answer: an error of the source.
    AheadOfAnswer,
    /// Its time is ahead of our clock, but not of the answer: our clock is behind.
    AheadOfClock,
}

impl Trouble {
    /// The cause of the gap, if a price that the source has is lost.
    fn cause(self) -> Option<&'static str> {
        match self {
            Self::AheadOfAnswer => Some(TIME_AHEAD),
            Self::AheadOfClock => Some(CLOCK_BEHIND),
            Self::Missing | Self::NoPrice | Self::NoTime => None,
        }
    }
}

/// What the observer has seen since it began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) ticks: u64,
    pub(crate) heartbeats: u64,
    pub(crate) gaps: u64,
    /// Coins of answers that said what they had said before.
    pub(crate) unchanged: u64,
    /// Coins of answers that were older than one before.
    pub(crate) backwards: u64,
    /// Coins without an observation.
    pub(crate) troubles: u64,
    /// Of them, those whose time was ahead of the answer.
    pub(crate) ahead: u64,
}

/// Remembers what each coin said last. Knows no clock and no network.
#[derive(Debug)]
pub(crate) struct Observer {
    grain: Span,
    source_delay: Span,
    coins: Vec<Coin>,
    pub(crate) counts: Counts,
}

#[derive(Debug)]
struct Coin {
    instrument: Instrument,
    /// The newest tick: its time and the span that it stands for.
    last: Option<(EventTime, Span)>,
    /// The newest heartbeat.
    promised: Option<EventTime>,
    /// Why prices may be missing since the last tick: polls failed, or a price was refused.
    outage: Option<&'static str>,
    trouble: Option<Trouble>,
}

impl Observer {
    /// Goes on where FEED ends. A last tick ahead of the clock is one that was rejected: it does not count.
    pub(crate) fn new(
        coins: Vec<(Instrument, Option<LastTick>)>,
        grain: Span,
        source_delay: Span,
        now_ms: i64,
    ) -> Self {
        let coin = |(instrument, last): (Instrument, Option<LastTick>)| {
            let last = last.filter(|last| last.event <= EventTime(now_ms) + FUTURE_BOUND);
            let last = last.map(|last| (last.event, grain));
            Coin { instrument, last, promised: None, outage: last.map(|_| STOPPED), trouble: None }
        };
        Self { grain, source_delay, coins: coins.into_iter().map(coin).collect(), counts: Counts::default() }
    }

    /// Takes an answer about one coin, by its place; `quote` is what the answer says of it. Returns records in order, and
    /// the coin's trouble if that is news.
    pub(crate) fn answered(
        &mut self,
        lane: usize,
        quote: Option<&Quote>,
        poll: Poll,
    ) -> (Vec<Record>, Option<Trouble>) {
        let coin = &mut self.coins[lane];
        let (event, price) = match observation(quote, poll) {
            Ok(observation) => observation,
            Err(trouble) => {
                self.counts.troubles += 1;
                self.counts.ahead += u64::from(trouble == Trouble::AheadOfAnswer);
                coin.outage = coin.outage.or(trouble.cause());
                let is_news = coin.trouble.replace(trouble) != Some(trouble);
                return (Vec::new(), is_news.then_some(trouble));
            }
        };
        coin.trouble = None;
        let mut records = Vec::new();
        let newest = coin.last.map(|(event, _)| event);
        if newest.is_none_or(|newest| event > newest) {
            records.extend(coin.gap_before(event).inspect(|_| self.counts.gaps += 1));
            records.push(coin.tick(event, price, quote, poll.answered_ms));
            self.counts.ticks += 1;
            coin.last = Some((event, self.grain));
            coin.outage = None;
            return (records, None);
        }
        if newest == Some(event) {
            // Nothing was missed either: the source itself has seen nothing newer.
            coin.outage = None;
            self.counts.unchanged += 1;
        } else {
            self.counts.backwards += 1;
        }
        records.extend(coin.heartbeat(self.source_delay, poll).inspect(|_| self.counts.heartbeats += 1));
        (records, None)
    }

    /// A poll about this coin failed: if ticks turn out to be missing, this is why. The first cause stays.
    pub(crate) fn failed(&mut self, lane: usize, cause: &'static str) {
        self.coins[lane].outage.get_or_insert(cause);
    }

    /// The instrument of a place.
    pub(crate) fn instrument(&self, lane: usize) -> &Instrument {
        &self.coins[lane].instrument
    }
}

/// Time and price of a quote.
///
/// # Errors
/// Why it is no observation. One from the future would hide every good one that comes before its time.
pub(crate) fn observation(quote: Option<&Quote>, poll: Poll) -> Result<(EventTime, f64), Trouble> {
    let quote = quote.ok_or(Trouble::Missing)?;
    let price = quote.price.ok_or(Trouble::NoPrice)?;
    let event = quote.last_updated.ok_or(Trouble::NoTime)?;
    let answered = EventTime(poll.answered_ms);
    if event > poll.date.unwrap_or(answered) + AHEAD_MAX {
        return Err(Trouble::AheadOfAnswer);
    }
    // The stream-processor would reject it.
    if event > answered + FUTURE_BOUND { Err(Trouble::AheadOfClock) } else { Ok((event, price)) }
}

impl Coin {
    fn gap_before(&self, event: EventTime) -> Option<Record> {
        let (cause, (last, grain)) = self.outage.zip(self.last)?;
        let is_gap = event - last > Span(2 * grain.ms()).max(GAP_MIN);
        is_gap.then(|| {
            Record::Gap(GapLine {
                coin: Cow::Owned(self.instrument.coin().to_owned()),
                quote: Cow::Owned(self.instrument.quote().to_owned()),
                from_ms: (last + grain).ms(),
                to_ms: event.ms(),
                cause: Cow::Borrowed(cause),
            })
        })
    }

    fn tick(&self, event: EventTime, price: f64, quote: Option<&Quote>, ingest_ms: i64) -> Record {
        let figure = |pick: fn(&Quote) -> Option<f64>| quote.and_then(pick);
        Record::Tick(Box::new(TickLine {
            coin: Cow::Owned(self.instrument.coin().to_owned()),
            quote: Cow::Owned(self.instrument.quote().to_owned()),
            event_ms: event.ms(),
            grain_ms: None,
            complete_ms: None,
            id: None,
            open: None,
            high: None,
            low: None,
            close: price,
            volume: None,
            ingest_ms,
            source: Some(Cow::Borrowed(SOURCE)),
            market_cap: figure(|quote| quote.market_cap),
            volume_24h: figure(|quote| quote.volume_24h),
            high_24h: figure(|quote| quote.high_24h),
            low_24h: figure(|quote| quote.low_24h),
        }))
    }

    /// A heartbeat, if it says anything that the last tick and the last heartbeat did not.
    fn heartbeat(&mut self, source_delay: Span, poll: Poll) -> Option<Record> {
        let event = poll.date?.saturating_sub(source_delay);
        let (last, _) = self.last?;
        let is_due = self.promised.is_none_or(|promised| event - promised >= HEARTBEAT_EVERY);
        if event <= last || !is_due {
            return None;
        }
        // The stream-processor refuses one that is too far ahead, which must not silence those that follow.
        if event <= EventTime(poll.answered_ms) + FUTURE_BOUND {
            self.promised = Some(event);
        }
        Some(Record::Heartbeat(HeartbeatLine {
            coin: Cow::Owned(self.instrument.coin().to_owned()),
            quote: Cow::Owned(self.instrument.quote().to_owned()),
            event_ms: event.ms(),
            complete_ms: None,
            ingest_ms: poll.answered_ms,
            flush: false,
        }))
    }
}

/// The coins of an answer, each judged by the observer: its records in order and its news.
pub(crate) fn observe_all(
    observer: &mut Observer,
    lanes: std::ops::Range<usize>,
    quotes: &HashMap<String, Quote>,
    poll: Poll,
) -> Vec<(usize, Vec<Record>, Option<Trouble>)> {
    lanes
        .map(|lane| {
            let quote = quotes.get(observer.instrument(lane).coin());
            let (records, trouble) = observer.answered(lane, quote, poll);
            (lane, records, trouble)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_747_517_880_000;

    /// A poll that the source answered so many seconds after the start; the answer took half a second.
    fn poll(second: i64) -> Poll {
        let date_ms = START + second * 1_000;
        Poll { answered_ms: date_ms + 500, date: Some(EventTime(date_ms)) }
    }

    fn observer(last_second: Option<i64>) -> Observer {
        let instrument = Instrument::new("bitcoin", "usd").unwrap();
        let last = last_second.map(|second| LastTick {
            number: None,
            event: EventTime(START + second * 1_000),
            grain: Some(Span::MINUTE),
            seq: 1,
            id: None,
        });
        Observer::new(vec![(instrument, last)], Span::MINUTE, Span::minutes(5), START)
    }

    fn quote(second: i64) -> Quote {
        let last_updated = Some(EventTime(START + second * 1_000));
        Quote { price: Some(100.0), last_updated, volume_24h: Some(5.0), ..Quote::default() }
    }

    /// Records as words, with times in seconds from the start.
    fn words(records: &[Record]) -> Vec<String> {
        let second = |ms: i64| (ms - START) / 1_000;
        let word = |record: &Record| match record {
            Record::Tick(tick) => format!("tick {}", second(tick.event_ms)),
            Record::Gap(gap) => format!("gap {} {} {}", second(gap.from_ms), second(gap.to_ms), gap.cause),
            Record::Heartbeat(heartbeat) => format!("heartbeat {}", second(heartbeat.event_ms)),
        };
        records.iter().map(word).collect()
    }

    fn check(observer: &mut Observer, at: i64, updated: i64, expected: &[&str]) {
        let (records, trouble) = observer.answered(0, Some(&quote(updated)), poll(at));
        assert_eq!((words(&records), trouble), (expected.iter().map(|&word| word.to_owned()).collect(), None), "{at}");
    }

    #[test]
    fn a_tick_is_one_price_and_keeps_the_rolling_figures_under_their_own_names() {
        let (records, _) = observer(None).answered(0, Some(&quote(0)), poll(10));
        let [Record::Tick(tick)] = records.as_slice() else { panic!("{records:?}") };
        let line = serde_json::to_string(tick).unwrap();
        let expected = r#"{"coin":"bitcoin","quote":"usd","event_ms":1747517880000,"close":100.0,"ingest_ms":1747517890500,"source":"coingecko","volume_24h":5.0}"#;
        assert_eq!(line, expected);
    }

    #[test]
    fn an_unchanged_time_is_no_second_tick_and_an_older_one_is_ignored() {
        let mut observer = observer(None);
        check(&mut observer, 10, 0, &["tick 0"]);
        check(&mut observer, 70, 0, &[]);
        check(&mut observer, 130, 60, &["tick 60"]);
        check(&mut observer, 190, 0, &[]);
        check(&mut observer, 250, 60, &[]);
        let Counts { ticks, unchanged, backwards, .. } = observer.counts;
        assert_eq!((ticks, unchanged, backwards), (2, 2, 1));
    }

    #[test]
    fn a_restart_publishes_nothing_twice() {
        let mut observer = observer(Some(0));
        check(&mut observer, 10, 0, &[]);
        check(&mut observer, 70, 60, &["tick 60"]);
    }

    #[test]
    fn idle_coins_send_heartbeats_once_they_say_something_and_at_most_one_a_minute() {
        let mut observer = observer(None);
        check(&mut observer, 0, 0, &["tick 0"]);
        check(&mut observer, 299, 0, &[]);
        check(&mut observer, 300, 0, &[]);
        check(&mut observer, 310, 0, &["heartbeat 10"]);
        check(&mut observer, 340, 0, &[]);
        check(&mut observer, 369, 0, &["heartbeat 69"]);
        check(&mut observer, 428, 400, &["tick 400"]);
        check(&mut observer, 700, 400, &[]);
        check(&mut observer, 760, 400, &["heartbeat 460"]);
    }

    #[test]
    fn a_clock_of_ours_that_is_set_back_silences_no_heartbeat() {
        let mut observer = observer(Some(0));
        check(&mut observer, 400, 0, &["heartbeat 100"]);
        let (records, _) = observer.answered(0, Some(&quote(0)), Poll { answered_ms: START, ..poll(460) });
        assert_eq!(words(&records), ["heartbeat 160"]);
    }

    #[test]
    fn an_answer_without_a_date_promises_nothing() {
        let mut observer = observer(Some(0));
        let (records, _) = observer.answered(0, Some(&quote(0)), Poll { date: None, ..poll(1_000) });
        assert_eq!(records, []);
    }

    #[test]
    fn an_outage_leaves_a_gap_with_its_first_cause_once_it_ends() {
        let mut observer = observer(None);
        check(&mut observer, 0, 0, &["tick 0"]);
        observer.failed(0, "rate-limited");
        observer.failed(0, "upstream-error");
        check(&mut observer, 600, 580, &["gap 60 580 rate-limited", "tick 580"]);
        check(&mut observer, 900, 880, &["tick 880"]);
        observer.failed(0, "upstream-error");
        check(&mut observer, 1_010, 1_000, &["tick 1000"]);
    }

    #[test]
    fn a_coin_that_was_idle_during_the_outage_missed_nothing() {
        let mut observer = observer(None);
        check(&mut observer, 0, 0, &["tick 0"]);
        observer.failed(0, "rate-limited");
        check(&mut observer, 200, 0, &[]);
        check(&mut observer, 260, 250, &["tick 250"]);
    }

    #[test]
    fn the_time_before_a_restart_is_a_gap_unless_nothing_happened() {
        check(&mut observer(Some(-1_000)), 10, 0, &["gap -940 0 producer-stopped", "tick 0"]);
        check(&mut observer(Some(-100)), 10, 0, &["tick 0"]);
        // A last tick from the future was rejected: it hides nothing.
        check(&mut observer(Some(100_000)), 10, 0, &["tick 0"]);
    }

    #[test]
    fn coins_without_an_observation_are_reported_once_and_disturb_nothing() {
        let mut observer = observer(Some(0));
        let mut check = |quote: Option<Quote>, expected: Option<Trouble>| {
            assert_eq!(observer.answered(0, quote.as_ref(), poll(1_000)), (vec![], expected), "{quote:?}");
        };
        check(None, Some(Trouble::Missing));
        check(None, None);
        check(Some(Quote { price: None, ..quote(1) }), Some(Trouble::NoPrice));
        check(Some(Quote { last_updated: None, ..quote(1) }), Some(Trouble::NoTime));
        check(Some(quote(1_006)), Some(Trouble::AheadOfAnswer));
        check(Some(quote(1_119)), None);
        check(None, Some(Trouble::Missing));
        assert_eq!((observer.counts.troubles, observer.counts.ahead), (7, 2));
    }

    /// An answer whose price is refused for this reason.
    fn refuse(observer: &mut Observer, updated: i64, poll: Poll, expected: Trouble) {
        let (records, trouble) = observer.answered(0, Some(&quote(updated)), poll);
        assert_eq!((records, trouble), (vec![], Some(expected)));
    }

    #[test]
    fn a_price_ahead_of_its_answer_hides_none_that_follows() {
        let mut observer = observer(None);
        check(&mut observer, 0, 0, &["tick 0"]);
        refuse(&mut observer, 120, poll(1), Trouble::AheadOfAnswer);
        (2..10).for_each(|second| check(&mut observer, second, second, &[&format!("tick {second}")]));
        check(&mut observer, 20, 25, &["tick 25"]);
        refuse(&mut observer, 27, poll(21), Trouble::AheadOfAnswer);
    }

    #[test]
    fn prices_that_are_lost_while_the_source_is_ahead_leave_a_gap() {
        let mut observer = observer(None);
        check(&mut observer, 0, 0, &["tick 0"]);
        refuse(&mut observer, 179, poll(60), Trouble::AheadOfAnswer);
        observer.failed(0, "rate-limited");
        check(&mut observer, 180, 180, &["gap 60 180 time-ahead", "tick 180"]);
        refuse(&mut observer, 359, poll(240), Trouble::AheadOfAnswer);
        // The source had nothing newer.
        check(&mut observer, 300, 180, &[]);
        check(&mut observer, 360, 360, &["tick 360"]);
    }

    #[test]
    fn a_date_far_ahead_of_our_clock_silences_no_heartbeat() {
        let mut observer = observer(Some(0));
        let forged = Poll { date: Some(EventTime(253_402_300_799_000)), ..poll(60) };
        let (records, trouble) = observer.answered(0, Some(&quote(0)), forged);
        assert_eq!((records.len(), trouble), (1, None));
        check(&mut observer, 400, 0, &["heartbeat 100"]);
    }

    #[test]
    fn without_a_date_our_clock_says_what_is_ahead() {
        let mut observer = observer(None);
        let undated = |second: i64| Poll { date: None, ..poll(second) };
        let (records, _) = observer.answered(0, Some(&quote(5)), undated(0));
        assert_eq!(words(&records), ["tick 5"]);
        refuse(&mut observer, 16, undated(10), Trouble::AheadOfAnswer);
    }

    #[test]
    fn a_clock_that_is_behind_leaves_a_gap_of_its_own_cause() {
        let mut observer = observer(Some(0));
        check(&mut observer, 10, 0, &[]);
        let behind = |second: i64| Poll { answered_ms: START + (second - 130) * 1_000, ..poll(second) };
        refuse(&mut observer, 300, behind(300), Trouble::AheadOfClock);
        check(&mut observer, 400, 400, &["gap 60 400 clock-behind", "tick 400"]);
    }
}
