//! A network that a test can break: a proxy between clients and a nats-server that knows the protocol's messages, and
//! does with each what the test says.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus::{Connection, NatsArgs};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::programs::NEVER;
use crate::server::Server;

/// A message of the protocol on its way.
#[derive(Debug, Default)]
pub struct Frame {
    /// Whether it goes to the server.
    pub to_server: bool,
    /// Its subject; empty for what is no message.
    pub subject: String,
    /// Where it asks to be answered, or where a delivered message stands in its stream.
    pub reply: String,
    /// Its headers as the protocol writes them.
    pub headers: String,
    /// Its payload.
    pub payload: String,
    bytes: Vec<u8>,
}

impl Frame {
    /// Whether it begins a batch.
    pub fn begins_batch(&self) -> bool {
        self.to_server && self.headers.contains("\r\nNats-Batch-Sequence: 1\r\n")
    }

    /// Whether it commits a batch.
    pub fn is_commit(&self) -> bool {
        self.to_server && self.headers.contains("\r\nNats-Batch-Commit: ")
    }

    /// Whether it is the answer that a batch is stored.
    pub fn is_stored_answer(&self) -> bool {
        !self.to_server && self.payload.contains("\"batch\":")
    }

    /// Whether a consumer delivers it.
    pub fn is_delivery(&self) -> bool {
        !self.to_server && self.reply.starts_with("$JS.ACK.")
    }

    /// Gives it another payload; one with headers keeps its length.
    fn replace(&mut self, payload: String) {
        if !self.headers.is_empty() {
            assert_eq!(payload.len(), self.payload.len(), "the sizes of a message with headers are not edited");
            let head = self.bytes.len() - payload.len() - 2;
            self.bytes.splice(head..head + payload.len(), payload.bytes());
            self.payload = payload;
            return;
        }
        let line = self.bytes.split(|&byte| byte == b'\r').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line).into_owned();
        let (line, _) = line.rsplit_once(' ').expect("a control line ends with a size");
        self.bytes = format!("{line} {}\r\n{payload}\r\n", payload.len()).into_bytes();
        self.payload = payload;
    }
}

/// What happens to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It goes on.
    Pass,
    /// It is swallowed.
    Drop,
    /// It goes on, twice.
    Twice,
    /// It goes on after a while, and everything behind it too.
    Late(Duration),
    /// It and everything behind it wait until [`Proxy::release`].
    Hold,
    /// The client loses its connection; the message goes on nevertheless when [`Proxy::release`] is called.
    Strand,
    /// The connection breaks before it.
    CutBefore,
    /// The connection breaks in its middle.
    CutInside,
    /// The connection breaks after it: it arrives, and its answer does not.
    CutAfter,
}

type Rule = Box<dyn FnMut(&Frame) -> Fate + Send>;
type Edit = Box<dyn FnMut(&Frame) -> Option<String> + Send>;

struct Shared {
    rule: Mutex<Rule>,
    edit: Mutex<Edit>,
    /// The messages that wait for a release, oldest first.
    held: watch::Sender<VecDeque<oneshot::Sender<()>>>,
    /// How often each JetStream error code was answered.
    refusals: Mutex<BTreeMap<u32, usize>>,
    /// How many batches were begun.
    batches: AtomicUsize,
}

/// The proxy; nothing passes any more once it is dropped.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    /// Stands before a server; everything passes until a rule says otherwise.
    pub async fn start(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let upstream = server.url().trim_start_matches("nats://").to_owned();
        let shared = Arc::new(Shared {
            rule: Mutex::new(Box::new(|_| Fate::Pass)),
            edit: Mutex::new(Box::new(|_| None)),
            held: watch::Sender::default(),
            refusals: Mutex::default(),
            batches: AtomicUsize::new(0),
        });
        let task = tokio::spawn(accept(listener, upstream, shared.clone()));
        Self { address, shared, task }
    }

    /// Where clients connect.
    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// Connects through it as a user of nats.conf.
    pub async fn connect(&self, server: &Server, user: &str) -> Connection {
        let args = NatsArgs { nats_url: self.url(), ..server.nats_args(user) };
        Connection::open(&args, None).await.unwrap()
    }

    /// Decides about every message from now on.
    pub fn rule(&self, rule: impl FnMut(&Frame) -> Fate + Send + 'static) {
        *self.shared.rule.lock().unwrap() = Box::new(rule);
    }

    /// Gives messages another payload from now on, where it returns one; it is as long as before in a message with headers.
    pub fn edit(&self, edit: impl FnMut(&Frame) -> Option<String> + Send + 'static) {
        *self.shared.edit.lock().unwrap() = Box::new(edit);
    }

    /// Decides about the next message that is meant; all others pass.
    pub fn once(&self, mut is_meant: impl FnMut(&Frame) -> bool + Send + 'static, fate: Fate) {
        let mut is_over = false;
        self.rule(move |frame| {
            if is_over || !is_meant(frame) {
                return Fate::Pass;
            }
            is_over = true;
            fate
        });
    }

    /// Waits until so many messages are held or stranded.
    pub async fn held(&self, count: usize) {
        let mut held = self.shared.held.subscribe();
        let wait = held.wait_for(|held| held.len() >= count);
        tokio::time::timeout(NEVER, wait).await.expect("a message is held").unwrap();
    }

    /// Lets go on what is held or stranded for the longest time.
    pub fn release(&self) {
        let mut oldest = None;
        self.shared.held.send_modify(|held| oldest = held.pop_front());
        oldest.expect("a message is held").send(()).unwrap();
    }

    /// How many batches were begun.
    pub fn batches(&self) -> usize {
        self.shared.batches.load(Ordering::Relaxed)
    }

    /// How often this JetStream error code was answered.
    pub fn refusals(&self, err_code: u32) -> usize {
        self.shared.refusals.lock().unwrap().get(&err_code).copied().unwrap_or(0)
    }
}

async fn accept(listener: TcpListener, upstream: String, shared: Arc<Shared>) {
    loop {
        let (client, _) = listener.accept().await.unwrap();
        // A server that is away is away through the proxy too.
        let Ok(server) = TcpStream::connect(&upstream).await else { continue };
        drop((client.set_nodelay(true), server.set_nodelay(true)));
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let cut = Arc::new(watch::Sender::new(false));
        let way = |to_server| Way { to_server, shared: shared.clone(), cut: cut.clone() };
        tokio::spawn(way(true).run(from_client, to_server));
        tokio::spawn(way(false).run(from_server, to_client));
    }
}

/// One direction of one connection.
struct Way {
    to_server: bool,
    shared: Arc<Shared>,
    /// Set when the client has to lose its connection.
    cut: Arc<watch::Sender<bool>>,
}

impl Way {
    async fn run(self, from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let mut from = BufReader::new(from);
        let mut cut = self.cut.subscribe();
        let ended = tokio::select! {
            ended = self.forward(&mut from, &mut to) => ended,
            _ = cut.wait_for(|&cut| cut), if !self.to_server => Ok(()),
        };
        drop(ended);
        self.cut.send_replace(true);
        drop(to);
        // What the server still says is taken off it, so that it reads all that was sent before it sees the end.
        if !self.to_server {
            drop(tokio::io::copy(&mut from, &mut tokio::io::sink()).await);
        }
    }

    /// Passes messages on until the connection ends or is to be cut.
    async fn forward(&self, from: &mut BufReader<OwnedReadHalf>, to: &mut OwnedWriteHalf) -> io::Result<()> {
        let mut cut = self.cut.subscribe();
        loop {
            let mut frame = tokio::select! {
                frame = read_frame(from, self.to_server) => frame?,
                _ = cut.wait_for(|&cut| cut) => return Ok(()),
            };
            if let Some(payload) = (self.shared.edit.lock().unwrap())(&frame) {
                frame.replace(payload);
            }
            self.count(&frame);
            let fate = (self.shared.rule.lock().unwrap())(&frame);
            match fate {
                Fate::Pass => to.write_all(&frame.bytes).await?,
                Fate::Drop => {}
                Fate::Twice => to.write_all(&[&frame.bytes[..], &frame.bytes[..]].concat()).await?,
                Fate::Late(delay) => {
                    tokio::time::sleep(delay).await;
                    to.write_all(&frame.bytes).await?;
                }
                Fate::Hold => {
                    self.released().await;
                    to.write_all(&frame.bytes).await?;
                }
                Fate::Strand => {
                    self.cut.send_replace(true);
                    self.released().await;
                    return to.write_all(&frame.bytes).await;
                }
                Fate::CutBefore => return Ok(()),
                Fate::CutInside => return to.write_all(&frame.bytes[..frame.bytes.len() / 2]).await,
                Fate::CutAfter => return to.write_all(&frame.bytes).await,
            }
        }
    }

    async fn released(&self) {
        let (release, released) = oneshot::channel();
        self.shared.held.send_modify(|held| held.push_back(release));
        // A proxy that is dropped lets nothing go on.
        drop(released.await);
    }

    fn count(&self, frame: &Frame) {
        if self.to_server {
            self.shared.batches.fetch_add(usize::from(frame.begins_batch()), Ordering::Relaxed);
            return;
        }
        let code = frame.payload.split("\"err_code\":").nth(1);
        let digits = code.map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
        if let Some(code) = digits.and_then(|digits| digits.parse().ok()) {
            *self.shared.refusals.lock().unwrap().entry(code).or_default() += 1;
        }
    }
}

/// Reads a control line, and headers and payload when one follows.
async fn read_frame(from: &mut BufReader<OwnedReadHalf>, to_server: bool) -> io::Result<Frame> {
    let mut frame = Frame { to_server, ..Frame::default() };
    if from.read_until(b'\n', &mut frame.bytes).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let line = String::from_utf8_lossy(&frame.bytes).into_owned();
    let words: Vec<&str> = line.split_whitespace().collect();
    // PUB subject [reply] size, MSG subject sid [reply] size; with headers two sizes, of the headers and of everything.
    let (sizes, fixed) = match words.first().copied() {
        Some("PUB") => (1, 2),
        Some("HPUB") => (2, 2),
        Some("MSG") => (1, 3),
        Some("HMSG") => (2, 3),
        _ => return Ok(frame),
    };
    frame.subject = words[1].to_owned();
    if words.len() > fixed + sizes {
        frame.reply = words[fixed].to_owned();
    }
    let size = |from_end: usize| words[words.len() - from_end].parse::<usize>().unwrap();
    let (total, head) = (size(1), if sizes == 2 { size(2) } else { 0 });
    let mut body = vec![0; total + 2];
    from.read_exact(&mut body).await?;
    frame.headers = String::from_utf8_lossy(&body[..head]).into_owned();
    frame.payload = String::from_utf8_lossy(&body[head..total]).into_owned();
    frame.bytes.extend(body);
    Ok(frame)
}
