//! Object storage, on a real S3 server.

use std::path::Path;
use std::process::{Command, Stdio};

use market::Instrument;
use pipeline_tests::programs::{Running, fail, program, succeed};
use pipeline_tests::s3::{BUCKET, Cut, Key, READER, S3, WRITER, bucket_at, variables_at};
use pipeline_tests::ticks::minutes;
use store::bucket::{Bucket, BucketErrorKind, Object, PART_BYTES};
use store::model_card::{FileDigest, ModelCard};
use store::paths::{MODEL_CARD, MODEL_FILES, latest_key, model_key};

#[tokio::test(flavor = "multi_thread")]
async fn objects_round_trip_and_errors_say_what_to_do() {
    let s3 = S3::start().await;
    let bucket = s3.bucket();
    // Exactly one part, and one byte more, which makes two.
    for bytes in [0, 1, PART_BYTES, PART_BYTES + 1] {
        let content: Vec<u8> = (0..bytes).map(|idx| (idx % 251) as u8).collect();
        let key = format!("some/{bytes}");
        bucket.put(&key, &content).await.unwrap();
        bucket.put(&key, &content).await.unwrap();
        assert!(bucket.get(&key).await.unwrap().unwrap() == content, "{bytes}");
    }
    let keys = |objects: Vec<Object>| objects.into_iter().map(|object| object.key).collect::<Vec<_>>();
    assert_eq!(keys(bucket.list("some/8").await.unwrap()), ["some/8388608", "some/8388609"]);
    bucket.delete("some/1").await.unwrap();
    bucket.delete("some/1").await.unwrap();
    assert_eq!(bucket.get("some/1").await.unwrap(), None);
    assert_eq!(bucket.list("some/").await.unwrap().len(), 3);

    let stranger = Key { id: "nobody", secret: "secret-of-nobody" };
    let liar = Key { secret: "guessed", ..WRITER };
    let cases = [
        (s3.bucket_of(BUCKET, stranger), BucketErrorKind::WrongKey, "AWS_ACCESS_KEY_ID"),
        (s3.bucket_of(BUCKET, liar), BucketErrorKind::WrongKey, "AWS_SECRET_ACCESS_KEY"),
        (s3.bucket_of("nowhere", WRITER), BucketErrorKind::NoBucket, "no bucket nowhere: create it"),
        (s3.bucket_of(BUCKET, READER), BucketErrorKind::Denied, "is denied"),
    ];
    for (bucket, kind, advice) in cases {
        for content in [&b"x"[..], &[0; PART_BYTES + 1]] {
            let error = bucket.put("other/file", content).await.unwrap_err();
            assert!(error.kind() == kind && error.to_string().contains(advice), "{error:?} {error}");
            assert!(!error.to_string().contains("secret-of"), "{error}");
        }
    }
    assert_eq!(s3.bucket().list("other/").await.unwrap(), []);
}

/// A training on the recording, without S3 unless the test adds it.
fn train(dir: &Path) -> Command {
    let mut command = program("trainer", dir);
    command.args(["train", "--coin", "bitcoin", "--quote", "usdt", "--interval", "1m", "--rounds", "20", "--input"]);
    command.arg(minutes(dir, 600)).args(["--out", "out"]);
    command
}

/// Checks that the model's files in the bucket equal those in the folder and match the card.
async fn check_model(bucket: &Bucket, out: &Path) {
    let card: ModelCard = ModelCard::read(&out.join(MODEL_CARD)).unwrap();
    let instrument = Instrument::new("bitcoin", "usdt").unwrap();
    let stored = async |key: String| bucket.get(&key).await.unwrap().unwrap_or_else(|| panic!("{key} is missing"));
    assert_eq!(stored(latest_key(&instrument, card.recipe)).await, card.model.as_bytes());
    for file in MODEL_FILES {
        let content = stored(model_key(&instrument, card.recipe, &card.model, file)).await;
        assert_eq!(content, std::fs::read(out.join(file)).unwrap(), "{file}");
        assert_eq!(card.files.get(file), (file != MODEL_CARD).then(|| FileDigest::of(&content)).as_ref(), "{file}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_uploaded_and_a_failed_upload_costs_no_result() {
    let s3 = S3::start().await;
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let told = succeed(&mut train(dir.path()));
    assert!(told.contains("upload skipped: S3_BUCKET_NAME not set"), "{told}");
    assert_eq!(s3.bucket().list("bitcoin/").await.unwrap(), []);

    std::fs::remove_dir_all(&out).unwrap();
    let (code, error) = fail(train(dir.path()).env("S3_BUCKET_NAME", BUCKET).env("AWS_ACCESS_KEY_ID", "writer"));
    assert!(code == 2 && error.contains("AWS_SECRET_ACCESS_KEY not set"), "{code} {error}");
    assert!(!out.join(MODEL_CARD).exists(), "it is refused before the training");

    let liar = Key { secret: "guessed", ..WRITER };
    let cases = [
        (BUCKET, liar, "AWS_SECRET_ACCESS_KEY"),
        ("nowhere", WRITER, "no bucket nowhere"),
        (BUCKET, READER, "is denied"),
    ];
    for (name, key, advice) in cases {
        let (code, error) = fail(train(dir.path()).env("S3_BUCKET_NAME", name).envs(s3.variables(key)));
        assert!(code == 5 && error.contains(advice) && error.contains("are in out"), "{code} {error}");
        assert!(!error.contains("secret-of") && !error.contains("guessed"), "{error}");
        ModelCard::read(&out.join(MODEL_CARD)).unwrap();
        std::fs::remove_dir_all(&out).unwrap();
    }
    assert_eq!(s3.bucket().list("bitcoin/").await.unwrap(), []);

    let told = succeed(train(dir.path()).env("S3_BUCKET_NAME", BUCKET).envs(s3.variables(WRITER)));
    assert!(told.contains("uploaded to s3://prices/bitcoin/usdt/returns/"), "{told}");
    check_model(&s3.bucket(), &out).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_in_mid_upload_leaves_nothing_half() {
    let mut s3 = S3::start().await;
    let dir = tempfile::tempdir().unwrap();
    // In the first file, and in the second part of a large one.
    let (cut, far_cut) = (Cut::after(10_000, &s3.url()).await, Cut::after(12 << 20, &s3.url()).await);
    let large: Vec<u8> = (0..3 * PART_BYTES).map(|idx| (idx % 251) as u8).collect();
    let variables = variables_at(cut.url(), WRITER);
    let mut training = train(dir.path());
    training.env("S3_BUCKET_NAME", BUCKET).envs(variables).stdout(Stdio::null()).stderr(Stdio::null());
    let mut training = Running::start(&mut training);
    let (far, content) = (bucket_at(far_cut.url(), BUCKET, WRITER), large.clone());
    let putting = tokio::spawn(async move { far.put("large", &content).await });
    tokio::join!(cut.happened(), far_cut.happened());
    s3.kill();
    assert_eq!(training.wait(), Some(5));
    let error = putting.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), BucketErrorKind::Unreachable, "{error}");
    s3.start_again().await;
    let bucket = s3.bucket();
    assert_eq!(bucket.list("bitcoin/").await.unwrap(), []);
    assert_eq!(bucket.list("large").await.unwrap(), []);

    succeed(train(dir.path()).env("S3_BUCKET_NAME", BUCKET).envs(s3.variables(WRITER)));
    check_model(&bucket, &dir.path().join("out")).await;
    bucket.put("large", &large).await.unwrap();
    assert!(bucket.get("large").await.unwrap().unwrap() == large);
    assert_eq!(bucket.remove_unfinished("").await.unwrap(), 0, "the first attempt left no unfinished upload");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_megabytes_pass_with_one_part_in_memory() {
    let s3 = S3::start().await;
    let bucket = s3.bucket();
    let megabyte: Vec<u8> = (0..1_000_000).map(|idx| (idx % 251) as u8).collect();
    let mut upload = bucket.upload("large");
    for _ in 0..200 {
        upload.write(&megabyte).await.unwrap();
    }
    assert_eq!(bucket.list("large").await.unwrap(), [], "it appears only when complete");
    let mut forgotten = bucket.upload("forgotten");
    forgotten.write(&vec![0; PART_BYTES + 1]).await.unwrap();
    drop(forgotten);
    assert_eq!(bucket.remove_unfinished("forgotten").await.unwrap(), 1);
    upload.finish().await.unwrap();
    assert_eq!(bucket.list("large").await.unwrap(), [Object { key: "large".to_owned(), bytes: 200_000_000 }]);
    let content = bucket.get("large").await.unwrap().unwrap();
    assert!(content.chunks(megabyte.len()).all(|chunk| chunk == megabyte));
}
