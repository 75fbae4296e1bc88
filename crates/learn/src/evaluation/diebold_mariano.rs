//! The test of Diebold and Mariano: whether one series of errors is smaller than another by more than chance.
//!
//! The squared errors of two forecasters on the same truths are subtracted. If neither is better, the mean of the
//! differences d is near 0, and d̄ ÷ √(long-run variance ÷ n) is near the normal distribution (Diebold and Mariano,
//! "Comparing predictive accuracy", 1995). Forecasts several steps ahead overlap, so neighboring differences are
//! correlated; their long-run variance is estimated with Bartlett weights up to a lag of one horizon (Newey and West,
//! 1987), which keeps it positive. The statistic is corrected for few rows and read from Student's t with n − 1 degrees
//! of freedom (Harvey, Leybourne and Newbold, "Testing the equality of prediction mean squared errors", 1997).

use market::scores::DieboldMariano;

/// Compares squared errors in order of time, each `horizon` rows ahead. Returns `None` when the two never differ, or
/// there are not more rows than the horizon.
///
/// # Panics
/// The numbers of errors differ.
pub fn diebold_mariano(
    champion: impl ExactSizeIterator<Item = f64>,
    challenger: impl ExactSizeIterator<Item = f64>,
    horizon: usize,
) -> Option<DieboldMariano> {
    assert_eq!(champion.len(), challenger.len(), "errors are of the same truths");
    let differences: Vec<f64> = champion.zip(challenger).map(|(a, b)| a * a - b * b).collect();
    if differences.len() <= horizon {
        return None;
    }
    let count = differences.len() as f64;
    let mean = differences.iter().sum::<f64>() / count;
    let variance = long_run_variance(&differences, mean, horizon);
    if variance <= 0.0 {
        return None;
    }
    let ahead = horizon as f64;
    let correction = (count + 1.0 - 2.0 * ahead + ahead * (ahead - 1.0) / count) / count;
    let statistic = mean / (variance / count).sqrt() * correction.max(0.0).sqrt();
    statistic.is_finite().then(|| DieboldMariano { statistic, p: student_t_above(statistic, count - 1.0) })
}

/// Returns Σ over lags −L…L of (1 − |lag| ÷ (L + 1)) × autocovariance, with L one horizon.
fn long_run_variance(differences: &[f64], mean: f64, lag_max: usize) -> f64 {
    let autocovariance = |lag: usize| -> f64 {
        let pairs = differences[lag..].iter().zip(differences);
        pairs.map(|(later, earlier)| (later - mean) * (earlier - mean)).sum::<f64>() / differences.len() as f64
    };
    let weighted = |lag: usize| (1.0 - lag as f64 / (lag_max + 1) as f64) * autocovariance(lag);
    autocovariance(0) + 2.0 * (1..=lag_max).map(weighted).sum::<f64>()
}

/// Returns the probability of more than `t` in Student's distribution: half the regularized incomplete beta function at
/// ν ÷ (ν + t²) for a positive t.
fn student_t_above(t: f64, freedom: f64) -> f64 {
    let tail = 0.5 * incomplete_beta(freedom / 2.0, 0.5, freedom / (freedom + t * t));
    if t >= 0.0 { tail } else { 1.0 - tail }
}

/// Returns the regularized incomplete beta function I_x(a, b), by its continued fraction (Abramowitz and Stegun
/// 26.5.8), which converges quickly for x below (a + 1) ÷ (a + b + 2); above that, by 1 − I_{1−x}(b, a).
fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return x.clamp(0.0, 1.0);
    }
    let log_front = libm::lgamma(a + b) - libm::lgamma(a) - libm::lgamma(b) + a * x.ln() + b * (-x).ln_1p();
    if x < (a + 1.0) / (a + b + 2.0) {
        log_front.exp() * beta_fraction(a, b, x) / a
    } else {
        1.0 - log_front.exp() * beta_fraction(b, a, 1.0 - x) / b
    }
}

/// Returns the continued fraction, by Lentz's method.
fn beta_fraction(a: f64, b: f64, x: f64) -> f64 {
    /// Near the slowest convergence about √max(a, b) terms are needed: 1,000 for a million rows.
    const TERMS_MAX: usize = 100_000;
    let guarded = |value: f64| if value.abs() < 1e-300 { 1e-300 } else { value };
    let (mut c, mut d) = (1.0, 1.0 / guarded(1.0 - (a + b) * x / (a + 1.0)));
    let mut fraction = d;
    for term in 1..TERMS_MAX {
        let m = term as f64;
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut step = 1.0;
        for coefficient in [even, odd] {
            d = 1.0 / guarded(1.0 + coefficient * d);
            c = guarded(1.0 + coefficient / c);
            step = c * d;
            fraction *= step;
        }
        if (step - 1.0_f64).abs() < 1e-15 {
            break;
        }
    }
    fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(champion: &[f64], challenger: &[f64], horizon: usize) -> Option<DieboldMariano> {
        diebold_mariano(champion.iter().copied(), challenger.iter().copied(), horizon)
    }

    #[test]
    fn the_statistic_is_what_pencil_and_paper_give() {
        // Differences of squares 3, 0, 3, 0, 3, 0: mean 1.5, deviations ±1.5. Autocovariance at lag 0: 2.25, at lag 1:
        // 5 × −2.25 ÷ 6 = −1.875. Long-run variance 2.25 + 2 × ½ × −1.875 = 0.375; 1.5 ÷ √(0.375 ÷ 6) = 6; corrected
        // by √(5 ÷ 6).
        let comparison = compared(&[2.0, 1.0, -2.0, 1.0, 2.0, -1.0], &[1.0; 6], 1).expect("they differ");
        assert!((comparison.statistic - 6.0 * (5.0_f64 / 6.0).sqrt()).abs() < 1e-12, "{comparison:?}");
        let mirrored = compared(&[1.0; 6], &[2.0, 1.0, -2.0, 1.0, 2.0, -1.0], 1).expect("they differ");
        assert!((mirrored.statistic + comparison.statistic).abs() < 1e-12);
        assert!((mirrored.p + comparison.p - 1.0).abs() < 1e-12);
    }

    #[test]
    fn equal_or_too_short_series_are_not_compared() {
        assert_eq!(compared(&[1.0, -2.0, 3.0], &[-1.0, 2.0, 3.0], 1), None);
        assert_eq!(compared(&[1.0, 2.0, 3.0], &[3.0, 2.0, 0.0], 3), None);
        assert_eq!(compared(&[], &[], 1), None);
    }

    #[test]
    fn tails_of_students_distribution_are_those_of_the_tables() {
        // scipy.stats.t.sf
        for (t, freedom, expected) in [
            (1.0, 1.0, 0.25),
            (2.0, 5.0, 0.050_969_739_414_929_174),
            (-1.3, 29.0, 0.898_080_408_168_985),
            (2.5, 99.0, 0.007_031_298_460_574_534),
            (3.0, 8_757.0, 0.001_353_696_561_234_396),
            (4.0, 999_999.0, 3.167_351_700_729_933e-5),
            (0.0, 10.0, 0.5),
        ] {
            let found = student_t_above(t, freedom);
            assert!((found / expected - 1.0).abs() < 1e-8, "{t} {freedom}: {found} {expected}");
        }
    }

    /// The test equals a regression of the differences on a constant with Newey–West errors.
    #[test]
    fn the_result_is_that_of_a_newey_west_regression() {
        // statsmodels: OLS(d, 1).fit(cov_type='HAC', maxlags=horizon), its t times the correction; scipy.stats.t.sf.
        let wave = |a: f64, b: f64, c: f64, d: f64, shift: f64| -> Vec<f64> {
            (0..200).map(|idx| a * (f64::from(idx) * b + shift).sin() + c * (f64::from(idx) * d).cos()).collect()
        };
        let (champion, challenger) = (wave(1.0, 1.7, 0.3, 0.31, 0.0), wave(0.9, 1.7, 0.25, 0.37, 0.2));
        for (horizon, statistic, p) in
            [(1, 4.178_912_763_030_109, 2.192_025_487_101_556e-5), (4, 9.203_922_784_212_939, 2.415_388_249_459_13e-17)]
        {
            let found = compared(&champion, &challenger, horizon).expect("they differ");
            assert!((found.statistic - statistic).abs() < 1e-9, "{found:?}");
            assert!((found.p / p - 1.0).abs() < 1e-6, "{found:?}");
        }
    }
}
