//! Models and their cards in the object store, with the trainer's permissions.

use async_nats::jetstream::stream::Stream;
use bus::objects;
use pipeline_tests::server::Server;

#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_read_whole_or_refused() {
    let server = Server::with_streams().await;
    let trainer = server.connect("trainer").await;
    assert_eq!(objects::get(&trainer, "model").await.unwrap(), None);
    let content: Vec<u8> = (0..500_000_u32).map(|number| (number % 251) as u8).collect();
    objects::put(&trainer, "other", b"other").await.unwrap();
    for content in [&b"first"[..], b"", &content] {
        objects::put(&trainer, "model", content).await.unwrap();
        assert_eq!(objects::get(&trainer, "model").await.unwrap().as_deref(), Some(content));
    }
    let admin = server.connect("admin").await;
    let stored: Stream = admin.jetstream().get_stream("OBJ_ARTIFACTS").await.unwrap();
    // The chunks precede the entry that names them.
    let last = stored.cached_info().state.last_sequence;
    stored.delete_message(last - 2).await.unwrap();
    let refused = objects::get(&trainer, "model").await.unwrap_err().to_string();
    assert!(refused.contains("object model") && refused.contains("digest"), "{refused}");
    assert_eq!(objects::get(&trainer, "other").await.unwrap().as_deref(), Some(&b"other"[..]));
    objects::delete(&trainer, "model").await.unwrap();
    assert_eq!(objects::get(&trainer, "model").await.unwrap(), None);
}

/// The reporter reads models for its plots, and may change none.
#[tokio::test(flavor = "multi_thread")]
async fn a_reporter_sees_keys_and_changes_of_objects() {
    let server = Server::with_streams().await;
    let [trainer, reporter] = [server.connect("trainer").await, server.connect("reporter").await];
    assert_eq!(objects::keys(&reporter).await.unwrap(), Vec::<String>::new());
    assert_eq!(objects::next_change(&reporter, 1).await.unwrap(), None);
    for key in ["bitcoin/usdt/returns/latest", "dogecoin/usdt/returns/latest"] {
        objects::put(&trainer, key, b"4be1").await.unwrap();
    }
    let keys = objects::keys(&reporter).await.unwrap();
    assert_eq!(keys, ["bitcoin/usdt/returns/latest", "dogecoin/usdt/returns/latest"]);
    assert_eq!(objects::get(&reporter, &keys[0]).await.unwrap().as_deref(), Some(&b"4be1"[..]));
    let (seq, first) = objects::next_change(&reporter, 1).await.unwrap().unwrap();
    let (_, second) = objects::next_change(&reporter, seq + 1).await.unwrap().unwrap();
    assert_eq!([first, second], [keys[0].clone(), keys[1].clone()]);
    assert!(objects::put(&reporter, "model", b"other").await.is_err());
}
