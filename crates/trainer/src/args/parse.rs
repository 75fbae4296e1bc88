//! Parsers of flag values.

/// Parses a coverage: 0 to 1.
pub(crate) fn coverage(text: &str) -> Result<f64, String> {
    let within = |coverage: &f64| (0.0..=1.0).contains(coverage);
    text.parse().ok().filter(within).ok_or_else(|| "a share of a candle's time, from 0 to 1".to_owned())
}

/// Parses the share of the rows that is held out: 0.01 to 0.9.
pub(crate) fn share(text: &str) -> Result<f64, String> {
    let within = |share: &f64| (0.01..=0.9).contains(share);
    text.parse().ok().filter(within).ok_or_else(|| "a share from 0.01 to 0.9".to_owned())
}

/// Parses a learning rate: above 0, at most 1.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    let within = |rate: &f64| *rate > 0.0 && *rate <= 1.0;
    text.parse().ok().filter(within).ok_or_else(|| "above 0, at most 1".to_owned())
}
