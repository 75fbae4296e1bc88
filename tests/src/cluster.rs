//! Three nats-servers on loopback with the shipped deploy/nats/cluster.conf. Each can be killed, frozen and restarted,
//! and their replicas can be compared.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bus::topology::{Limits, create, definitions};
use bus::{Connection, NatsArgs, Stream};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::host::Host;
use crate::process::signal;
use crate::programs::eventually;
use crate::server::{GO_SETTINGS, checkout, nats_args};
use crate::users::{USERS, password, password_variable};

/// Servers of a cluster, and copies of each stream.
pub const NODES: usize = 3;
/// Shared secret of the servers' routes.
const ROUTE_PASSWORD: &str = "cw-test-routes";
/// Most attempts to find free ports, since another process may take one meanwhile.
const STARTS_MAX: u32 = 5;
/// Longest wait for a monitoring port; a frozen server does not answer.
const MONITORING_MAX: Duration = Duration::from_secs(1);

/// A server's replica of a stream. Replicas that have caught up are equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// Messages.
    pub messages: u64,
    /// Bytes.
    pub bytes: u64,
    /// First sequence.
    pub first_seq: u64,
    /// Last sequence.
    pub last_seq: u64,
    /// Deleted sequences between them.
    pub deleted: u64,
    /// Subjects.
    pub subjects: u64,
}

/// Three servers. Killed and removed when dropped.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Node>,
    dir: TempDir,
}

#[derive(Debug)]
struct Node {
    /// `None` while killed.
    child: Option<Child>,
    is_frozen: bool,
    ports: Ports,
}

#[derive(Debug, Clone, Copy)]
struct Ports {
    client: u16,
    route: u16,
    monitoring: u16,
}

impl Host for Cluster {
    fn url(&self) -> String {
        self.url()
    }
}

impl Cluster {
    /// Starts three servers without streams; returns when they are connected.
    pub fn start() -> Self {
        for _ in 0..STARTS_MAX {
            let dir = tempfile::tempdir().unwrap();
            let ports = free_ports();
            let nodes = ports.iter().map(|&ports| Node { child: None, is_frozen: false, ports }).collect();
            let mut cluster = Self { nodes, dir };
            (0..NODES).for_each(|idx| cluster.start_again(idx));
            if cluster.is_up() {
                return cluster;
            }
        }
        panic!("no free ports for a cluster in {STARTS_MAX} attempts");
    }

    /// Starts three servers with the streams of `topology apply --replicas 3`.
    pub async fn with_streams() -> Self {
        Self::with_limits(&Limits::default()).await
    }

    /// Starts three servers with streams of these limits, one copy on each server.
    pub async fn with_limits(limits: &Limits) -> Self {
        let cluster = Self::start();
        let admin = cluster.connect("admin").await;
        for definition in definitions(&Limits { replicas: NODES as u32, ..*limits }) {
            create(&admin, &definition).await.unwrap();
        }
        cluster.wait_until_whole();
        cluster
    }

    /// The addresses of all servers, separated by commas.
    pub fn url(&self) -> String {
        let urls: Vec<_> = self.nodes.iter().map(|node| format!("nats://127.0.0.1:{}", node.ports.client)).collect();
        urls.join(",")
    }

    /// The flags of a program that connects as `user`.
    pub fn nats_args(&self, user: &str) -> NatsArgs {
        nats_args(self.url(), user)
    }

    /// The flags of a program that connects to one server only.
    pub fn nats_args_of(&self, node: usize, user: &str) -> NatsArgs {
        nats_args(format!("nats://127.0.0.1:{}", self.nodes[node].ports.client), user)
    }

    /// Connects to any server as a user of nats.conf.
    pub async fn connect(&self, user: &str) -> Connection {
        Connection::open(&self.nats_args(user), None).await.unwrap()
    }

    /// Sends kill -9 to one server.
    pub fn kill(&mut self, node: usize) {
        if let Some(mut child) = self.nodes[node].child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        self.nodes[node].is_frozen = false;
    }

    /// Restarts a killed server on its store and ports. See [`Self::wait_until_whole`].
    pub fn start_again(&mut self, node: usize) {
        assert!(self.nodes[node].child.is_none(), "server {node} runs");
        self.nodes[node].child = Some(self.spawn(node));
    }

    /// Freezes one server: it keeps its connections and answers nothing.
    pub fn freeze(&mut self, node: usize) {
        self.signal(node, "STOP");
        self.nodes[node].is_frozen = true;
    }

    /// Wakes a frozen server.
    pub fn thaw(&mut self, node: usize) {
        self.signal(node, "CONT");
        self.nodes[node].is_frozen = false;
    }

    /// The leader of a stream according to a running server; `None` while there is none.
    pub fn leader(&self, stream: Stream) -> Option<usize> {
        let told = self.running().filter_map(|node| {
            let stream = self.stream(node, stream.name())?;
            index_of(stream["cluster"]["leader"].as_str()?)
        });
        // A killed or frozen server may still be reported as leader.
        told.into_iter().find(|&leader| self.running().any(|node| node == leader))
    }

    /// Waits until a running server leads the stream, and returns it.
    pub fn wait_for_leader(&self, stream: Stream) -> usize {
        eventually(&format!("{stream} has a leader"), || self.leader(stream).is_some());
        self.leader(stream).unwrap()
    }

    /// Makes the leader of a stream step down, as before a planned restart.
    pub async fn step_down(&self, stream: Stream) {
        let admin = self.connect("admin").await;
        admin.api::<Value>(&format!("STREAM.LEADER.STEPDOWN.{stream}"), &json!({})).await.unwrap();
    }

    /// Makes one server the leader of every record stream, so that one fault hits all of them.
    pub async fn lead_all(&self, node: usize) {
        let admin = self.connect("admin").await;
        let placement = json!({ "placement": { "preferred": name_of(node) } });
        for stream in Stream::ALL {
            if self.wait_for_leader(stream) != node {
                let answer = admin.api::<Value>(&format!("STREAM.LEADER.STEPDOWN.{stream}"), &placement).await;
                answer.unwrap();
                eventually(&format!("server {node} leads {stream}"), || self.leader(stream) == Some(node));
            }
        }
    }

    /// The replica of a stream on each server; `None` for a server without an answer or the stream.
    pub fn replicas(&self, stream: &str) -> [Option<Replica>; NODES] {
        std::array::from_fn(|node| {
            let stream = self.stream(node, stream)?;
            let state = &stream["state"];
            let number = |name: &str| state[name].as_u64().unwrap_or_default();
            Some(Replica {
                messages: number("messages"),
                bytes: number("bytes"),
                first_seq: number("first_seq"),
                last_seq: number("last_seq"),
                deleted: number("num_deleted"),
                subjects: number("num_subjects"),
            })
        })
    }

    /// Waits until every server reports itself up to date, so that another may be killed.
    pub fn wait_until_healthy(&self) {
        eventually("three healthy servers", || self.is_all_healthy());
    }

    /// Whether every server runs and reports itself up to date.
    pub fn is_all_healthy(&self) -> bool {
        (0..NODES).all(|node| self.is_healthy(node))
    }

    /// Keeps stores and logs when the servers are dropped.
    pub fn keep(&mut self) -> &Path {
        self.dir.disable_cleanup(true);
        self.dir.path()
    }

    /// Waits until all replicas of all streams are equal. No client may write meanwhile.
    pub fn wait_until_whole(&self) {
        self.wait_until_healthy();
        eventually("three equal replicas of every stream", || {
            self.streams().iter().all(|stream| self.are_equal(stream))
        });
    }

    fn is_healthy(&self, node: usize) -> bool {
        self.ask(node, "/healthz").is_some_and(|health| health["status"] == "ok")
    }

    fn are_equal(&self, stream: &str) -> bool {
        let replicas = self.replicas(stream);
        replicas[0].is_some() && replicas.iter().all(|replica| *replica == replicas[0])
    }

    /// The streams of the first server, buckets included.
    fn streams(&self) -> Vec<String> {
        let account = self.ask(0, "/jsz?streams=true").unwrap_or_default();
        let streams = account["account_details"][0]["stream_detail"].as_array().cloned().unwrap_or_default();
        streams.iter().filter_map(|stream| Some(stream["name"].as_str()?.to_owned())).collect()
    }

    /// The report of one server's monitoring port on a stream.
    fn stream(&self, node: usize, name: &str) -> Option<Value> {
        let account = self.ask(node, "/jsz?streams=true")?;
        let streams = account["account_details"][0]["stream_detail"].as_array()?;
        streams.iter().find(|stream| stream["name"] == name).cloned()
    }

    /// Whether all three are connected and have a leader; false when one has ended.
    fn is_up(&mut self) -> bool {
        let mut has_ended = false;
        eventually("the servers have found each other", || {
            has_ended = self.nodes.iter_mut().filter_map(|node| node.child.as_mut()).any(|child| {
                let ended = child.try_wait().unwrap();
                ended.is_some()
            });
            let knows_leader = |node| self.ask(node, "/jsz").is_some_and(|js| js["meta_cluster"]["leader"].is_string());
            has_ended || (0..NODES).all(knows_leader)
        });
        !has_ended
    }

    fn running(&self) -> impl Iterator<Item = usize> {
        (0..NODES).filter(|&node| self.nodes[node].child.is_some() && !self.nodes[node].is_frozen)
    }

    fn signal(&self, node: usize, name: &str) {
        signal(self.nodes[node].child.as_ref().expect("it runs").id(), name);
    }

    fn spawn(&self, node: usize) -> Child {
        let routes: Vec<_> = self.nodes.iter().map(|node| route(node.ports.route)).collect();
        let ports = self.nodes[node].ports;
        let dir = self.dir.path().join(name_of(node));
        let mut command = Command::new(checkout().join(".tools/nats-server"));
        command.arg("-c").arg(checkout().join("deploy/nats/cluster.conf")).arg("-sd").arg(&dir);
        command.args(["-m", &ports.monitoring.to_string()]).arg("-l").arg(log_of(&dir));
        command.envs(USERS.map(|user| (password_variable(user), password(user)))).envs(GO_SETTINGS);
        command.env("CANDLEWIRE_SERVER", name_of(node)).env("CANDLEWIRE_ROUTES", format!("[{}]", routes.join(", ")));
        command.env("CANDLEWIRE_HOST", "127.0.0.1").env("CANDLEWIRE_PORT", ports.client.to_string());
        command.env("CANDLEWIRE_ROUTE_HOST", "127.0.0.1").env("CANDLEWIRE_ROUTE_PORT", ports.route.to_string());
        command.env("CANDLEWIRE_PASSWORD_ROUTES", ROUTE_PASSWORD);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Queries the monitoring port of a server; `None` without a JSON answer in time.
    fn ask(&self, node: usize, path: &str) -> Option<Value> {
        let port = self.nodes[node].ports.monitoring;
        let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.set_read_timeout(Some(MONITORING_MAX)).ok()?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        (0..NODES).for_each(|node| self.kill(node));
    }
}

fn name_of(node: usize) -> String {
    format!("candlewire-{node}")
}

fn index_of(name: &str) -> Option<usize> {
    (0..NODES).find(|&node| name_of(node) == name)
}

fn log_of(dir: &Path) -> std::path::PathBuf {
    dir.with_extension("log")
}

fn route(port: u16) -> String {
    format!("nats-route://route:{ROUTE_PASSWORD}@127.0.0.1:{port}")
}

/// Ports that were free a moment ago. Each server must know the ports of the others before it starts.
fn free_ports() -> [Ports; NODES] {
    let listeners: [[TcpListener; 3]; NODES] =
        std::array::from_fn(|_| std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").unwrap()));
    listeners.each_ref().map(|node| {
        let [client, route, monitoring] = node.each_ref().map(|listener| listener.local_addr().unwrap().port());
        Ports { client, route, monitoring }
    })
}
