use proptest::prelude::*;

use super::*;

/// Returns a number in 0..1 that looks random: the finalizer of MurmurHash3.
fn hashed(number: u64) -> f64 {
    let mut hash = number + 1;
    for factor in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53] {
        hash = (hash ^ (hash >> 33)).wrapping_mul(factor);
    }
    ((hash ^ (hash >> 33)) >> 11) as f64 / (1_u64 << 53) as f64
}

/// Returns predictions of 1, one a step, whose log errors are uniform within ±`spread_of` the row.
fn series(count: i64, horizon: i64, spread_of: impl Fn(i64) -> f64) -> Vec<TimedPrediction> {
    let timed = |idx: i64| {
        let actual = ((2.0 * hashed(idx as u64) - 1.0) * spread_of(idx)).exp();
        TimedPrediction {
            made: EventTime(idx),
            target_end: EventTime(idx + horizon),
            predicted: 1.0,
            actual,
            scale: 1.0,
        }
    };
    (0..count).map(timed).collect()
}

fn covered(bands: &[Bands], predictions: &[TimedPrediction], idx: usize) -> f64 {
    coverage(predictions.iter().zip(bands).map(|(row, bands)| (row.actual, bands[idx]))).expect("rows have bands")
}

#[test]
fn ranks_have_the_correction_for_few_rows() {
    // n errors 1…n: from rank ⌊(n + 1) α/2⌋ to rank ⌈(n + 1) (1 − α/2)⌉; no interval when one of these ranks does not
    // exist.
    type Ends = Option<(f64, f64)>;
    let cases: [(usize, [Ends; 4]); 5] = [
        (0, [None; 4]),
        (3, [Some((1.0, 3.0)), None, None, None]),
        (9, [Some((2.0, 8.0)), Some((1.0, 9.0)), None, None]),
        (39, [Some((10.0, 30.0)), Some((4.0, 36.0)), Some((2.0, 38.0)), Some((1.0, 39.0))]),
        (399, [Some((100.0, 300.0)), Some((40.0, 360.0)), Some((20.0, 380.0)), Some((10.0, 390.0))]),
    ];
    for (count, expected) in cases {
        let calibration = Calibration::new((1..=count).rev().map(|error| error as f64 / 100.0).collect());
        let bands = Adaptive::default().bands(&calibration, 1.0, 1.0);
        let ends = bands.map(|band| band.map(|band| (band.lower.ln() * 100.0, band.upper.ln() * 100.0)));
        for (found, expected) in ends.into_iter().zip(expected) {
            let is_same = match (found, expected) {
                (Some(found), Some(expected)) => {
                    (found.0 - expected.0).abs() < 1e-9 && (found.1 - expected.1).abs() < 1e-9
                }
                (found, expected) => found == expected,
            };
            assert!(is_same, "{count}: {found:?} {expected:?}");
        }
    }
}

#[test]
fn many_errors_are_kept_as_few_quantiles_that_are_no_narrower() {
    let errors: Vec<f64> = (0..10_007).map(|idx| 2.0 * hashed(idx) - 1.0).collect();
    let calibration = Calibration::new(errors.clone());
    assert!(calibration.quantiles.len() <= QUANTILES_MAX && calibration.rows() == 10_007);
    let mut sorted = errors;
    sorted.sort_unstable_by(f64::total_cmp);
    for miss in [0.0, 0.001, 0.05, 0.1, 0.2, 0.5, 0.9, 1.0] {
        let band = calibration.band(miss, 1.0, 1.0).expect("a band");
        let inside = sorted.iter().filter(|error| band.contains(error.exp())).count() as f64 / 10_007.0;
        assert!((1.0 - miss - 1e-9..=1.0 - miss + 0.006).contains(&inside), "{miss}: {inside}");
    }
}

#[test]
fn a_wilder_row_has_a_wider_band() {
    let errors = (0..99).map(|idx| f64::from(idx - 49) / 49.0).collect();
    let calibration = Calibration::new(errors);
    let [calm, wild] = [0.01, 0.1].map(|scale| calibration.band(0.0, 100.0, scale).expect("a band"));
    assert!((calm.upper - 100.0 * 0.01_f64.exp()).abs() < 1e-9 && (calm.lower - 100.0 / 0.01_f64.exp()).abs() < 1e-9);
    assert!(wild.lower < calm.lower && calm.upper < wild.upper);
}

#[test]
fn truths_of_zero_widen_only_the_lower_end() {
    let mut errors: Vec<f64> = (0..180).map(|idx| error(1.0 + 0.001 * f64::from(idx), 1.0, 1.0)).collect();
    errors.extend((0..20).map(|_| error(0.0, 1.0, 1.0)));
    let calibration = Calibration::new(errors);
    let bands = Adaptive::default().bands(&calibration, 1.0, 1.0);
    let [Some(half), _, Some(main), _] = bands else { panic!("bands of 200 rows: {bands:?}") };
    assert!(main.contains(0.0) && main.upper < 1.2, "{main:?}");
    assert!(half.lower > 0.9, "{half:?}");
}

#[test]
fn coverage_holds_when_errors_become_wilder_than_ever_before() {
    // Calibrated in a calm time. Then errors are larger by half: a fixed interval covers 90 × 2/3 = 60 %.
    let calm = series(2_000, 1, |_| 0.1);
    let calibration = Calibration::new(calm.iter().map(|row| error(row.actual, row.predicted, 1.0)).collect());
    let later = series(6_000, 1, |idx| if idx < 1_000 { 0.1 } else { 0.105 });
    let bands = adaptive_bands(&calibration, &later);
    for (idx, level) in LEVELS.into_iter().enumerate() {
        let nominal = f64::from(level) / 100.0;
        let after = covered(&bands[2_000..], &later[2_000..], idx);
        assert!((after - nominal).abs() < 0.015, "{level}: {after}");
    }
    let fixed: Vec<_> = later.iter().map(|_| Adaptive::default().bands(&calibration, 1.0, 1.0)).collect();
    let without = covered(&fixed[2_000..], &later[2_000..], 2);
    assert!(without < 0.88, "{without}");
}

#[test]
fn calmer_errors_make_narrower_bands() {
    let before = series(2_000, 1, |_| 0.2);
    let calibration = Calibration::new(before.iter().map(|row| error(row.actual, row.predicted, 1.0)).collect());
    let later = series(4_000, 1, |_| 0.1);
    let bands = adaptive_bands(&calibration, &later);
    let width = |row: usize| bands[row][2].expect("a band").width();
    assert!(width(3_999) < 0.7 * width(0), "{} {}", width(0), width(3_999));
    let covered = covered(&bands[2_000..], &later[2_000..], 2);
    assert!((covered - 0.9).abs() < 0.015, "{covered}");
}

#[test]
fn a_truth_is_not_used_before_it_is_known() {
    let calibration = Calibration::new((0..200).map(|idx| f64::from(idx - 100) / 1_000.0).collect());
    for horizon in [1, 5] {
        // Every prediction misses, so that every truth that is used widens the band.
        let far: Vec<_> =
            series(20, horizon, |_| 0.0).into_iter().map(|row| TimedPrediction { actual: 9.0, ..row }).collect();
        let widths: Vec<_> =
            adaptive_bands(&calibration, &far).iter().map(|bands| bands[0].expect("a band").width()).collect();
        let first_wider = widths.iter().position(|width| *width > widths[0]);
        // The first truth is known at its horizon; one step of γ may be less than a quantile.
        assert!(first_wider.is_some_and(|first| first >= horizon as usize), "{horizon}: {first_wider:?}");
        let misses = |seen: usize| {
            let mut adaptive = Adaptive::default();
            (0..seen).for_each(|_| adaptive.observe([Some(false); 4]));
            adaptive
        };
        let expected = misses(20 - horizon as usize).bands(&calibration, 1.0, 1.0)[0].expect("a band").width();
        assert_eq!(widths[19], expected);
    }
}

#[test]
fn coverage_counts_only_rows_with_a_band() {
    let band = Band { lower: 1.0, upper: 2.0 };
    let rows = [(1.0, Some(band)), (2.0, Some(band)), (2.1, Some(band)), (1.5, None), (0.9, Some(band))];
    assert_eq!(coverage(rows.into_iter()), Some(0.5));
    assert_eq!(coverage([(1.0, None)].into_iter()), None);
}

proptest! {
    #[test]
    fn the_rows_of_the_calibration_are_covered_at_every_level(
        errors in prop::collection::vec(-0.5..0.5_f64, 39..2_000),
        scale in 0.001..10.0_f64,
    ) {
        let calibration = Calibration::new(errors.clone());
        let bands = Adaptive::default().bands(&calibration, 100.0, scale);
        for (band, level) in bands.into_iter().zip(LEVELS) {
            let Band { lower, upper } = band.expect("there are rows enough");
            // The last bit of exp may put the row at an end outside.
            let wide = Band { lower: lower * (1.0 - 1e-12), upper: upper * (1.0 + 1e-12) };
            let inside = errors.iter().filter(|error| wide.contains(100.0 * (*error * scale).exp()));
            let share = inside.count() as f64 / errors.len() as f64;
            prop_assert!(share >= f64::from(level) / 100.0 - 1e-12, "{level}: {share}");
        }
    }

    #[test]
    fn rates_stay_within_bounds_and_bands_finite(
        hits in prop::collection::vec(prop::array::uniform4(prop::option::of(any::<bool>())), 0..500),
        errors in prop::collection::vec(-0.5..0.5_f64, 0..100),
    ) {
        let calibration = Calibration::new(errors);
        let mut adaptive = Adaptive::default();
        for inside in hits {
            adaptive.observe(inside);
            prop_assert!(adaptive.misses().iter().all(|miss| (0.0..=1.0).contains(miss)));
        }
        for band in adaptive.bands(&calibration, 100.0, 1.0).into_iter().flatten() {
            prop_assert!(0.0 <= band.lower && band.lower <= band.upper && band.upper.is_finite(), "{band:?}");
        }
    }
}
