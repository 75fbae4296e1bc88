//! The answer of `/health`: one line of text.

use market::EventTime;

use crate::number::number;
use crate::query::pipeline::PipelineStatus;

/// Returns the state of the pipeline as one line of text. `newest` is the event time of the newest price, and the time
/// since which it is known.
pub(super) fn health_line(status: &PipelineStatus, newest: Option<(EventTime, EventTime)>, now_ms: i64) -> String {
    let mut parts = vec![match (status.is_connected, status.steps.is_empty()) {
        (true, _) => "nats connected".to_owned(),
        (false, true) => "nats away".to_owned(),
        (false, false) => "nats away, the following is the last known state".to_owned(),
    }];
    parts.push(match newest {
        Some((event, known)) => format!("last price {event}, {} ago", age(now_ms - known.ms())),
        None => "no price yet".to_owned(),
    });
    parts.extend(status.steps.iter().map(|step| match (step.has_begun, step.behind) {
        (_, 0) => format!("{} up to date", step.service),
        (true, behind) => format!("{} {} messages behind", step.service, number(behind as f64, 0)),
        (false, behind) => format!("{} has not begun, {} messages wait", step.service, number(behind as f64, 0)),
    }));
    if status.steps.is_empty() {
        parts.push("steps not known yet".to_owned());
        return parts.join(" · ");
    }
    let counts = &status.counts;
    let counted = [("accepted", counts.accepted), ("late", counts.late), ("rejected", counts.rejected_total())];
    parts.extend(counted.iter().map(|(name, count)| format!("{name} {}", number(*count as f64, 0))));
    parts.join(" · ")
}

/// Formats a duration in milliseconds in its largest unit: `7 s`, `3 min`, `5 h`, `12 days`, `6 years`.
fn age(ms: i64) -> String {
    let seconds = ms.max(0) / 1_000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        172_800..63_072_000 => format!("{} days", seconds / 86_400),
        _ => format!("{} years", seconds / 31_536_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_ages_from_the_end_of_its_span() {
        let line = health_line(&PipelineStatus::default(), Some((EventTime(60_000), EventTime(120_000))), 123_000);
        assert_eq!(line, "nats away · last price 1970-01-01T00:01:00Z, 3 s ago · steps not known yet");
    }

    #[test]
    fn without_data_the_line_says_that() {
        assert!(health_line(&PipelineStatus::default(), None, 0).contains("no price yet"));
    }

    #[test]
    fn ages_are_shown_in_their_largest_unit() {
        let cases = [(-5, "0 s"), (119_999, "119 s"), (120_000, "2 min"), (7_200_000, "2 h"), (172_800_000, "2 days")];
        for (ms, expected) in cases {
            assert_eq!(age(ms), expected);
        }
        assert_eq!(age(5 * 31_536_000_000), "5 years");
    }
}
