//! Replays into a FEED in memory: undisturbed, after crashes, and with bad files.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use bus::publish::FeedMessage;
use bus::{RecordKind, codec};
use market::gap::GapLine;
use market::tick::TickLine;
use market::{EventTime, Instrument, Span};
use service::Shutdown;
use store::recording::{Grain, InstrumentRows, RecordingFile, Rejects, Rules};

use super::opened::Recording;
use super::pace::Speed;
use super::replay::{Ending, Replay, ReplayPlan, Replayed};
use super::resume::OlderRows;
use super::summary::Summary;
use crate::clock::now_ms;
use crate::feed::Feed;
use crate::memory::{MINUTE, Memory, START, at};
use crate::message::Origin;
use crate::metrics::ProducerMetrics;

const HEADER: &str = "timestamp_ms,open,high,low,close,volume\n";

#[derive(Clone, Default)]
struct KeptRejects(Arc<Mutex<Vec<u8>>>);

impl Write for KeptRejects {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn plan() -> ReplayPlan {
    ReplayPlan { gaps: true, speed: Speed::Max, older: OlderRows::Refuse, flush: true, feed_end: 0 }
}

fn rules() -> Rules {
    let grain = Some(Grain::Candles(Span::MINUTE));
    Rules { grain, reorder_rows: 100, ..Rules::at(EventTime(now_ms(SystemTime::now()))) }
}

fn row(minute: i64) -> String {
    format!("{},{minute}.5,{minute}.75,{minute}.25,{minute}.5,{minute}\n", at(minute))
}

fn rows(minutes: impl IntoIterator<Item = i64>) -> String {
    minutes.into_iter().map(row).collect()
}

/// Opens recordings from files given as (coin, name, content without header).
fn recordings(files: &[(&str, &str, String)]) -> Vec<Recording> {
    let mut coins: Vec<(&str, Vec<RecordingFile>)> = Vec::new();
    for (coin, name, text) in files {
        let input = RecordingFile::of_bytes(name, format!("{HEADER}{text}").into_bytes());
        match coins.iter_mut().find(|(known, _)| known == coin) {
            Some((_, inputs)) => inputs.push(input),
            None => coins.push((coin, vec![input])),
        }
    }
    coins.into_iter().map(|(coin, inputs)| recording(coin, inputs)).collect()
}

fn recording(coin: &str, inputs: Vec<RecordingFile>) -> Recording {
    let instrument = Instrument::new(coin, "usdt").unwrap();
    let rows = InstrumentRows::open(inputs, &instrument, rules()).unwrap();
    Recording { instrument, rows }
}

fn metrics() -> ProducerMetrics {
    ProducerMetrics::new(&service::Metrics::default())
}

async fn run_with(
    feed: &Memory,
    recordings: Vec<Recording>,
    plan: ReplayPlan,
) -> anyhow::Result<(Summary, Ending, String)> {
    let kept = KeptRejects::default();
    let file = kept.clone();
    let rejects = Rejects::new(move || Ok(Box::new(file)));
    let replay = Replay { feed, plan, metrics: &metrics(), shutdown: &Shutdown::new() };
    let replayed = replay.run(recordings, rejects, || ()).await?;
    let Replayed { summary, ending, .. } = replayed;
    let kept = String::from_utf8(kept.0.lock().unwrap().clone())?;
    Ok((summary, ending, kept))
}

async fn run(feed: &Memory, text: String) -> Summary {
    let (summary, ending, _) = run_with(feed, recordings(&[("bitcoin", "a.csv", text)]), plan()).await.unwrap();
    assert!(matches!(ending, Ending::Done), "{ending:?}");
    summary
}

#[tokio::test]
async fn a_recording_is_published_in_order_packed_and_flushed() {
    let feed = Memory::default();
    let total = run(&feed, rows(0..1_201)).await.total();
    assert_eq!(feed.minutes(), (0..1_201).collect::<Vec<_>>());
    assert_eq!((feed.gaps(), feed.flushes()), (vec![], vec![1_200]));
    assert_eq!((total.row_counts.rows, total.published, total.row_counts.skipped, total.flushes), (1_201, 1_201, 0, 1));
    let messages = feed.messages.lock().unwrap();
    let ids: Vec<&str> = messages.iter().map(|message| message.id.as_str()).collect();
    let expected = [
        "recording/tick/bitcoin/usdt/60000/1577836800000-1577866740000/500",
        "recording/tick/bitcoin/usdt/60000/1577866800000-1577896740000/500",
        "recording/tick/bitcoin/usdt/60000/1577896800000-1577908800000/201",
        "recording/heartbeat/bitcoin/usdt/flush/1577908800000/recording/tick/bitcoin/usdt/60000/1577896800000-1577908800000/201",
    ];
    assert_eq!(ids, expected);
    // The steps receive the last ticks and their flush together.
    assert!(feed.publishes.lock().unwrap().last().is_some_and(|&messages| messages >= 2));
    let line = codec::lines(&messages[0].payload).nth(1).unwrap().1;
    let line = String::from_utf8(line.to_vec()).unwrap();
    let (before, after) = line.split_once("\"ingest_ms\":").unwrap();
    assert_eq!(
        before,
        r#"{"coin":"bitcoin","quote":"usdt","event_ms":1577836860000,"grain_ms":60000,"high":1.75,"low":1.25,"close":1.5,"volume":1.0,"#
    );
    assert!(after.ends_with(r#","source":"recording"}"#), "{after}");
}

#[tokio::test]
async fn bad_rows_are_rejected_with_reason_file_and_line() {
    let bad = |minute: i64, values: &str| format!("{},{values}\n", at(minute));
    let text = [
        row(1),
        "garbage\n".to_owned(),
        bad(2, "1,NaN,1,1,1"),
        bad(2, "1,inf,1,1,1"),
        bad(2, "1,2,1,,1"),
        bad(2, "-1,2,-3,-1,1"),
        bad(3, "0,0,0,0,1"),
        bad(4, "1,0.5,2,1,1"),
        row(5),
        row(5),
        bad(5, "7,7,7,7,7"),
        row(6),
        row(1_000_000),
    ]
    .concat();
    let feed = Memory::default();
    let (summary, ending, kept) = run_with(&feed, recordings(&[("bitcoin", "a.csv", text)]), plan()).await.unwrap();
    assert!(matches!(ending, Ending::Done), "{ending:?}");
    assert_eq!(feed.minutes(), [1, 5, 6]);
    let total = summary.total();
    let rejected: Vec<_> = total.row_counts.rejected.iter().map(|(reason, count)| (*reason, *count)).collect();
    let expected = [
        ("high-low-order", 1),
        ("incomplete-price", 2),
        ("jump", 1),
        ("negative-price", 1),
        ("non-finite", 1),
        ("zero-price", 1),
    ];
    assert_eq!(rejected, expected);
    assert_eq!((total.row_counts.duplicates, total.row_counts.conflicts, total.row_counts.foreign), (2, 1, 1));
    let accounted =
        total.published + total.row_counts.duplicates + total.row_counts.rejected_count() + total.row_counts.foreign;
    assert_eq!(total.row_counts.rows, accounted);
    let kept: Vec<&str> = kept.lines().collect();
    assert_eq!(kept[0], r#"{"file":"a.csv","line":3,"reason":"foreign","text":"garbage"}"#);
    assert_eq!(kept[3], r#"{"file":"a.csv","line":6,"reason":"incomplete-price","text":"1577836920000,1,2,1,,1"}"#);
    assert_eq!(
        kept[7],
        r#"{"file":"a.csv","line":14,"reason":"jump","text":"1637836800000,1000000.5,1000000.75,1000000.25,1000000.5,1000000"}"#
    );
}

#[tokio::test]
async fn holes_become_gap_records_before_the_tick_that_ends_them() {
    let feed = Memory::default();
    let text = rows([0, 1, 3, 6, 100]);
    run(&feed, text.clone()).await;
    assert_eq!(feed.gaps(), [(4, 6), (7, 100)], "two grains apart is no gap, three are");
    assert_eq!(feed.messages.lock().unwrap()[0].kind, RecordKind::Gap);

    let feed = Memory::default();
    let plan = ReplayPlan { gaps: false, flush: false, ..plan() };
    run_with(&feed, recordings(&[("bitcoin", "a.csv", text)]), plan).await.unwrap();
    assert_eq!((feed.gaps(), feed.flushes(), feed.minutes().len()), (vec![], vec![], 5));
}

#[tokio::test]
async fn rows_are_sorted_over_any_distance() {
    let feed = Memory::default();
    let shuffled = (0..300).map(|minute| (minute / 50) * 50 + (minute * 7) % 50);
    run(&feed, rows(shuffled)).await;
    assert_eq!(feed.minutes(), (0..300).collect::<Vec<_>>());

    let feed = Memory::default();
    let total = run(&feed, rows((10..200).chain([5]).chain(200..300))).await.total();
    assert_eq!(feed.minutes(), [5].into_iter().chain(10..300).collect::<Vec<_>>());
    assert_eq!((total.row_counts.rejected_count(), feed.gaps()), (0, vec![(6, 10)]));

    let feed = Memory::default();
    run(&feed, rows((0..300).rev())).await;
    assert_eq!(feed.minutes(), (0..300).collect::<Vec<_>>());
}

#[tokio::test]
async fn files_of_one_instrument_are_one_recording_in_any_order() {
    let feed = Memory::default();
    let files = [("bitcoin", "c", 150..300), ("bitcoin", "a", 0..100), ("bitcoin", "b", 90..200)];
    let files = files.map(|(coin, name, minutes)| (coin, name, rows(minutes)));
    let (summary, ..) = run_with(&feed, recordings(&files), plan()).await.unwrap();
    assert_eq!(feed.minutes(), (0..300).collect::<Vec<_>>());
    let row_counts = &summary.instruments[0].1.row_counts;
    assert_eq!((row_counts.duplicates, row_counts.conflicts, row_counts.rejected_count()), (60, 0, 0));
}

#[tokio::test]
async fn after_a_crash_at_any_message_feed_has_the_same_contents() {
    let files = || {
        let bitcoin = rows((0..700).chain(705..1_700));
        recordings(&[("bitcoin", "a.csv", bitcoin), ("ethereum", "b.csv", rows(100..1_300))])
    };
    let whole = Memory::default();
    run_with(&whole, files(), plan()).await.unwrap();
    let of = |feed: &Memory, coin: &str| -> Vec<TickLine<'static>> {
        feed.ticks().into_iter().filter(|tick| tick.coin == coin).collect()
    };
    let count = whole.messages.lock().unwrap().len();
    for breaks_after in 0..=count {
        let mut feed = Memory { breaks_after: Some(breaks_after), ..Memory::default() };
        let broken = run_with(&feed, files(), plan()).await;
        assert!(broken.is_err(), "{breaks_after}");
        feed.breaks_after = None;
        run_with(&feed, files(), plan()).await.unwrap();
        for coin in ["bitcoin", "ethereum"] {
            assert_eq!(of(&feed, coin), of(&whole, coin), "{coin} after {breaks_after}");
        }
        assert_eq!(feed.gaps(), whole.gaps(), "{breaks_after}");
        let sorted = |mut minutes: Vec<i64>| {
            minutes.sort_unstable();
            minutes
        };
        assert_eq!(sorted(feed.flushes()), sorted(whole.flushes()), "{breaks_after}");
    }
}

#[tokio::test]
async fn a_gap_whose_tick_was_never_published_is_published_once() {
    // A paced replay died after it had published the first gap. The next one runs at full speed.
    let feed = Memory::default();
    run_with(&feed, recordings(&[("bitcoin", "a.csv", rows([0, 1]))]), ReplayPlan { flush: false, ..plan() })
        .await
        .unwrap();
    let (from_ms, to_ms) = (at(2), at(6));
    let gap =
        GapLine { coin: "bitcoin".into(), quote: "usdt".into(), from_ms, to_ms, cause: "missing-in-recording".into() };
    let instrument = Instrument::new("bitcoin", "usdt").unwrap();
    let origin = Origin { source: "recording", instrument: &instrument };
    feed.publish(&[origin.gaps(EventTime(from_ms), EventTime(to_ms), 1, codec::single(&gap))]).await.unwrap();
    run(&feed, rows([0, 1, 6, 100])).await;
    assert_eq!((feed.gaps(), feed.minutes()), (vec![(2, 6), (7, 100)], vec![0, 1, 6, 100]));
}

#[tokio::test]
async fn rows_from_the_future_hide_nothing_that_comes_in_time() {
    let feed = Memory::default();
    let ahead = (now_ms(SystemTime::now()) - START) / MINUTE + 60;
    // A recording in another time zone may end tomorrow.
    let total = run(&feed, rows([0, 1].into_iter().chain(ahead..ahead + 600))).await.total();
    assert_eq!(total.row_counts.rejected["future"], 600);
    run(&feed, rows([0, 1, 2, 7, 8])).await;
    assert_eq!((feed.minutes(), feed.gaps()), (vec![0, 1, 2, 7, 8], vec![(3, 7)]));
}

/// A sender can claim any ingest time. The time at which the server stored the message shows that the tick was
/// rejected.
#[tokio::test]
async fn a_forged_ingest_time_hides_no_tick_that_is_in_time() {
    let feed = Memory { stored_ms: Some(at(1_000)), ..Memory::default() };
    let instrument = Instrument::new("bitcoin", "usdt").unwrap();
    run(&feed, rows([5])).await;
    let (coin, quote, ahead_ms) = ("bitcoin".into(), "usdt".into(), at(9_000));
    let line = TickLine { coin, quote, event_ms: ahead_ms, ingest_ms: ahead_ms, ..feed.ticks().remove(0) };
    let forged =
        FeedMessage { kind: RecordKind::Tick, instrument, payload: codec::single(&line), id: "forged".to_owned() };
    feed.publish(std::slice::from_ref(&forged)).await.unwrap();
    run(&feed, rows([5, 6, 7])).await;
    assert_eq!(feed.minutes(), [5, 9_000, 6, 7]);
    // A forged tick at the beginning does not count as FEED's begin either.
    feed.messages.lock().unwrap().insert(0, forged);
    run(&feed, rows([5, 6, 7, 8])).await;
    assert_eq!(feed.minutes(), [9_000, 5, 9_000, 6, 7, 8]);
}

#[tokio::test]
async fn the_same_recording_again_adds_nothing() {
    let feed = Memory::default();
    run(&feed, rows(0..600)).await;
    let before = feed.messages.lock().unwrap().len();
    let total = run(&feed, rows(0..600)).await.total();
    assert_eq!(feed.messages.lock().unwrap().len(), before);
    assert_eq!((total.published, total.row_counts.skipped, total.flushes), (0, 600, 0));
    let range = total.row_counts.skipped_range.map(|(first, last)| (first.ms(), last.ms()));
    assert_eq!(range, Some((at(0), at(599))));
}

#[tokio::test]
async fn two_halves_give_what_the_whole_gives() {
    let (halves, whole) = (Memory::default(), Memory::default());
    run(&halves, rows(0..600)).await;
    run(&halves, rows(610..1_000)).await;
    run(&whole, rows((0..600).chain(610..1_000))).await;
    assert_eq!(halves.ticks(), whole.ticks());
    assert_eq!((halves.gaps(), halves.flushes()), (whole.gaps(), vec![599, 999]));
}

#[tokio::test]
async fn a_recording_that_ends_before_feed_does_flushes_nothing() {
    let feed = Memory::default();
    run(&feed, rows(0..600)).await;
    run(&feed, rows(0..300)).await;
    assert_eq!(feed.flushes(), [599]);
}

#[tokio::test]
async fn rows_from_before_feed_begins_are_refused_skipped_or_sent() {
    let feed = Memory::default();
    run(&feed, rows(1_000..1_100)).await;
    let files = |first: i64| recordings(&[("bitcoin", "old.csv", rows(first..1_200))]);

    let error = run_with(&feed, files(900), plan()).await.unwrap_err();
    assert_eq!(service_code(&error), Some(service::Code::BadConfig));
    let text = error.to_string();
    assert!(text.starts_with("old.csv holds 100 rows (of 300) from before 2020-01-01T16:40:00Z"), "{text}");
    assert_eq!(feed.minutes().len(), 100, "nothing is published before the check");

    // Two of 202 rows are less than 1 %.
    let total = run_with(&feed, files(998), plan()).await.unwrap().0.total();
    assert_eq!((total.published, total.row_counts.skipped), (100, 102));

    let skip = ReplayPlan { older: OlderRows::Skip, ..plan() };
    let total = run_with(&feed, files(900), skip).await.unwrap().0.total();
    assert_eq!((total.published, total.row_counts.skipped), (0, 300));

    let send = ReplayPlan { older: OlderRows::Publish, ..plan() };
    let total = run_with(&feed, files(900), send).await.unwrap().0.total();
    assert_eq!((total.published, total.row_counts.skipped), (300, 0));
    // Rows may even be older than all of FEED.
    run_with(&feed, recordings(&[("bitcoin", "older.csv", rows(0..10))]), send).await.unwrap();
    assert_eq!(feed.flushes(), [1_099, 1_199, 1_199, 1_199]);
}

fn service_code(error: &anyhow::Error) -> Option<service::Code> {
    error.downcast_ref::<service::Coded>().map(service::Coded::code)
}

#[tokio::test]
async fn a_cut_file_is_published_to_the_cut_and_resumes_once_repaired() {
    let text = format!("{HEADER}{}", rows((0..9_000).chain(9_100..20_000)));
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    let repaired = encoder.finish().unwrap();
    let cut = repaired[..repaired.len() / 3].to_vec();
    let file = |bytes: Vec<u8>| {
        let input = RecordingFile::of_bytes("a.csv.gz", bytes);
        // A later file must not hide the hole that the truncated one leaves.
        let later = RecordingFile::of_bytes("b.csv", format!("{HEADER}{}", rows(20_000..20_010)).into_bytes());
        vec![recording("bitcoin", vec![input, later])]
    };
    let feed = Memory::default();
    let (summary, ending, _) = run_with(&feed, file(cut), plan()).await.unwrap();
    let Ending::Cut(unusable) = ending else { panic!("{ending:?}") };
    let published = feed.minutes().len() as u64;
    assert!(unusable.to_string().starts_with(&format!("a.csv.gz line {}: ", published + 2)), "{unusable} {published}");
    assert_eq!((summary.total().published, feed.flushes()), (published, vec![]));

    run_with(&feed, file(repaired), plan()).await.unwrap();
    assert_eq!(feed.minutes(), (0..9_000).chain(9_100..20_010).collect::<Vec<_>>());
    assert_eq!((feed.gaps(), feed.flushes()), (vec![(9_000, 9_100)], vec![20_009]));
}

#[tokio::test]
async fn instruments_advance_together_to_within_one_payload() {
    let feed = Memory::default();
    let files = ["bitcoin", "ethereum", "solana"].map(|coin| (coin, coin, rows(0..3_000)));
    run_with(&feed, recordings(&files), plan()).await.unwrap();
    let mut sent: HashMap<String, i64> = HashMap::new();
    for message in feed.messages.lock().unwrap().iter().filter(|message| message.kind == RecordKind::Tick) {
        *sent.entry(message.instrument.to_string()).or_default() += 1;
        let most = *sent.values().max().unwrap();
        let least = if sent.len() == 3 { *sent.values().min().unwrap() } else { 0 };
        // One payload ahead, while the other one is in flight.
        assert!(most - least <= 2, "{sent:?}");
    }
}

#[tokio::test]
async fn a_recording_without_a_good_row_publishes_nothing() {
    let feed = Memory::default();
    let total = run(&feed, "garbage\nmore\n".to_owned()).await.total();
    assert_eq!((feed.messages.lock().unwrap().len(), total.row_counts.rows, total.row_counts.range), (0, 2, None));
}

#[tokio::test]
async fn an_instrument_is_flushed_when_it_ends_and_the_rest_goes_on() {
    let feed = Memory::default();
    // Each row of the longer recording takes a minute, so the test ends before it does.
    let plan = ReplayPlan { speed: Speed::Times(1.0), ..plan() };
    let shutdown = Shutdown::new();
    let rejects = Rejects::new(|| Ok(Box::new(KeptRejects::default())));
    let files = recordings(&[("bitcoin", "a.csv", rows(0..100)), ("ethereum", "b.csv", rows(0..1))]);
    let metrics = metrics();
    let replay = Replay { feed: &feed, plan, metrics: &metrics, shutdown: &shutdown };
    let replaying = replay.run(files, rejects, || ());
    let stop = async {
        while feed.flushes().is_empty() {
            tokio::task::yield_now().await;
        }
        shutdown.request();
    };
    let (Replayed { summary, ending, .. }, ()) = tokio::join!(async { replaying.await.unwrap() }, stop);
    assert!(matches!(ending, Ending::Stopped), "{ending:?}");
    let flushes = summary.instruments.iter().map(|(instrument, counts)| (instrument.coin(), counts.flushes));
    assert_eq!(flushes.collect::<Vec<_>>(), [("bitcoin", 0), ("ethereum", 1)]);
    assert_eq!((feed.minutes(), feed.flushes()), (vec![0, 0], vec![0]));
}

#[tokio::test]
async fn a_short_recording_is_flushed_amid_the_ticks_of_a_long_one() {
    let feed = Memory::default();
    let files = recordings(&[("bitcoin", "a.csv", rows(0..50_000)), ("ethereum", "b.csv", rows(0..1))]);
    run_with(&feed, files, plan()).await.unwrap();
    let messages = feed.messages.lock().unwrap();
    let first_flush = messages.iter().position(|message| message.kind == RecordKind::Heartbeat).unwrap();
    assert_eq!(messages[first_flush].instrument.coin(), "ethereum");
    assert!(first_flush < messages.len() / 2, "{first_flush} of {}", messages.len());
}

#[tokio::test]
async fn whole_files_are_flushed_beside_a_file_that_broke_off() {
    let feed = Memory::default();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(format!("{HEADER}{}", rows(0..20_000)).as_bytes()).unwrap();
    let mut cut = encoder.finish().unwrap();
    cut.truncate(cut.len() / 2);
    let mut files = recordings(&[("ethereum", "b.csv", rows(0..30_000))]);
    files.push(recording("bitcoin", vec![RecordingFile::of_bytes("a.csv.gz", cut)]));
    let (summary, ending, _) = run_with(&feed, files, plan()).await.unwrap();
    assert!(matches!(ending, Ending::Cut(_)), "{ending:?}");
    let flushes = summary.instruments.iter().map(|(instrument, counts)| (instrument.coin(), counts.flushes));
    assert_eq!(flushes.collect::<Vec<_>>(), [("ethereum", 1), ("bitcoin", 0)]);
    assert_eq!(feed.flushes(), [29_999]);
}

/// A full disk.
struct Full;

impl Write for Full {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The next run of the same command, with a disk that has room, publishes the flush.
#[tokio::test]
async fn a_replay_that_cannot_keep_refused_rows_flushes_nothing() {
    let feed = Memory::default();
    let text = format!("{}no row\n{}", rows(0..3_000), rows(3_000..6_000));
    let files = || recordings(&[("bitcoin", "a.csv", text.clone()), ("ethereum", "b.csv", rows(0..6_000))]);
    let rejects = Rejects::new(|| Ok(Box::new(Full)));
    let replay = Replay { feed: &feed, plan: plan(), metrics: &metrics(), shutdown: &Shutdown::new() };
    let replayed = replay.run(files(), rejects, || ()).await.unwrap();
    let Replayed { summary, ending, .. } = replayed;
    assert!(matches!(ending, Ending::Rejects(_)), "{ending:?}");
    let published = summary.total().published;
    assert!((1..12_000).contains(&published), "{published}");
    assert_eq!(feed.flushes(), Vec::<i64>::new());

    run_with(&feed, files(), plan()).await.unwrap();
    assert_eq!((feed.minutes().len(), feed.flushes()), (12_000, vec![5_999, 5_999]));
}

#[tokio::test]
async fn shutdown_ends_a_slow_replay_without_a_flush() {
    let feed = Memory::default();
    let plan = ReplayPlan { speed: Speed::Times(1.0), ..plan() };
    let shutdown = Shutdown::new();
    let rejects = Rejects::new(|| Ok(Box::new(KeptRejects::default())));
    let files = recordings(&[("bitcoin", "a.csv", rows(0..100))]);
    let metrics = metrics();
    let replay = Replay { feed: &feed, plan, metrics: &metrics, shutdown: &shutdown };
    let replaying = replay.run(files, rejects, || ());
    let stop = async {
        while feed.messages.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        shutdown.request();
    };
    let (replayed, ()) = tokio::join!(replaying, stop);
    let Replayed { summary, ending, .. } = replayed.unwrap();
    assert!(matches!(ending, Ending::Stopped), "{ending:?}");
    assert_eq!((summary.is_complete, feed.minutes(), feed.flushes()), (false, vec![0], vec![]));
}

fn trades(text: String, grain: Grain) -> Vec<Recording> {
    let input = RecordingFile::of_bytes("a.csv", format!("timestamp_ms,price,volume\n{text}").into_bytes());
    let instrument = Instrument::new("bitcoin", "usdt").unwrap();
    let rows = InstrumentRows::open(vec![input], &instrument, Rules { grain: Some(grain), ..rules() }).unwrap();
    vec![Recording { instrument, rows }]
}

/// A second has more trades than a message holds. Each counts, after a crash at any message.
#[tokio::test]
async fn all_trades_of_one_instant_count_after_a_crash() {
    let text: String = (0..1_900).map(|trade| format!("{},{},1\n", at(trade / 1_200), 10 + trade % 3)).collect();
    let files = || trades(text.clone(), Grain::Trades);
    let whole = Memory::default();
    let (summary, ..) = run_with(&whole, files(), plan()).await.unwrap();
    assert_eq!((summary.total().published, whole.ticks().len(), whole.gaps()), (1_900, 1_900, vec![]));
    let ids: Vec<u64> = whole.ticks().iter().map(|tick| tick.id.unwrap()).collect();
    assert_eq!(ids, (0..1_200).chain(0..700).collect::<Vec<_>>());
    let count = whole.messages.lock().unwrap().len();
    for breaks_after in 1..count {
        let mut feed = Memory { breaks_after: Some(breaks_after), ..Memory::default() };
        assert!(run_with(&feed, files(), plan()).await.is_err());
        feed.breaks_after = None;
        run_with(&feed, files(), plan()).await.unwrap();
        assert_eq!(feed.ticks(), whole.ticks(), "{breaks_after}");
    }
    let total = run_with(&whole, files(), plan()).await.unwrap().0.total();
    assert_eq!((total.published, total.row_counts.skipped), (0, 1_900));
}

#[tokio::test]
async fn prices_are_complete_back_to_the_previous_or_have_a_gap() {
    let rows: String = [0, 1, 2, 5, 6].map(|minute| format!("{},7,\n", at(minute))).concat();
    let feed = Memory::default();
    run_with(&feed, trades(rows, Grain::Candles(Span::MINUTE)), plan()).await.unwrap();
    let complete: Vec<_> = feed.ticks().iter().map(|tick| (tick.grain_ms, tick.complete_ms)).collect();
    let minute = (None, Some(MINUTE));
    assert_eq!((complete, feed.gaps()), (vec![(None, None), minute, minute, (None, None), minute], vec![(2, 5)]));
}
