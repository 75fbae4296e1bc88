//! Which log a stream is, in words that tell its history: when it was created, after which sequences it was made again,
//! up to which sequences it was restored.
//!
//! `2026-11-23T12:58:11Z, rebuilt after sequence 500, restored up to sequence 900 on 2026-11-24T08:00:00Z`
//!
//! Whoever has a place in a log notes these words with it. A log that was restored since is still the same up to where it
//! was restored, and another one beyond: who had read further has read what is gone.

/// Words of a log that was made again after a sequence.
pub(crate) fn rebuilt(base: &str, seq: u64) -> String {
    let event = format!("rebuilt after sequence {seq}");
    // What was restored tells of its rebuilds already.
    if base.split(", ").any(|told| told == event) { base.to_owned() } else { format!("{base}, {event}") }
}

/// Words of a log that was restored up to a sequence, into a stream that was created `on`.
pub(crate) fn restored(log: &str, seq: u64, on: &str) -> String {
    format!("{log}, restored up to sequence {seq} on {on}")
}

/// Whether a place in the log `then`, where everything up to `place` was read, is a place in the log `now`.
pub fn continues(now: &str, then: &str, place: u64) -> bool {
    let Some(since) = now.strip_prefix(then) else { return false };
    let mut events = since.split(", ");
    // What was read ends where the words do, or the prefix is one by chance.
    let is_whole = events.next() == Some("");
    is_whole && events.all(|event| restored_seq(event).is_some_and(|seq| place <= seq))
}

/// Up to which sequence a restore has stored the messages of the log that these words name; 0 when none has.
pub(crate) fn restored_to(log: &str) -> u64 {
    log.split(", ").filter_map(restored_seq).max().unwrap_or(0)
}

/// The sequence of a restore; `None` for another event.
fn restored_seq(event: &str) -> Option<u64> {
    event.strip_prefix("restored up to sequence ")?.split_once(" on ")?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_survives_a_restore_that_reaches_as_far() {
        let check = |now: &str, then: &str, place: u64, expected: bool| {
            assert_eq!(continues(now, then, place), expected, "{now} / {then} / {place}");
        };
        let once = restored("monday", 90, "tuesday");
        let twice = restored(&once, 70, "wednesday");
        check("monday", "monday", u64::MAX, true);
        check("monday, at noon", "monday", 1, false);
        check("mondays", "monday", 1, false);
        check("friday", "monday", 1, false);
        check(&once, "monday", 90, true);
        check(&once, "monday", 91, false);
        check(&once, &once, 1_000, true);
        check(&twice, "monday", 71, false);
        check(&twice, "monday", 70, true);
        check(&twice, &once, 71, false);
        check("monday", &once, 1, false);
        // What was made again since is another log at every place.
        check(&rebuilt(&once, 95), "monday", 1, false);
        check(&restored(&rebuilt("monday", 50), 90, "tuesday"), &rebuilt("monday", 50), 90, true);
    }

    #[test]
    fn a_log_tells_how_far_it_was_restored() {
        let once = restored("monday", 90, "tuesday");
        assert_eq!(restored_to("monday"), 0);
        assert_eq!(restored_to(&once), 90);
        assert_eq!(restored_to(&restored(&once, 120, "wednesday")), 120);
        assert_eq!(restored_to(&rebuilt(&once, 500)), 90);
    }

    #[test]
    fn a_rebuild_is_told_once() {
        assert_eq!(rebuilt("monday", 5), "monday, rebuilt after sequence 5");
        let base = restored(&rebuilt("monday", 50), 90, "tuesday");
        assert_eq!(rebuilt(&base, 50), base);
        assert_eq!(rebuilt(&base, 5), format!("{base}, rebuilt after sequence 5"));
    }
}
