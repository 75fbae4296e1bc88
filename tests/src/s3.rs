//! An S3 server for one test: SeaweedFS on free ports, with an own store and one bucket.

mod cut;

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use store::bucket::{Access, Bucket};
use tempfile::TempDir;

use crate::server::checkout;

pub use cut::Cut;

/// The existing bucket.
pub const BUCKET: &str = "prices";
/// The key with all permissions.
pub const WRITER: Key = Key { id: "writer", secret: "secret-of-writer" };
/// The read-only key.
pub const READER: Key = Key { id: "reader", secret: "secret-of-reader" };
/// An object that proves that the server accepts objects. It stays, since an abandoned attempt may arrive late.
const PROBE: &str = "probe";
/// Most attempts to find free ports, since another process may take one meanwhile.
const STARTS_MAX: usize = 5;
/// Longest start: after a kill the server first checks its volumes.
const START_MAX: Duration = Duration::from_secs(60);
/// Retry time of a test's requests, in seconds.
const RETRY_FOR_S: u64 = 2;
/// Ports of the server's parts; the first is for S3 clients.
const LISTENERS: [&str; 10] = [
    "s3.port",
    "s3.port.grpc",
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "admin.port",
    "admin.port.grpc",
];
/// Identities and their permissions.
const KEYS: &str = r#"{"identities": [
    {"name": "writer", "credentials": [{"accessKey": "writer", "secretKey": "secret-of-writer"}], "actions": ["Admin"]},
    {"name": "reader", "credentials": [{"accessKey": "reader", "secretKey": "secret-of-reader"}], "actions": ["Read", "List"]}
]}"#;

/// Credentials of a client.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Access key id.
    pub id: &'static str,
    /// Secret key.
    pub secret: &'static str,
}

/// A running server. Killed and removed when dropped.
#[derive(Debug)]
pub struct S3 {
    child: Child,
    dir: TempDir,
    ports: [u16; LISTENERS.len()],
}

impl S3 {
    /// Starts a server with a bucket that holds only the probe.
    pub async fn start() -> Self {
        for _ in 0..STARTS_MAX {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("keys.json"), KEYS).unwrap();
            let ports = free_ports();
            let mut server = Self { child: spawn(dir.path(), &ports), dir, ports };
            if server.is_up().await {
                return server;
            }
        }
        panic!("no free ports for SeaweedFS in {STARTS_MAX} attempts");
    }

    /// Address of the server.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[0])
    }

    /// The environment variables that point a program to it.
    pub fn variables(&self, key: Key) -> [(&'static str, String); 5] {
        variables_at(self.url(), key)
    }

    /// A bucket, accessed with a key.
    pub fn bucket_of(&self, name: &str, key: Key) -> Bucket {
        bucket_at(self.url(), name, key)
    }

    /// The existing bucket, with the key that has all permissions.
    pub fn bucket(&self) -> Bucket {
        self.bucket_of(BUCKET, WRITER)
    }

    /// Kills the server, as a power failure would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Restarts it on the same store and ports.
    pub async fn start_again(&mut self) {
        self.child = spawn(self.dir.path(), &self.ports);
        assert!(self.is_up().await, "SeaweedFS did not start again: {}", self.log());
    }

    /// Waits until it accepts an object, which after a kill may be long after its first answer; false when it ended.
    async fn is_up(&mut self) -> bool {
        let bucket = self.bucket();
        let start = Instant::now();
        while let Err(error) = bucket.put(PROBE, b"x").await {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            assert!(start.elapsed() < START_MAX, "SeaweedFS did not start ({error}): {}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        true
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn spawn(dir: &Path, ports: &[u16; LISTENERS.len()]) -> Child {
    let program = checkout().join(".tools/weed");
    assert!(program.exists(), "SeaweedFS is missing: run scripts/setup --test");
    let log = std::fs::File::options().create(true).append(true).open(dir.join("log")).unwrap();
    let of_dir = |flag: &str, name: &str| format!("-{flag}={}", dir.join(name).display());
    let mut command = Command::new(program);
    command.args(["mini", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-admin.ui=false", "-webdav=false"]);
    command.args([
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-s3.autoCreateBucket=false",
        "-master.telemetry=false",
        "-master.electionTimeout=500ms",
    ]);
    command.args(LISTENERS.iter().zip(ports).map(|(flag, port)| format!("-{flag}={port}")));
    command.args([of_dir("dir", "."), of_dir("s3.config", "keys.json"), format!("-bucket={BUCKET}")]);
    command.args([of_dir("filer.localSocket", "filer.sock"), of_dir("s3.localSocket", "s3.sock")]);
    command.current_dir(dir).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
}

/// Free ports, all different.
fn free_ports() -> [u16; LISTENERS.len()] {
    let listeners = LISTENERS.map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

/// The environment variables that point a program to a server at `url`.
pub fn variables_at(url: String, key: Key) -> [(&'static str, String); 5] {
    [
        ("AWS_ENDPOINT_URL", url),
        ("AWS_ACCESS_KEY_ID", key.id.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", key.secret.to_owned()),
        ("AWS_DEFAULT_REGION", "us-east-1".to_owned()),
        ("CANDLEWIRE_S3_TIMEOUT", RETRY_FOR_S.to_string()),
    ]
}

/// A bucket of a server at `url`, accessed with a key.
pub fn bucket_at(url: String, name: &str, key: Key) -> Bucket {
    let variables = variables_at(url, key);
    let value = |name: &str| variables.iter().find(|(of, _)| *of == name).map(|(_, value)| value.clone());
    Bucket::new(name, &Access::from_variables(value).unwrap())
}
