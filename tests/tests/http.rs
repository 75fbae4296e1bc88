//! Health and page with untrusted clients: they hold connections, send without end, or use a foreign host name.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::mpsc;

use bus::topology::Limits;
use pipeline_tests::health::{Watched, page};
use pipeline_tests::process::peak_bytes;
use pipeline_tests::programs::{NEVER, Running, eventually, fail, program, succeed};
use pipeline_tests::served_page::ServedPage;
use pipeline_tests::test_pipeline::TestPipeline;
use pipeline_tests::ticks::publish_tick;
use tempfile::TempDir;

/// The start of a request that never ends.
const HALF: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nX-More: ";

/// Opens a connection, sends this and keeps it open.
fn hold(addr: &str, words: &str) -> TcpStream {
    let mut client = TcpStream::connect(addr).unwrap();
    // The server may close it at any time.
    drop(client.write_all(words.as_bytes()));
    client
}

/// Limits the open files of a process.
fn limit_files(process: &Running, files: usize) {
    let limit = format!("--nofile={files}:{files}");
    succeed(Command::new("prlimit").args([&limit, "--pid", &process.id().to_string()]));
}

fn open_files(process: &Running) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", process.id())).unwrap().count()
}

/// Peak memory of a process.
fn peak_megabytes(process: &Running) -> u64 {
    peak_bytes(process.id()).unwrap() >> 20
}

/// A program without a server, with its health and, for the reporter, its page.
fn start(name: &str, dir: &TempDir, flags: &[&str]) -> (Watched, mpsc::Receiver<String>) {
    let (sender, log) = mpsc::channel();
    let mut command = program(name, dir.path());
    command.args(["run", "--nats-url", "nats://127.0.0.1:1"]).args(flags);
    let watched = Watched::start(&mut command, move |line| drop(sender.send(line.to_owned())));
    (watched, log)
}

/// The reporter and the address of its page.
fn start_page(dir: &TempDir, flags: &[&str]) -> (Watched, String) {
    let flags = [&["--nats-url", "nats://127.0.0.1:1"], flags].concat();
    let page = ServedPage::start_with(&mut program("reporter", dir.path()), &flags);
    (page.reporter, page.addr)
}

/// The status of a request with this host name.
fn status_under(addr: &str, host: &str) -> String {
    let mut client = hold(addr, &format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"));
    let mut answer = String::new();
    client.set_read_timeout(Some(NEVER)).unwrap();
    client.read_to_string(&mut answer).unwrap();
    answer.split_whitespace().nth(1).unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_finds_its_server_again_while_strangers_hold_its_port() {
    let mut pipeline = TestPipeline::with_limits(&Limits { partitions: 1, ..Limits::default() }).await;
    let (sender, log) = mpsc::channel();
    let mut command = pipeline.program("stream-processor");
    let step = Watched::start(command.arg("run"), move |line| drop(sender.send(line.to_owned())));
    eventually("the step is ready", || step.is_ready());
    limit_files(&step.process, 128);
    pipeline.server.kill();
    log.iter().find(|line| line.contains("lost the NATS server")).unwrap();
    let _held: Vec<TcpStream> = (0..160).map(|_| hold(&step.addr, HALF)).collect();
    eventually("they are accepted", || open_files(&step.process) > 64);
    pipeline.server.start_again();
    publish_tick(&pipeline.server.connect("producer").await, 1_600_000_000_000).await;
    eventually("the step continues", || pipeline.count("accepted") == 1);
}

#[test]
fn health_is_answered_when_files_run_out() {
    let dir = tempfile::tempdir().unwrap();
    let (step, _log) = start("stream-processor", &dir, &[]);
    limit_files(&step.process, open_files(&step.process) + 8);
    let _held: Vec<TcpStream> = (0..40).map(|_| hold(&step.addr, HALF)).collect();
    assert_eq!(step.page("/healthz"), (200, "ok\n".to_owned()));
}

#[test]
fn long_heads_and_slow_readers_do_not_fill_the_pages_memory() {
    let dir = tempfile::tempdir().unwrap();
    let (reporter, addr) = start_page(&dir, &[]);
    let mut held = Vec::new();
    for bytes in [300_000, 15_000] {
        let head = format!("{HALF}{}", "x".repeat(bytes));
        held.extend((0..600).map(|_| hold(&addr, &head)));
    }
    assert_eq!(page(&addr, "/").0, 200);
    let largest = "GET /vendor/lightweight-charts.mjs HTTP/1.1\r\nHost: localhost\r\n\r\n";
    held.extend((0..200).map(|_| hold(&addr, &largest.repeat(20))));
    assert_eq!(page(&addr, "/").0, 200);
    assert!(peak_megabytes(&reporter.process) < 100, "{} MB", peak_megabytes(&reporter.process));
}

#[test]
fn files_of_the_page_are_compressed_and_strictly_framed() {
    let dir = tempfile::tempdir().unwrap();
    let (_reporter, addr) = start_page(&dir, &[]);
    let ask = |path: &str, more: &str| {
        let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{more}\r\n");
        let mut answer = Vec::new();
        hold(&addr, &head).read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
        (String::from_utf8_lossy(&answer[..end]).to_lowercase(), answer[end + 4..].to_vec())
    };
    for path in ["/", "/page/app.js", "/page/style.css", "/vendor/lightweight-charts.mjs"] {
        let (head, body) = ask(path, "Accept-Encoding: gzip\r\n");
        assert!(head.contains("content-encoding: gzip"), "{path}: {head}");
        assert!(
            head.contains("content-security-policy: default-src 'none'") && !head.contains("unsafe"),
            "{path}: {head}"
        );
        let mut text = String::new();
        flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut text).unwrap();
        assert_eq!(text.into_bytes(), ask(path, "").1, "{path}");
        let tag = head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
        let (head, body) = ask(path, &format!("If-None-Match: {}\r\n", tag.replace('w', "W")));
        assert!(head.starts_with("http/1.1 304") && body.is_empty(), "{path}: {head}");
    }
}

#[test]
fn health_and_page_answer_under_their_own_names_only() {
    let dir = tempfile::tempdir().unwrap();
    let (reporter, addr) = start_page(&dir, &["--allowed-hosts", "prices.example.com"]);
    for (addr, found) in [(reporter.addr.as_str(), "200"), (addr.as_str(), "404")] {
        for own in [addr, "localhost:8080", "reporter", "prices.example.com"] {
            assert_eq!(status_under(addr, own), found, "{own}");
        }
        assert_eq!(status_under(addr, "evil.example"), "421");
    }
    let mut wrong = program("reporter", dir.path());
    let (code, error) =
        fail(wrong.args(["run", "--listen", "127.0.0.1:0"]).env("CANDLEWIRE_ALLOWED_HOSTS", "a.example:80"));
    assert!(code == 2 && error.contains("is not a host name"), "{code} {error}");
}
