//! Answers of CoinGecko. The first byte chooses the endpoint, the second one the status; the rest is the body.

use market::tick::TickLine;
use market::validate::validate;
use market::{EventTime, Instrument, Span};
use producer::coingecko::{ApiKey, ReceivedAnswer};

/// 2026-05-18T12:50Z: just after the example of a quote in CoinGecko's documents.
const NOW: EventTime = EventTime(1_779_108_600_000);
/// No words of the producer or of CoinGecko hold a part of it.
const KEY: &str = "CG-abcDEFghiJKLmnoPQRstu";
/// Characters of the key from which a part of it is secret too.
const PART: usize = 6;
/// Bytes of an error, at most.
const WORDS_MAX: usize = 1_000;
const STATUSES: [u16; 8] = [200, 302, 400, 401, 403, 404, 429, 500];
/// Hour and day: a chart of points of 5 minutes, with and without points before the hole.
const HOLES: [Span; 2] = [Span::HOUR, Span::DAY];

/// An answer gives ticks that the stream-processor accepts, or an interval that polls within the month, or a refusal whose
/// words do not show the key.
pub(super) fn run(bytes: &[u8]) {
    let &[endpoint, status, ref body @ ..] = bytes else { return };
    let instrument = Instrument::new("bitcoin", "usd").expect("a valid instrument");
    let key: ApiKey = KEY.parse().expect("every text is a key");
    let status = STATUSES[usize::from(status) % STATUSES.len()];
    let answer = ReceivedAnswer { status, body, key: &key, now: NOW };
    let read = match endpoint % 3 {
        0 => HOLES.into_iter().try_for_each(|length| {
            answer.filling(&instrument, length).map(|ticks| check_filling(&ticks, &instrument, length))
        }),
        1 => answer.tick(&instrument).map(|tick| check_tick(&tick, &instrument)),
        _ => answer.interval().map(|interval| {
            assert!((Span::seconds(20)..=Span(31 * Span::DAY.ms())).contains(&interval), "{interval}");
        }),
    };
    if let Err(words) = read {
        check_words(&words);
    }
}

fn check_tick(tick: &TickLine<'_>, instrument: &Instrument) {
    validate(tick, instrument, 0, NOW.ms()).expect("a published tick is valid");
    let line = serde_json::to_vec(tick).expect("a tick is JSON");
    let again = serde_json::from_slice::<TickLine<'_>>(&line).expect("a tick is read from its line");
    assert_eq!(again, *tick);
}

/// Ticks are in order and inside the hole, and none certifies more than the time since the one before.
fn check_filling(ticks: &[TickLine<'_>], instrument: &Instrument, length: Span) {
    let mut before_ms = NOW.ms() - length.ms();
    for tick in ticks {
        check_tick(tick, instrument);
        assert!(before_ms < tick.event_ms && tick.event_ms < NOW.ms(), "{tick:?} after {before_ms}");
        assert!(tick.complete_ms.is_none_or(|complete_ms| complete_ms <= tick.event_ms - before_ms), "{tick:?}");
        before_ms = tick.event_ms;
    }
}

fn check_words(words: &str) {
    assert!(words.len() <= WORDS_MAX && !words.contains(char::is_control), "{words:?}");
    let lower = words.to_ascii_lowercase();
    let key = KEY.to_ascii_lowercase();
    for start in 0..=key.len() - PART {
        assert!(!lower.contains(&key[start..start + PART]), "{words:?} shows a part of the key");
    }
}
