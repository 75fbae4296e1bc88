//! Freshness of the data of a service.

use std::time::{Duration, SystemTime};

/// Freshness of the data of a service, or of a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// No data has arrived yet.
    Awaited,
    /// No data to judge: an instance on standby, or one whose partitions hold no instrument.
    NoneHere,
    /// Event time of the newest data, in milliseconds since the epoch.
    Newest(i64),
}

/// Judges all parts; the oldest data decides.
pub(super) fn check(
    parts: impl Iterator<Item = (&'static str, Freshness)>,
    now: SystemTime,
    within: Duration,
) -> Result<String, String> {
    let now_ms = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
    let bound = humantime::format_duration(within);
    let mut oldest: Option<(&str, i64)> = None;
    let mut has_data = false;
    for (part, data) in parts {
        has_data |= data != Freshness::Awaited;
        match data {
            Freshness::Awaited => return Err(named(part, "no data yet")),
            Freshness::NoneHere => {}
            Freshness::Newest(ms) if oldest.is_none_or(|(_, oldest)| ms < oldest) => oldest = Some((part, ms)),
            Freshness::Newest(_) => {}
        }
    }
    let Some((part, ms)) = oldest else {
        return if has_data { Ok("no instrument here".to_owned()) } else { Err("no data yet".to_owned()) };
    };
    let age = Duration::from_millis((now_ms - ms).max(0).unsigned_abs());
    let seconds = Duration::from_secs(age.as_secs());
    let words =
        named(part, &format!("newest data is {} old, {bound} is the bound", humantime::format_duration(seconds)));
    if age <= within { Ok(words) } else { Err(words) }
}

fn named(part: &str, words: &str) -> String {
    if part.is_empty() { words.to_owned() } else { format!("{part}: {words}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_fresh_when_every_part_is_fresh() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let judged = |parts: &[(&'static str, Freshness)]| check(parts.iter().copied(), now, Duration::from_secs(60));
        let newest = |second: i64| Freshness::Newest(second * 1_000);
        let words = |text: &str| text.to_owned();
        assert_eq!(judged(&[]), Err(words("no data yet")));
        assert_eq!(judged(&[("", Freshness::Awaited)]), Err(words("no data yet")));
        assert_eq!(judged(&[("", Freshness::NoneHere)]), Ok(words("no instrument here")));
        assert_eq!(judged(&[("", newest(940))]), Ok(words("newest data is 1m old, 1m is the bound")));
        assert_eq!(judged(&[("", newest(939))]), Err(words("newest data is 1m 1s old, 1m is the bound")));
        // Freshness newer than the clock has age zero.
        assert_eq!(judged(&[("", newest(2_000))]), Ok(words("newest data is 0s old, 1m is the bound")));
        let archive = judged(&[("archive", newest(900)), ("forecasts", newest(999))]);
        assert_eq!(archive, Err(words("archive: newest data is 1m 40s old, 1m is the bound")));
        assert_eq!(
            judged(&[("archive", Freshness::Awaited), ("forecasts", newest(999))]),
            Err(words("archive: no data yet"))
        );
    }
}
