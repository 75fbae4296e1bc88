//! How new the data is that a service has.

use std::time::{Duration, SystemTime};

/// The newest data of a service, or of a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data {
    /// None has come yet.
    Awaited,
    /// There is nothing here that could be old: an instance whose partitions hold no instrument, or that stands by.
    NoneHere,
    /// The time that the newest data itself gives, in milliseconds since the epoch.
    Newest(i64),
}

/// Judges all parts: the oldest one decides.
pub(super) fn check(
    parts: impl Iterator<Item = (&'static str, Data)>,
    now: SystemTime,
    within: Duration,
) -> Result<String, String> {
    let now_ms = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
    let bound = humantime::format_duration(within);
    let mut oldest: Option<(&str, i64)> = None;
    let mut has_data = false;
    for (part, data) in parts {
        has_data |= data != Data::Awaited;
        match data {
            Data::Awaited => return Err(named(part, "no data yet")),
            Data::NoneHere => {}
            Data::Newest(ms) if oldest.is_none_or(|(_, oldest)| ms < oldest) => oldest = Some((part, ms)),
            Data::Newest(_) => {}
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
    fn data_is_fresh_when_that_of_every_part_is() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let judged = |parts: &[(&'static str, Data)]| check(parts.iter().copied(), now, Duration::from_secs(60));
        let newest = |second: i64| Data::Newest(second * 1_000);
        let words = |text: &str| text.to_owned();
        assert_eq!(judged(&[]), Err(words("no data yet")));
        assert_eq!(judged(&[("", Data::Awaited)]), Err(words("no data yet")));
        assert_eq!(judged(&[("", Data::NoneHere)]), Ok(words("no instrument here")));
        assert_eq!(judged(&[("", newest(940))]), Ok(words("newest data is 1m old, 1m is the bound")));
        assert_eq!(judged(&[("", newest(939))]), Err(words("newest data is 1m 1s old, 1m is the bound")));
        // A clock that is behind makes nothing older than it is.
        assert_eq!(judged(&[("", newest(2_000))]), Ok(words("newest data is 0s old, 1m is the bound")));
        let archive = judged(&[("archive", newest(900)), ("forecasts", newest(999))]);
        assert_eq!(archive, Err(words("archive: newest data is 1m 40s old, 1m is the bound")));
        assert_eq!(
            judged(&[("archive", Data::Awaited), ("forecasts", newest(999))]),
            Err(words("archive: no data yet"))
        );
    }
}
