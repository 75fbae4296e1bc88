//! `scripts/run`, as a newcomer calls it.

use std::path::Path;
use std::process::{Command, Stdio};

use pipeline_tests::programs::{fail, programs};
use pipeline_tests::server::checkout;
use pipeline_tests::world::{TABLES, sample};
use serde_json::Value;

/// A run through a recording. It builds into the folder that these tests were built into: there is nothing to build.
fn once(out: &Path, recording: &Path) -> Command {
    let mut command = Command::new(checkout().join("scripts/run"));
    // What cargo tells its tests would have the same build done again, differently.
    let told = |name: &str| (name.starts_with("CARGO") && name != "CARGO_HOME") || name == "LD_LIBRARY_PATH";
    for (name, _) in std::env::vars().filter(|(name, _)| told(name)) {
        command.env_remove(name);
    }
    command.args(["--once", "--profile", "dev", "--recording"]).arg(recording).arg("--out").arg(out);
    command.env("CARGO_TARGET_DIR", programs().parent().unwrap());
    for name in ["NATS_URL", "NATS_USER", "NATS_PASSWORD", "CANDLEWIRE_LOG"] {
        command.env_remove(name);
    }
    command
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn two_runs_side_by_side_do_not_disturb_each_other_and_give_the_same_tables() {
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
    for name in ["output_plot.png", "predictions.parquet", "predictions.parquet.zip", "model.ubj", "model-card.json"] {
        assert!(std::fs::metadata(first.join(name)).unwrap().len() > 0, "{name}");
    }
    assert!(!first.join(".state").exists(), "a run through a recording leaves nothing but its results");
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
}

#[test]
fn what_cannot_work_is_said_before_anything_starts() {
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
}
