//! deploy/compose.yaml: parsed by Compose itself, its containers started without an engine.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};
use std::time::Instant;

use pipeline_tests::container::{Container, Project};
use pipeline_tests::programs::{Running, eventually, fail, program, succeed};
use pipeline_tests::server::checkout;
use pipeline_tests::ticks::coin_in;
use pipeline_tests::users::USERS;
use serde_json::Value;

/// The services that run until they are stopped.
const SERVICES: [&str; 5] = ["producer", "stream-processor", "aggregator", "trainer", "reporter"];

/// A container for an operator's commands.
fn operator(project: &Project) -> Container {
    let container = project.start_with("topology", 9, &["sleep", "infinity"].map(str::to_owned));
    let hello = ["topology", "--version"].map(str::to_owned);
    eventually("the operator's container runs", || {
        container.exec(&hello).is_some_and(|output| output.status.success())
    });
    container
}

/// JSON output of `topology show`.
fn standing(operator: &Container) -> Value {
    let output = operator.exec(&["topology", "show", "--format", "json"].map(str::to_owned)).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Numbers of a step's partitions per owner, largest first.
fn shares(operator: &Container, step: &str) -> Vec<usize> {
    let standing = standing(operator);
    let mut owners: BTreeMap<String, usize> = BTreeMap::new();
    for partition in standing["steps"][step]["partitions"].as_array().unwrap() {
        if let Some(owner) = partition["owner"]["id"].as_str() {
            *owners.entry(owner.to_owned()).or_default() += 1;
        }
    }
    let mut shares: Vec<usize> = owners.into_values().collect();
    shares.sort_by(|a, b| b.cmp(a));
    shares
}

/// A mock of CoinGecko, at the address where containers reach the outside.
fn start_coingecko(project: &mut Project) -> Running {
    let outside = project.gateway("outside");
    let replica = "import datetime, http.server, json, sys, urllib.parse
class Replica(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        ids = urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query)['ids'][0].split(',')
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='milliseconds').replace('+00:00', 'Z')
        body = json.dumps([{'id': id, 'current_price': 100.5, 'last_updated': now} for id in ids]).encode()
        self.send_response(200)
        self.send_header('content-type', 'application/json')
        self.send_header('content-length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.HTTPServer((sys.argv[1], 8000), Replica).serve_forever()";
    project.set("producer", "COINGECKO_BASE_URL", &format!("http://{outside}:8000/api/v3"));
    project.set("producer", "COINGECKO_INTERVAL", "500ms");
    project.set("producer", "COINGECKO_HISTORY", "0");
    // One in each partition.
    let coins: Vec<String> = (0..16).map(|partition| coin_in(partition, "usd", 16)).collect();
    project.set("producer", "CANDLEWIRE_COINS", &coins.join(","));
    Running::start(project.host("python3").args(["-c", replica, &outside]).stderr(Stdio::null()))
}

/// Starts the pipeline from the compose file, scales the steps to four instances, and stops it.
#[test]
fn the_compose_file_starts_scales_and_stops_the_pipeline() {
    let mut project = Project::new(None);
    let _coingecko = start_coingecko(&mut project);
    // In the least favorable order: the services wait for the server and the streams.
    let mut services: Vec<Container> = SERVICES.map(|service| project.start(service, 1)).into();
    let mut nats = project.start("nats", 1);
    nats.wait_until_healthy();
    assert_eq!(project.start("topology", 1).wait(), Some(0));
    let operator = operator(&project);
    services.iter_mut().for_each(Container::wait_until_healthy);

    services.extend((2..=4).map(|number| project.start("stream-processor", number)));
    services.iter_mut().for_each(Container::wait_until_healthy);
    eventually("four share the partitions", || shares(&operator, "stream-processor") == [4, 4, 4, 4]);
    // One dies without releasing its lease. Each is process 1 of its namespace, so the others take over only after the
    // lease has expired.
    services.pop().unwrap().kill();
    eventually("three share the partitions", || {
        let shares = shares(&operator, "stream-processor");
        shares.len() == 3 && shares[0] <= 6 && shares.iter().sum::<usize>() == 16
    });
    eventually("prices reach STATS", || {
        let standing = standing(&operator);
        standing["steps"]["aggregator"]["partitions"].as_array().unwrap().iter().any(|row| row["position"] != 0)
    });
    let page = format!("http://{}:8080/health", project.address("reporter", "published"));
    let fetch = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())";
    let health = succeed(project.host("python3").args(["-c", fetch, &page]));
    assert!(health.contains("last price"), "{health}");

    for service in &mut services {
        let start = Instant::now();
        assert_eq!(service.stop(), Some(0), "{}", service.log());
        assert!(start.elapsed().as_secs() < 5, "a service promises to stop within 5 s");
    }
    assert_eq!(nats.stop(), Some(0), "{}", nats.log());
}

#[test]
fn the_cluster_variables_give_three_servers_and_three_copies() {
    let project = Project::new(Some("cluster.env"));
    let mut servers = ["nats", "nats-2", "nats-3"].map(|server| project.start(server, 1));
    servers.iter_mut().for_each(Container::wait_until_healthy);
    // Restarted as by `restart: on-failure`, until the servers have a leader.
    eventually("the streams exist", || project.start("topology", 1).wait() == Some(0));
    let mut processor = project.start("stream-processor", 1);
    processor.wait_until_healthy();
    // Succeeds when the streams match the settings, three copies included.
    assert_eq!(project.environment("topology")["CANDLEWIRE_REPLICAS"], "3");
    project.run("topology", &["plan"]);
    assert_eq!(processor.stop(), Some(0), "{}", processor.log());
}

#[test]
fn the_trainer_reaches_the_s3_server_with_its_own_key() {
    let mut project = Project::new(Some("s3.env"));
    let mut nats = project.start("nats", 1);
    let mut s3 = project.start("s3", 1);
    nats.wait_until_healthy();
    assert_eq!(project.start("topology", 1).wait(), Some(0));
    s3.wait_until_healthy();
    let bucket = project.environment("trainer")["S3_BUCKET_NAME"].clone();
    let archive = format!("s3://{bucket}/archive");
    let words = ["trainer", "archive", "--archive", &archive].map(str::to_owned);
    // The server answers before it has created its bucket; Compose restarts a failed container.
    eventually("the bucket is there", || project.start_with("trainer", 1, &words).wait() == Some(0));
    project.set("trainer", "AWS_SECRET_ACCESS_KEY", "another");
    assert_ne!(project.start_with("trainer", 1, &words).wait(), Some(0), "the key is checked");
}

#[test]
fn compose_services_are_locked_down() {
    for variant in [None, Some("cluster.env"), Some("s3.env")] {
        let project = Project::new(variant);
        for name in project.services() {
            let service = project.service(name);
            assert_eq!(service["read_only"], true, "{name}");
            assert_eq!(service["cap_drop"], serde_json::json!(["ALL"]), "{name}");
            assert_eq!(service["security_opt"], serde_json::json!(["no-new-privileges:true"]), "{name}");
            assert!(service["mem_limit"].is_string() && service["pids_limit"].is_number(), "{name} has no limits");
            let files = service["ulimits"]["nofile"].as_u64();
            assert!(name == "s3" || files.is_some_and(|files| files >= 2_048), "{name} may open {files:?} files");
            for missing in ["privileged", "cap_add", "user", "container_name", "network_mode", "pid", "devices"] {
                assert!(service[missing].is_null(), "{name} has {missing}");
            }
            let networks: Vec<&String> = service["networks"].as_object().unwrap().keys().collect();
            for port in service["ports"].as_array().into_iter().flatten() {
                assert_eq!(port["host_ip"], "127.0.0.1", "{name} is published: {port}");
                let is_reached = networks.iter().any(|network| project.network(network)["internal"] != true);
                assert!(is_reached, "an internal network publishes nothing: {name}");
            }
        }
    }
}

#[test]
fn each_service_has_its_own_secret_and_no_other() {
    let project = Project::new(Some("s3.env"));
    let mut seen = BTreeSet::new();
    for name in project.services().into_iter().filter(|name| *name != "nats") {
        let secrets: Vec<&str> = project.service(name)["secrets"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|s| s["source"].as_str())
            .collect();
        let [secret] = secrets[..] else { panic!("{name} has the secrets {secrets:?}") };
        assert!(seen.insert(secret), "{secret} is in two containers");
        let env = project.environment(name);
        if name != "s3" {
            assert_eq!(env["NATS_PASSWORD_FILE"], format!("/run/secrets/{secret}"), "{name}");
        }
        let passwords: Vec<&String> =
            env.keys().filter(|key| key.contains("PASSWORD") && !key.ends_with("_FILE")).collect();
        assert!(passwords.is_empty(), "{name} has {passwords:?}");
    }
    let passwords: BTreeSet<String> =
        project.environment("nats").into_keys().filter(|key| key.starts_with("CANDLEWIRE_PASSWORD_")).collect();
    let users = USERS.iter().map(|user| pipeline_tests::users::password_variable(user));
    let wanted: BTreeSet<String> = users.chain(["CANDLEWIRE_PASSWORD_ROUTES".to_owned()]).collect();
    assert_eq!(passwords, wanted, "nats-server knows every user");
}

#[test]
fn every_variable_and_command_is_one_that_the_program_knows() {
    let dir = tempfile::tempdir().unwrap();
    let ours = SERVICES.into_iter().chain(["topology"]);
    for variant in [None, Some("cluster.env"), Some("s3.env")] {
        let project = Project::new(variant);
        for name in ours.clone() {
            let words = project.command(name);
            let help = succeed(program(&words[0], dir.path()).args(&words[1..]).arg("--help"));
            for variable in project.environment(name).keys() {
                // Amazon's own variables are not listed here.
                let mut names = help.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                let is_known = names.any(|name| name == variable) || variable.starts_with("AWS_");
                assert!(is_known, "{name}: `{}` knows nothing of {variable}", words.join(" "));
            }
        }
    }
}

#[test]
fn variants_go_together_and_leave_the_settings_that_were_there() {
    let project = Project::with("CANDLEWIRE_COINS=dogecoin\nCANDLEWIRE_PAGE_PORT=8081\n", &["cluster.env", "s3.env"]);
    let of = |service: &str, variable: &str| project.environment(service)[variable].clone();
    assert_eq!(of("producer", "CANDLEWIRE_COINS"), "dogecoin");
    assert_eq!(project.service("reporter")["ports"][0]["published"], "8081");
    assert_eq!(of("topology", "CANDLEWIRE_REPLICAS"), "3");
    assert_eq!(of("trainer", "AWS_ENDPOINT_URL"), "http://s3:8333");
    let services = project.services();
    for service in ["nats-2", "nats-3", "s3"] {
        assert!(services.contains(&service), "{service} is not among {services:?}");
    }
    let plain = Project::new(None);
    assert!(!plain.services().contains(&"nats-2") && !plain.services().contains(&"s3"));
}

/// A folder with the files that deploy/docker/make-secrets uses.
fn checkout_for_secrets() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for folder in ["deploy", "scripts"] {
        succeed(Command::new("cp").arg("--archive").arg(checkout().join(folder)).arg(dir.path()));
    }
    dir
}

#[test]
fn an_unreadable_secret_is_refused_before_anything_is_written() {
    let dir = checkout_for_secrets();
    let secrets = dir.path().join("deploy/docker/secrets");
    std::fs::create_dir_all(&secrets).unwrap();
    for (name, wrong) in [("trainer", "12345678901234567890"), ("routes", "a-slash/in-the-middle"), ("s3-key", "short")]
    {
        std::fs::write(secrets.join(name), wrong).unwrap();
        let (code, error) = fail(&mut Command::new(dir.path().join("deploy/docker/make-secrets")));
        let file = secrets.join(name);
        assert!(code == 1 && error.contains(file.to_str().unwrap()) && error.contains("16 characters"), "{error}");
        std::fs::remove_file(file).unwrap();
        assert_eq!(std::fs::read_dir(&secrets).unwrap().count(), 0, "nothing is written");
    }
}

#[test]
fn a_key_is_made_once_and_kept() {
    let dir = checkout_for_secrets();
    let docker = dir.path().join("deploy/docker");
    let make = || succeed(&mut Command::new(docker.join("make-secrets")));
    let read = || std::fs::read_to_string(docker.join("secrets/nats.env")).unwrap();
    make();
    let before = read();
    assert!(make().contains("all secrets are in"));
    assert_eq!(before, read());
}
