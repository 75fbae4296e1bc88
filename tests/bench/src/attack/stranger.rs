//! Hostile clients without a password, each in threads of its own until its time is over.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::SockRef;

/// Connections that a holding client tries to open.
const CONNECTIONS: usize = 900;
/// Subscriptions that it tries to make on each.
const SUBSCRIPTIONS: usize = 4_096;
/// Concurrent connections of a flood.
const FLOODING: usize = 4;
/// Length of a flood's working slice before it pauses, when it may not use a whole core.
const SLICE: Duration = Duration::from_millis(10);
/// Interval of maintenance for held connections.
const LOOK: Duration = Duration::from_millis(200);
/// Minimum bytes of one write of a flood.
const CHUNK: usize = 32 * 1024;
/// Longest blocking write: the server may have stopped reading.
const BLOCKED_MAX: Duration = Duration::from_millis(200);

/// Kinds of abuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Abuse {
    /// Connections that never send CONNECT; reopened when the server closes them after two seconds.
    FloodUnknown,
    /// As many connections and wildcard subscriptions as the server allows, all read.
    HoldReading,
    /// The same, without reading.
    HoldNotReading,
    /// Messages that the viewer may not publish.
    FloodPublish,
    /// Subscriptions, made and removed.
    FloodSubscribe,
    /// Connections, opened and reset.
    FloodConnect,
    /// Connections, opened and closed until this machine has no free port, which then costs a processor to search for
    /// one.
    FloodPorts,
    /// Requests for stored messages.
    FloodGet,
}

impl Abuse {
    /// Name in figures.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::FloodUnknown => "flood_unknown",
            Self::HoldReading => "hold_reading",
            Self::HoldNotReading => "hold_not_reading",
            Self::FloodPublish => "flood_publish",
            Self::FloodSubscribe => "flood_subscribe",
            Self::FloodConnect => "flood_connect",
            Self::FloodPorts => "flood_ports",
            Self::FloodGet => "flood_get",
        }
    }

    /// Whether the client sends nothing once its connections are open.
    pub(super) fn is_hold(self) -> bool {
        matches!(self, Self::HoldReading | Self::HoldNotReading)
    }

    /// Runs until `until`; a flood uses this share of one core, from 0 to 1. Refusals of the server are no errors.
    pub(super) fn run(self, server: SocketAddr, until: Instant, share: f64) {
        match self {
            Self::FloodUnknown => hold(server, until, b"", false),
            Self::HoldReading => hold(server, until, &subscriptions(), true),
            Self::HoldNotReading => hold(server, until, &subscriptions(), false),
            Self::FloodConnect => connect(server, until, share, Some(Duration::ZERO)),
            Self::FloodPorts => connect(server, until, share, None),
            Self::FloodPublish => flood(server, until, share, b"PUB feed.tick.bitcoin.usd 2\r\n{}\r\n"),
            Self::FloodSubscribe => flood(server, until, share, b"SUB live.> 1\r\nUNSUB 1\r\n"),
            Self::FloodGet => {
                let get = b"PUB $JS.API.DIRECT.GET.MARKET.market.5.price.coin-0.usd _INBOX.x 0\r\n\r\n";
                flood(server, until, share, get);
            }
        }
    }
}

fn subscriptions() -> Vec<u8> {
    (0..SUBSCRIPTIONS).flat_map(|number| format!("SUB live.> {number}\r\n").into_bytes()).collect()
}

/// A nonblocking connection.
fn open(server: SocketAddr) -> Option<TcpStream> {
    let stream = TcpStream::connect_timeout(&server, BLOCKED_MAX).ok()?;
    stream.set_write_timeout(Some(BLOCKED_MAX)).ok()?;
    Some(stream)
}

/// Opens connections, authenticates and sends `words` on each, and keeps them open.
fn hold(server: SocketAddr, until: Instant, words: &[u8], reads: bool) {
    let introduction = if words.is_empty() { Vec::new() } else { [&b"CONNECT {}\r\n"[..], words].concat() };
    let introduce = |mut stream: TcpStream| {
        stream.write_all(&introduction).ok()?;
        stream.set_nonblocking(true).ok()?;
        Some(stream)
    };
    let mut held: Vec<TcpStream> = Vec::new();
    while Instant::now() < until {
        // Authenticated connections are opened once; unauthenticated ones again, since the server closes them.
        if held.is_empty() || words.is_empty() {
            while held.len() < CONNECTIONS && Instant::now() < until {
                let Some(stream) = open(server).and_then(introduce) else { break };
                held.push(stream);
            }
        }
        if reads || words.is_empty() {
            held.retain_mut(drain);
        }
        std::thread::sleep(if reads { Duration::from_millis(1) } else { LOOK });
    }
}

/// Reads the available bytes; returns whether the connection is still open.
fn drain(stream: &mut TcpStream) -> bool {
    let mut buffer = [0; 64 * 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
}

/// Sends the same bytes repeatedly on a few connections, and reads the answers.
fn flood(server: SocketAddr, until: Instant, share: f64, words: &[u8]) {
    let chunk = words.repeat(CHUNK.div_ceil(words.len()));
    let mut streams: Vec<(TcpStream, usize)> = Vec::new();
    let mut pace = Pace::new(share);
    while Instant::now() < until {
        while streams.len() < FLOODING {
            let Some(mut stream) = open(server) else { break };
            if stream.write_all(b"CONNECT {}\r\n").and_then(|()| stream.set_nonblocking(true)).is_ok() {
                streams.push((stream, 0));
            }
        }
        streams.retain_mut(|(stream, sent)| {
            // A partly sent line is completed first.
            match stream.write(&chunk[*sent..]) {
                Ok(more) => *sent = (*sent + more) % chunk.len(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return false,
            }
            drain(stream)
        });
        pace.rest();
    }
}

/// Opens connections, authenticates as the viewer, and disconnects; with a reset when `linger` is zero.
fn connect(server: SocketAddr, until: Instant, share: f64, linger: Option<Duration>) {
    let mut pace = Pace::new(share);
    while Instant::now() < until {
        if let Some(mut stream) = open(server) {
            drop(SockRef::from(&stream).set_linger(linger));
            drop(stream.write_all(b"CONNECT {}\r\nSUB live.> 1\r\n"));
        }
        pace.rest();
    }
}

/// Limits work to a share of the time.
struct Pace {
    share: f64,
    began: Instant,
}

impl Pace {
    fn new(share: f64) -> Self {
        Self { share, began: Instant::now() }
    }

    fn rest(&mut self) {
        let worked = self.began.elapsed();
        if self.share < 1.0 && worked >= SLICE {
            std::thread::sleep(worked.mul_f64(1.0 / self.share - 1.0));
            self.began = Instant::now();
        }
    }
}
