//! The shipped units, started from an installed tree: in any order, stopped and killed as systemd would, scaled by
//! their instance number.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bus::lease::owners;
use bus::{Connection, NatsArgs};
use flate2::read::GzDecoder;
use pipeline_tests::coingecko::CoinGecko;
use pipeline_tests::installed::{Installed, install};
use pipeline_tests::programs::{eventually, succeed};
use pipeline_tests::server::checkout;
use pipeline_tests::test_pipeline::sample;
use pipeline_tests::ticks::coin_in;
use pipeline_tests::units::Active;
use serde_json::{Value, json};

/// Replayed minutes of the bundled recording.
const TICKS: u64 = 6_000;
/// Longest stop that the units promise.
const STOP_MAX: Duration = Duration::from_secs(5);
/// Longest time for four instances to share the partitions.
const SHARE_MAX: Duration = Duration::from_secs(2);

/// Every service but the producer, whose source a test chooses.
const READERS: [&str; 4] =
    ["candlewire-stream-processor@1", "candlewire-aggregator@1", "candlewire-trainer", "candlewire-reporter"];

/// All services, with a producer that polls live prices.
const SERVICES: [&str; 5] = ["candlewire-producer", READERS[0], READERS[1], READERS[2], READERS[3]];

/// From the last to the first.
const REVERSED: [&str; 4] = [READERS[3], READERS[2], READERS[1], READERS[0]];

fn standing(installed: &Installed) -> Value {
    serde_json::from_str(&succeed(installed.program("topology", "admin").args(["show", "--format", "json"]))).unwrap()
}

fn accepted(installed: &Installed) -> u64 {
    standing(installed)["steps"]["stream-processor"]["counts"]["accepted"].as_u64().unwrap_or(0)
}

/// Waits until all is committed and audits it; returns the number of checked prices.
fn audited(installed: &Installed) -> u64 {
    succeed(installed.program("topology", "admin").arg("wait"));
    let report = succeed(installed.program("aggregator", "aggregator").args(["audit", "--format", "json"]));
    let report: Value = serde_json::from_str(&report).unwrap();
    let found = ["different", "missing", "extra"].map(|name| report[name].as_u64().unwrap());
    assert_eq!(found, [0, 0, 0], "{report}");
    let prices = report["kinds"].as_array().unwrap().iter().find(|kind| kind["kind"] == "price").unwrap();
    prices["equal"].as_u64().unwrap()
}

/// The first minutes of the bundled recording.
fn excerpt(installed: &Installed) -> PathBuf {
    let path = installed.path().join("excerpt.csv");
    let file = std::fs::File::open(sample("btcusdt_1m_2020-03.csv.gz")).unwrap();
    let lines = BufReader::new(GzDecoder::new(file)).lines().map(Result::unwrap);
    std::fs::write(&path, lines.take(1 + TICKS as usize).collect::<Vec<_>>().join("\n")).unwrap();
    path
}

/// A mock of CoinGecko with a current price.
async fn coingecko() -> CoinGecko {
    let source = CoinGecko::start().await;
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    source.set("bitcoin", 103_376.0, now_ms);
    source.set("ethereum", 3_376.0, now_ms);
    source
}

/// Makes the producer replay the excerpt as bitcoin/usdt.
fn replay_the_excerpt(installed: &Installed, speed: &str) {
    installed.set("CANDLEWIRE_SOURCE", "recording");
    installed.set("CANDLEWIRE_FILE", excerpt(installed).to_str().unwrap());
    installed.set("CANDLEWIRE_COINS", "bitcoin");
    installed.set("CANDLEWIRE_QUOTE", "usdt");
    installed.set("CANDLEWIRE_SPEED", speed);
}

/// Waits until a started unit is ready, by its status and its health. Moving partitions make it briefly unready.
fn eventually_ready(installed: &Installed, unit: &str) {
    eventually(&format!("{unit} is ready"), || {
        let state = installed.state(unit);
        let says_so = (state.active, state.status.as_str()) == (Active::Active, "ready");
        says_so && installed.ask(unit, "/readyz") == Some((200, "ready".to_owned()))
    });
}

/// Starts an installed tree from its own systemd units, and stops it in order.
#[tokio::test(flavor = "multi_thread")]
async fn installed_units_start_the_services_and_stop_them_in_order() {
    let source = coingecko().await;
    let installed = Installed::fresh();
    installed.set("COINGECKO_BASE_URL", source.url());
    installed.start(&["candlewire.target"]);
    for unit in SERVICES {
        eventually_ready(&installed, unit);
    }
    for unit in ["candlewire-nats", "candlewire-topology"] {
        assert_eq!(installed.state(unit).active, Active::Active, "{unit}");
    }
    eventually("prices of CoinGecko are committed", || accepted(&installed) >= 2);

    for unit in SERVICES.into_iter().chain(["candlewire-nats", "candlewire-topology"]) {
        let start = Instant::now();
        installed.stop(&[unit]);
        assert!(start.elapsed() < STOP_MAX, "{unit} took {:?}", start.elapsed());
        let state = installed.state(unit);
        let ended = (state.active, state.result.as_str(), state.exit_code, state.restarts);
        assert_eq!(ended, (Active::Inactive, "success", Some(0), 0), "{unit}: {}", installed.journal(unit));
    }

    // Stored data outlives the programs.
    succeed(install(installed.path()).arg("--uninstall"));
    assert!(!installed.path().join("usr/local/lib/candlewire").exists());
    for kept in ["var/lib/candlewire/archive", "var/lib/candlewire-nats/jetstream", "etc/candlewire/secrets/admin"] {
        assert!(installed.path().join(kept).exists(), "{kept}");
    }
    succeed(&mut install(installed.path()));
    installed.start(&["candlewire.target"]);
    eventually("the stream-processor has restarted", || {
        installed.state("candlewire-stream-processor@1").active == Active::Active
    });
    assert!(accepted(&installed) >= 2);
}

/// Four instances of the template unit share the partitions and the work.
#[tokio::test(flavor = "multi_thread")]
async fn four_template_instances_share_the_partitions() {
    let installed = Installed::shared();
    installed.start(&["candlewire-nats", "candlewire-topology", READERS[0], READERS[1]]);
    let admin = NatsArgs {
        nats_user: Some("admin".to_owned()),
        nats_password_file: Some(installed.secret("admin")),
        ..NatsArgs::at(installed.url())
    };
    let admin = Connection::open(&admin, None).await.unwrap();
    let instances: Vec<String> = (1..=4).map(|number| format!("candlewire-stream-processor@{number}")).collect();
    let [first @ .., fourth] = &instances[..] else { unreachable!() };
    installed.start(&first.iter().map(String::as_str).collect::<Vec<_>>());
    let start = Instant::now();
    installed.begin(&[fourth]);
    loop {
        let mut shares: BTreeMap<String, usize> = BTreeMap::new();
        for (_, owner) in owners(&admin, "stream-processor").await.unwrap() {
            *shares.entry(owner.id).or_default() += 1;
        }
        let shares: Vec<usize> = shares.into_values().collect();
        if shares == [4, 4, 4, 4] {
            break;
        }
        assert!(start.elapsed() < SHARE_MAX, "{shares:?} after {:?}", start.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for unit in &instances {
        eventually_ready(&installed, unit);
    }
    // An instrument in every fourth partition: each instance has one.
    let mut replay = installed.program("producer", "producer");
    replay.args(["run", "--source", "recording", "--grain", "1m"]);
    let recording = excerpt(&installed);
    for partition in [0, 5, 10, 15] {
        let file = format!("{}/usdt={}", coin_in(partition, "usdt", 16), recording.display());
        replay.args(["--file", &file]);
    }
    succeed(&mut replay);
    assert_eq!(audited(&installed), 4 * TICKS);
}

#[test]
fn a_replay_that_is_stopped_in_the_middle_goes_on_where_it_was() {
    let installed = Installed::shared();
    // About three seconds for its four days.
    replay_the_excerpt(&installed, "120000x");
    installed.start(&["candlewire.target"]);
    let all = ["candlewire-nats", "candlewire-producer"].into_iter().chain(READERS);
    eventually("the streams exist", || installed.state("candlewire-topology").active == Active::Active);
    eventually("the replay is in its middle", || accepted(&installed) > TICKS / 6);
    let start = Instant::now();
    installed.stop(&["candlewire.target", "candlewire-*"]);
    assert!(start.elapsed() < STOP_MAX, "{:?}", start.elapsed());
    for unit in all {
        let state = installed.state(unit);
        let ended = (state.active, state.result.as_str(), state.exit_code);
        assert_eq!(ended, (Active::Inactive, "success", Some(0)), "{unit}: {}", installed.journal(unit));
    }
    installed.start(&["candlewire.target"]);
    eventually("the recording has ended", || installed.state("candlewire-producer").active == Active::Inactive);
    let log = installed.journal("candlewire-producer");
    assert!(log.contains("skipped"), "it was stopped before its end: {log}");
    assert_eq!(audited(&installed), TICKS);
}

/// Starts units in groups, one after the other. A service started too early reports what it waits for.
fn start_in(installed: &Installed, order: &[&[&str]]) {
    let mut has = (false, false);
    for units in order {
        installed.begin(units);
        has = (has.0 || units.contains(&"candlewire-nats"), has.1 || units.contains(&"candlewire-topology"));
        if units.len() > 1 && has != (true, true) {
            for unit in *units {
                eventually(unit, || {
                    installed.state(unit).status.contains(if has.0 { "topology apply" } else { "NATS" })
                });
                assert_eq!(installed.state(unit).active, Active::Activating, "{unit}");
            }
        }
    }
    for unit in order.iter().filter(|units| units.len() > 1).copied().flatten() {
        eventually_ready(installed, unit);
        assert_eq!(installed.state(unit).restarts, 0, "{unit} waited by itself");
    }
}

/// Stops everything and deletes the stored data.
fn begin_again(installed: &Installed) {
    installed.stop(&["--all"]);
    std::fs::remove_dir_all(installed.path().join("var")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_order_of_start_up_ends_ready() {
    let installed = Installed::shared();
    // All five, with live prices, before the server and the streams.
    let source = coingecko().await;
    installed.set("COINGECKO_BASE_URL", source.url());
    start_in(&installed, &[&SERVICES, &["candlewire-topology"], &["candlewire-nats"]]);
    eventually("prices of CoinGecko are committed", || accepted(&installed) >= 2);

    replay_the_excerpt(&installed, "max");
    let orders: [&[&[&str]]; 5] = [
        &[&READERS, &["candlewire-nats"], &["candlewire-topology"]],
        &[&["candlewire-topology"], &READERS, &["candlewire-nats"]],
        &[&["candlewire-topology"], &["candlewire-nats"], &READERS],
        &[&["candlewire-nats"], &READERS, &["candlewire-topology"]],
        &[&["candlewire-nats"], &["candlewire-topology"], &REVERSED],
    ];
    for order in orders {
        begin_again(&installed);
        start_in(&installed, order);
    }
    // The first data comes last.
    installed.start(&["candlewire-producer"]);
    eventually("the recording has ended", || installed.state("candlewire-producer").active == Active::Inactive);
    assert_eq!(audited(&installed), TICKS);
}

/// A service that dies or hangs is started again; one that ends with the exit code of a fault that needs an operator is
/// not.
#[test]
fn systemd_restarts_crashes_and_hangs_but_not_bad_configuration() {
    let installed = Installed::shared();
    let [processor, aggregator, ..] = READERS;
    installed.drop_in("candlewire-aggregator@.service", "watchdog", "WatchdogSec=1");
    installed.start(&["candlewire-nats", "candlewire-topology", processor, aggregator]);

    // kill -9.
    let first = installed.state(processor).main_pid;
    succeed(&mut installed.systemctl(&["kill", "-s", "KILL", processor]));
    eventually("the killed service has restarted", || {
        let state = installed.state(processor);
        state.active == Active::Active && state.main_pid != first && state.restarts == 1
    });

    // A frozen process.
    let first = installed.state(aggregator).main_pid;
    succeed(&mut installed.systemctl(&["kill", "-s", "STOP", aggregator]));
    eventually("the frozen service has restarted", || {
        let state = installed.state(aggregator);
        state.active == Active::Active && state.main_pid != first && state.restarts == 1
    });
    assert!(installed.journal(aggregator).contains("killed: watchdog"));

    // The server, while services use it.
    succeed(&mut installed.systemctl(&["kill", "-s", "KILL", "candlewire-nats"]));
    eventually("the server has restarted", || {
        let state = installed.state("candlewire-nats");
        state.active == Active::Active && state.restarts == 1
    });
    for unit in [processor, aggregator] {
        eventually(unit, || installed.ask(unit, "/readyz").is_some_and(|(code, _)| code == 200));
        assert_eq!(installed.state(unit).restarts, 1, "{unit} waited by itself");
    }

    // A new configuration without a restart.
    let server = installed.state("candlewire-nats").main_pid;
    succeed(&mut installed.systemctl(&["reload", "candlewire-nats"]));
    eventually("nats-server has reloaded it", || {
        installed.journal("candlewire-nats").contains("Reloaded server configuration")
    });
    assert_eq!(installed.state("candlewire-nats").main_pid, server);

    // Exit codes 3 and 2.
    let stays_down = |unit: &str, code: i32| {
        let output = installed.systemctl(&["start", unit]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let state = installed.state(unit);
        let ended = (state.active, state.result.as_str(), state.exit_code, state.restarts);
        assert_eq!(ended, (Active::Failed, "exit-code", Some(code), 0), "{}", installed.journal(unit));
    };
    std::fs::write(installed.secret("trainer"), "wrong").unwrap();
    stays_down("candlewire-trainer", 3);
    installed.drop_in("candlewire-reporter.service", "lease", "Environment=CANDLEWIRE_FRESH_WITHIN=soon");
    stays_down("candlewire-reporter", 2);
    assert_eq!(json!(installed.state("candlewire-reporter").main_pid), json!(0));
}

/// The default limit of a machine can be lower than a unit needs.
#[test]
fn every_service_names_a_limit_of_files_above_its_connections() {
    for (unit, connections) in
        SERVICES.iter().map(|unit| (unit, if unit.ends_with("reporter") { 512 + 64 } else { 64 }))
    {
        let file = format!("deploy/systemd/{}.service", unit.replace("@1", "@"));
        let text = std::fs::read_to_string(checkout().join(&file)).unwrap();
        let limits: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("LimitNOFILE=")).collect();
        let [limit] = limits[..] else { panic!("{file} names {limits:?}") };
        // At least as many again for its own work.
        assert!(limit.parse::<usize>().unwrap() >= 2 * connections, "{file}: {limit}");
    }
}

/// The indented box of deploy/README.md with this line, without its section.
fn box_with(line: &str) -> String {
    let page = std::fs::read_to_string(checkout().join("deploy/README.md")).unwrap();
    let boxes = page.split("\n\n").filter(|part| part.trim_start().starts_with("[Service]"));
    let found = boxes.into_iter().find(|part| part.contains(line)).expect("the page has such a box");
    found.lines().skip(1).map(str::trim).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_server_speaks_tls_when_its_unit_is_edited_as_the_page_says() {
    let installed = Installed::shared();
    let tls = installed.path().join("etc/candlewire/tls");
    std::fs::create_dir(&tls).unwrap();
    let openssl = |arguments: &str| {
        let new = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
        let words = new.split(' ').chain(arguments.split(' '));
        succeed(Command::new("openssl").current_dir(&tls).args(words).stderr(Stdio::null()))
    };
    openssl("-subj /CN=candlewire -keyout ca.key -out ca.pem");
    openssl(
        "-CA ca.pem -CAkey ca.key -subj /CN=nats -addext basicConstraints=critical,CA:FALSE \
         -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout nats.key -out nats.pem",
    );
    installed.drop_in("candlewire-nats.service", "tls", &box_with("tls.conf").replace("10.0.0.1", "127.0.0.1"));
    installed.set("NATS_URL", &installed.url().replace("nats://127.0.0.1", "tls://localhost"));
    installed.set("NATS_TLS_CA", "/etc/candlewire/tls/ca.pem");
    installed.start(&["candlewire-nats", "candlewire-topology", READERS[0]]);
    eventually_ready(&installed, READERS[0]);
    let output = installed.program("topology", "admin").arg("show").output().unwrap();
    assert!(!output.status.success(), "clients without TLS are refused");
}
