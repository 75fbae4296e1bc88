//! Errors about the environment: one line and the right exit code.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use bus::topology::{Limits, create, definitions};
use pipeline_tests::programs::{Running, fail, path_without, program, succeed};
use pipeline_tests::server::{Server, checkout};
use pipeline_tests::test_pipeline::{TestPipeline, sample};
use serde_json::{Value, json};

/// A checkout with only scripts/setup. Its usual downloads are present.
fn setup_in(dir: &Path) -> PathBuf {
    let [scripts, tools] = ["scripts", ".tools"].map(|name| dir.join(name));
    std::fs::create_dir(&scripts).unwrap();
    for script in ["setup", "secrets.sh"] {
        std::fs::copy(checkout().join("scripts").join(script), scripts.join(script)).unwrap();
    }
    std::fs::create_dir(&tools).unwrap();
    for tool in ["nats-server", "xgboost", "xgboost_cpu.libs", "stamps"] {
        symlink(checkout().join(".tools").join(tool), tools.join(tool)).unwrap();
    }
    scripts.join("setup")
}

#[test]
fn test_only_tools_are_installed_by_package_name() {
    let dir = tempfile::tempdir().unwrap();
    let path_of_setup = setup_in(dir.path());
    for (program, package) in [
        ("shellcheck", "shellcheck"),
        ("systemd-analyze", "systemd"),
        ("ip", "iproute2"),
        ("openssl", "openssl"),
        ("chromium", "chromium"),
        ("chromedriver", "chromium-driver"),
    ] {
        let path = path_without(&[program, "apt-get"]);
        let mut setup = Command::new(&path_of_setup);
        let (code, error) = fail(setup.args(["--quiet", "--test"]).env("PATH", path.path()));
        assert!(code == 1 && error.contains(&format!("apt-get install {package}")), "{program}: {code} {error}");
    }
}

#[test]
fn an_env_file_that_others_can_write_is_not_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let mut setup = Command::new(setup_in(dir.path()));
    let file = dir.path().join(".env");
    std::fs::write(&file, "NATS_URL=nats://elsewhere:4222\n").unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o666)).unwrap();
    let (code, error) = fail(setup.arg("--quiet"));
    assert!(code == 1 && error.contains("chmod go-w"), "{code} {error}");
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
    succeed(&mut setup);
    let lines = std::fs::read_to_string(&file).unwrap();
    assert!(lines.contains("elsewhere") && lines.contains("CANDLEWIRE_PASSWORD_READER="), "{lines}");
}

#[test]
fn without_a_server_a_command_says_so_and_a_service_waits() {
    let dir = tempfile::tempdir().unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("nats://{closed}");
    let mut show = program("aggregator", dir.path());
    let (code, error) = fail(show.args(["show", "hourly", "--connect-timeout", "1", "--nats-url", &url]));
    assert!(code == 1 && error.contains(&url) && error.contains("start it"), "{code} {error}");

    let mut service = program("stream-processor", dir.path());
    let (mut running, mut log) = Running::start_followed(service.args(["run", "--nats-url", &url]));
    let warned = log.find(|line| line.as_ref().is_ok_and(|line| line.contains("waiting"))).unwrap().unwrap();
    assert!(warned.contains("start it"), "{warned}");
    assert!(running.is_running());
    running.terminate();
    assert_eq!(running.wait(), Some(0));
}

#[test]
fn a_service_waits_for_its_streams() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start();
    let mut service = program("stream-processor", dir.path());
    let (running, mut log) = Running::start_followed(service.args(["run", "--nats-url", &server.url()]));
    let warned = log.find(|line| line.as_ref().is_ok_and(|line| line.contains("waiting"))).unwrap().unwrap();
    assert!(warned.contains("topology apply"), "{warned}");
    let applied = program("topology", dir.path()).args(["apply", "--nats-url", &server.url()]).output().unwrap();
    assert!(applied.status.success(), "{applied:?}");
    assert!(log.any(|line| line.is_ok_and(|line| line.contains("ready"))));
    running.terminate();
}

/// The command of every service, with its required flags.
fn services() -> [(&'static str, Vec<String>); 5] {
    let own = |arguments: &[&str]| arguments.iter().map(|&argument| argument.to_owned()).collect::<Vec<_>>();
    let file = sample("btcusdt_1m_2020-03.csv.gz").to_string_lossy().into_owned();
    let replay = ["run", "--source", "recording", "--file", &file, "--coin", "a", "--quote", "b", "--grain", "1m"];
    [
        ("producer", own(&replay)),
        ("stream-processor", own(&["run"])),
        ("aggregator", own(&["run"])),
        ("trainer", own(&["run", "--archive", "archive"])),
        ("reporter", own(&["run", "--listen", "127.0.0.1:0"])),
    ]
}

/// Starts every service and `topology show`; each must end with code 3 and print all of this.
fn all_refuse(dir: &Path, flags: &[&str], said: &[&str]) {
    let mut commands: Vec<_> = services().into();
    commands.push(("topology", vec!["show".to_owned()]));
    // Concurrently: the server does not answer a forbidden request, so each waits for its timeout.
    std::thread::scope(|scope| {
        for (name, arguments) in &commands {
            scope.spawn(move || {
                let (code, error) = fail(program(name, dir).args(arguments).args(flags));
                assert!(code == 3 && said.iter().all(|said| error.contains(said)), "{name}: {code} {error}");
            });
        }
    });
}

#[test]
fn a_wrong_password_is_refused_with_the_variable_that_holds_it() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start();
    let flags = ["--nats-url", &server.url(), "--nats-password", "wr0ng"];
    all_refuse(dir.path(), &flags, &["CANDLEWIRE_PASSWORD_"]);
    let (_, error) = fail(program("topology", dir.path()).arg("show").args(flags));
    assert!(!error.contains("wr0ng"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_user_is_told_the_missing_permission() {
    let pipeline = TestPipeline::new().await;
    // May read the last published value, and nothing else of the streams.
    let flags = ["--nats-url", &pipeline.server.url(), "--nats-user", "reader"];
    all_refuse(pipeline.dir.path(), &flags, &["user \"reader\"", "--nats-user"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_streams_are_refused_with_the_command_that_shows_them() {
    let server = Server::start();
    let admin = server.connect("admin").await;
    for mut definition in definitions(&Limits::default()) {
        if definition["allow_atomic"] == true {
            definition["allow_atomic"] = json!(false);
        }
        create(&admin, &definition).await.unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    for (name, arguments) in services() {
        let (code, error) = fail(program(name, dir.path()).args(arguments).args(["--nats-url", &server.url()]));
        assert!(code == 3 && error.contains("topology plan"), "{name}: {code} {error}");
    }
}

#[test]
fn a_server_that_is_too_old_is_refused_with_the_needed_version() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    // The greeting of Debian's nats-server; that server cannot run beside the required one.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            std::thread::spawn(move || greet(stream));
        }
    });
    let dir = tempfile::tempdir().unwrap();
    all_refuse(dir.path(), &["--nats-url", &url], &["2.9.10", "2.15", "scripts/setup"]);
}

/// Sends the greeting of an old server and answers pings.
fn greet(mut stream: TcpStream) {
    let greeting = r#"INFO {"server_id":"x","server_name":"x","version":"2.9.10","go":"","host":"","port":0,"headers":true,"max_payload":1048576,"proto":1}"#;
    write!(stream, "{greeting}\r\n").unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    while let Some(Ok(line)) = lines.next() {
        if line.starts_with("PING") && write!(stream, "PONG\r\n").is_err() {
            return;
        }
    }
}

#[test]
fn a_missing_server_is_waited_for_by_every_service() {
    let dir = tempfile::tempdir().unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("nats://{closed}");
    for (name, arguments) in services() {
        let mut command = program(name, dir.path());
        let (mut running, mut log) = Running::start_followed(command.args(arguments).args(["--nats-url", &url]));
        let warned = log.find(|line| line.as_ref().is_ok_and(|line| line.contains("waiting"))).unwrap().unwrap();
        assert!(warned.contains("start it") && running.is_running(), "{name}: {warned}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_and_an_impossible_folder_are_bad_configuration() {
    let pipeline = TestPipeline::new().await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for service in ["stream-processor", "aggregator"] {
        let (code, error) = fail(pipeline.program(service).args(["run", "--http", &address]));
        assert!(code == 2 && error.contains(&address) && error.contains("--http"), "{code} {error}");
    }
    let (code, error) = fail(pipeline.program("reporter").args(["run", "--listen", &address]));
    assert!(code == 2 && error.contains(&address), "{code} {error}");
    let (code, error) = fail(pipeline.program("trainer").args(["archive", "--archive", "/dev/null/archive"]));
    assert!(code == 2 && error.contains("/dev/null/archive"), "{code} {error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_that_could_lose_data_are_refused_with_advice() {
    let pipeline = TestPipeline::new().await;
    for (flags, said) in [
        (["--partitions", "8"], "partitions are fixed"),
        (["--market-bytes", "1GiB"], "--market-bytes 8589934592"),
        (["--feed-days", "7"], "--feed-days 90"),
        (["--replicas", "3"], "deploy/nats/cluster.conf"),
        (["--market-bytes", "30GiB"], "max_file_store"),
    ] {
        let (code, error) = fail(pipeline.program("topology").arg("apply").args(flags));
        assert!(code == 3 && error.contains(said), "{flags:?}: {code} {error}");
        succeed(pipeline.program("topology").arg("plan"));
    }
    let output =
        pipeline.program("topology").args(["plan", "--feed-days", "7", "--stats-bytes", "3GiB"]).output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        told.contains("FEED           refused: max_age") && told.contains("STATS          raise: max_bytes"),
        "{told}"
    );
    assert!(
        succeed(pipeline.program("topology").args(["apply", "--stats-bytes", "3GiB"])).contains("raised: max_bytes")
    );
    succeed(pipeline.program("topology").args(["plan", "--stats-bytes", "3GiB"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn exported_definitions_make_the_same_streams() {
    let server = Server::start();
    let pipeline = TestPipeline::at(server);
    let flags = ["--partitions", "4", "--feed-days", "7"];
    let printed: Value =
        serde_json::from_str(&succeed(pipeline.program("topology").arg("export").args(flags))).unwrap();
    let files = succeed(pipeline.program("topology").args(["export", "definitions"]).args(flags));
    let admin = pipeline.server.connect("admin").await;
    for (file, printed) in files.lines().zip(printed.as_array().unwrap()) {
        let definition: Value =
            serde_json::from_slice(&std::fs::read(pipeline.dir.path().join(file)).unwrap()).unwrap();
        assert_eq!(&definition, printed);
        create(&admin, &definition).await.unwrap();
    }
    succeed(pipeline.program("topology").arg("plan").args(flags));
}
