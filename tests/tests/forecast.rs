//! Live forecasts: equal at any speed and after any crash, each scored by its actual value, from fairly chosen models.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read;
use std::path::PathBuf;
use std::process::Command;

use bus::reader::{Selection, read_to_end};
use bus::topology::Limits;
use bus::{Connection, RecordKind, Stream, codec, objects, subject};
use flate2::read::MultiGzDecoder;
use market::{Candle, Instrument, Recipe, Window};
use pipeline_tests::process::signal;
use pipeline_tests::programs::{Running, children, eventually, fail, is_alive, name_of, succeed};
use pipeline_tests::server::nats_args;
use pipeline_tests::test_pipeline::{TestPipeline, sample};
use serde_json::Value;
use store::model_card::FileDigest;
use store::paths::{MODEL, model_key};

const QUARTER_MS: i64 = 15 * 60_000;
const DAY_MS: i64 = 86_400_000;

/// The first minutes of the bundled month, as a recording in the pipeline's folder.
fn minutes(pipeline: &TestPipeline, count: usize) -> PathBuf {
    let mut text = String::new();
    let file = std::fs::File::open(sample("btcusdt_1m_2020-03.csv.gz")).unwrap();
    MultiGzDecoder::new(file).read_to_string(&mut text).unwrap();
    let path = pipeline.dir.path().join("minutes.csv");
    std::fs::write(
        &path,
        text.lines().take(count + 1).fold(String::new(), |mut all, line| {
            writeln!(all, "{line}").unwrap();
            all
        }),
    )
    .unwrap();
    path
}

/// A trainer with small models: the tests are about when models are made and used.
fn trainer(pipeline: &TestPipeline) -> Command {
    let mut command = pipeline.program("trainer");
    command.args(["run", "--archive", "archive", "--threads", "1", "--folds", "1", "--rounds", "40"]);
    command
}

/// Replays and waits until everything is forecast.
fn forecast_all(pipeline: &TestPipeline, replay: &mut Command) {
    succeed(replay);
    succeed(pipeline.program("topology").args(["wait", "market", "forecast"]));
}

/// All lines of FORECAST by kind, in order, however they are packed.
async fn forecasts(pipeline: &TestPipeline) -> BTreeMap<&'static str, Vec<String>> {
    let connection = Connection::open(&nats_args(pipeline.server.url(), "reader"), None).await.unwrap();
    let mut all = BTreeMap::new();
    for kind in [RecordKind::Next, RecordKind::Score, RecordKind::Model] {
        let filters = vec![subject::of_kind(Stream::Forecast, kind, None)];
        let mut lines = Vec::new();
        read_to_end(&connection, Selection { stream: Stream::Forecast, filters, from: 1 }, |delivery| {
            lines.extend(codec::lines(&delivery.payload).map(|(_, line)| String::from_utf8(line.to_vec()).unwrap()));
            Ok::<_, bus::Error>(())
        })
        .await
        .unwrap();
        all.insert(kind.token(), lines);
    }
    all
}

/// The close of each quarter of an hour, by its end, as first issued by the aggregator.
async fn closes(pipeline: &TestPipeline) -> BTreeMap<i64, f64> {
    let connection = Connection::open(&nats_args(pipeline.server.url(), "reader"), None).await.unwrap();
    let filters = vec![subject::of_kind(Stream::Stats, RecordKind::Stats(Window::QuarterHour), None)];
    let mut closes = BTreeMap::new();
    read_to_end(&connection, Selection { stream: Stream::Stats, filters, from: 1 }, |delivery| {
        for (_, line) in codec::lines(&delivery.payload) {
            let candle: Candle = serde_json::from_slice(line).unwrap();
            closes.entry(candle.end.ms()).or_insert(candle.close);
        }
        Ok::<_, bus::Error>(())
    })
    .await
    .unwrap();
    closes
}

fn parsed(lines: &[String]) -> Vec<Value> {
    lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn any_speed_and_kills_in_mid_fit_give_the_same_forecasts() {
    let at_once = TestPipeline::new().await;
    let file = minutes(&at_once, 7_300);
    let _processor = at_once.start("stream-processor");
    let _trainer = Running::start(&mut trainer(&at_once));
    forecast_all(&at_once, &mut at_once.replay(&file, "1m"));
    let expected = forecasts(&at_once).await;
    assert_eq!(expected["model"].len(), 4, "the first day is too short, then one a day: {:?}", expected["model"]);
    assert!(expected["next"].len() > 150, "{}", expected["next"].len());

    // One tick at a time, and a trainer that is killed whenever it starts to fit.
    let slowly = TestPipeline::new().await;
    let _processor = slowly.start("stream-processor");
    let mut replay = slowly.replay(&file, "1m");
    let replaying = std::thread::spawn(move || succeed(replay.args(["--speed", "60000x"])));
    for _ in 0..3 {
        let mut command = trainer(&slowly);
        command.env("CANDLEWIRE_LOG", "info");
        let (mut dying, lines) = Running::start_followed(&mut command);
        let fits = lines.map_while(Result::ok).find(|line| line.contains("fitting a model"));
        assert!(fits.is_some(), "the trainer ended before it fitted a model");
        dying.kill();
    }
    let _trainer = Running::start(&mut trainer(&slowly));
    replaying.join().unwrap();
    succeed(slowly.program("topology").args(["wait", "market", "forecast"]));
    assert_eq!(forecasts(&slowly).await, expected);
}

/// The fit process of a trainer, once there is one other than `other`.
fn fit_of(trainer: u32, other: Option<u32>) -> u32 {
    let mut found = None;
    eventually("a process fits a model", || {
        found = children(trainer).into_iter().find(|child| Some(*child) != other);
        found.is_some()
    });
    found.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fit_crash_is_contained_and_no_fit_outlives_its_trainer() {
    let pipeline = TestPipeline::new().await;
    let file = minutes(&pipeline, 7_300);
    let _processor = pipeline.start("stream-processor");
    succeed(&mut pipeline.replay(&file, "1m"));
    pipeline.wait_for_market();
    // Learning this slowly takes an hour.
    let slowly = ["--recipe", "volatility", "--interval", "1m", "--learning-rate", "0.00001", "--rounds", "100000"];
    let mut command = pipeline.program("trainer");
    command.args(["run", "--archive", "archive"]).args(slowly);
    let (mut trainer, lines) = Running::start_followed(&mut command);
    let first = fit_of(trainer.id(), None);
    eventually("the fit process has its name", || name_of(first) == "trainer-fit");
    signal(first, "KILL");
    let mut said = lines.map_while(Result::ok);
    assert!(
        said.any(|line| line.contains("ended before it was done (signal: 9 (SIGKILL))")),
        "the crash is not logged"
    );
    let second = fit_of(trainer.id(), Some(first));
    assert!(trainer.is_running());
    // Kills only the trainer.
    trainer.kill();
    eventually("the fit process has ended too", || !is_alive(second));
}

/// A fit process uses the settings that its trainer was started with, even if `.env` or the environment changed
/// meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_fit_process_uses_the_settings_of_its_trainer() {
    let pipeline = TestPipeline::new().await;
    let file = minutes(&pipeline, 7_300);
    let _processor = pipeline.start("stream-processor");
    let mut command = trainer(&pipeline);
    command.env("CANDLEWIRE_LOG", "info");
    let (mut trainer, lines) = Running::start_followed(&mut command);
    let mut said = lines.map_while(Result::ok);
    succeed(&mut pipeline.replay(&file, "1m"));
    assert!(said.any(|line| line.contains("fitting a model")), "the trainer ended by itself");
    // From now on every program started in this folder fails.
    std::fs::write(pipeline.dir.path().join(".env"), "CANDLEWIRE_LOG='info\n").unwrap();
    let (code, error) = fail(pipeline.program("trainer").args(["health"]));
    assert!(code == 2 && error.contains("cannot read .env"), "{code} {error}");
    let reading = std::thread::spawn(move || said.collect::<Vec<_>>());
    succeed(pipeline.program("topology").args(["wait", "market", "forecast"]).current_dir("/"));
    assert_eq!(forecasts(&pipeline).await["model"].len(), 4);
    trainer.terminate();
    assert_eq!(trainer.wait(), Some(0));
    let said = reading.join().unwrap();
    assert!(said.iter().any(|line| line.contains("fitting a model")), "no fit started after the change: {said:#?}");
    assert!(!said.iter().any(|line| line.contains("WARN")), "{said:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_candle_has_one_forecast_that_its_truth_scores() {
    let pipeline = TestPipeline::new().await;
    let file = minutes(&pipeline, 4_800);
    let _services = [pipeline.start("stream-processor"), pipeline.start("aggregator")];
    let _trainer = Running::start(&mut trainer(&pipeline));
    forecast_all(&pipeline, &mut pipeline.replay(&file, "1m"));
    pipeline.wait();
    let all = forecasts(&pipeline).await;
    let (next, scores, models) = (parsed(&all["next"]), parsed(&all["score"]), parsed(&all["model"]));

    // Due at midnight, effective one candle later; from then on one forecast per candle, about the next candle.
    let first = models[0]["valid_from_ms"].as_i64().unwrap();
    assert_eq!(first % DAY_MS, QUARTER_MS);
    let made: Vec<i64> = next.iter().map(|next| next["made_ms"].as_i64().unwrap()).collect();
    assert_eq!(made[0], first);
    assert!(made.windows(2).all(|pair| pair[1] - pair[0] == QUARTER_MS), "{made:?}");
    for next in &next {
        assert_eq!(next["target_start_ms"], next["made_ms"]);
        assert_eq!(next["target_end_ms"].as_i64().unwrap() - next["made_ms"].as_i64().unwrap(), QUARTER_MS);
        let ends = ["lower_95", "lower", "lower_50", "upper_50", "upper", "upper_95"];
        let ends: Vec<f64> = ends.iter().filter_map(|end| next[*end].as_f64()).collect();
        assert!(ends.is_sorted() && ends.len() >= 4, "{next}");
    }

    // Scored by the target's close in STATS.
    let candles = closes(&pipeline).await;
    assert_eq!(scores.len() + 1, next.len(), "only the last one has no score yet");
    for (score, next) in scores.iter().zip(&next) {
        assert_eq!((&score["model"], &score["prediction"]), (&next["model"], &next["prediction"]));
        let actual = candles[&score["target_end_ms"].as_i64().unwrap()];
        assert_eq!(score["actual"].as_f64(), Some(actual));
        assert_eq!(score["error"].as_f64(), Some(actual - score["prediction"].as_f64().unwrap()));
        let inside = (next["lower"].as_f64().unwrap()..=next["upper"].as_f64().unwrap()).contains(&actual);
        assert_eq!(score["inside"], inside);
    }

    // A model is used from its own record on, and carries its comparison with the model before.
    let used: Vec<&Value> = models.iter().filter(|model| model["role"] != "rejected").collect();
    for next in &next {
        let made = next["made_ms"].as_i64().unwrap();
        let newest = used.iter().rfind(|model| model["valid_from_ms"].as_i64().unwrap() <= made).unwrap();
        assert_eq!(next["model"], newest["model"]);
    }
    assert!(models[0].get("incumbent").is_none() && models[1]["incumbent"]["rmse"].is_f64());
    // All rows of the newer holdout are unknown to the older model too, so both scores are about the same rows.
    assert!(models[1..].iter().all(|model| model["incumbent"]["rows"] == model["scores"]["rows"]));
    let lost = |model: &Value| model["incumbent"]["rmse"].as_f64() <= model["scores"]["rmse"].as_f64();
    assert!(models[1..].iter().all(|model| (model["role"] == "rejected") == lost(model)), "{models:?}");

    // The mean scores, for people and machines.
    let table = succeed(pipeline.program("trainer").arg("evaluate"));
    assert!(table.contains("bitcoin/usdt · recipe returns · interval 15m"), "{table}");
    let json: Value =
        serde_json::from_str(&succeed(pipeline.program("trainer").args(["evaluate", "--format", "json"]))).unwrap();
    let (all, spans) = (&json[0]["all"], json[0]["spans"].as_array().unwrap());
    let inside = scores.iter().filter(|score| score["inside"] == true).count() as f64;
    for parts in [json[0]["models"].as_array().unwrap(), spans] {
        let sum = |of: &dyn Fn(&Value) -> f64| parts.iter().map(of).sum::<f64>();
        let rows = |part: &Value| part["rows"].as_f64().unwrap();
        assert_eq!(sum(&rows) as usize, scores.len());
        let covered = sum(&|part| part["coverage"]["90"].as_f64().unwrap() * rows(part));
        assert!((covered - inside).abs() < 1e-6, "{covered} {inside}");
    }
    let squares = scores.iter().map(|score| score["error"].as_f64().unwrap().powi(2)).sum::<f64>();
    let rmse = (squares / scores.len() as f64).sqrt();
    assert!((all["rmse"].as_f64().unwrap() / rmse - 1.0).abs() < 1e-9, "{all}");
}

/// Replaced models are removed from the object store; those that a restarted trainer needs must still be there.
#[tokio::test(flavor = "multi_thread")]
async fn a_trainer_that_catches_up_may_be_stopped_anywhere() {
    let straight = TestPipeline::new().await;
    let file = minutes(&straight, 10_000);
    let _processor = straight.start("stream-processor");
    let every = ["--every", "8h", "--expire", "20h"];
    let _trainer = Running::start(trainer(&straight).args(every));
    forecast_all(&straight, &mut straight.replay(&file, "1m"));
    let expected = forecasts(&straight).await;
    assert!(expected["model"].len() > 12, "{}", expected["model"].len());
    // A model that wins again counts as new: every candle has a forecast although no model lives for a day.
    assert!(parsed(&expected["model"]).iter().any(|model| model["role"] == "rejected"));
    let made: Vec<i64> = parsed(&expected["next"]).iter().map(|next| next["made_ms"].as_i64().unwrap()).collect();
    let missing: Vec<&[i64]> = made.windows(2).filter(|pair| pair[1] - pair[0] != QUARTER_MS).collect();
    assert_eq!(missing.len(), 1, "only in and after the gap of the recording: {missing:?}");

    let stopped = TestPipeline::new().await;
    let _processor = stopped.start("stream-processor");
    succeed(&mut stopped.replay(&file, "1m"));
    stopped.wait_for_market();
    for idx in 0..4 {
        let mut command = trainer(&stopped);
        command.args(every).env("CANDLEWIRE_LOG", "info");
        let (mut running, mut lines) = Running::start_followed(&mut command);
        let mut said = Vec::new();
        let is_fit = |line: &String| line.contains("fitting a model");
        let fits =
            lines.by_ref().map_while(Result::ok).inspect(|line| said.push(line.clone())).filter(is_fit).take(3).count();
        assert_eq!(fits, 3, "the trainer ended by itself: {said:#?}");
        if idx % 2 == 0 {
            running.kill();
        } else {
            running.terminate();
            let last: Vec<String> = lines.map_while(Result::ok).collect();
            assert_eq!(running.wait(), Some(0), "{last:#?}");
        }
    }
    // A standby continues where the active trainer dies.
    let mut command = trainer(&stopped);
    command.args(every).env("CANDLEWIRE_LOG", "info");
    let (mut active, lines) = Running::start_followed(&mut command);
    assert!(lines.map_while(Result::ok).any(|line| line.contains("fitting a model")), "the trainer ended by itself");
    let _stands_by = Running::start(trainer(&stopped).args(every));
    active.kill();
    succeed(stopped.program("topology").args(["wait", "forecast"]));
    assert_eq!(forecasts(&stopped).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_object_store_is_waited_for_without_a_second_fit() {
    let pipeline = TestPipeline::with_limits(&Limits { artifacts_bytes: 20_000, ..Limits::default() }).await;
    let file = minutes(&pipeline, 3_050);
    let _processor = pipeline.start("stream-processor");
    succeed(&mut pipeline.replay(&file, "1m"));
    let mut command = trainer(&pipeline);
    command.env("CANDLEWIRE_LOG", "info");
    let (_trainer, lines) = Running::start_followed(&mut command);
    let (sender, said) = std::sync::mpsc::channel();
    std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let mut fits = 0;
    let warning = said.iter().inspect(|line| fits += usize::from(line.contains("fitting a model")));
    let mut warning = warning.skip_while(|line| !line.contains("storing object"));
    assert!(warning.next().is_some_and(|line| line.contains("waiting: ")));
    drop(warning);
    assert_eq!(fits, 1 + 1, "the first day was too short, then one model");
    assert!(forecasts(&pipeline).await["next"].is_empty());

    succeed(pipeline.program("topology").args(["apply", "--artifacts-bytes", "1GiB"]));
    succeed(pipeline.program("topology").args(["wait", "forecast"]));
    assert_eq!(forecasts(&pipeline).await["model"].len(), 1);
    assert_eq!(said.try_iter().filter(|line| line.contains("fitting a model")).count(), 0);
}

/// Other forecast settings need a rebuild; a rebuild with the old ones gives the same forecasts again.
#[tokio::test(flavor = "multi_thread")]
async fn changed_forecast_rules_need_a_rebuild() {
    let pipeline = TestPipeline::new().await;
    let file = minutes(&pipeline, 3_200);
    let _processor = pipeline.start("stream-processor");
    let (code, error) = fail(pipeline.program("trainer").args(["evaluate"]));
    assert_eq!(code, 4, "{error}");
    assert!(error.contains("no forecast has been scored yet"), "{error}");
    let mut first = Running::start(&mut trainer(&pipeline));
    forecast_all(&pipeline, &mut pipeline.replay(&file, "1m"));
    let expected = forecasts(&pipeline).await;
    assert!(expected["next"].len() > 10);
    first.terminate();
    assert_eq!(first.wait(), Some(0));

    let (code, error) = fail(trainer(&pipeline).args(["--horizon", "2"]));
    assert_eq!(code, 3, "{error}");
    assert!(error.contains("horizon=1") && error.contains("topology rebuild forecast"), "{error}");
    // Another version may have stored states that this one cannot decode.
    let store = pipeline.server.connect("trainer").await;
    let partition = subject::partition("bitcoin", "usdt", Limits::default().partitions);
    let state = subject::state(Stream::Forecast, partition, "bitcoin", "usdt");
    store.jetstream().publish(state, "of another version".into()).await.unwrap().await.unwrap();
    let (code, error) = fail(trainer(&pipeline).args(["--horizon", "2"]));
    assert!(code == 3 && error.contains("topology rebuild forecast"), "{code} {error}");
    succeed(pipeline.program("topology").args(["rebuild", "forecast", "--yes"]));
    let _trainer = Running::start(&mut trainer(&pipeline));
    succeed(pipeline.program("topology").args(["wait", "forecast"]));
    assert_eq!(forecasts(&pipeline).await, expected);
}

/// The object store accepts anything from the trainer's user: a model that FORECAST does not name must never be used.
#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_was_swapped_is_refused_with_both_digests() {
    let pipeline = TestPipeline::new().await;
    let _processor = pipeline.start("stream-processor");
    let mut first = Running::start(&mut trainer(&pipeline));
    // The recording ends with a candle: one closed early by the flush is thin, and the next candle would have no
    // neighbors.
    forecast_all(&pipeline, &mut pipeline.replay(&minutes(&pipeline, 3_195), "1m"));
    first.terminate();
    assert_eq!(first.wait(), Some(0));
    let before = forecasts(&pipeline).await;
    let models = parsed(&before["model"]);
    let in_use = models.iter().rfind(|model| model["role"] != "rejected").unwrap();
    let bitcoin = Instrument::new("bitcoin", "usdt").unwrap();
    let key = model_key(&bitcoin, Recipe::Returns, in_use["model"].as_str().unwrap(), MODEL);

    // Another valid model of the same ticks.
    let train = ["train", "--offline", "--archive", "archive", "--interval", "15m", "--folds", "1", "--rounds", "30"];
    succeed(pipeline.program("trainer").args(train).args(["--threads", "1", "--out", "other"]));
    let other = std::fs::read(pipeline.dir.path().join("other").join(MODEL)).unwrap();
    let store = pipeline.server.connect("trainer").await;
    let right = objects::get(&store, &key).await.unwrap().unwrap();
    objects::put(&store, &key, &other).await.unwrap();
    succeed(&mut pipeline.replay(&minutes(&pipeline, 3_400), "1m"));
    for start in ["first", "second"] {
        let (mut refusing, lines) = Running::start_followed(&mut trainer(&pipeline));
        eventually("the trainer ends", || !refusing.is_running());
        assert_eq!(refusing.wait(), Some(3), "no supervisor restarts it: {start}");
        let said = lines.map_while(Result::ok).find(|line| line.starts_with("error: ")).unwrap();
        let digests = [&right, &other].map(|file| FileDigest::of(file).sha256[..16].to_owned());
        let words = [&key, &digests[0], &digests[1], "topology rebuild forecast"];
        assert!(words.iter().all(|word| said.contains(*word)), "{said}");
    }
    assert_eq!(forecasts(&pipeline).await, before, "it was never used");

    objects::put(&store, &key, &right).await.unwrap();
    let mut trainer = Running::start(&mut trainer(&pipeline));
    succeed(pipeline.program("topology").args(["wait", "market", "forecast"]));
    let after = forecasts(&pipeline).await;
    assert!(after["next"].len() > before["next"].len());
    assert_eq!(after["next"][..before["next"].len()], before["next"][..]);
    assert_eq!(in_use["sha256"], FileDigest::of(&right).sha256);

    // A running trainer reads it again when the next day's model is compared with it.
    objects::put(&store, &key, &other).await.unwrap();
    succeed(&mut pipeline.replay(&minutes(&pipeline, 4_800), "1m"));
    eventually("the trainer ends", || !trainer.is_running());
    assert_eq!(trainer.wait(), Some(3));
    assert_eq!(forecasts(&pipeline).await["model"], after["model"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_instrument_has_its_own_model() {
    let pipeline = TestPipeline::new().await;
    let file = minutes(&pipeline, 3_050);
    let _processor = pipeline.start("stream-processor");
    let _trainer = Running::start(&mut trainer(&pipeline));
    let mut both = pipeline.program("producer");
    both.args(["run", "--source", "recording", "--grain", "1m"]);
    for coin in ["bitcoin", "ethereum"] {
        both.arg("--file").arg(format!("{coin}/usdt={}", file.display()));
    }
    forecast_all(&pipeline, &mut both);
    let all = forecasts(&pipeline).await;
    for coin in ["bitcoin", "ethereum"] {
        let of_coin = |kind| parsed(&all[kind]).into_iter().filter(|line| line["coin"] == coin).collect::<Vec<_>>();
        let (models, next) = (of_coin("model"), of_coin("next"));
        assert_eq!(models.len(), 1, "{coin}");
        assert!(!next.is_empty() && next.iter().all(|next| next["model"] == models[0]["model"]), "{coin}");
    }
}

#[test]
fn impossible_forecasts_are_refused_before_starting() {
    let dir = tempfile::tempdir().unwrap();
    for (flags, advice) in [
        (vec!["--recipe", "calendar"], "choose returns or volatility"),
        (vec!["--split", "random"], "leave it to `trainer train`"),
        (vec!["--every", "5m"], "shorter than a candle of 15m"),
        (vec!["--expire", "10m"], "--expire ends before a model counts"),
    ] {
        let (code, error) = fail(pipeline_tests::programs::program("trainer", dir.path()).arg("run").args(&flags));
        assert_eq!(code, 2, "{flags:?}: {error}");
        assert!(error.contains(advice), "{flags:?}: {error}");
    }
}
