//! The archive: consistent whenever its writer dies, and equal in a folder and in a bucket.

use std::io::{BufReader, Lines};
use std::path::Path;
use std::process::ChildStderr;
use std::sync::Arc;
use std::time::Duration;

use market::{EventTime, Instrument, Recipe, Span, Tick};
use pipeline_tests::faulty::{Faulty, LeaveHalf};
use pipeline_tests::programs::{Running, eventually, fail, program, succeed};
use pipeline_tests::s3::{BUCKET, S3, WRITER};
use pipeline_tests::test_pipeline::TestPipeline;
use pipeline_tests::ticks::minutes;
use store::archive::catalog::SeqRange;
use store::archive::storage::{BucketStorage, FolderStorage, Storage, StorageError};
use store::archive::{Archive, ArchiveError, ArchiveWriter, Through};
use store::bucket::PART_BYTES;
use store::digest::Digest;
use store::paths::{latest_key, ticks_file};
use store::ticks::TickRows;
use tokio::runtime::Handle;

/// Files written in the crash tests: enough for two merges, the second of an already merged file.
const FILES: u64 = 4;
/// Minimum number of steps at which the writer can die.
const STEPS_MIN: usize = 25;

fn bitcoin() -> Instrument {
    Instrument::new("bitcoin", "usdt").unwrap()
}

fn tick(event: i64) -> Tick {
    Tick::bar(EventTime(event), Span::MINUTE, [event as f64 / 7.0; 4])
}

/// Continues an archive up to [`FILES`] files of one row each, merging them on the way; counts the rows confirmed as
/// written.
fn write(archive: &Archive, sure: &mut u64) -> Result<(), ArchiveError> {
    let mut writer = ArchiveWriter::open(archive, "MARKET")?;
    for seq in writer.last_seq().unwrap_or_default() + 1..=FILES {
        let mut rows = TickRows::default();
        rows.push(&bitcoin(), &tick(seq as i64), seq);
        writer.append(SeqRange { first: seq, last: seq }, &rows.into_batch())?;
        *sure = seq;
        writer.join()?;
    }
    Ok(())
}

fn events(archive: &Archive) -> Vec<i64> {
    archive.series(&bitcoin(), Through::ALL).unwrap().ticks.iter().map(|tick| tick.event.ms()).collect()
}

/// Lets a writer die at every step, each time in new storage, and checks the rows then and after a restart. Returns the
/// number of steps.
fn die_at_every_step<P: Storage + Clone + 'static>(
    mut new_place: impl FnMut(usize) -> P,
    leave_half: impl Fn(&P) -> LeaveHalf,
    check_clean: impl Fn(&P),
) -> usize {
    for steps in 0.. {
        let place = new_place(steps);
        let archive = Archive::at(place.clone());
        let mut sure = 0;
        let written = write(&Archive::at(Faulty::new(place.clone(), steps, leave_half(&place))), &mut sure);
        let there = events(&archive);
        assert_eq!(there, (1..=there.len() as i64).collect::<Vec<_>>(), "killed after {steps} steps");
        assert!((sure..=sure + 1).contains(&(there.len() as u64)), "killed after {steps} steps: {sure} are confirmed");
        if written.is_ok() {
            return steps;
        }
        // A concurrent test that starts a program holds a copy of every lock for a moment.
        eventually("the lock is free", || match write(&archive, &mut sure) {
            Err(ArchiveError::Storage(StorageError::Locked(_))) => false,
            written => {
                written.unwrap();
                true
            }
        });
        assert_eq!(events(&archive), (1..=FILES as i64).collect::<Vec<_>>(), "killed after {steps} steps");
        let catalog = archive.catalog().unwrap();
        assert!(catalog.superseded.is_empty() && catalog.files.len() < FILES as usize, "{steps}: {catalog:?}");
        check_clean(&place);
    }
    unreachable!("a writer that lives long enough comes to its end");
}

#[test]
fn a_writer_may_die_at_every_step_in_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    let path_of = |place: &FolderStorage| Path::new(&place.full_name()).to_owned();
    let steps = die_at_every_step(
        |steps| FolderStorage::new(dir.path().join(steps.to_string())),
        |place| {
            let folder = path_of(place);
            Arc::new(move |name| std::fs::write(folder.join(format!(".{name}.tmp-4711")), "PAR1").unwrap())
        },
        |place| {
            let names: Vec<_> = place.list().unwrap().into_iter().map(|entry| entry.name).collect();
            assert!(names.iter().all(|name| name == ".lock" || name.starts_with("ticks-")), "{names:?}");
        },
    );
    assert!(steps >= STEPS_MIN, "{steps} steps");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_may_die_at_every_step_in_a_bucket() {
    let s3 = S3::start().await;
    let bucket = s3.bucket();
    let runtime = Handle::current();
    let half = vec![0; PART_BYTES + 1];
    let steps = die_at_every_step(
        |steps| BucketStorage::new(bucket.clone(), format!("{steps}/"), runtime.clone()),
        |place| {
            let (place, bucket, runtime, half) = (place.to_string(), bucket.clone(), runtime.clone(), half.clone());
            let prefix = place.trim_start_matches(&format!("s3://{BUCKET}/")).to_owned();
            Arc::new(move |name| {
                let mut upload = bucket.upload(&format!("{prefix}{name}"));
                tokio::task::block_in_place(|| runtime.block_on(upload.write(&half))).unwrap();
            })
        },
        |place| {
            let prefix = place.to_string().trim_start_matches(&format!("s3://{BUCKET}/")).to_owned();
            let left = tokio::task::block_in_place(|| runtime.block_on(bucket.remove_unfinished(&prefix)));
            assert_eq!(left.unwrap(), 0, "{prefix}");
        },
    );
    assert!(steps >= STEPS_MIN, "{steps} steps");

    // A bucket has no lock: only the second writer's own check keeps two writers apart.
    let archive = Archive::at(BucketStorage::new(bucket.clone(), "two/", runtime));
    let batch = |seq| {
        let mut rows = TickRows::default();
        rows.push(&bitcoin(), &tick(seq as i64), seq);
        rows.into_batch()
    };
    let range = |first, last| SeqRange { first, last };
    let mut one = ArchiveWriter::open(&archive, "MARKET").unwrap();
    let mut two = ArchiveWriter::open(&archive, "MARKET").unwrap();
    assert_eq!(one.id(), two.id());
    one.append(range(1, 4), &batch(2)).unwrap();
    let error = two.append(range(1, 9), &batch(2)).unwrap_err();
    assert!(matches!(error, ArchiveError::Overtaken { theirs: 4, ours: 0, .. }), "{error}");
    assert_eq!(events(&archive), [2]);
    // If both write at one instant nevertheless, the sum of both must be refused.
    let key = |first, last| format!("two/{}", ticks_file(first, last, Digest::of(&b"PAR1"[..]).unwrap()));
    bucket.put(&key(3, 9), b"PAR1").await.unwrap();
    let error = archive.series(&bitcoin(), Through::ALL).unwrap_err().to_string();
    assert!(error.contains("ticks-1-4-") && error.contains("and ticks-3-9-") && error.contains("overlap"), "{error}");
    assert!(error.contains("move it away"), "{error}");
    bucket.delete(&key(3, 9)).await.unwrap();
    bucket.put(&key(6, 9), b"PAR1").await.unwrap();
    let error = archive.series(&bitcoin(), Through::ALL).unwrap_err().to_string();
    assert!(error.contains("hole") && error.contains("put the missing file back"), "{error}");
}

/// Event time of the first row.
const BEGIN_MS: i64 = 1_583_020_800_000;

/// Flips at both ends and evenly spaced between them: in data, footer and magic numbers.
#[test]
fn a_training_refuses_a_file_with_one_flipped_bit() {
    let dir = tempfile::tempdir().unwrap();
    let mut rows = TickRows::default();
    for minute in 1..=600 {
        let close = 8_000.0 + (minute as f64 / 17.0).sin() + (minute as f64 / 5.0).cos();
        let event = EventTime(BEGIN_MS + minute * 60_000);
        rows.push(&bitcoin(), &Tick { event, open: close, high: close + 1.0, low: close - 1.0, close, ..tick(0) }, 1);
    }
    let archive = dir.path().join("archive");
    ArchiveWriter::open(&*archive, "MARKET")
        .unwrap()
        .append(SeqRange { first: 1, last: 1 }, &rows.into_batch())
        .unwrap();
    let names = std::fs::read_dir(&archive).unwrap().map(|entry| entry.unwrap().path());
    let path = names.into_iter().find(|path| path.extension().is_some_and(|of| of == "parquet")).unwrap();
    let train = || {
        let mut command = program("trainer", dir.path());
        command.args(["train", "--offline", "--archive", "archive", "--coin", "bitcoin", "--quote", "usdt"]);
        command.args(["--interval", "1m", "--folds", "1", "--rounds", "5", "--threads", "1"]);
        command
    };
    succeed(&mut train());
    let whole = std::fs::read(&path).unwrap();
    let last = 8 * whole.len() - 1;
    for bit in (0..40).map(|idx| idx * last / 39) {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, flipped).unwrap();
        let output = train().output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "bit {bit} of {last}: {error}");
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(error.contains(name) && error.contains("is damaged"), "bit {bit} of {last}: {error}");
    }
    std::fs::write(&path, whole).unwrap();
    succeed(&mut train());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_takes_the_archive_and_gives_it_back() {
    let (pipeline, mut s3) = (TestPipeline::new().await, S3::start().await);
    let trainer = |arguments: &[&str]| {
        let mut command = pipeline.program("trainer");
        command.args(arguments).envs(s3.variables(WRITER));
        command
    };
    let _processor = pipeline.start("stream-processor");
    succeed(&mut pipeline.replay(&minutes(pipeline.dir.path(), 600), "1m"));
    pipeline.wait_for_market();

    let archive = ["archive", "--archive", "s3://prices/archive"];
    let (code, error) = fail(trainer(&archive).env("AWS_ACCESS_KEY_ID", ""));
    assert!(code == 2 && error.contains("AWS_ACCESS_KEY_ID not set"), "{code} {error}");
    let (code, error) = fail(trainer(&archive).env("AWS_SECRET_ACCESS_KEY", "guessed"));
    assert!(code == 3 && error.contains("AWS_SECRET_ACCESS_KEY"), "{code} {error}");
    let (code, error) = fail(&mut trainer(&["archive", "--archive", "s3:///archive"]));
    assert!(code == 2 && error.contains("s3://BUCKET/PREFIX"), "{code} {error}");

    let told = succeed(&mut trainer(&archive));
    assert!(told.contains("archived 600 ticks in s3://prices/archive/"), "{told}");
    let told = succeed(&mut trainer(&archive));
    assert!(told.contains("no new ticks"), "{told}");
    succeed(&mut trainer(&["archive", "--archive", "folder"]));
    let in_folder = Archive::new(pipeline.dir.path().join("folder")).series(&bitcoin(), Through::ALL).unwrap();
    let (bucket, runtime) = (s3.bucket(), Handle::current());
    let in_bucket = |prefix| Archive::at(BucketStorage::new(bucket.clone(), prefix, runtime.clone()));
    assert_eq!(in_folder.ticks.len(), 600);
    assert_eq!(in_bucket("archive/").series(&bitcoin(), Through::ALL).unwrap(), in_folder);
    let train = ["train", "--offline", "--interval", "1m", "--folds", "1", "--rounds", "5"];
    succeed(trainer(&train).args(["--archive", "s3://prices/archive"]));
    // The bucket must return exactly what was put.
    let ticks = bucket.list("archive/ticks-").await.unwrap().remove(0).key;
    let whole = bucket.get(&ticks).await.unwrap().unwrap();
    let mut flipped = whole.to_vec();
    flipped[whole.len() / 2] ^= 1;
    bucket.put(&ticks, &flipped).await.unwrap();
    let (code, error) = fail(trainer(&train).args(["--archive", "s3://prices/archive"]));
    assert!(code == 2 && error.contains(&ticks["archive/".len()..]) && error.contains("is damaged"), "{code} {error}");
    bucket.put(&ticks, &whole).await.unwrap();

    // A service logs that it waits for the bucket, and then continues: it archives, trains and uploads.
    let learn = ["--interval", "1m", "--folds", "1", "--rounds", "5", "--every", "1h"];
    let mut service = trainer(&["run", "--archive", "s3://prices/live", "--archive-every", "1s"]);
    service.args(learn).env("S3_BUCKET_NAME", BUCKET);
    s3.kill();
    let (mut service, mut log) = Running::start_followed(&mut service);
    warned(&mut log, "cannot be reached");
    s3.start_again().await;
    eventually("the ticks are archived", || {
        in_bucket("live/").series(&bitcoin(), Through::ALL).unwrap().ticks == in_folder.ticks
    });
    let latest = latest_key(&bitcoin(), Recipe::Returns);
    while bucket.get(&latest).await.unwrap().is_none() {
        assert!(service.is_running());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    service.terminate();
    assert_eq!(service.wait(), Some(0));
}

/// Waits for a warning with this text.
fn warned(log: &mut Lines<BufReader<ChildStderr>>, what: &str) {
    let warns = |line: &String| line.contains("WARN") && line.contains(what);
    assert!(log.by_ref().map_while(Result::ok).any(|line| warns(&line)), "no warning that {what}");
}
