//! Features of the `calendar` recipe: the time of a tick.

use market::{EventTime, Span};

/// The columns, in order. See [`row`].
pub const COLUMNS: [&str; 3] = ["timestamp", "hour", "day_of_week"];

/// Returns the features at an instant: minutes since `origin` (with fractions), UTC hour 0–23, day of the week with 1 =
/// Sunday … 7 = Saturday. Minutes rather than milliseconds, because an f32 is exact for whole numbers up to 2^24 only:
/// 31 years of minutes, but less than five hours of milliseconds.
pub fn row(event: EventTime, origin: EventTime) -> [f32; COLUMNS.len()] {
    let minutes = (event - origin).ms() as f64 / Span::MINUTE.ms() as f64;
    [minutes as f32, f32::from(event.hour_of_day()), f32::from(day_of_week(event))]
}

/// Returns the UTC day of the week, 1 = Sunday … 7 = Saturday, as Spark's `dayofweek` counts.
pub fn day_of_week(event: EventTime) -> u8 {
    // The epoch was a Thursday, the fifth.
    ((event.ms().div_euclid(Span::DAY.ms()) + 4).rem_euclid(7) + 1) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calendar_counts_days_from_sunday() {
        // 2020-03-01 was a Sunday.
        let sunday = EventTime(1_583_020_800_000);
        let cases = [(0, 1, 0.0), (1, 2, 0.0), (6, 7, 0.0), (7, 1, 0.0)];
        for (days, day_of_week, hour) in cases {
            let event = EventTime(sunday.ms() + days * Span::DAY.ms());
            let row = super::row(event, sunday);
            assert_eq!(row, [(days * 1_440) as f32, hour, day_of_week as f32], "{event}");
        }
        assert_eq!(super::row(EventTime(sunday.ms() + 23 * 3_600_000 + 30_000), sunday), [1_380.5, 23.0, 1.0]);
    }
}
