//! A faulty network: a proxy between clients and a nats-server that parses the protocol and treats each message as the
//! test decides.

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

/// A protocol message in transit.
#[derive(Debug, Default)]
pub struct Frame {
    /// Whether it goes to the server.
    pub to_server: bool,
    /// Its subject; empty for control lines.
    pub subject: String,
    /// Its reply subject; for a delivered message its position in the stream.
    pub reply: String,
    /// Its headers in protocol form.
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

    /// Whether it acknowledges a stored batch.
    pub fn is_stored_answer(&self) -> bool {
        !self.to_server && self.payload.contains("\"batch\":")
    }

    /// Whether a consumer delivers it.
    pub fn is_delivery(&self) -> bool {
        !self.to_server && self.reply.starts_with("$JS.ACK.")
    }

    /// Replaces the payload; in a message with headers the length must stay the same.
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

/// Treatment of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// Forward it.
    Pass,
    /// Drop it.
    Drop,
    /// Forward it twice.
    Twice,
    /// Forward it after a delay, with everything after it.
    Late(Duration),
    /// Hold it and everything after it until [`Proxy::release`].
    Hold,
    /// Cut the client's connection; forward the message when [`Proxy::release`] is called.
    Strand,
    /// Break the connection before it.
    CutBefore,
    /// Break the connection in its middle.
    CutInside,
    /// Break the connection after it: the message arrives, its answer does not.
    CutAfter,
}

type Rule = Box<dyn FnMut(&Frame) -> Treatment + Send>;
type Edit = Box<dyn FnMut(&Frame) -> Option<String> + Send>;

struct Shared {
    rule: Mutex<Rule>,
    edit: Mutex<Edit>,
    /// The held messages, oldest first.
    held: watch::Sender<VecDeque<oneshot::Sender<()>>>,
    /// Answered JetStream error codes, with their number.
    refusals: Mutex<BTreeMap<u32, usize>>,
    /// Number of begun batches.
    batches: AtomicUsize,
}

/// The proxy; forwards nothing once dropped.
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
    /// Starts before a server; everything is forwarded until a rule is set.
    pub async fn start(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let upstream = server.url().trim_start_matches("nats://").to_owned();
        let shared = Arc::new(Shared {
            rule: Mutex::new(Box::new(|_| Treatment::Pass)),
            edit: Mutex::new(Box::new(|_| None)),
            held: watch::Sender::default(),
            refusals: Mutex::default(),
            batches: AtomicUsize::new(0),
        });
        let task = tokio::spawn(accept(listener, upstream, shared.clone()));
        Self { address, shared, task }
    }

    /// Address for clients.
    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// Connects through the proxy as a user of nats.conf.
    pub async fn connect(&self, server: &Server, user: &str) -> Connection {
        let args = NatsArgs { nats_url: self.url(), ..server.nats_args(user) };
        Connection::open(&args, None).await.unwrap()
    }

    /// Applies a rule to every message from now on.
    pub fn rule(&self, rule: impl FnMut(&Frame) -> Treatment + Send + 'static) {
        *self.shared.rule.lock().unwrap() = Box::new(rule);
    }

    /// Replaces the payload of messages from now on, where `edit` returns one; in a message with headers the length
    /// must stay the same.
    pub fn edit(&self, edit: impl FnMut(&Frame) -> Option<String> + Send + 'static) {
        *self.shared.edit.lock().unwrap() = Box::new(edit);
    }

    /// Applies a treatment to the next matching message; all others are forwarded.
    pub fn once(&self, mut is_meant: impl FnMut(&Frame) -> bool + Send + 'static, treatment: Treatment) {
        let mut is_over = false;
        self.rule(move |frame| {
            if is_over || !is_meant(frame) {
                return Treatment::Pass;
            }
            is_over = true;
            treatment
        });
    }

    /// Waits until this many messages are held or stranded.
    pub async fn held(&self, count: usize) {
        let mut held = self.shared.held.subscribe();
        let wait = held.wait_for(|held| held.len() >= count);
        tokio::time::timeout(NEVER, wait).await.expect("a message is held").unwrap();
    }

    /// Releases the message held or stranded longest.
    pub fn release(&self) {
        let mut oldest = None;
        self.shared.held.send_modify(|held| oldest = held.pop_front());
        oldest.expect("a message is held").send(()).unwrap();
    }

    /// Number of begun batches.
    pub fn batches(&self) -> usize {
        self.shared.batches.load(Ordering::Relaxed)
    }

    /// Number of answers with this JetStream error code.
    pub fn refusals(&self, err_code: u32) -> usize {
        self.shared.refusals.lock().unwrap().get(&err_code).copied().unwrap_or(0)
    }
}

async fn accept(listener: TcpListener, upstream: String, shared: Arc<Shared>) {
    loop {
        let (client, _) = listener.accept().await.unwrap();
        // While the server is down, connections through the proxy fail too.
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
    /// Set to cut the client's connection.
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
        // The server's remaining output is read, so that the server reads everything sent before it sees the end.
        if !self.to_server {
            drop(tokio::io::copy(&mut from, &mut tokio::io::sink()).await);
        }
    }

    /// Forwards messages until the connection ends or is to be cut.
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
            let treatment = (self.shared.rule.lock().unwrap())(&frame);
            match treatment {
                Treatment::Pass => to.write_all(&frame.bytes).await?,
                Treatment::Drop => {}
                Treatment::Twice => to.write_all(&[&frame.bytes[..], &frame.bytes[..]].concat()).await?,
                Treatment::Late(delay) => {
                    tokio::time::sleep(delay).await;
                    to.write_all(&frame.bytes).await?;
                }
                Treatment::Hold => {
                    self.released().await;
                    to.write_all(&frame.bytes).await?;
                }
                Treatment::Strand => {
                    self.cut.send_replace(true);
                    self.released().await;
                    return to.write_all(&frame.bytes).await;
                }
                Treatment::CutBefore => return Ok(()),
                Treatment::CutInside => return to.write_all(&frame.bytes[..frame.bytes.len() / 2]).await,
                Treatment::CutAfter => return to.write_all(&frame.bytes).await,
            }
        }
    }

    async fn released(&self) {
        let (release, released) = oneshot::channel();
        self.shared.held.send_modify(|held| held.push_back(release));
        // A dropped proxy releases nothing.
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

/// Reads a control line, with headers and payload if they follow.
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
