//! Requests for past prices. CoinGecko chooses the step by the length of a chart: 5 minutes for one day that ends now,
//! an hour for up to 90 days, and a day beyond.

use market::{EventTime, Span};

/// Longest span with 5-minute points.
const FINE: Span = Span::DAY;
/// Longest span with hourly points, in days.
const HOURLY_DAYS: i64 = 90;
/// Time before a span that is requested too: the point before it tells whether the first one in it is the next one.
const BEFORE_FINE: Span = Span::minutes(15);
const BEFORE_HOURLY: Span = Span(3 * Span::HOUR.0);

/// A request for past prices of one coin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChartRequest {
    /// The last days.
    Days(i64),
    /// From a time to another one, both included, in seconds since the epoch.
    Range {
        /// First second.
        from_s: i64,
        /// Last second.
        to_s: i64,
    },
}

/// Returns the requests for the prices of the last `days`, the coarsest first: points of 5 minutes for the last day, of
/// an hour before.
pub(crate) fn history(days: i64, now: EventTime) -> Vec<ChartRequest> {
    let mut requests = Vec::new();
    if days > HOURLY_DAYS {
        requests.extend(ranges(ago(now, days), ago(now, HOURLY_DAYS)));
    }
    if days > 1 {
        requests.push(ChartRequest::Days(days.min(HOURLY_DAYS)));
    }
    requests.push(ChartRequest::Days(1));
    requests
}

/// Returns the requests for the prices after `from`, at most `depth` back: points of 5 minutes for a hole of up to a
/// day; for a longer one of an hour, and of 5 minutes for the last day.
pub(crate) fn since(from: EventTime, now: EventTime, depth: Span) -> Vec<ChartRequest> {
    let earliest = |before: Span, longest: Span| from.saturating_sub(before).max(now.saturating_sub(longest));
    if now - from <= FINE {
        return vec![range(earliest(BEFORE_FINE, FINE), now)];
    }
    let mut requests: Vec<ChartRequest> = ranges(earliest(BEFORE_HOURLY, depth), now).collect();
    requests.push(ChartRequest::Days(1));
    requests
}

/// Returns requests for adjacent spans with hourly points.
fn ranges(from: EventTime, to: EventTime) -> impl Iterator<Item = ChartRequest> {
    let longest = HOURLY_DAYS * Span::DAY.ms();
    let starts = (from.ms()..to.ms()).step_by(usize::try_from(longest).unwrap_or(usize::MAX));
    starts.map(move |start| range(EventTime(start), EventTime((start + longest).min(to.ms()))))
}

fn range(from: EventTime, to: EventTime) -> ChartRequest {
    ChartRequest::Range { from_s: from.ms().div_euclid(1_000), to_s: to.ms().div_euclid(1_000) }
}

fn ago(now: EventTime, days: i64) -> EventTime {
    now.saturating_sub(Span(days * Span::DAY.ms()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const YEAR: Span = Span(365 * Span::DAY.0);
    const NOW: EventTime = EventTime(1_800_000_000_000);

    /// Formats requests, with times in hours before now.
    fn words(requests: Vec<ChartRequest>) -> Vec<String> {
        let hours = |second: i64| (NOW.ms() / 1_000 - second) as f64 / 3_600.0;
        let word = |request| match request {
            ChartRequest::Days(days) => format!("{days}d"),
            ChartRequest::Range { from_s, to_s } => format!("{}-{}", hours(from_s), hours(to_s)),
        };
        requests.into_iter().map(word).collect()
    }

    #[test]
    fn history_is_hourly_and_fine_for_the_last_day() {
        let check = |days, expected: &[&str]| assert_eq!(words(history(days, NOW)), expected, "{days}");
        check(1, &["1d"]);
        check(30, &["30d", "1d"]);
        check(90, &["90d", "1d"]);
        check(365, &["8760-6600", "6600-4440", "4440-2280", "2280-2160", "90d", "1d"]);
    }

    #[test]
    fn a_hole_of_a_day_is_filled_with_fine_points() {
        let check = |hours: f64, expected: &[&str]| {
            let from = NOW.saturating_sub(Span((hours * 3_600_000.0) as i64));
            assert_eq!(words(since(from, NOW, YEAR)), expected, "{hours}");
        };
        check(3.0, &["3.25-0"]);
        check(24.0, &["24-0"]);
        check(25.0, &["28-0", "1d"]);
        check(2_400.0, &["2403-243", "243-0", "1d"]);
        check(24_000.0, &["8760-6600", "6600-4440", "4440-2280", "2280-120", "120-0", "1d"]);
    }
}
