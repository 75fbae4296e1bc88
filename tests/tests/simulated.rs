//! Conformance of the simulation: a real nats-server gives the same answers as its model.

use bus::Connection;
use bus::topology::{Limits, create, definitions};
use pipeline_tests::mirror::Mirror;
use pipeline_tests::server::Server;
use serde_json::{Value, json};
use simulation::cases::{self, AMPLE, FEED_AGE_US, PARTITIONS, RandomRequests};
use simulation::jetstream::{Discard, StreamConfig};
use simulation::{Answer, Request, Seed};

/// Random requests per seed.
const DRAWN: usize = 400;
const SEEDS: u64 = 6;

/// A server on which one user may do everything, since a case publishes as several services.
fn server() -> Server {
    let limits = [
        r#"publish: ["$JS.API.>", "$KV.>", "$O.>", "candlewire.restore.>"]"#,
        r#"subscribe: ["live.>", "_INBOX_admin.>"]"#,
    ];
    Server::start_with(|conf| {
        limits.iter().fold(conf, |conf, limit| {
            assert!(conf.contains(limit), "the permissions of admin are not found");
            conf.replace(limit, "")
        })
    })
}

/// The product's stream definitions, with the limits of the cases.
fn real_definitions() -> Vec<Value> {
    let limits = Limits {
        partitions: PARTITIONS,
        feed_days: FEED_AGE_US / 86_400_000_000,
        feed_bytes: AMPLE,
        market_bytes: AMPLE,
        stats_bytes: AMPLE,
        forecast_bytes: AMPLE,
        ..Limits::default()
    };
    definitions(&limits)
}

/// A case's stream definition: the product's, with its own byte limit.
fn definition_of(config: &StreamConfig) -> Value {
    let mut all = real_definitions().into_iter();
    let mut definition = all.find(|definition| definition["name"] == config.name.as_str()).unwrap();
    definition["max_bytes"] = json!(config.max_bytes.unwrap());
    definition
}

/// The parts of a definition that the model knows.
fn config_of(definition: &Value) -> StreamConfig {
    let text = |key: &str| definition[key].as_str().unwrap_or_default();
    let flag = |key: &str| definition[key].as_bool().unwrap_or_default();
    let micros = |key: &str| definition[key].as_u64().map(|nanos| nanos / 1_000).filter(|&micros| micros > 0);
    let live = definition["republish"]["dest"].as_str();
    StreamConfig {
        name: text("name").to_owned(),
        subjects: serde_json::from_value(definition["subjects"].clone()).unwrap(),
        max_bytes: definition["max_bytes"].as_u64(),
        discard: if text("discard") == "old" { Discard::Old } else { Discard::New },
        max_age_us: micros("max_age"),
        max_per_subject: definition["max_msgs_per_subject"].as_u64(),
        duplicates_us: micros("duplicate_window").unwrap_or(120_000_000),
        allows_batches: flag("allow_atomic"),
        allows_rollup: flag("allow_rollup_hdrs"),
        allows_ttl: flag("allow_msg_ttl"),
        partitions: definition["subject_transform"].is_object().then_some(PARTITIONS),
        live: live
            .and_then(|dest| dest.strip_suffix(".{{wildcard(2)}}.{{wildcard(3)}}.{{wildcard(4)}}"))
            .map(str::to_owned),
    }
}

/// A real consumer's pending count may be off when unread messages were purged.
fn forget_pending(answer: &mut Answer) {
    if let Answer::Deliveries(all) = answer {
        all.iter_mut().for_each(|delivery| delivery.pending = 0);
    }
}

/// Makes the server hold exactly these streams, empty.
async fn recreate(admin: &Connection, streams: &[StreamConfig]) {
    for name in ["FEED", "MARKET", "STATS", "KV_LEASES"] {
        drop(admin.api::<Value>(&format!("STREAM.DELETE.{name}"), &json!({})).await);
    }
    for config in streams {
        create(admin, &definition_of(config)).await.unwrap();
    }
}

#[test]
fn the_streams_of_the_simulation_are_those_of_the_topology() {
    let simulated = [
        StreamConfig::feed(PARTITIONS, AMPLE, FEED_AGE_US),
        StreamConfig::market(AMPLE),
        StreamConfig::checkpointed("STATS", "stats", "live.stats", AMPLE),
        StreamConfig::checkpointed("FORECAST", "forecast", "live.forecast", AMPLE),
        StreamConfig::leases(16 << 20),
    ];
    for config in simulated {
        let definitions = real_definitions();
        let definition = definitions.iter().find(|definition| definition["name"] == config.name.as_str()).unwrap();
        assert_eq!(config_of(definition), config);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_server_answers_every_case_as_it_is_written() {
    let server = server();
    let mut differences = Vec::new();
    for case in cases::all() {
        let connection = server.connect("admin").await;
        recreate(&connection, &case.streams).await;
        let mut mirror = Mirror::new(connection).await;
        for (idx, (request, expected)) in case.steps.iter().enumerate() {
            let found = mirror.ask(request).await.to_string();
            if found != *expected {
                differences.push(format!("{}, step {}: {found}, not {expected}", case.name, idx + 1));
            }
        }
        let live = mirror.live(case.live.len()).await;
        if live != case.live {
            differences.push(format!("{}, live: {live:?}", case.name));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Random sequences of requests get the same answers from nats-server and from the simulated server.
#[tokio::test(flavor = "multi_thread")]
async fn a_real_server_answers_random_requests_like_the_model() {
    let server = server();
    for seed in (1..=SEEDS).map(Seed) {
        let streams = [StreamConfig::market(40_000 * seed.0)];
        let mut model = cases::model(&streams);
        let connection = server.connect("admin").await;
        recreate(&connection, &streams).await;
        let mut mirror = Mirror::new(connection).await;
        let mut chance = RandomRequests::new(seed);
        // Consumers that existed at the last removal: their pending counts are not compared.
        let mut doubted = 0;
        for step in 0..DRAWN {
            let request = chance.draw();
            let mut answers = [cases::answer(&mut model, request.clone()), mirror.ask(&request).await];
            chance.record(&answers[0]);
            match &request {
                Request::Purge { .. } | Request::Delete { .. } => doubted = chance.consumers(),
                Request::Pull { consumer, .. } if *consumer <= doubted => answers.iter_mut().for_each(forget_pending),
                _ => {}
            }
            let [expected, found] = answers.map(|answer| answer.to_string());
            assert_eq!(found, expected, "seed {seed}, step {step}: {request:?}");
        }
        let live = cases::live(&mut model);
        assert_eq!(mirror.live(live.len()).await, live, "seed {seed}");
    }
}
