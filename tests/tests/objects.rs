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
