//! Data quality: gaps and coverage of one instrument, counts of the pipeline.

use bus::{Connection, Error, RecordKind, Stream};
use market::gap::GapLine;
use market::{Instrument, Span, Window};

use super::answers::{GapRow, Quality};
use super::cursor::Key;
use super::paging::{Order, PageRequest, Place, page};
use super::source::StoredSeries;
use crate::summary::MarketCounts;
use crate::view::InstrumentView;

/// Gaps of an answer, at most.
const GAPS_MAX: usize = 50;
/// Hours of the coverage.
const HOURS: i64 = 24;

/// Reads the newest gaps, newest first.
///
/// # Errors
/// MARKET cannot be read.
pub(super) async fn gaps(connection: &Connection, instrument: &Instrument) -> Result<Vec<GapRow>, Error> {
    let Some(series) = StoredSeries::open(connection, (Stream::Market, RecordKind::Gap), instrument).await? else {
        return Ok(Vec::new());
    };
    let (order, from, before, limit) = (Order::Stored, i64::MIN, Key::END, GAPS_MAX);
    let mut gaps = page(&series, &PageRequest { order, from, before, limit, read: &read_gap }).await?.rows;
    gaps.sort_by_key(|gap| std::cmp::Reverse((gap.from_ms, gap.to_ms)));
    Ok(gaps)
}

fn read_gap(line: &[u8], place: Place) -> serde_json::Result<Option<(Key, GapRow)>> {
    let gap: GapLine<'_> = serde_json::from_slice(line)?;
    Ok(Some((place.key(), GapRow { from_ms: gap.from_ms, to_ms: gap.to_ms, cause: gap.cause.into_owned() })))
}

/// Returns the answer with these gaps.
pub(super) fn quality(counts: &MarketCounts, coverage_24h: Option<f64>, gaps: Vec<GapRow>) -> Quality {
    Quality {
        accepted: counts.accepted,
        filled: counts.filled,
        duplicates: counts.duplicate,
        late: counts.late,
        rejected: counts.rejected.clone(),
        candles: counts.candles,
        coverage_24h,
        gaps,
    }
}

/// Returns the mean coverage of the hours that end with the newest hourly candle, a missing hour as 0.
pub(super) fn coverage_24h(rows: &InstrumentView) -> Option<f64> {
    let newest = rows.candles(Window::Hour).next_back()?.start;
    let oldest = rows.candles(Window::Hour).next()?.start;
    let first = newest.saturating_sub(Span(Span::HOUR.ms() * (HOURS - 1)));
    let known: f64 =
        rows.candles(Window::Hour).rev().take_while(|candle| candle.start >= first).map(|c| c.coverage).sum();
    let hours = ((newest - oldest.max(first)).ms() / Span::HOUR.ms()) + 1;
    Some(known / hours as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::View;

    fn view(hours: &[i64]) -> View {
        let mut view = View::new(50);
        for hour in hours {
            let (start, end) = (hour * Span::HOUR.ms(), (hour + 1) * Span::HOUR.ms());
            let candle = format!(
                r#"{{"coin":"bitcoin","quote":"usd","window":"1h","start_ms":{start},"end_ms":{end},"close":1.0,"average":1.0,"count":1,"coverage":0.5,"revision":1,"final":true,"first_seq":1,"last_seq":1}}"#
            );
            view.apply("stats.1.1h.bitcoin.usd", 1, candle.as_bytes()).expect("a candle");
        }
        view
    }

    #[test]
    fn a_missing_hour_lowers_the_coverage() {
        let check = |hours: &[i64], expected: f64| {
            let view = view(hours);
            let (_, rows) = view.instruments().next().expect("an instrument");
            assert_eq!(coverage_24h(rows), Some(expected), "{hours:?}");
        };
        check(&[100], 0.5);
        check(&[100, 101], 0.5);
        check(&[100, 103], 0.25);
        check(&(0..24).collect::<Vec<_>>(), 0.5);
        // Older hours do not count, and the hours since an older one are missing.
        check(&[0, 100], 0.5 / 24.0);
        assert_eq!(coverage_24h(&InstrumentView::default()), None);
    }
}
