//! A nats-server for one test: the shipped configuration, a free port, a store of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bus::topology::{Limits, create, definitions};
use bus::{Connection, NatsArgs};
use tempfile::TempDir;

use crate::disk::SmallDisk;
use crate::host::Host;
use crate::users::{USERS, password, password_variable};

/// Go garbage collector settings that scripts/run and the units give the server.
pub const GO_SETTINGS: [(&str, &str); 2] = [("GOGC", "50"), ("GOMEMLIMIT", "400MiB")];
/// Longest start of a server.
const START_MAX: Duration = Duration::from_secs(20);

/// A running server. Killed and removed when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    port: u16,
    place: Place,
}

/// Files of a server.
#[derive(Debug)]
struct Place {
    /// Holds its log, its port, a changed configuration, and its store.
    dir: TempDir,
    /// The store: in the same folder by default.
    store: PathBuf,
    /// Prefix that starts a program with access to the store, when it is not visible to every program.
    prefix: Vec<String>,
    /// A configuration file to be used unchanged.
    conf: Option<PathBuf>,
    /// Environment variables that the file uses.
    variables: Vec<(String, String)>,
}

/// [`GO_SETTINGS`], overridden by the environment.
pub fn go_settings() -> [(&'static str, String); 2] {
    GO_SETTINGS.map(|(name, shipped)| (name, std::env::var(name).unwrap_or_else(|_| shipped.to_owned())))
}

/// The root of the checkout.
pub fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The flags of a program that connects to `url` as a user of nats.conf.
pub fn nats_args(url: String, user: &str) -> NatsArgs {
    NatsArgs { nats_user: Some(user.to_owned()), nats_password: Some(password(user).into()), ..NatsArgs::at(url) }
}

/// A configuration of nats-server with its includes inlined, so that a test can change any line.
pub fn with_includes(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let expand = |line: &str| match line.trim().strip_prefix("include ") {
        Some(file) => with_includes(&path.parent().unwrap().join(file)),
        None => format!("{line}\n"),
    };
    text.lines().map(expand).collect()
}

impl Host for Server {
    fn url(&self) -> String {
        self.url()
    }
}

impl Server {
    /// Starts a server without streams.
    pub fn start() -> Self {
        Self::start_with(|conf| conf)
    }

    /// Starts a server without streams, with a changed configuration.
    pub fn start_with(change: impl FnOnce(String) -> String) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().to_owned();
        Self::start_at(Place::new(dir, store), change)
    }

    /// Starts a server without streams, with a changed configuration and its store in a folder.
    pub fn start_in(store: &Path, change: impl FnOnce(String) -> String) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self::start_at(Place::new(dir, store.to_owned()), change)
    }

    /// Starts a server without streams, with its store on a small disk.
    pub fn start_on(disk: &SmallDisk) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self::start_at(Place { prefix: disk.prefix().into(), ..Place::new(dir, disk.path().to_owned()) }, |conf| conf)
    }

    /// Starts a server without streams from an unchanged configuration file, with its environment variables.
    pub fn start_from(conf: &Path, variables: &[(String, String)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().to_owned();
        let place = Place { conf: Some(conf.to_owned()), variables: variables.to_vec(), ..Place::new(dir, store) };
        let (child, port) = place.spawn(-1);
        Self { child, port, place }
    }

    fn start_at(place: Place, change: impl FnOnce(String) -> String) -> Self {
        place.configure(change);
        let (child, port) = place.spawn(-1);
        Self { child, port, place }
    }

    /// Starts a server with the streams of `topology apply`.
    pub async fn with_streams() -> Self {
        Self::with_limits(&Limits::default()).await
    }

    /// Starts a server with streams of these limits.
    pub async fn with_limits(limits: &Limits) -> Self {
        let server = Self::start();
        server.create_streams(limits).await;
        server
    }

    /// Creates the streams of `topology apply`.
    pub async fn create_streams(&self, limits: &Limits) {
        let admin = self.connect("admin").await;
        for definition in definitions(limits) {
            create(&admin, &definition).await.unwrap();
        }
    }

    /// Folder of a stream's store.
    pub fn store_of(&self, stream: &str) -> PathBuf {
        self.place.store.join("jetstream/CANDLEWIRE/streams").join(stream)
    }

    /// The server's log.
    pub fn log(&self) -> String {
        self.place.log()
    }

    /// Changes the configuration, effective from the next start.
    pub fn configure(&self, change: impl FnOnce(String) -> String) {
        self.place.configure(change);
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The flags of a program that connects as `user`.
    pub fn nats_args(&self, user: &str) -> NatsArgs {
        nats_args(self.url(), user)
    }

    /// Connects as a user of nats.conf.
    pub async fn connect(&self, user: &str) -> Connection {
        Connection::open(&self.nats_args(user), None).await.unwrap()
    }

    /// Kills the server: nothing is flushed, no client is told.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Keeps store and log when the server is dropped.
    pub fn keep(&mut self) -> &Path {
        self.place.dir.disable_cleanup(true);
        self.place.dir.path()
    }

    /// Restarts it on the same store and port.
    pub fn start_again(&mut self) {
        (self.child, _) = self.place.spawn(i32::from(self.port));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Place {
    fn new(dir: TempDir, store: PathBuf) -> Self {
        Self { dir, store, prefix: Vec::new(), conf: None, variables: Vec::new() }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("server.log")).unwrap_or_default()
    }

    /// Writes the configuration, derived from the previous one.
    fn configure(&self, change: impl FnOnce(String) -> String) {
        let path = self.dir.path().join("nats.conf");
        let conf = std::fs::read_to_string(&path).unwrap_or_else(|_| with_includes(&checkout().join("nats.conf")));
        std::fs::write(path, change(conf)).unwrap();
    }

    fn spawn(&self, port: i32) -> (Child, u16) {
        let program = checkout().join(".tools/nats-server");
        assert!(program.exists(), "nats-server is missing: run scripts/setup");
        let dir = self.dir.path();
        for entry in std::fs::read_dir(dir).unwrap().flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "ports") {
                std::fs::remove_file(entry.path()).unwrap();
            }
        }
        let mut command = match &self.prefix[..] {
            [prefix, arguments @ ..] => {
                let mut command = Command::new(prefix);
                command.args(arguments).arg(program);
                command
            }
            [] => Command::new(program),
        };
        command
            .arg("-c")
            .arg(self.conf.clone().unwrap_or_else(|| dir.join("nats.conf")))
            .args(["-p", &port.to_string()]);
        command.arg("-sd").arg(&self.store).arg("--ports_file_dir").arg(dir);
        command.arg("-l").arg(dir.join("server.log"));
        command.envs(USERS.map(|user| (password_variable(user), password(user)))).envs(go_settings());
        command.envs(self.variables.iter().cloned());
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let port = self.wait_for_port(child.id());
        (child, port)
    }

    /// The server writes its port into a file.
    fn wait_for_port(&self, id: u32) -> u16 {
        let file = self.dir.path().join(format!("nats-server_{id}.ports"));
        let start = Instant::now();
        while start.elapsed() < START_MAX {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            // With TLS the file says tls:// instead of nats://.
            let port =
                text.split("://").nth(1).and_then(|rest| rest.split('"').next()?.rsplit(':').next()?.parse().ok());
            if let Some(port) = port {
                return port;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("nats-server did not start: {}", self.log());
    }
}
