//! Health of services: alive, ready, fresh, metrics; and their settings.

use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use bus::topology::Limits;
use clap::CommandFactory;
use pipeline_tests::health::Watched;
use pipeline_tests::programs::{eventually, fail, program, succeed};
use pipeline_tests::server::checkout;
use pipeline_tests::test_pipeline::{TestPipeline, sample};
use pipeline_tests::ticks::publish_tick;

use crate::kills::{SAMPLE, TICKS};

fn start(pipeline: &TestPipeline, name: &str) -> Watched {
    Watched::start(pipeline.program(name).arg("run"), |_| {})
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_of_a_step_agree_with_topology_show() {
    // One partition: each gauge has one line.
    let pipeline = TestPipeline::with_limits(&Limits { partitions: 1, ..Limits::default() }).await;
    let [processor, aggregator] = ["stream-processor", "aggregator"].map(|name| start(&pipeline, name));
    eventually("both are ready", || processor.is_ready() && aggregator.is_ready());
    assert_eq!(processor.page("/fresh"), (200, "no instrument here\n".to_owned()));
    succeed(&mut pipeline.replay(&sample(SAMPLE), "1m"));
    let producer = pipeline.server.connect("producer").await;
    publish_tick(&producer, 1_500_000_000_000).await;
    pipeline.wait();

    let counted = |name: &str| processor.metric(&format!("ticks_total{{outcome=\"{name}\"}}"));
    eventually("every tick is counted", || counted("accepted") == Some(TICKS as f64 + 1.0));
    assert_eq!((counted("late"), counted("duplicate")), (Some(0.0), Some(0.0)));
    assert_eq!(processor.metric("candles_final_total"), Some(pipeline.count("candles") as f64));
    assert_eq!(aggregator.metric("ticks_total{outcome=\"aggregated\"}"), Some(TICKS as f64 + 1.0));
    for step in [&processor, &aggregator] {
        let gauge = |name: &str| step.metric(&format!("{name}{{partition=\"0\"}}"));
        eventually("no message waits", || gauge("lag_messages") == Some(0.0));
        let standing = pipeline.standing();
        let service = if step.addr == processor.addr { "stream-processor" } else { "aggregator" };
        assert_eq!(gauge("position"), standing["steps"][service]["partitions"][0]["position"].as_f64());
        // March 2020 ends at its own time; the tick of 2017 belongs to the other instrument.
        eventually("the newest watermark is reported", || {
            gauge("watermark_newest_timestamp_seconds") > Some(1_585_000_000.0)
        });
        eventually("the oldest watermark is reported", || {
            gauge("watermark_oldest_timestamp_seconds") == Some(1_500_000_000.0 - 5.0)
        });
        assert_eq!([step.metric("leases"), step.metric("nats_connected")], [Some(1.0), Some(1.0)]);
        let commits = step.metric("commits_total").unwrap();
        assert!(commits >= 1.0 && step.metric("commit_duration_seconds_count").unwrap() >= 1.0);
        assert!(
            step.metric("commit_bytes_sum").unwrap() > 100_000.0 && step.metric("commits_fenced_total") == Some(0.0)
        );
        let (status, words) = step.page("/fresh");
        assert!(status == 503 && words.contains("10m is the bound"), "{status} {words}");
    }
    let fresh =
        Watched::start(pipeline.program("stream-processor").args(["run", "--fresh-within", "100years"]), |_| {});
    processor.process.terminate();
    eventually("its data is fresh enough", || fresh.page("/fresh").0 == 200 && fresh.page("/fresh").1.contains("old"));
    let accepted = fresh.metric("ticks_total{outcome=\"accepted\"}");
    assert_eq!(accepted.unwrap_or(0.0), 0.0, "ticks of another process are not counted again");
}

#[test]
fn a_container_asks_with_the_program_itself() {
    let dir = tempfile::tempdir().unwrap();
    let mut service = program("stream-processor", dir.path());
    let waiting = Watched::start(service.args(["run", "--nats-url", "nats://127.0.0.1:1"]), |_| {});
    let ask = |flags: &[&str]| {
        let mut command = program("stream-processor", dir.path());
        command.arg("health").args(flags).env("CANDLEWIRE_HTTP", &waiting.addr);
        command
    };
    assert_eq!(succeed(&mut ask(&["--alive"])), "ok\n");
    eventually("the reason is reported", || {
        let (code, error) = fail(&mut ask(&[]));
        code == 1 && error.contains("no NATS server answers")
    });
    let (code, error) = fail(program("aggregator", dir.path()).args(["health", "--http", "127.0.0.1:1"]));
    assert!(code == 1 && error.contains("127.0.0.1:1/readyz"), "{code} {error}");
}

#[test]
fn settings_are_shown_with_their_origin_and_secrets_are_not() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(".env"), "CANDLEWIRE_LEASE_TTL=7s\nCANDLEWIRE_HTTP=127.0.0.1:1\n").unwrap();
    let mut command = program("stream-processor", dir.path());
    command.args(["run", "--print-config", "--lateness", "20m", "--nats-password", "hush-1"]);
    let shown = succeed(command.env("CANDLEWIRE_HTTP", "127.0.0.1:2").env("NATS_URL", "nats://me:hush-2@here:4222"));
    let line = |name: &str| {
        let line = shown.lines().find(|line| line.split_whitespace().next() == Some(name));
        line.unwrap_or_else(|| panic!("{name}: {shown}")).split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("--lease-ttl"), "7s CANDLEWIRE_LEASE_TTL in .env");
    assert_eq!(line("--http"), "127.0.0.1:2 CANDLEWIRE_HTTP");
    assert_eq!(line("--lateness"), "20m command line");
    assert_eq!(line("--disorder"), "5s default");
    assert_eq!(line("--nats-url"), "nats://(hidden)@here:4222 NATS_URL");
    assert_eq!(line("--nats-password"), "(hidden) command line");
    assert_eq!(line("CANDLEWIRE_PASSWORD_AGGREGATOR"), "(hidden) CANDLEWIRE_PASSWORD_AGGREGATOR");
    assert!(!shown.contains("hush") && !shown.contains("cw-test"), "{shown}");
}

#[test]
fn an_unknown_setting_ends_every_program_at_once() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(".env"), "CANDLEWIRE_LEASE_TLL=7s\n").unwrap();
    for words in [
        &["topology", "plan"][..],
        &["producer", "run", "--source", "coingecko", "--coin", "bitcoin"],
        &["stream-processor", "run"],
        &["aggregator", "run"],
        &["trainer", "run"],
        &["reporter", "run"],
    ] {
        let (code, error) = fail(program(words[0], dir.path()).args(&words[1..]));
        assert!(code == 2 && error.contains("was CANDLEWIRE_LEASE_TTL meant?"), "{words:?}: {code} {error}");
    }
}

#[test]
fn an_env_file_that_is_not_the_callers_own_ends_every_program() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(".env");
    // No server listens there: an attempt to connect would end with another code.
    std::fs::write(&file, "NATS_URL=nats://127.0.0.1:1\n").unwrap();
    let check = |name: &str, command: &str, words: &str| {
        let (code, error) = fail(program(name, dir.path()).arg(command));
        assert!(code == 2 && error.contains(words), "{name}: {code} {error}");
    };
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o666)).unwrap();
    for name in ["producer", "stream-processor", "aggregator", "trainer", "reporter"] {
        check(name, "run", "chmod go-w .env");
    }
    check("topology", "show", "chmod go-w .env");
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
    let (code, error) = fail(program("topology", dir.path()).args(["show", "--connect-timeout", "1"]));
    assert!(code == 1 && error.contains("no NATS server answers"), "{code} {error}");
    // Only root can change the owner of a file.
    if std::fs::metadata(&file).unwrap().uid() == 0 {
        chown(&file, Some(65_534), None).unwrap();
        check("topology", "show", "belongs to user 65534");
    }
}

#[test]
fn every_variable_that_a_program_reads_is_known_to_all() {
    fn variables(command: &clap::Command, found: &mut BTreeSet<String>) {
        found.extend(command.get_arguments().filter_map(|arg| Some(arg.get_env()?.to_string_lossy().into_owned())));
        command.get_subcommands().for_each(|subcommand| variables(subcommand, found));
    }
    let mut found = BTreeSet::new();
    for command in [
        producer::Args::command(),
        stream_processor::Args::command(),
        aggregator::Args::command(),
        trainer::Args::command(),
        reporter::Args::command(),
        topology::Args::command(),
    ] {
        variables(&command, &mut found);
    }
    // Read by nats-server and Compose: `$NAME`, `${NAME:-default}`.
    let mut files = vec![checkout().join("nats.conf"), checkout().join("deploy/compose.yaml")];
    files.extend(std::fs::read_dir(checkout().join("deploy/nats")).unwrap().map(|entry| entry.unwrap().path()));
    for file in files.iter().filter(|file| file.is_file()) {
        let text = std::fs::read_to_string(file).unwrap();
        let names = text.split('$').skip(1).map(|rest| rest.trim_start_matches('{'));
        found.extend(names.map(|rest| rest.chars().take_while(|c| *c == '_' || c.is_ascii_alphanumeric()).collect()));
    }
    for name in ["CANDLEWIRE_FEED_BYTES", "CANDLEWIRE_PAGE_PORT", "CANDLEWIRE_PASSWORD_ROUTES", "CANDLEWIRE_TLS_KEY"] {
        assert!(found.contains(name), "{name} is not among {found:?}");
    }
    let settings = service::Settings::parse(include_str!("../../deploy/settings.txt"));
    for name in found {
        let is_ours = name.starts_with("CANDLEWIRE_") || name.starts_with("COINGECKO_");
        assert!(!is_ours || settings.has(&name), "{name} is missing in deploy/settings.txt");
    }
}
