//! What a user hears when something around the programs is not as it should be: one line, and the right exit code.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

use pipeline_tests::programs::{Running, fail, program};
use pipeline_tests::server::Server;
use pipeline_tests::world::World;

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

#[test]
fn a_wrong_password_is_refused_with_the_variable_that_holds_it() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start();
    for arguments in [["stream-processor", "run"], ["topology", "show"]] {
        let mut command = program(arguments[0], dir.path());
        command.args([arguments[1], "--nats-url", &server.url(), "--nats-password", "wrong"]);
        let (code, error) = fail(&mut command);
        assert!(code == 3 && error.contains("CANDLEWIRE_PASSWORD_") && !error.contains("wrong\""), "{code} {error}");
    }
}

#[test]
fn a_server_that_is_too_old_is_refused_with_what_is_needed() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    // The greeting of the nats-server that Debian ships; no such server can run beside the one that is needed here.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let greeting = r#"INFO {"server_id":"x","server_name":"x","version":"2.9.10","go":"","host":"","port":0,"headers":true,"max_payload":1048576,"proto":1}"#;
            write!(stream, "{greeting}\r\n").unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while let Some(Ok(line)) = lines.next() {
                if line.starts_with("PING") {
                    write!(stream, "PONG\r\n").unwrap();
                }
            }
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let (code, error) = fail(program("topology", dir.path()).args(["show", "--nats-url", &url]));
    assert!(code == 3 && error.contains("2.9.10") && error.contains("2.15"), "{code} {error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_and_a_folder_that_cannot_be_are_bad_configuration() {
    let world = World::new().await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for service in ["stream-processor", "aggregator"] {
        let (code, error) = fail(world.program(service).args(["run", "--http", &address]));
        assert!(code == 2 && error.contains(&address) && error.contains("--http"), "{code} {error}");
    }
    let (code, error) = fail(world.program("reporter").args(["run", "--listen", &address]));
    assert!(code == 2 && error.contains(&address), "{code} {error}");
    let (code, error) = fail(world.program("trainer").args(["archive", "--archive", "/dev/null/archive"]));
    assert!(code == 2 && error.contains("/dev/null/archive"), "{code} {error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_differ_are_named_with_what_differs() {
    let world = World::new().await;
    let mut apply = world.program("topology");
    let (code, error) = fail(apply.args(["apply", "--partitions", "8"]));
    assert!(code == 3 && error.contains("FEED"), "{code} {error}");
    let (code, _) = fail(world.program("topology").args(["apply", "--market-bytes", "1GiB"]));
    assert_eq!(code, 3, "a smaller limit could make a full stream");
    assert!(world.program("topology").args(["apply", "--stats-bytes", "3GiB"]).status().unwrap().success());
    assert!(world.program("topology").args(["plan", "--stats-bytes", "3GiB"]).status().unwrap().success());
}
