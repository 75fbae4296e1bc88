//! Forbidden actions of each user: all are tried while the pipeline runs, and again when it is idle and every trace
//! would be visible.

use std::collections::BTreeMap;

use bus::{codec, subject};
use futures::FutureExt;
use futures::StreamExt;
use pipeline_tests::attacker::{Attacker, NAME};
use pipeline_tests::programs::{Running, eventually, succeed};
use pipeline_tests::server::Server;
use pipeline_tests::test_pipeline::TestPipeline;
use pipeline_tests::ticks::minutes;
use serde_json::{Value, json};

/// All users but admin.
const USERS: [&str; 7] = ["viewer", "reader", "producer", "stream-processor", "aggregator", "trainer", "reporter"];
/// Every stream, buckets included.
const STREAMS: [&str; 8] =
    ["FEED", "MARKET", "STATS", "FORECAST", "KV_LEASES", "KV_READERS", "KV_BUDGETS", "OBJ_ARTIFACTS"];
/// Calls on a whole stream, for admin only.
const STREAM_CALLS: [&str; 10] = [
    "STREAM.CREATE",
    "STREAM.UPDATE",
    "STREAM.DELETE",
    "STREAM.PURGE",
    "STREAM.SNAPSHOT",
    "STREAM.RESTORE",
    "STREAM.LEADER.STEPDOWN",
    "STREAM.PEER.REMOVE",
    "CONSUMER.NAMES",
    "CONSUMER.LIST",
];

/// Subject, payload, and the users that may publish it.
type Publish = (&'static str, &'static str, &'static [&'static str]);

/// Every subject that changes or requests something.
const PUBLISHES: &[Publish] = &[
    // Records and positions.
    ("feed.tick.bitcoin.usdt", "{}", &["producer"]),
    ("feed.0.tick.bitcoin.usdt", "{}", &["producer"]),
    ("market.0.price.bitcoin.usdt", "{}", &["stream-processor"]),
    ("checkpoint.market.0.position", "{}", &["stream-processor"]),
    ("stats.0.1h.bitcoin.usdt", "{}", &["aggregator"]),
    ("checkpoint.stats.0.position", "{}", &["aggregator"]),
    ("forecast.0.next.bitcoin.usdt", "{}", &["trainer"]),
    ("checkpoint.forecast.0.position", "{}", &["trainer"]),
    // Live subjects.
    ("live.price.bitcoin.usdt", "{}", &[]),
    ("live.candle-1m.bitcoin.usdt", "{}", &[]),
    ("live.stats.1h.bitcoin.usdt", "{}", &[]),
    ("live.forecast.next.bitcoin.usdt", "{}", &[]),
    ("live.provisional.1m.bitcoin.usdt", "{}", &["stream-processor"]),
    ("live.provisional.1h.bitcoin.usdt", "{}", &["aggregator"]),
    // Leases, reader progress, models.
    ("$KV.LEASES.producer.x", "{}", &["producer"]),
    ("$KV.LEASES.stream-processor.x", "{}", &["stream-processor"]),
    ("$KV.LEASES.aggregator.x", "{}", &["aggregator"]),
    ("$KV.LEASES.trainer.x", "{}", &["trainer"]),
    ("$KV.READERS.market.x", "{}", &["trainer"]),
    ("$KV.BUDGETS.coingecko.x", "{}", &["producer"]),
    ("$KV.BUDGETS.other.x", "{}", &[]),
    ("$O.ARTIFACTS.M.x", "{}", &["trainer"]),
    ("$O.ARTIFACTS.C.x", "{}", &["trainer"]),
    // Single messages.
    ("$JS.API.STREAM.MSG.DELETE.FEED", r#"{"seq":1}"#, &[]),
    ("$JS.API.STREAM.MSG.DELETE.MARKET", r#"{"seq":1}"#, &["stream-processor"]),
    ("$JS.API.STREAM.MSG.DELETE.STATS", r#"{"seq":1}"#, &["aggregator"]),
    ("$JS.API.STREAM.MSG.DELETE.FORECAST", r#"{"seq":1}"#, &["trainer"]),
    ("$JS.API.STREAM.MSG.GET.FEED", r#"{"seq":1}"#, &["producer", "stream-processor", "aggregator", "reporter"]),
    (
        "$JS.API.STREAM.MSG.GET.MARKET",
        r#"{"seq":1}"#,
        &["producer", "stream-processor", "aggregator", "trainer", "reporter"],
    ),
    ("$JS.API.STREAM.MSG.GET.STATS", r#"{"seq":1}"#, &["aggregator", "reporter"]),
    ("$JS.API.STREAM.MSG.GET.FORECAST", r#"{"seq":1}"#, &["trainer", "reporter"]),
    ("$JS.API.STREAM.MSG.GET.KV_LEASES", r#"{"seq":1}"#, &[]),
    ("$JS.API.STREAM.MSG.GET.KV_READERS", r#"{"seq":1}"#, &[]),
    ("$JS.API.STREAM.MSG.GET.KV_BUDGETS", r#"{"seq":1}"#, &[]),
    ("$JS.API.DIRECT.GET.KV_BUDGETS", r#"{"seq":1}"#, &["reporter"]),
    ("$JS.API.DIRECT.GET.KV_BUDGETS.$KV.BUDGETS.coingecko.x", "", &["producer"]),
    ("$JS.API.STREAM.MSG.GET.OBJ_ARTIFACTS", r#"{"seq":1}"#, &["trainer", "reporter"]),
    ("$JS.API.STREAM.INFO.OBJ_ARTIFACTS", "", &["trainer", "reporter"]),
    ("$JS.API.DIRECT.GET.OBJ_ARTIFACTS.$O.ARTIFACTS.M.x", "", &["trainer", "reporter"]),
    ("$JS.API.DIRECT.GET.FEED", r#"{"seq":1}"#, &["producer", "aggregator"]),
    (
        "$JS.API.DIRECT.GET.MARKET",
        r#"{"multi_last":["checkpoint.>"]}"#,
        &["stream-processor", "aggregator", "trainer", "reporter"],
    ),
    ("$JS.API.DIRECT.GET.STATS", r#"{"multi_last":["checkpoint.>"]}"#, &["aggregator", "reporter"]),
    ("$JS.API.DIRECT.GET.FORECAST", r#"{"multi_last":["checkpoint.>"]}"#, &["trainer", "reporter"]),
    (
        "$JS.API.DIRECT.GET.KV_LEASES",
        r#"{"multi_last":["$KV.>"]}"#,
        &["producer", "stream-processor", "aggregator", "trainer", "reporter"],
    ),
    ("$JS.API.DIRECT.GET.MARKET.checkpoint.market.0.position", "", &[]),
    ("$JS.API.DIRECT.GET.STATS.checkpoint.stats.0.position", "", &[]),
    ("$JS.API.DIRECT.GET.KV_LEASES.$KV.LEASES.producer.x", "", &[]),
    // Consumers: of streams that a user does not read, of checkpoints, without a filter that the server checks.
    ("$JS.API.CONSUMER.CREATE.FEED.x", "{}", &["stream-processor", "aggregator"]),
    ("$JS.API.CONSUMER.CREATE.FEED.x.feed.>", "{}", &["stream-processor", "aggregator"]),
    ("$JS.API.CONSUMER.CREATE.MARKET.x", "{}", &["aggregator", "trainer", "reporter"]),
    ("$JS.API.CONSUMER.CREATE.MARKET.x.market.>", "{}", &["aggregator", "trainer", "reporter"]),
    ("$JS.API.CONSUMER.CREATE.MARKET.reader-1.market.>", "{}", &["reader", "aggregator", "trainer", "reporter"]),
    ("$JS.API.CONSUMER.CREATE.MARKET.reader-33.market.>", "{}", &["aggregator", "trainer", "reporter"]),
    ("$JS.API.CONSUMER.CREATE.STATS.reader-33.stats.>", "{}", &["aggregator", "reporter"]),
    ("$JS.API.CONSUMER.CREATE.FORECAST.reader-33.forecast.>", "{}", &["trainer", "reporter"]),
    (
        "$JS.API.CONSUMER.CREATE.MARKET.x.checkpoint.market.>",
        "{}",
        &["stream-processor", "aggregator", "trainer", "reporter"],
    ),
    ("$JS.API.CONSUMER.CREATE.STATS.x", "{}", &["aggregator", "reporter"]),
    ("$JS.API.CONSUMER.CREATE.STATS.x.checkpoint.stats.>", "{}", &["aggregator", "reporter"]),
    ("$JS.API.CONSUMER.CREATE.FORECAST.x.checkpoint.forecast.>", "{}", &["trainer", "reporter"]),
    ("$JS.API.CONSUMER.CREATE.KV_LEASES.x", "{}", &[]),
    ("$JS.API.CONSUMER.CREATE.KV_LEASES.x.$KV.LEASES.>", "{}", &[]),
    ("$JS.API.CONSUMER.CREATE.OBJ_ARTIFACTS.x", "{}", &[]),
    ("$JS.API.CONSUMER.DURABLE.CREATE.MARKET.x", "{}", &[]),
    ("$JS.API.CONSUMER.CREATE.MARKET", "{}", &[]),
    // Consumers of other users.
    ("$JS.API.CONSUMER.DELETE.FEED.x", "", &[]),
    ("$JS.API.CONSUMER.DELETE.MARKET.x", "", &["stream-processor"]),
    ("$JS.API.CONSUMER.DELETE.STATS.x", "", &["aggregator"]),
    ("$JS.API.CONSUMER.PAUSE.MARKET.x", "{}", &[]),
    ("$JS.API.CONSUMER.LEADER.STEPDOWN.MARKET.x", "", &[]),
    ("$JS.API.CONSUMER.MSG.NEXT.KV_LEASES.x", "", &[]),
    ("$JS.ACK.FEED.x.1.1.1.1.0", "+ACK", &[]),
    ("$JS.ACK.MARKET.x.1.1.1.1.0", "-NAK", &[]),
    ("$JS.ACK.STATS.x.1.1.1.1.0", "+TERM", &[]),
    ("$JS.FC.MARKET.x.1", "", &[]),
    // Requests about all streams, and about the server itself.
    ("$JS.API.STREAM.NAMES", "", &[]),
    ("$JS.API.STREAM.LIST", "", &[]),
    ("$JS.API.ACCOUNT.PURGE.CANDLEWIRE", "", &[]),
    ("$JS.API.META.LEADER.STEPDOWN", "", &[]),
    ("$JS.API.SERVER.REMOVE", "{}", &[]),
    ("$JS.SNAPSHOT.RESTORE.MARKET.x", "x", &[]),
    ("$SYS.REQ.SERVER.PING.VARZ", "", &[]),
    ("$SYS.REQ.ACCOUNT.CANDLEWIRE.CONNZ", "", &[]),
    // Forged replies.
    ("_INBOX.x", "{}", &[]),
    ("_INBOX_admin.x", "{}", &[]),
    ("_INBOX_stream-processor.x", "{}", &[]),
    ("_INBOX_reporter.x", "{}", &[]),
];

/// Subject, and the users that may subscribe.
const SUBSCRIPTIONS: &[(&str, &[&str])] = &[
    ("live.>", &["viewer", "reader", "reporter"]),
    (">", &[]),
    ("feed.>", &[]),
    ("market.>", &[]),
    ("checkpoint.>", &[]),
    ("stats.>", &[]),
    ("$KV.>", &[]),
    ("$KV.LEASES.producer.>", &["producer"]),
    ("$KV.LEASES.aggregator.>", &["aggregator"]),
    ("$O.>", &[]),
    ("$JS.>", &[]),
    ("$JS.API.>", &[]),
    ("$JS.ACK.>", &[]),
    ("$JS.EVENT.ADVISORY.>", &[]),
    ("$SYS.>", &[]),
    ("_R_.>", &[]),
    ("_INBOX.>", &["viewer"]),
    ("_INBOX_admin.>", &[]),
    ("_INBOX_producer.>", &["producer"]),
    ("_INBOX_stream-processor.>", &["stream-processor"]),
    ("_INBOX_aggregator.>", &["aggregator"]),
    ("_INBOX_trainer.>", &["trainer"]),
    ("_INBOX_reporter.>", &["reporter"]),
    ("_INBOX_reader.>", &["reader"]),
];

/// Tries everything that the tables forbid to a user, one by one, so that each refusal is attributable.
async fn check_denials(attacker: &mut Attacker, user: &str) {
    for (subject, body, allowed) in PUBLISHES {
        if !allowed.contains(&user) {
            assert!(attacker.is_publish_denied(subject, None, body).await, "{user} may publish {subject}");
        }
    }
    for stream in STREAMS {
        for call in STREAM_CALLS {
            // The trainer purges the chunks of an object that it replaces.
            if (user, call, stream) != ("trainer", "STREAM.PURGE", "OBJ_ARTIFACTS") {
                let subject = format!("$JS.API.{call}.{stream}");
                assert!(attacker.is_publish_denied(&subject, None, "{}").await, "{user} may call {subject}");
            }
        }
    }
    for (subject, allowed) in SUBSCRIPTIONS {
        let is_denied = attacker.is_subscribe_denied(subject).await;
        assert_eq!(is_denied, !allowed.contains(&user), "{user} listens to {subject}");
    }
}

/// Tries all users concurrently.
async fn check_all_denials(server: &Server) {
    let each = USERS.map(async |user| check_denials(&mut Attacker::connect(server, user).await, user).await);
    futures::future::join_all(each).await;
}

/// Allowed requests whose body asks for more than their subject.
async fn check_bodies(server: &Server) {
    let viewer = Attacker::connect(server, "viewer").await;
    let price = format!("$JS.API.DIRECT.GET.MARKET.market.{}.price.bitcoin.usdt", partition());
    let last = viewer.ask(&price, "").await;
    // Output of a step that catches up is stored compressed.
    let (_, lines) = codec::decode(last.headers, last.payload);
    assert!(last.status.is_none() && lines.starts_with(b"{\"coin\":\"bitcoin\""), "a viewer reads the last price");
    for body in
        [r#"{"last_by_subj":"checkpoint.market.0.position"}"#, r#"{"multi_last":["checkpoint.>"]}"#, r#"{"seq":1}"#]
    {
        assert!(viewer.is_refused(&price, body).await, "{body}");
    }
    let reader = Attacker::connect(server, "reader").await;
    let create = "$JS.API.CONSUMER.CREATE.MARKET.reader-1.market.>";
    let config = |filter: Value| {
        let mut config = json!({ "name": "reader-1", "ack_policy": "none", "mem_storage": true, "inactive_threshold": 1_000_000_000 });
        config.as_object_mut().unwrap().extend(filter.as_object().unwrap().clone());
        json!({ "stream_name": "MARKET", "config": config }).to_string()
    };
    for filter in [
        json!({}),
        json!({ "filter_subject": "checkpoint.>" }),
        json!({ "filter_subject": ">" }),
        json!({ "filter_subjects": ["market.>", "checkpoint.>"] }),
        json!({ "filter_subject": "market.>", "filter_subjects": ["checkpoint.>"] }),
    ] {
        assert!(reader.is_refused(create, &config(filter.clone())).await, "{filter}");
    }
    assert!(
        !reader.is_refused(create, &config(json!({ "filter_subject": "market.>" }))).await,
        "a reader reads history"
    );
}

/// A consumer that sends old prices to a live subject. The viewer may not create one; for a user who may, subscribers
/// receive the old prices, but `reporter watch` does not take them for live ones.
async fn check_push_consumers(pipeline: &TestPipeline) {
    let body = |subject: &str| {
        let config = json!({
            "name": "reader-2", "deliver_subject": "live.price.bitcoin.usdt", "deliver_policy": "all", "ack_policy": "none",
            "filter_subject": subject, "mem_storage": true, "inactive_threshold": 1_000_000_000,
        });
        json!({ "stream_name": "MARKET", "config": config }).to_string()
    };
    let prices = "market.*.price.bitcoin.usdt";
    let create = format!("$JS.API.CONSUMER.CREATE.MARKET.reader-2.{prices}");
    for user in ["viewer", "producer", "stream-processor"] {
        let mut attacker = Attacker::connect(&pipeline.server, user).await;
        for call in [&create, "$JS.API.CONSUMER.CREATE.MARKET", "$JS.API.CONSUMER.DURABLE.CREATE.MARKET.push"] {
            assert!(attacker.is_publish_denied(call, None, &body(prices)).await, "{user} may call {call}");
        }
    }
    let [shown, log] = ["watch.out", "watch.log"].map(|name| pipeline.dir.path().join(name));
    let mut watch = pipeline.program("reporter");
    watch.args(["watch", "live.price.bitcoin.usdt", "--format", "json"]).env("CANDLEWIRE_LOG", "info");
    let [out, errors] = [&shown, &log].map(|path| std::fs::File::create(path).unwrap());
    let _watch = Running::start(watch.stdout(out).stderr(errors));
    let has_logged = |words: &str| std::fs::read_to_string(&log).unwrap().contains(words);
    eventually("the last known price is shown", || has_logged("last known"));
    let reader = Attacker::connect(&pipeline.server, "reader").await;
    assert!(!reader.is_refused(&create, &body(prices)).await);
    eventually("the consumer's messages are noticed", || has_logged("ignored a stored message"));
    assert_eq!(std::fs::read_to_string(&shown).unwrap().lines().count(), 1, "no old price is shown as live");
}

/// Inboxes with a listener, by user.
const INBOXES: [(&str, &str); 3] = [
    ("admin", "_INBOX_admin.stray"),
    ("stream-processor", "_INBOX_stream-processor.stray"),
    ("reporter", "_INBOX_reporter.stray"),
];

/// Reply subjects where an answer to a user would do harm: all that the user may not publish to.
fn harmful(user: &str) -> Vec<String> {
    let partition = partition();
    let stored = [
        ("producer", "feed.tick.bitcoin.usdt".to_owned()),
        ("producer", "$KV.LEASES.producer.x".to_owned()),
        ("producer", "$KV.BUDGETS.coingecko.x".to_owned()),
        ("stream-processor", format!("market.{partition}.price.bitcoin.usdt")),
        ("stream-processor", format!("checkpoint.market.{partition}.position")),
        ("stream-processor", "$KV.LEASES.stream-processor.x".to_owned()),
        ("stream-processor", "live.provisional.1m.bitcoin.usdt".to_owned()),
        ("aggregator", format!("stats.{partition}.1h.bitcoin.usdt")),
        ("aggregator", format!("checkpoint.stats.{partition}.position")),
        ("trainer", format!("forecast.{partition}.next.bitcoin.usdt")),
        ("trainer", "$KV.READERS.market.x".to_owned()),
        ("trainer", "$O.ARTIFACTS.M.x".to_owned()),
        ("admin", "$JS.API.STREAM.DELETE.STATS".to_owned()),
        ("admin", "live.price.bitcoin.usdt".to_owned()),
    ];
    let inboxes = INBOXES.map(|(owner, inbox)| (owner, inbox.to_owned()));
    let others = stored.into_iter().chain(inboxes).filter(|(owner, _)| *owner != user);
    others.map(|(_, subject)| subject).collect()
}

/// Read-only requests, and the users that may send them.
fn askable() -> Vec<(&'static str, Vec<(String, String)>)> {
    let of_seq = r#"{"seq":1}"#;
    let pull = r#"{"batch":1}"#;
    let leases = ("$JS.API.DIRECT.GET.KV_LEASES", r#"{"multi_last":["$KV.>"]}"#);
    let last_price = format!("$JS.API.DIRECT.GET.MARKET.market.{}.price.bitcoin.usdt", partition());
    let create = "$JS.API.CONSUMER.CREATE.MARKET.reader-3.market.>";
    let next = ("$JS.API.CONSUMER.MSG.NEXT.MARKET.reader-3", pull);
    let config = json!({ "name": "reader-3", "ack_policy": "none", "mem_storage": true, "filter_subject": "market.>",
        "inactive_threshold": 60_000_000_000_u64 });
    let config = json!({ "stream_name": "MARKET", "config": config }).to_string();
    let asks: [(&str, &[(&str, &str)]); 7] = [
        ("viewer", &[(&last_price, "")]),
        ("reader", &[(&last_price, ""), ("$JS.API.STREAM.INFO.MARKET", ""), (create, &config), next]),
        (
            "reporter",
            &[
                ("$JS.API.STREAM.MSG.GET.FEED", of_seq),
                ("$JS.API.DIRECT.GET.MARKET", of_seq),
                next,
                leases,
                ("$JS.API.DIRECT.GET.KV_BUDGETS", r#"{"multi_last":["$KV.>"]}"#),
            ],
        ),
        (
            "producer",
            &[
                ("$JS.API.STREAM.INFO.FEED", ""),
                ("$JS.API.DIRECT.GET.FEED", of_seq),
                ("$JS.API.STREAM.MSG.GET.MARKET", of_seq),
                ("$JS.API.DIRECT.GET.KV_BUDGETS.$KV.BUDGETS.coingecko.x", ""),
                leases,
            ],
        ),
        (
            "stream-processor",
            &[("$JS.API.STREAM.MSG.GET.FEED", of_seq), ("$JS.API.DIRECT.GET.MARKET", of_seq), next, leases],
        ),
        ("aggregator", &[(create, &config), ("$JS.API.STREAM.MSG.GET.STATS", of_seq), next, leases]),
        ("trainer", &[(create, &config), ("$JS.API.STREAM.INFO.OBJ_ARTIFACTS", ""), next, leases]),
    ];
    let owned = |requests: &[(&str, &str)]| requests.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    asks.map(|(user, requests)| (user, owned(requests))).into()
}

/// Requests with reply subjects where the answers would do harm.
async fn send_astray(server: &Server, user: &str, requests: &[(String, String)]) {
    let mut attacker = Attacker::connect(server, user).await;
    for (request, body) in requests {
        for reply in harmful(user) {
            let is_denied = attacker.is_publish_denied(request, Some(&reply), body).await;
            assert!(!is_denied, "{user} may ask {request}: only the answer goes astray");
        }
        // Answered in order: once this is answered, all earlier requests are.
        attacker.ask(request, body).await;
    }
}

/// Redirects answers to subjects where they would be stored, taken for live prices, or taken for another user's
/// answers.
async fn check_stray_answers(server: &Server) {
    let mut heard = Vec::new();
    for (owner, subject) in INBOXES.into_iter().chain([("admin", "live.>")]) {
        let mut listener = Attacker::connect(server, owner).await;
        heard.push((subject, listener.listen(subject).await, listener));
    }
    let (services, guests): (Vec<_>, Vec<_>) =
        askable().into_iter().partition(|(user, _)| !["viewer", "reader", "reporter"].contains(user));
    for (user, requests) in &guests {
        send_astray(server, user, requests).await;
    }
    // Viewers share an account, in which they can forge live data for each other, but for no other user.
    let mut viewer = Attacker::connect(server, "viewer").await;
    heard.push(("live.>", viewer.listen("live.>").await, viewer));
    for (user, requests) in &services {
        send_astray(server, user, requests).await;
    }
    for (subject, subscriber, listener) in &mut heard {
        // Everything sent to the listener before this answer has arrived with it.
        listener.barrier().await;
        assert!(subscriber.next().now_or_never().is_none(), "a stray answer was heard on {subject}");
    }
}

/// The state of every stream, without parts that change by themselves.
async fn standing(server: &Server) -> BTreeMap<&'static str, Value> {
    let admin = server.connect("admin").await;
    let mut standing = BTreeMap::new();
    for stream in STREAMS {
        let body = json!({ "subjects_filter": ">" });
        let mut info: Value = admin.api(&format!("STREAM.INFO.{stream}"), &body).await.unwrap();
        let state = info["state"].take();
        // Leases expire by themselves: only new messages would be a trace.
        let state = if stream == "KV_LEASES" { json!(state["last_seq"]) } else { without_consumers(state) };
        standing.insert(stream, json!([info["config"], state]));
    }
    standing
}

fn without_consumers(mut state: Value) -> Value {
    state.as_object_mut().unwrap().remove("consumer_count");
    state
}

fn partition() -> u32 {
    subject::partition("bitcoin", "usdt", 16)
}

/// Runs the whole pipeline with one user per service, and tries every foreign action as every user.
#[tokio::test(flavor = "multi_thread")]
async fn no_user_can_do_what_only_another_may() {
    let pipeline = TestPipeline::new().await;
    let mut services: Vec<Running> = ["stream-processor", "aggregator"].map(|name| pipeline.start(name)).into();
    let archive = pipeline.dir.path().join("archive");
    let trainer = ["run", "--coin", "bitcoin", "--quote", "usdt", "--archive-every", "1s", "--archive"];
    services.push(Running::start(pipeline.program("trainer").args(trainer).arg(&archive)));
    services.push(Running::start(pipeline.program("reporter").args(["run", "--listen", "127.0.0.1:0"])));
    let flags = ["--speed", "20000x", "--downstream-wait", "30s", "--summary", "summary.json"];
    let mut producer = Running::start(pipeline.replay(&minutes(pipeline.dir.path(), 1_000), "1m").args(flags));
    eventually("prices are accepted", || pipeline.count("accepted") > 0);
    check_all_denials(&pipeline.server).await;
    check_bodies(&pipeline.server).await;
    assert_eq!(producer.wait(), Some(0));
    let summary = std::fs::read(pipeline.dir.path().join("summary.json")).unwrap();
    let summary: Value = serde_json::from_slice(&summary).unwrap();
    assert_eq!(summary["downstream"]["accepted"], 1_000, "the producer may read the outcome: {summary}");
    pipeline.wait();
    check_push_consumers(&pipeline).await;
    let audit = succeed(pipeline.program("aggregator").arg("audit"));
    assert_eq!(pipeline.count("accepted"), 1_000, "{audit}");
    assert!(services.iter_mut().all(Running::is_running), "each service keeps running");
    drop(services);
    let violations = pipeline.server.log();
    let violations = violations.lines().filter(|line| line.contains("Violation") && !line.contains(NAME));
    assert_eq!(violations.collect::<Vec<_>>(), Vec::<&str>::new(), "the services stay within their permissions");
    let before = standing(&pipeline.server).await;
    check_all_denials(&pipeline.server).await;
    check_stray_answers(&pipeline.server).await;
    assert_eq!(standing(&pipeline.server).await, before);
    succeed(pipeline.program("aggregator").arg("audit"));
}
