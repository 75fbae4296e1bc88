//! Property tests of certification, from random polls to windows: ticks alone, as an archive holds them, certify the
//! same as ticks and heartbeats, and no missing time is certified.

use std::collections::BTreeMap;

use market::validate::validate;
use market::watermark::Watermark;
use market::windowing::{EventTimePolicy, Issue, Windowing};
use market::{EventTime, Window};
use proptest::prelude::*;

use super::buffer::BufferedRecord;
use super::observer_tests::{answered, at, bitcoin, observer, poll, quote};

/// Result of one poll.
#[derive(Debug, Clone, Copy)]
enum Found {
    Unchanged,
    /// A new price of this age in seconds.
    New(i64),
    Missing,
    Failure,
}

/// Generates polls about a minute apart, most of them with a result. Failures come in runs, so that some break
/// certification.
fn polls() -> impl Strategy<Value = Vec<(i64, Found)>> {
    let found = prop_oneof![
        4 => (0_i64..200).prop_map(Found::New),
        4 => Just(Found::Unchanged),
        1 => Just(Found::Missing),
        1 => Just(Found::Failure),
    ];
    let run = (found, prop_oneof![6 => 1_usize..4, 1 => 4_usize..90]).prop_map(|(found, length)| vec![found; length]);
    prop::collection::vec(run, 1..60).prop_flat_map(|runs| {
        let found = runs.concat();
        let steps = prop::collection::vec(58_i64..63, found.len());
        steps.prop_map(move |steps| steps.into_iter().zip(found.iter().copied()).collect())
    })
}

/// Returns all records of these polls.
fn observe(polls: &[(i64, Found)]) -> Vec<BufferedRecord> {
    let mut observer = observer(None);
    let (mut now, mut newest, mut records) = (0, 0, Vec::new());
    for &(step, found) in polls {
        now += step;
        let mut answer = |quote| records.extend(answered(&mut observer, quote, poll(now)).records);
        match found {
            // Never older than the previous price, nor than the source delay.
            Found::New(age) => {
                newest = newest.max(now - age);
                answer(Some(quote(newest)));
            }
            Found::Unchanged => answer(Some(quote(newest))),
            Found::Missing => answer(None),
            Found::Failure => observer.failed(0, "unreachable", at(now).ms()),
        }
    }
    records
}

/// Returns the coverage of every window that closed before the last tick, as the steps compute it from these records,
/// and the places where certification was broken.
fn coverage(records: &[BufferedRecord], with_heartbeats: bool) -> BTreeMap<(Window, EventTime), f64> {
    let (settings, instrument) = (EventTimePolicy::default(), bitcoin());
    let (mut windowing, mut watermark) = (Windowing::new(&Window::ALL), Watermark::default());
    let mut found = BTreeMap::new();
    for record in records {
        let mut pass = |event| watermark.advance(event, settings.disorder);
        let issue = |issue: Issue<'_>| {
            found.insert((issue.window, issue.start), issue.candle(&instrument).coverage);
        };
        match record {
            BufferedRecord::Tick(line) => {
                let tick = validate(line, &instrument, 1, i64::MAX).unwrap();
                windowing.push(&tick, pass(tick.event), settings, issue);
            }
            BufferedRecord::Heartbeat(beat) if with_heartbeats => {
                beat.validate(&instrument, i64::MAX).unwrap();
                windowing.heartbeat(beat.certified(), pass(beat.event()), settings, issue);
            }
            BufferedRecord::Heartbeat(_) | BufferedRecord::Gap(_) => {}
        }
    }
    found
}

/// Returns the times of each two neighboring ticks, and whether certification was unbroken between them.
fn stretches(records: &[BufferedRecord]) -> Vec<(EventTime, EventTime, bool)> {
    let (mut stretches, mut last, mut is_broken) = (Vec::new(), None, true);
    for record in records {
        match record {
            BufferedRecord::Gap(_) => is_broken = true,
            BufferedRecord::Tick(tick) => {
                let event = EventTime(tick.event_ms);
                stretches.extend(last.map(|last| (last, event, !is_broken)));
                (last, is_broken) = (Some(event), false);
            }
            BufferedRecord::Heartbeat(_) => {}
        }
    }
    stretches
}

proptest! {
    #[test]
    fn ticks_alone_certify_what_ticks_and_heartbeats_do(polls in polls()) {
        let records = observe(&polls);
        let stretches = stretches(&records);
        let last = stretches.last().map_or(EventTime::MIN, |&(_, last, _)| last);
        let (alone, together) = (coverage(&records, false), coverage(&records, true));
        for (&(window, start), &covered) in &alone {
            let end = window.end(start);
            // The plain union of the uninterrupted polls.
            let known: i64 = stretches.iter().filter(|(_, _, is_unbroken)| *is_unbroken)
                .map(|&(from, to, _)| (to.min(end) - from.max(start)).ms().max(0)).sum();
            let broken = stretches.iter().any(|&(from, to, is_unbroken)| !is_unbroken && from < end && to > start);
            if end <= last {
                prop_assert_eq!(covered, known as f64 / window.size().ms() as f64);
                if !broken {
                    prop_assert_eq!(together[&(window, start)], covered, "{} {}", window.name(), start);
                }
            }
        }
    }

    #[test]
    fn between_two_ticks_time_is_certified_or_a_gap(polls in polls()) {
        let records = observe(&polls);
        for pair in records.iter().filter(|record| !matches!(record, BufferedRecord::Heartbeat(_))).collect::<Vec<_>>().windows(2) {
            match pair {
                [BufferedRecord::Tick(before), BufferedRecord::Tick(tick)] => {
                    prop_assert_eq!(tick.complete_ms, Some(tick.event_ms - before.event_ms));
                }
                [BufferedRecord::Tick(before), BufferedRecord::Gap(gap)] => prop_assert!(gap.from_ms >= before.event_ms),
                [BufferedRecord::Gap(gap), BufferedRecord::Tick(tick)] => {
                    prop_assert_eq!((tick.complete_ms, tick.event_ms), (None, gap.to_ms));
                }
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}
