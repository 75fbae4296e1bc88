//! Scored forecasts, summed by day.

use std::collections::BTreeMap;

use market::band::LEVELS;
use market::forecast::ScoreLine;

/// Sums over the scored forecasts of one UTC day.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct ScoredDay {
    /// End of the first target, in milliseconds.
    pub(crate) from_ms: i64,
    /// End of the last target, in milliseconds.
    pub(crate) to_ms: i64,
    /// Number of forecasts.
    pub(crate) rows: u64,
    /// Sum of the model's squared errors.
    pub(crate) squares: f64,
    /// Sum of the naive baseline's squared errors.
    pub(crate) baseline_squares: f64,
    /// Actual values inside the interval and forecasts that had one, by [`LEVELS`].
    pub(crate) inside: [(u64, u64); LEVELS.len()],
}

impl ScoredDay {
    /// Adds the sums of later days.
    pub(crate) fn add(&mut self, later: &Self) {
        if self.rows == 0 {
            self.from_ms = later.from_ms;
        }
        self.to_ms = later.to_ms;
        self.rows += later.rows;
        self.squares += later.squares;
        self.baseline_squares += later.baseline_squares;
        for (sum, more) in self.inside.iter_mut().zip(later.inside) {
            *sum = (sum.0 + more.0, sum.1 + more.1);
        }
    }

    /// Returns 1 − RMSE of the model ÷ RMSE of the naive baseline; `None` if the baseline has no error.
    pub(crate) fn skill(&self) -> Option<f64> {
        (self.baseline_squares > 0.0).then(|| 1.0 - (self.squares / self.baseline_squares).sqrt())
    }
}

/// Collects scored forecasts by day.
#[derive(Debug, Default)]
pub(crate) struct ScoredDays(BTreeMap<i64, ScoredDay>);

/// Days that are kept, at most: the newest.
const DAYS_MAX: usize = 366;
const DAY_MS: i64 = 86_400_000;

impl ScoredDays {
    /// Adds a forecast.
    pub(crate) fn push(&mut self, score: &ScoreLine<'_>) {
        let end = score.key.target_end_ms;
        let inside = [score.inside_50, score.inside_80, score.inside, score.inside_95];
        let of_forecast = ScoredDay {
            from_ms: end,
            to_ms: end,
            rows: 1,
            squares: score.error.powi(2),
            baseline_squares: (score.actual - score.key.baseline).powi(2),
            inside: inside.map(|is_inside| (u64::from(is_inside == Some(true)), u64::from(is_inside.is_some()))),
        };
        self.0.entry((end - 1).div_euclid(DAY_MS)).or_default().add(&of_forecast);
        if self.0.len() > DAYS_MAX {
            self.0.pop_first();
        }
    }

    /// Returns the days, oldest first.
    pub(crate) fn into_days(self) -> Vec<ScoredDay> {
        self.0.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forecasts_are_summed_by_the_day_of_their_target() {
        let score = |end: i64, error: f64, inside: bool| {
            format!(
                r#"{{"coin":"bitcoin","quote":"usd","recipe":"returns","interval":"15m","made_ms":0,"target_start_ms":0,
                "target_end_ms":{end},"model":"m","status":"candidate","prediction":{},"baseline":98.0,"actual":100.0,
                "coverage":1.0,"error":{error},"inside":{inside}}}"#,
                100.0 - error
            )
        };
        let mut days = ScoredDays::default();
        // A target that ends at midnight belongs to the day before.
        for line in [score(DAY_MS, 1.0, true), score(DAY_MS + 1, 3.0, false), score(2 * DAY_MS, 3.0, true)] {
            days.push(&serde_json::from_str(&line).expect("a score"));
        }
        let days = days.into_days();
        assert_eq!(days.iter().map(|day| day.rows).collect::<Vec<_>>(), [1, 2]);
        assert_eq!((days[1].from_ms, days[1].to_ms, days[1].inside[2]), (DAY_MS + 1, 2 * DAY_MS, (1, 2)));
        assert_eq!((days[0].skill(), days[1].skill()), (Some(0.5), Some(-0.5)));
        assert_eq!(days[0].inside[0], (0, 0));
    }
}
