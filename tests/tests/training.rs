//! Training as a process: with and without a server, and on a machine without enough room.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::Command;

use flate2::read::GzDecoder;

use pipeline_tests::disk::SmallDisk;
use pipeline_tests::programs::{fail, programs, succeed};
use pipeline_tests::test_pipeline::{TestPipeline, sample};

const SAMPLE: &str = "btcusdt_1m_2020-03.csv.gz";

/// The first minutes of the sample as a sloppy file: a gap, rows out of order, duplicates, and invalid rows.
fn write_careless_recording(path: &Path) {
    let mut text = String::new();
    GzDecoder::new(File::open(sample(SAMPLE)).unwrap()).read_to_string(&mut text).unwrap();
    let mut lines: Vec<&str> = text.lines().take(1 + 2_000).collect();
    lines.drain(900..920);
    lines.swap(100, 110);
    lines.push(lines[50]);
    lines.insert(500, "1583050000000,1,1,1,-1,1");
    lines.insert(300, "junk");
    std::fs::write(path, lines.join("\n")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn training_from_a_recording_equals_training_from_its_replay() {
    let pipeline = TestPipeline::new().await;
    let recording = pipeline.dir.path().join("minutes.csv");
    write_careless_recording(&recording);
    let _processor = pipeline.start("stream-processor");
    succeed(&mut pipeline.replay(&recording, "1m"));
    pipeline.wait_for_market();
    let train = |out: &str| {
        let mut command = pipeline.program("trainer");
        command.args(["train", "--coin", "bitcoin", "--quote", "usdt", "--out", out]);
        command
    };
    succeed(&mut train("replayed"));
    let said = succeed(train("read").arg("--input").arg(&recording));
    let layout = format!("{}: read as candlewire CSV: timestamp_ms in ms, 6 columns; 1982 rows", recording.display());
    let left = "1980 ticks, read as candles of 1m; left out of 1983 rows: 1 duplicate, 1 foreign, 1 negative-price";
    assert!(said.starts_with(&format!("{layout}\n{left}")), "{said}");
    for file in ["predictions.parquet", "model.ubj"] {
        let read = |out: &str| std::fs::read(pipeline.dir.path().join(out).join(file)).unwrap();
        assert!(read("replayed") == read("read"), "{file} differs");
    }
}

/// A program with access to the small disk.
fn on_disk(disk: &SmallDisk, program: &str) -> Command {
    let [nsenter, arguments @ ..] = disk.prefix();
    let mut command = Command::new(nsenter);
    command.args(arguments).arg(program);
    command
}

#[test]
fn a_full_disk_leaves_the_model_before_as_it_was() {
    let disk = SmallDisk::new(8 << 20);
    let train = |seed: &str| {
        let trainer = programs().join("trainer");
        let mut command = on_disk(&disk, &trainer.display().to_string());
        command.args(["train", "--coin", "bitcoin", "--quote", "usdt", "--interval", "1h", "--folds", "2"]);
        command.args(["--seed", seed, "--input"]).arg(sample(SAMPLE)).arg("--out").arg(disk.path());
        command
    };
    let sums =
        || succeed(on_disk(&disk, "sh").args(["-c", "cd \"$1\" && ls -A && sha256sum *"]).arg("sh").arg(disk.path()));
    succeed(&mut train("1"));
    // The free space holds the first file of a second model, but not all of them.
    let fill = "cd \"$1\" && head -c 64K /dev/zero >room; cat /dev/zero >fill 2>/dev/null; test -s fill && rm room";
    succeed(on_disk(&disk, "sh").args(["-c", fill]).arg("sh").arg(disk.path()));
    let before = sums();
    let (code, said) = fail(&mut train("2"));
    assert_eq!(code, 2, "{said}");
    assert!(
        said.contains("No space left on device") && said.contains("the files of the earlier model are unchanged"),
        "{said}"
    );
    assert_eq!(sums(), before);
}
