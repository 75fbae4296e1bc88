//! `scripts/run`, called like a new user would.

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use pipeline_tests::attacker::Attacker;
use pipeline_tests::process::signal;
use pipeline_tests::programs::{descendants, fail, programs};
use pipeline_tests::server::checkout;
use pipeline_tests::test_pipeline::{TABLES, sample, sample_lines};
use pipeline_tests::ticks::minutes;
use serde_json::Value;

/// `scripts/run` over a recording. It uses the build folder of these tests, so it builds nothing.
fn run(out: &Path, recording: &Path) -> Command {
    let mut command = Command::new(checkout().join("scripts/run"));
    // Cargo's variables for tests would make the script build everything again.
    let told = |name: &str| (name.starts_with("CARGO") && name != "CARGO_HOME") || name == "LD_LIBRARY_PATH";
    for (name, _) in std::env::vars().filter(|(name, _)| told(name)) {
        command.env_remove(name);
    }
    command.args(["--profile", "dev", "--recording"]).arg(recording).arg("--out").arg(out);
    command.env("CARGO_TARGET_DIR", programs().parent().unwrap());
    for name in ["NATS_URL", "NATS_USER", "NATS_PASSWORD", "CANDLEWIRE_LOG"] {
        command.env_remove(name);
    }
    command
}

/// A run that ends with its recording.
fn once(out: &Path, recording: &Path) -> Command {
    let mut command = run(out, recording);
    command.arg("--once");
    command
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Two runs side by side do not disturb each other.
#[test]
fn two_concurrent_runs_give_the_same_tables() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let start = |dir: &tempfile::TempDir| {
        let mut command = once(dir.path(), &sample("btcusdt_1m_2020-03.csv.gz"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    for child in dirs.each_ref().map(start) {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let [first, second] = dirs.each_ref().map(|dir| dir.path());
    for table in TABLES {
        let read = |dir: &Path| std::fs::read_to_string(dir.join(format!("{table}.csv"))).unwrap();
        assert_eq!(read(first), read(second), "{table}");
    }
    let metrics = json(&first.join("metrics.json"));
    let numbers = ["ticks", "candles", "late", "rejected", "duplicates"].map(|name| metrics[name].as_u64().unwrap());
    assert_eq!(numbers, [44_512, 44_512, 0, 0, 0]);
    assert_eq!([&metrics["recipe"], &metrics["interval"], &metrics["split"]], ["returns", "15m", "time"]);
    for name in ["rows", "r2", "r2_return", "rmse", "mae", "baseline_rmse", "skill"] {
        assert!(metrics[name].is_number(), "{name}: {metrics}");
    }
    let files = [
        "output_plot.png",
        "report.html",
        "predictions.parquet",
        "predictions.parquet.zip",
        "model.ubj",
        "model-card.json",
    ];
    for name in files {
        assert!(std::fs::metadata(first.join(name)).unwrap().len() > 0, "{name}");
    }
    let report = std::fs::read_to_string(first.join("report.html")).unwrap();
    let figures = ["rmse", "mae", "baseline_rmse", "skill"].map(|name| metrics[name].as_f64().unwrap());
    assert!(figures.iter().all(|figure| report.contains(&format!("<data value=\"{figure}\">"))), "{figures:?}");
    assert!(report.contains(">44,512</data>") && report.contains("Day by day") && report.len() < 2 << 20);
    assert!(!first.join(".state").exists(), "a finished run leaves only its results");
}

/// A running `scripts/run`. Stopped gracefully when dropped, since a kill would leave its child processes running.
struct Script(Child);

impl Drop for Script {
    fn drop(&mut self) {
        if self.0.try_wait().unwrap().is_none() {
            signal(self.0.id(), "TERM");
            self.0.wait().unwrap();
        }
    }
}

/// The listening addresses of a process in the kernel's form: hexadecimal address and port.
fn listening(id: u32) -> Vec<String> {
    const LISTEN: &str = "0A";
    let sockets: HashSet<String> = std::fs::read_dir(format!("/proc/{id}/fd"))
        .unwrap()
        .filter_map(|file| Some(std::fs::read_link(file.ok()?.path()).ok()?.display().to_string()))
        .collect();
    let mut addresses = Vec::new();
    for table in ["tcp", "tcp6", "udp", "udp6"] {
        let text = std::fs::read_to_string(format!("/proc/{id}/net/{table}")).unwrap();
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let is_open = table.starts_with("udp") || fields[3] == LISTEN;
            if is_open && sockets.contains(&format!("socket:[{}]", fields[9])) {
                addresses.push(fields[1].to_owned());
            }
        }
    }
    addresses
}

/// All processes of `scripts/run` listen on loopback only, and a client without a password can change nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_listens_on_loopback_only_and_guests_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut command = run(&dir.path().join("out"), &minutes(dir.path(), 200));
    command.args(["--port", &port.to_string(), "--nats-port", &free_port().to_string()]).stdout(Stdio::piped());
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    let mut script = Script(command.spawn().unwrap());
    let lines = BufReader::new(script.0.stdout.take().unwrap()).lines().map_while(Result::ok);
    let said: Vec<String> = lines.take_while(|line| !line.starts_with("running")).collect();
    let nats = said.iter().find_map(|line| line.trim().strip_prefix("nats ")?.trim().split(',').next());
    let nats = nats.unwrap_or_else(|| panic!("it says where NATS is: {said:?}"));
    let processes = descendants(script.0.id());
    let addresses: Vec<String> = processes.iter().flat_map(|&id| listening(id)).collect();
    // Four services with health, the page, and one port of nats-server.
    assert!(addresses.len() >= 5, "{addresses:?}");
    let is_loopback =
        |address: &String| address.starts_with("0100007F:") || address.starts_with("00000000000000000000000001000000:");
    assert!(addresses.iter().all(is_loopback), "{addresses:?}");
    let mut nobody = Attacker::connect_to(nats, "viewer", "").await;
    for subject in [
        "feed.tick.bitcoin.usdt",
        "live.price.bitcoin.usdt",
        "$JS.ACK.FEED.x.1.1.1.1.0",
        "$JS.API.STREAM.DELETE.FEED",
        "$JS.API.STREAM.UPDATE.FEED",
        "$JS.API.STREAM.PURGE.MARKET",
        "$JS.API.CONSUMER.CREATE.MARKET.x.market.>",
    ] {
        assert!(nobody.is_publish_denied(subject, None, "{}").await, "{subject}");
    }
    signal(script.0.id(), "TERM");
    assert_eq!(script.0.wait().unwrap().code(), Some(143));
    assert!(processes.iter().all(|id| !Path::new(&format!("/proc/{id}")).exists()), "nothing is left running");
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn too_few_rows_leave_every_table_and_no_model() {
    let dir = tempfile::tempdir().unwrap();
    let recording = dir.path().join("few.csv");
    let row = |minute: i64| format!("{},1,2,0.5,1.5,3", 1_583_020_800_000 + minute * 60_000);
    let rows: Vec<String> = (0..10).map(row).collect();
    std::fs::write(&recording, format!("timestamp_ms,open,high,low,close,volume\n{}\n", rows.join("\n"))).unwrap();
    let out = dir.path().join("out");
    let (code, error) = fail(&mut once(&out, &recording));
    assert_eq!(code, 4, "{error}");
    for table in TABLES {
        assert!(out.join(format!("{table}.csv")).exists(), "{table}");
    }
    assert_eq!(json(&out.join("metrics.json"))["ticks"], 10);
    assert!(!out.join("model.ubj").exists() && !out.join("output_plot.png").exists());
    assert!(!out.join("report.html").exists());
}

/// The first rows of the sample; every 50th row has its low above its high.
fn recording_with_refused_rows(path: &Path) -> usize {
    let lines: Vec<String> =
        sample_lines("btcusdt_1m_2020-03.csv.gz").unwrap().map(Result::unwrap).take(5_001).collect();
    let spoilt = |(number, line): (usize, &String)| match number % 50 {
        0 if number > 0 => {
            line.split(',').take(2).chain(["1", "2"]).chain(line.split(',').skip(4)).collect::<Vec<_>>().join(",")
        }
        _ => line.clone(),
    };
    let rows: Vec<String> = lines.iter().enumerate().map(spoilt).collect();
    std::fs::write(path, rows.join("\n") + "\n").unwrap();
    (rows.len() - 1) / 50
}

#[test]
fn refused_rows_are_kept_and_decide_the_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let (recording, out) = (dir.path().join("spoilt.csv"), dir.path().join("out"));
    let refused = recording_with_refused_rows(&recording);
    for (flags, expected) in [(&[][..], 1), (&["--allow-rejects"][..], 0)] {
        let output = once(&out, &recording).args(flags).stdin(Stdio::null()).output().unwrap();
        let [said, errors] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        assert_eq!(output.status.code(), Some(expected), "{said}{errors}");
        let kept = out.join("rejects.jsonl");
        let last = format!("{refused} of 5,000 rows refused ({refused} high-low-order): see {}", kept.display());
        assert_eq!(said.lines().last(), Some(last.as_str()), "{said}");
        assert_eq!(errors.contains("--allow-rejects"), expected == 1, "{errors}");
        assert_eq!(std::fs::read_to_string(kept).unwrap().lines().count(), refused);
        assert!(
            out.join("output_plot.png").exists() && out.join("hourly.csv").exists(),
            "the results are complete: {said}"
        );
        assert_eq!(json(&out.join("metrics.json"))["ticks"], 5_000 - refused);
    }
}

#[test]
fn a_run_learns_from_candles_of_the_length_that_was_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let recording = minutes(dir.path(), 1_000);
    let asked_for = once(&out, &recording).args(["--interval", "5m"]).output().unwrap();
    assert!(asked_for.status.success(), "{}", String::from_utf8_lossy(&asked_for.stderr));
    assert_eq!(json(&out.join("metrics.json"))["interval"], "5m");
    assert_eq!(json(&out.join("model-card.json"))["interval"], "5m");
}

#[test]
fn impossible_options_are_refused_before_starting() {
    let dir = tempfile::tempdir().unwrap();
    let (code, error) = fail(&mut once(dir.path(), &dir.path().join("absent.csv")));
    assert!(code == 2 && error.contains("absent.csv"), "{code} {error}");
    let (code, error) = fail(&mut once(Path::new("/dev/null/out"), &sample("btcusdt_1m_2020-03.csv.gz")));
    assert!(code == 2 && error.contains("/dev/null/out"), "{code} {error}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let listener = std::net::TcpListener::bind(format!("127.0.0.1:{taken}")).unwrap();
    let mut command = once(dir.path(), &sample("btcusdt_1m_2020-03.csv.gz"));
    let (code, error) = fail(command.args(["--nats-port", &taken]));
    assert!(code == 2 && error.contains(&taken), "{code} {error}");
    drop(listener);
    let recording = sample("btcusdt_1m_2020-03.csv.gz");
    let (code, error) = fail(once(dir.path(), &recording).args(["--interval", "2h"]));
    assert!(code == 2 && error.contains("--interval 2h is no length of a candle"), "{code} {error}");
    let (code, error) = fail(once(dir.path(), &recording).args(["--recipe", "calendar", "--interval", "1h"]));
    assert!(code == 2 && error.contains("leave --interval out"), "{code} {error}");
}
