//! Object storage, on a real S3 server.

use pipeline_tests::s3::{BUCKET, Key, READER, S3, WRITER};
use store::bucket::{BucketErrorKind, Object, PART_BYTES};

#[tokio::test(flavor = "multi_thread")]
async fn objects_come_back_as_they_were_and_what_is_wrong_is_said_with_what_to_do() {
    let s3 = S3::start().await;
    let bucket = s3.bucket();
    // A part exactly, and one byte more, which makes it two.
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
