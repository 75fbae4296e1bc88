//! The readers: most just read; one leaves and comes back all the time, and one never reads.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, anyhow};
use pipeline_tests::event_stream::EventStream;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use service::Shutdown;
use socket2::{Domain, Socket, Type};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::page_speed::seen::{Kind, Seen};

/// Readers in all, among them the one that never reads.
const CLIENTS: usize = 500;
/// How often one reader leaves and comes back.
const RETURNS: u64 = 100;
/// Longest time that it stays.
const STAY_MS_MAX: u64 = 100;
/// Bytes that the socket of the reader that never reads takes.
const UNREAD_BYTES: usize = 4_096;
/// A price that has not arrived this long after it was stored is lost.
const LOST: Duration = Duration::from_secs(10);
/// Interval of checks for that.
const LOOK: Duration = Duration::from_millis(20);

/// Readers of the live events of a page.
pub(super) struct Crowd {
    addr: String,
    stop: Shutdown,
    readers: Vec<Reader>,
    unread: Option<TcpStream>,
}

/// A reader in a task of its own.
struct Reader {
    /// Sequence in MARKET of its newest price.
    newest: Arc<AtomicU64>,
    task: JoinHandle<anyhow::Result<Vec<Seen>>>,
}

impl Crowd {
    /// No readers yet, of the page at this address.
    pub(super) fn new(addr: &str) -> Self {
        Self { addr: addr.to_owned(), stop: Shutdown::new(), readers: Vec::new(), unread: None }
    }

    /// Adds readers that each leave and come back so often.
    pub(super) fn add(&mut self, count: usize, returns: u64) {
        for _ in 0..count {
            let newest = Arc::<AtomicU64>::default();
            let reading = read(self.addr.clone(), returns, newest.clone(), self.stop.clone());
            self.readers.push(Reader { newest, task: tokio::spawn(reading) });
        }
    }

    /// Adds all others.
    ///
    /// # Errors
    /// The page refuses the connection of the reader that never reads.
    pub(super) fn fill(&mut self) -> anyhow::Result<()> {
        self.unread = Some(ask_and_never_read(&self.addr)?);
        self.add(1, RETURNS);
        self.add(CLIENTS - 1 - self.readers.len(), 0);
        Ok(())
    }

    /// Ends the readers when each has the newest of these prices, or will never have it. Returns the events of each.
    ///
    /// # Errors
    /// The page has refused a reader, or has ended its connection.
    pub(super) async fn end(self, stored: &[u64]) -> anyhow::Result<Vec<Vec<Seen>>> {
        let last = stored.last().copied().context("no price was stored")?;
        let since = Instant::now();
        let is_behind = |reader: &Reader| reader.newest.load(Ordering::Relaxed) < last && !reader.task.is_finished();
        while self.readers.iter().any(is_behind) && since.elapsed() < LOST {
            tokio::time::sleep(LOOK).await;
        }
        self.stop.request();
        let mut events = Vec::new();
        for reader in self.readers {
            events.push(reader.task.await??);
        }
        Ok(events)
    }
}

/// Reads until told to stop.
async fn read(addr: String, mut returns: u64, newest: Arc<AtomicU64>, stop: Shutdown) -> anyhow::Result<Vec<Seen>> {
    let mut random = StdRng::seed_from_u64(1);
    let mut events: Vec<Seen> = Vec::new();
    let mut stream = open(&addr, None).await?;
    let mut leave = Instant::now();
    loop {
        tokio::select! {
            event = stream.next() => {
                let event = event.context("the page has closed the connection of a reader")?;
                let Some(seen) = Seen::now(event)? else { continue };
                if let Kind::Price { seq, .. } = seen.kind {
                    newest.store(seq, Ordering::Relaxed);
                }
                events.push(seen);
            }
            () = tokio::time::sleep_until(leave), if returns > 0 && !events.is_empty() => {
                stream = open(&addr, events.last()).await?;
                returns -= 1;
                leave = Instant::now() + Duration::from_millis(random.random_range(0..STAY_MS_MAX));
            }
            () = stop.requested() => return Ok(events),
        }
    }
}

/// Connects, and asks for what follows an event if there is one.
async fn open(addr: &str, last: Option<&Seen>) -> anyhow::Result<EventStream> {
    let opened = EventStream::try_open(addr, "", last.map(|seen| seen.id.as_str())).await;
    opened.map_err(|answer| anyhow!("the page refuses a reader: {answer}"))
}

/// Asks for events and reads no byte of the answer.
fn ask_and_never_read(addr: &str) -> anyhow::Result<TcpStream> {
    let addr: SocketAddr = addr.parse().context("the page's address")?;
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    socket.set_recv_buffer_size(UNREAD_BYTES)?;
    socket.connect(&addr.into())?;
    let mut stream = TcpStream::from(socket);
    write!(stream, "GET /api/v1/events HTTP/1.1\r\nHost: {addr}\r\n\r\n")?;
    Ok(stream)
}
