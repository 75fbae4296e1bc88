//! Five hundred readers of the page's live events beside a live feed: each has every event once, and prices are as fast
//! as without them.
//!
//! One feed has three phases: calm, with one reader; opening, in which the others connect; and crowded.

mod crowd;

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::Context;
use bus::reader::{Selection, read_to_end};
use bus::{RecordKind, Stream, subject};
use crowd::Crowd;
use pipeline_tests::process::{peak_bytes, pss_bytes};
use pipeline_tests::served_page::ServedPage;

use super::seen::{Kind, Seen};
use crate::effort::Effort;
use crate::live_feed::{Schedule, feed};
use crate::pipeline::Pipeline;
use crate::report::{Figure, Promise};
use crate::times::Times;

/// Ticks per second of the feed.
const RATE: u64 = 10;
const WARM: Duration = Duration::from_secs(4);
const PHASE: Duration = Duration::from_secs(20);
const PHASE_QUICK: Duration = Duration::from_secs(8);
/// The phases of the feed.
const CALM: usize = 0;
const OPENING: usize = 1;
const CROWDED: usize = 2;

/// Promise: the median time of a price with all readers ÷ with one.
const RATIO_MAX: f64 = 1.5;
/// Promise for the memory of the reporter in megabytes.
const MEMORY_MB_MAX: f64 = 100.0;

/// Measures the readers.
///
/// # Errors
/// A program fails, or the page refuses a reader.
pub(super) async fn measure(effort: Effort, say: fn(&str)) -> anyhow::Result<Vec<Figure>> {
    let pipeline = Pipeline::start(1).await?;
    let page = ServedPage::start(&mut pipeline.program("reporter"));
    page.until_ready();
    let run = RATE * effort.pick(PHASE, PHASE_QUICK).as_secs();
    let schedule = Schedule { rate: RATE, speed: 1, warm: RATE * WARM.as_secs(), run, runs: CROWDED + 1 };
    let mut crowd = Crowd::new(&page.addr);
    crowd.add(1, 0);
    let begin = OnceLock::new();
    let opening = schedule.due(schedule.warm + schedule.run * OPENING as u64);
    let mut fed = std::pin::pin!(feed(&pipeline, schedule, |start| begin.set(start).unwrap_or_default()));
    // The others connect while the feed runs.
    let arrivals = tokio::select! {
        arrivals = &mut fed => arrivals?,
        () = tokio::time::sleep(opening) => {
            crowd.fill()?;
            fed.await?
        }
    };
    schedule.check_complete(&arrivals)?;
    let stored = prices_of(&pipeline).await?;
    let readers = crowd.end(&stored).await?;
    say(&format!("{} readers of live events beside {RATE} ticks a second", readers.len()));
    let reporter = page.reporter.process.id();
    let prices = numbered(&arrivals.prices);
    let events = shown(&readers[0], schedule, *begin.get().context("the feed did not begin")?);
    let mut figures = compared("page.clients.price", schedule, &prices);
    figures.extend(compared("page.clients.event", schedule, &events));
    figures.extend(completeness(&readers, &stored));
    let megabytes = |name: &str, bytes: u64| Figure::new(name, "MB", vec![bytes as f64 / 1e6]);
    figures.push(megabytes("page.clients.memory_mb", pss_bytes(reporter)?));
    let peak = megabytes("page.clients.peak_mb", peak_bytes(reporter)?);
    figures.push(peak.promise(Promise::AtMost(MEMORY_MB_MAX)));
    Ok(figures)
}

/// The sequences in MARKET of all prices.
async fn prices_of(pipeline: &Pipeline) -> anyhow::Result<Vec<u64>> {
    let filters = vec![subject::of_kind(Stream::Market, RecordKind::Price, None)];
    let mut sequences = Vec::new();
    read_to_end(pipeline.admin(), Selection { stream: Stream::Market, filters, from: 1 }, |delivery| {
        sequences.push(delivery.seq);
        Ok::<_, bus::Error>(())
    })
    .await?;
    Ok(sequences)
}

/// The times that were measured, with the numbers of their ticks.
fn numbered(times: &[Option<Duration>]) -> Vec<(u64, Duration)> {
    times.iter().zip(0..).filter_map(|(time, number)| Some((number, (*time)?))).collect()
}

/// How long each price took to a reader, with the number of its tick.
fn shown(events: &[Seen], schedule: Schedule, start: Instant) -> Vec<(u64, Duration)> {
    let time = |event: &Seen| {
        let Kind::Price { event_ms, .. } = event.kind else { return None };
        let number = schedule.number_at(event_ms);
        Some((number, event.at.saturating_duration_since(start + schedule.due(number))))
    };
    events.iter().filter_map(time).collect()
}

/// Calm and crowd, and the ratio of their medians, which is promised.
fn compared(name: &str, schedule: Schedule, times: &[(u64, Duration)]) -> Vec<Figure> {
    let of = |run| schedule.of_run(run, times.iter().copied());
    let figure = |phase: &str, quantile: &str, times: &Times, thousandths| {
        Figure::ms(format!("{name}_{phase}_{quantile}_ms"), &[times.of_thousand(thousandths)])
    };
    let (calm, crowded) = (of(CALM), of(CROWDED));
    let before = figure("calm", "p50", &calm, 500);
    let after = figure("crowded", "p50", &crowded, 500);
    let ratio = after.in_parts_of(&before, format!("{name}_ratio"), "×").promise(Promise::AtMost(RATIO_MAX));
    let rare = [figure("calm", "p99", &calm, 990), figure("crowded", "p99", &crowded, 990)];
    let rare = rare.map(|figure| figure.against(&before));
    [vec![before.clone(), after.against(&before), ratio], rare.into()].concat()
}

/// Events that a reader should have had and had not, those that came twice, and states that were sent again to a reader
/// that came back: the events between should have been sent instead.
fn completeness(readers: &[Vec<Seen>], stored: &[u64]) -> [Figure; 3] {
    let truth = &readers[0];
    let price = |event: &Seen| if let Kind::Price { seq, .. } = event.kind { Some(seq) } else { None };
    let end = truth.iter().rfind(|event| price(event) == stored.last().copied()).map_or(0, |event| event.place);
    let mut lost: usize = stored.iter().filter(|seq| !truth.iter().any(|event| price(event) == Some(**seq))).count();
    let (mut doubled, mut again) = (0, 0);
    for reader in readers {
        let begin = reader.first().map_or(0, |event| event.place);
        let mut balance: BTreeMap<u64, i64> = BTreeMap::new();
        let counted = |event: &&Seen| event.kind != Kind::Snapshot && event.place > begin && event.place <= end;
        truth.iter().filter(counted).for_each(|event| *balance.entry(event.place).or_default() += 1);
        reader.iter().filter(counted).for_each(|event| *balance.entry(event.place).or_default() -= 1);
        lost += balance.values().filter(|count| **count > 0).count();
        doubled += balance.values().filter(|count| **count < 0).count();
        again += reader.iter().skip(1).filter(|event| event.kind == Kind::Snapshot).count();
    }
    let count = |name: &str, count: usize| {
        Figure::new(format!("page.clients.{name}"), "", vec![count as f64]).promise(Promise::AtMost(0.0))
    };
    [count("lost", lost), count("doubled", doubled), count("snapshots_again", again)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: Kind, place: u64) -> Seen {
        Seen { kind, id: format!("0-0-0-{place}"), place, at: Instant::now() }
    }

    fn price(seq: u64) -> Seen {
        event(Kind::Price { seq, event_ms: 0 }, seq)
    }

    #[test]
    fn a_lost_a_doubled_and_a_repeated_state_are_counted() {
        let check = |readers: &[Vec<Seen>], expected: [f64; 3]| {
            assert_eq!(completeness(readers, &[1, 2, 4]).map(|figure| figure.median()), expected);
        };
        let begin = event(Kind::Snapshot, 0);
        let truth = vec![begin.clone(), price(1), price(2), event(Kind::Other, 3), price(4), event(Kind::Other, 5)];
        let late = vec![event(Kind::Snapshot, 2), event(Kind::Other, 3), price(4)];
        check(&[truth.clone(), late.clone()], [0.0; 3]);
        check(&[truth.clone(), late[..2].to_vec()], [1.0, 0.0, 0.0]);
        check(&[truth.clone(), [&late[..], &[price(4)]].concat()], [0.0, 1.0, 0.0]);
        check(&[truth.clone(), [&late[..], &[event(Kind::Snapshot, 5)]].concat()], [0.0, 0.0, 1.0]);
        check(&[[&truth[..1], &truth[2..]].concat()], [1.0, 0.0, 0.0]);
    }
}
