//! Plots and reports: from the files of a training, and in an installed system without a shared folder.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use bus::reader::{Selection, read_to_end};
use bus::{Connection, RecordKind, Stream, codec, subject};
use pipeline_tests::programs::{NEVER, Running, eventually, fail, program, succeed};
use pipeline_tests::served_page::ServedPage;
use pipeline_tests::server::nats_args;
use pipeline_tests::test_pipeline::TestPipeline;
use pipeline_tests::ticks::minutes;
use serde_json::Value;
use store::model_card::ModelCard;

const KINDS: [&str; 6] = ["overview", "candles", "residuals", "calibration", "importance", "skill"];
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// An answer of the page.
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

fn get(addr: &str, path: &str, more: &str) -> Answer {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(NEVER)).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {addr}\r\n{more}\r\n").unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = head.split_whitespace().nth(1).unwrap().parse().unwrap();
    Answer { status, head, body: bytes[end + 4..].to_vec() }
}

/// The models that the page has plots of.
fn listed(addr: &str) -> Vec<Value> {
    let index: Value = serde_json::from_slice(&get(addr, "/plots/index.json", "").body).unwrap();
    index["plots"].as_array().unwrap().clone()
}

/// Checks every plot and the report of bitcoin/usdt, and that they are of this model. `candles` are words in the plot of
/// candles.
fn check_files(addr: &str, model: &str, candles: &str) {
    for kind in KINDS.into_iter().chain(["overview-narrow", "skill-narrow"]) {
        let svg = get(addr, &format!("/plots/bitcoin/usdt/returns/{kind}.svg"), "");
        assert_eq!((svg.status, svg.header("content-type")), (200, Some("image/svg+xml")), "{kind}");
        let words = if kind == "candles" { candles } else { "bitcoin/usdt" };
        assert!(svg.text().starts_with("<svg ") && svg.text().contains(words), "{kind}");
        let policy = svg.header("content-security-policy").unwrap();
        assert!(policy.contains("style-src 'sha256-") && !policy.contains("unsafe"), "{policy}");
    }
    let png = get(addr, "/plots/bitcoin/usdt/returns/overview.png", "");
    assert!(png.status == 200 && png.body.starts_with(PNG), "{}", png.head);
    let report = get(addr, "/report/bitcoin/usdt/returns.html", "");
    assert_eq!((report.status, report.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(report.text().contains(model) && report.body.len() < 2 << 20, "{} bytes", report.body.len());
    let tag = format!("If-None-Match: {}\r\n", report.header("etag").unwrap());
    let again = get(addr, "/report/bitcoin/usdt/returns.html", &tag);
    assert_eq!((again.status, again.body.len()), (304, 0));
}

/// The model that forecasts now, by the records of FORECAST; `None` before the first.
async fn model_in_use(pipeline: &TestPipeline) -> Option<String> {
    let connection = Connection::open(&nats_args(pipeline.server.url(), "reader"), None).await.unwrap();
    let filters = vec![subject::of_kind(Stream::Forecast, RecordKind::Model, None)];
    let mut in_use = None;
    read_to_end(&connection, Selection { stream: Stream::Forecast, filters, from: 1 }, |delivery| {
        for (_, line) in codec::lines(&delivery.payload) {
            let record: Value = serde_json::from_slice(line).unwrap();
            if record["role"] != "rejected" {
                in_use = record["model"].as_str().map(str::to_owned);
            }
        }
        Ok::<_, bus::Error>(())
    })
    .await
    .unwrap();
    in_use
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installed_system_draws_the_model_in_use() {
    let pipeline = TestPipeline::new().await;
    let ServedPage { reporter: _reporter, addr } =
        ServedPage::start_with(&mut pipeline.program("reporter"), &["--out", "elsewhere"]);
    assert!(listed(&addr).is_empty());
    let unknown = get(&addr, "/plots/bitcoin/usdt/returns/overview.svg", "");
    assert!(unknown.status == 404 && unknown.text().contains("\"not_found\""), "{}", unknown.text());

    let _services = [pipeline.start("stream-processor"), pipeline.start("aggregator")];
    let mut trainer = pipeline.program("trainer");
    trainer.args(["run", "--archive", "archive", "--threads", "1", "--folds", "1", "--rounds", "40"]);
    let _trainer = Running::start(&mut trainer);
    succeed(&mut pipeline.replay(&minutes(pipeline.dir.path(), 4_800), "1m"));
    eventually("the page lists a model", || !listed(&addr).is_empty());
    succeed(pipeline.program("topology").args(["wait", "market", "forecast"]));
    let in_use = model_in_use(&pipeline).await.unwrap();
    eventually("the page lists the model in use", || {
        listed(&addr).first().is_some_and(|plot| plot["model"] == in_use.as_str())
    });
    let plots = listed(&addr);
    assert_eq!(
        (plots.len(), &plots[0]["coin"], &plots[0]["recipe"]),
        (1, &Value::from("bitcoin"), &Value::from("returns"))
    );
    assert_eq!(plots[0]["kinds"], serde_json::json!(KINDS));
    assert!(plots[0]["version"].is_u64());
    check_files(&addr, &in_use, "bitcoin/usdt");
    let report = get(&addr, "/report/bitcoin/usdt/returns.html", "").text();
    assert!(
        report.contains("Time that is known") && report.contains("scored forecasts"),
        "candles and scores are in it"
    );
    for absent in
        ["/plots/bitcoin/usdt/volatility/overview.svg", "/plots/bitcoin/usdt/returns/other.svg", "/report/a/b/c"]
    {
        assert_eq!(get(&addr, absent, "").status, 404, "{absent}");
    }

    // Trainings by hand: one does not replace the model in use, the other is of another recipe.
    let by_hand =
        ["train", "--archive", "archive", "--coin", "bitcoin", "--quote", "usdt", "--rounds", "40", "--recipe"];
    succeed(pipeline.program("trainer").args(by_hand).args(["returns", "--interval", "5m"]));
    succeed(pipeline.program("trainer").args(by_hand).arg("calendar"));
    eventually("the page lists the other recipe", || listed(&addr).len() == 2);
    assert_eq!(listed(&addr)[1]["model"], in_use.as_str());
    assert_eq!(get(&addr, "/plots/bitcoin/usdt/calendar/skill.svg", "").status, 200);
}

/// Trains on the first minutes of the sample, without a server.
fn train(dir: &Path, rows: u32) -> ModelCard {
    let recording = minutes(dir, rows);
    let mut command = program("trainer", dir);
    command.args(["train", "--coin", "bitcoin", "--quote", "usdt", "--interval", "5m", "--rounds", "40", "--input"]);
    succeed(command.arg(recording));
    ModelCard::read(&dir.join("out/model-card.json")).unwrap()
}

#[test]
fn the_page_shows_the_model_of_a_folder_while_nats_is_away() {
    let dir = tempfile::tempdir().unwrap();
    let away = ["--nats-url", "nats://127.0.0.1:1"];
    let ServedPage { reporter: _reporter, addr } = ServedPage::start_with(&mut program("reporter", dir.path()), &away);
    assert!(listed(&addr).is_empty());
    for rows in [2_000, 2_500] {
        let card = train(dir.path(), rows);
        eventually("the page lists the model", || {
            listed(&addr).first().is_some_and(|plot| plot["model"] == card.model.as_str())
        });
        check_files(&addr, &card.model, "no candle yet");
    }
}

#[test]
fn plots_and_report_are_made_of_the_files_of_a_training() {
    let dir = tempfile::tempdir().unwrap();
    let reporter = |arguments: &[&str]| {
        let mut command = program("reporter", dir.path());
        command.args(arguments);
        command
    };
    let (code, error) = fail(&mut reporter(&["report"]));
    assert!(code == 2 && error.contains("trainer train"), "{code} {error}");
    let card = train(dir.path(), 2_000);
    for kind in KINDS.into_iter().filter(|kind| *kind != "candles") {
        for format in ["svg", "png"] {
            succeed(&mut reporter(&["plot", "--kind", kind, "--format", format, "--out", "picture"]));
            let picture = std::fs::read(dir.path().join("picture")).unwrap();
            assert!(picture.starts_with(if format == "svg" { b"<svg" } else { PNG }), "{kind} {format}");
        }
    }
    succeed(&mut reporter(&["plot"]));
    assert!(std::fs::read(dir.path().join("out/output_plot.png")).unwrap().starts_with(PNG));

    let said = succeed(&mut reporter(&["report"]));
    assert!(said.contains("out/report.html") && said.contains(&card.model), "{said}");
    let report = std::fs::read_to_string(dir.path().join("out/report.html")).unwrap();
    let scores = &card.holdout.scores;
    for value in [scores.rmse, scores.baseline_rmse, scores.mae, card.holdout.coverage["90"]] {
        assert!(report.contains(&format!("<data value=\"{value}\">")), "{value}");
    }
    assert!(!report.contains("<script") && report.len() < 2 << 20, "{} bytes", report.len());

    // Predictions of another training are refused.
    let other = tempfile::tempdir().unwrap();
    train(other.path(), 2_500);
    std::fs::copy(other.path().join("out/predictions.parquet"), dir.path().join("out/predictions.parquet")).unwrap();
    let (code, error) = fail(&mut reporter(&["report"]));
    assert!(code == 2 && error.contains("different trainings"), "{code} {error}");
}
