//! Charts of the endpoints `/coins/{id}/market_chart` and `/coins/{id}/market_chart/range`: past prices of one coin.
//!
//! ```json
//! {"prices":[[1711843200000,69702.3087473573],[1711929600000,71246.9514406015],[1711983682000,68887.7495158568]],
//!  "market_caps":[[1711843200000,1370247487960.09]],"total_volumes":[[1711843200000,16408802301.8374]]}
//! ```
//!
//! These are points, not candles: one sampled price per step, at times that vary by some seconds. Rows may be null,
//! missing, repeated or out of order, and the three lists may differ, so they are joined by time. `total_volumes` is the
//! rolling volume of 24 hours. The last point is the current price, and not final.

use std::collections::HashMap;

use market::{EventTime, Span};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::json::{Misfit, field, misfit, object};

/// Step of a chart with too few points to tell.
const STEP_DEFAULT: Span = Span::minutes(5);

/// A past price.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ChartPoint {
    pub(crate) event: EventTime,
    /// Price, not validated yet.
    pub(crate) price: f64,
    pub(crate) market_cap: Option<f64>,
    pub(crate) volume_24h: Option<f64>,
    /// Distance of two neighbors in its chart, usually.
    pub(crate) step: Span,
}

/// Rows of a chart that are no prices.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LeftOut {
    /// The price is null.
    pub(crate) without_price: u64,
    /// The row is not a time and a number.
    pub(crate) unreadable: u64,
    /// A later row has the same time.
    pub(crate) repeated: u64,
}

impl LeftOut {
    /// Returns the number of rows.
    pub(crate) fn total(self) -> u64 {
        self.without_price + self.unreadable + self.repeated
    }
}

/// Past prices of one answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Chart {
    /// Ascending by time, without repetitions.
    pub(crate) points: Vec<ChartPoint>,
    pub(crate) left_out: LeftOut,
}

/// Past prices of several answers.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct JoinedChart {
    /// Ascending by time, without the current price.
    pub(crate) points: Vec<ChartPoint>,
    /// Time of the current price, up to which the chart reaches.
    pub(crate) current: Option<EventTime>,
    pub(crate) left_out: LeftOut,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    prices: Option<&'a RawValue>,
    market_caps: Option<&'a RawValue>,
    total_volumes: Option<&'a RawValue>,
}

/// Parses a chart.
///
/// # Errors
/// The body has no list of prices.
pub(crate) fn chart(body: &str) -> Result<Chart, Misfit> {
    let no_prices = || misfit(body, "no list of prices");
    let lists: Body<'_> = object(body).ok_or_else(no_prices)?;
    let prices = rows(lists.prices).ok_or_else(no_prices)?;
    let by_time = |list| -> HashMap<EventTime, f64> {
        let rows = rows(list).unwrap_or_default();
        rows.into_iter().filter_map(row).filter_map(|(event, value)| Some((event, value?))).collect()
    };
    let (market_caps, volumes) = (by_time(lists.market_caps), by_time(lists.total_volumes));
    let (mut points, mut left_out) = (Vec::new(), LeftOut::default());
    for price in prices {
        match row(price) {
            None => left_out.unreadable += 1,
            Some((_, None)) => left_out.without_price += 1,
            Some((event, Some(price))) => {
                let (market_cap, volume_24h) = (market_caps.get(&event).copied(), volumes.get(&event).copied());
                points.push(ChartPoint { event, price, market_cap, volume_24h, step: STEP_DEFAULT });
            }
        }
    }
    // Stable, and reversed around: of rows with the same time the later one counts.
    points.reverse();
    points.sort_by_key(|point| point.event);
    let before = points.len();
    points.dedup_by_key(|point| point.event);
    left_out.repeated = (before - points.len()) as u64;
    if let Some(step) = usual_step(&points) {
        points.iter_mut().for_each(|point| point.step = step);
    }
    Ok(Chart { points, left_out })
}

/// Joins charts from the oldest and coarsest to the newest and finest: where two overlap, the finer points stay.
pub(crate) fn join(charts: &[Chart]) -> JoinedChart {
    let mut joined = JoinedChart::default();
    for chart in charts {
        if let Some(first) = chart.points.first() {
            joined.points.truncate(joined.points.partition_point(|point| point.event < first.event));
        }
        joined.points.extend_from_slice(&chart.points);
        joined.left_out.without_price += chart.left_out.without_price;
        joined.left_out.unreadable += chart.left_out.unreadable;
        joined.left_out.repeated += chart.left_out.repeated;
    }
    joined.current = joined.points.pop().map(|current| current.event);
    joined
}

/// Returns the rows of a list; `None` if it is none.
fn rows(list: Option<&RawValue>) -> Option<Vec<&RawValue>> {
    serde_json::from_str(list?.get()).ok()
}

/// Parses a row: a time in milliseconds, and a number or null.
fn row(row: &RawValue) -> Option<(EventTime, Option<f64>)> {
    let [time, value]: [Option<f64>; 2] = field(Some(row))?;
    let time = time.filter(|time| time.fract() == 0.0 && time.abs() <= EventTime::LATEST.ms() as f64)?;
    Some((EventTime(time as i64), value))
}

/// Returns the median distance of neighbors.
fn usual_step(points: &[ChartPoint]) -> Option<Span> {
    let mut distances: Vec<Span> = points.windows(2).map(|pair| pair[1].event - pair[0].event).collect();
    distances.sort_unstable();
    distances.get(distances.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the times and prices of a chart's points.
    fn read(body: &str) -> (Vec<(i64, f64)>, LeftOut) {
        let chart = chart(body).unwrap();
        (chart.points.iter().map(|point| (point.event.ms(), point.price)).collect(), chart.left_out)
    }

    #[test]
    fn lists_are_joined_by_time() {
        let body = r#"{"prices":[[1000,1.5],[2000,2],[3000,3e0]],"market_caps":[[2000,20],[1000,null]],"total_volumes":[[3000,30],["x"],7]}"#;
        let points = chart(body).unwrap().points;
        let found: Vec<_> = points.iter().map(|point| (point.price, point.market_cap, point.volume_24h)).collect();
        assert_eq!(found, [(1.5, None, None), (2.0, Some(20.0), None), (3.0, None, Some(30.0))]);
    }

    #[test]
    fn rows_that_are_no_prices_are_counted() {
        let body = r#"{"prices":[[3000,3],[1000,1],[2000,null],[1000,7],["4000",4],[5000,"5"],[6000],null,[7000.5,7],[1e300,1],{}]}"#;
        let left_out = LeftOut { without_price: 1, unreadable: 7, repeated: 1 };
        assert_eq!(read(body), (vec![(1_000, 7.0), (3_000, 3.0)], left_out));
        assert_eq!(left_out.total(), 9);
    }

    #[test]
    fn a_body_without_prices_is_no_chart() {
        let check = |body: &str, expected| assert_eq!(chart(body), Err(expected), "{body}");
        let form = || Misfit::Form("no list of prices".into());
        for body in ["{}", "[]", "17", r#"{"prices":null}"#, r#"{"prices":{"a":1}}"#, r#"{"error":"coin not found"}"#] {
            check(body, form());
        }
        for body in ["", "Throttled", r#"{"prices":[[1,2]"#] {
            check(body, Misfit::NoJson);
        }
        assert_eq!(read(r#"{"prices":[]}"#), (vec![], LeftOut::default()));
    }

    #[test]
    fn depth_takes_no_stack() {
        let deep = format!(r#"{{"prices":[[1000,1],{}{}]}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert!(matches!(chart(&deep), Err(Misfit::Form(_) | Misfit::NoJson)) || read(&deep).0.len() == 1);
    }

    #[test]
    fn the_step_is_the_usual_distance() {
        let body = r#"{"prices":[[0,1],[300661,1],[600000,1],[1500000,1],[1800120,1],[1893000,1]]}"#;
        let points = chart(body).unwrap().points;
        assert!(points.iter().all(|point| point.step == Span(300_120)), "{points:?}");
    }

    /// Returns a chart with a point at each multiple of a step, in minutes.
    fn every(step: i64, minutes: std::ops::RangeInclusive<i64>) -> Chart {
        let rows: Vec<String> =
            minutes.step_by(step as usize).map(|minute| format!("[{},{step}]", minute * 60_000)).collect();
        chart(&format!(r#"{{"prices":[{}]}}"#, rows.join(","))).unwrap()
    }

    #[test]
    fn finer_points_replace_coarser_ones_and_the_last_is_not_final() {
        let joined = join(&[every(60, 0..=300), every(5, 170..=200)]);
        let minutes: Vec<i64> = joined.points.iter().map(|point| point.event.ms() / 60_000).collect();
        assert_eq!(minutes, [0, 60, 120, 170, 175, 180, 185, 190, 195]);
        assert_eq!(joined.current, Some(EventTime(200 * 60_000)));
        assert_eq!((joined.points[2].step, joined.points[3].step), (Span::HOUR, Span::minutes(5)));
        assert_eq!(join(&[every(60, 0..=300), Chart::default()]).points.len(), 5);
        assert_eq!(join(&[]), JoinedChart::default());
    }
}
