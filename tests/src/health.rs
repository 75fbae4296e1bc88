//! Services with a health server, and queries to it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use crate::programs::{NEVER, Running};

/// A service with a health server.
#[derive(Debug)]
pub struct Watched {
    /// The process.
    pub process: Running,
    /// Address of the health server.
    pub addr: String,
}

impl Watched {
    /// Starts a service with its health on a free port; `log` receives each log line.
    pub fn start(command: &mut Command, log: impl Fn(&str) + Send + 'static) -> Self {
        let (process, mut lines) =
            Running::start_followed(command.args(["--http", "127.0.0.1:0"]).env("CANDLEWIRE_LOG", "info"));
        let addr = lines.by_ref().find_map(|line| {
            let line = line.unwrap();
            log(&line);
            let (_, addr) = line.split_once("health is served addr=")?;
            Some(addr.trim().to_owned())
        });
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| log(&line)));
        Self { process, addr: addr.expect("the service logs the address of its health server") }
    }

    /// Status and text of a page; status 0 without an answer.
    pub fn page(&self, path: &str) -> (u16, String) {
        page(&self.addr, path)
    }

    /// Whether it is ready.
    pub fn is_ready(&self) -> bool {
        self.page("/readyz").0 == 200
    }

    /// The value of a `/metrics` line, by name and labels without the prefix, such as `ticks_total{outcome="late"}`.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let (_, text) = self.page("/metrics");
        let value =
            text.lines().find_map(|line| line.strip_prefix("candlewire_")?.strip_prefix(name)?.strip_prefix(' '));
        value.map(|value| value.parse().unwrap())
    }
}

/// Status and text of a page at an address; status 0 without an answer.
pub fn page(addr: &str, path: &str) -> (u16, String) {
    let Ok(mut stream) = TcpStream::connect(addr) else { return (0, String::new()) };
    stream.set_read_timeout(Some(NEVER)).unwrap();
    let mut answer = String::new();
    let asked =
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {addr}\r\n\r\n").and_then(|()| stream.read_to_string(&mut answer));
    if asked.is_err() {
        return (0, String::new());
    }
    let (head, text) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, text.to_owned())
}
