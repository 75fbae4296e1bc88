//! Configuration variants of deploy/nats, each with a server, and programs with the credentials of its users.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::programs::{Running, program, succeed};
use crate::server::{Server, checkout};
use crate::test_pipeline::TestPipeline;
use crate::ticks::minutes;
use crate::users::{USERS, password_variable};

/// User of the other account in accounts.conf, and its password.
pub const OTHER: &str = "other";
const OTHER_PASSWORD: &str = "cw-test-other";

/// A way of authentication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The server has a certificate.
    Tls,
    /// Server and clients have certificates.
    MutualTls,
    /// The server has another account beside the pipeline's.
    Accounts,
    /// Users have credentials instead of passwords.
    Credentials,
}

/// A server with a variant.
#[derive(Debug)]
pub struct Variant {
    kind: Kind,
    /// The server, and a folder with the files that the head of its configuration says to make.
    pub pipeline: TestPipeline,
}

impl Variant {
    /// Makes the files named in the head of the configuration, and starts the server with it.
    pub fn start(kind: Kind) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let conf = match kind {
            Kind::Tls | Kind::MutualTls => {
                run_openssl("tls.conf", dir.path());
                run_openssl("mtls.conf", dir.path());
                shipped(if kind == Kind::Tls { "tls.conf" } else { "mtls.conf" })
            }
            Kind::Accounts => shipped("accounts.conf"),
            Kind::Credentials => {
                let conf = copy_of_shipped(dir.path());
                make_credentials(dir.path(), &[]);
                conf
            }
        };
        let path = |name: &str| dir.path().join(name).display().to_string();
        let variables = [
            ("CANDLEWIRE_HOST", "127.0.0.1".to_owned()),
            ("CANDLEWIRE_TLS_CERT", path("nats.pem")),
            ("CANDLEWIRE_TLS_KEY", path("nats.key")),
            ("CANDLEWIRE_TLS_CA", path("ca.pem")),
            ("OTHER_PASSWORD", OTHER_PASSWORD.to_owned()),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value));
        let server = Server::start_from(&conf, &variables);
        Self { kind, pipeline: TestPipeline { server, dir } }
    }

    /// A file in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.pipeline.dir.path().join(name)
    }

    /// The credentials of a user.
    pub fn credentials(&self, user: &str) -> PathBuf {
        self.path("deploy/nats/credentials").join(format!("{user}.creds"))
    }

    /// A program without a user, with only the settings that the variant needs of every client.
    pub fn stranger(&self, name: &str) -> Command {
        let mut command = program(name, self.pipeline.dir.path());
        command.env("CANDLEWIRE_LOG", "warn").env("CANDLEWIRE_LEASE_TTL", "500ms");
        let scheme = if matches!(self.kind, Kind::Tls | Kind::MutualTls) { "tls" } else { "nats" };
        command.env("NATS_URL", format!("{scheme}://localhost:{}", self.pipeline.server.port()));
        command
    }

    /// A program as one of the users.
    pub fn program(&self, name: &str, user: &str) -> Command {
        let mut command = self.stranger(name);
        if matches!(self.kind, Kind::Tls | Kind::MutualTls) {
            command.env("NATS_TLS_CA", self.path("ca.pem"));
        }
        if self.kind == Kind::MutualTls {
            command.env("NATS_TLS_CERT", self.path("producer.pem")).env("NATS_TLS_KEY", self.path("producer.key"));
        }
        if self.kind == Kind::Credentials {
            for user in USERS {
                command.env_remove(password_variable(user));
            }
            command.env("NATS_CREDS", self.credentials(user));
        }
        command
    }

    /// Runs the whole pipeline over some minutes, each program as its user: streams, a replay, every step, the audit,
    /// the archive, tables and a viewer. Returns the reader's output.
    pub fn run_pipeline(&self, count: u32) -> String {
        succeed(self.program("topology", "admin").arg("apply"));
        let service = |name: &str| Running::start(self.program(name, name).arg("run"));
        let _services = [service("stream-processor"), service("aggregator")];
        let file = minutes(self.pipeline.dir.path(), count);
        let mut replay = self.program("producer", "producer");
        replay.args(["run", "--source", "recording", "--file"]).arg(file);
        let said = succeed(replay.args(["--coin", "bitcoin", "--quote", "usdt", "--grain", "1m"]));
        assert!(
            said.contains("downstream: ") && !said.contains("not checked"),
            "the producer may read positions: {said}"
        );
        succeed(self.program("topology", "admin").arg("wait"));
        succeed(self.program("aggregator", "aggregator").arg("audit"));
        let archive = self.path("archive");
        succeed(self.program("trainer", "trainer").arg("archive").arg("--archive").arg(&archive));
        assert!(std::fs::read_dir(&archive).unwrap().count() > 0, "an archive");
        succeed(self.program("reporter", "reporter").arg("tables"));
        self.see_last_price();
        let table = ["show", "candles-1m", "--all", "--format", "csv"];
        succeed(self.program("aggregator", "reader").args(table))
    }

    /// A viewer gets the last known price at once.
    fn see_last_price(&self) {
        let mut watch = self.program("reporter", "viewer");
        watch.args(["watch", "live.price.bitcoin.usdt"]).stdout(Stdio::piped());
        let mut watch = watch.stdin(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        let read = std::io::BufRead::read_line(&mut std::io::BufReader::new(watch.stdout.take().unwrap()), &mut line);
        watch.kill().unwrap();
        watch.wait().unwrap();
        assert!(read.unwrap() > 0 && line.starts_with("last known: "), "{line}");
    }

    /// A command as the user of the other account.
    pub fn as_other(&self, name: &str) -> Command {
        let mut command = self.stranger(name);
        command.env("NATS_USER", OTHER).env("NATS_PASSWORD", OTHER_PASSWORD);
        command
    }
}

/// Makes credentials like a user who follows the head of credentials.conf, in a folder with a copy of deploy/nats.
/// `scripts/setup --test` has done its first line, `npm ci`, in .tools/.
pub fn make_credentials(dir: &Path, flags: &[&str]) {
    let jwt = dir.join("deploy/nats/jwt");
    if !jwt.exists() {
        std::fs::create_dir_all(&jwt).unwrap();
        std::fs::copy(shipped("jwt/make-credentials.mjs"), jwt.join("make-credentials.mjs")).unwrap();
        std::os::unix::fs::symlink(checkout().join(".tools/jwt/node_modules"), jwt.join("node_modules")).unwrap();
    }
    run_recipe("credentials.conf", "node", "scripts/setup --test", dir, flags);
}

fn shipped(name: &str) -> PathBuf {
    checkout().join("deploy/nats").join(name)
}

/// A copy of the configuration, since credentials are written beside it.
pub fn copy_of_shipped(dir: &Path) -> PathBuf {
    let nats = dir.join("deploy/nats");
    std::fs::create_dir_all(&nats).unwrap();
    std::fs::copy(checkout().join("nats.conf"), dir.join("nats.conf")).unwrap();
    for name in ["users.conf", "services.conf", "guests.conf", "credentials.conf"] {
        std::fs::copy(shipped(name), nats.join(name)).unwrap();
    }
    nats.join("credentials.conf")
}

/// Runs the openssl commands in the head of a configuration file.
pub fn run_openssl(name: &str, dir: &Path) {
    run_recipe(name, "openssl", "apt-get install openssl", dir, &[]);
}

/// Runs the commands of a program in the head of a configuration file, like a user who copies them.
fn run_recipe(name: &str, program: &str, install: &str, dir: &Path, flags: &[&str]) {
    let text = std::fs::read_to_string(shipped(name)).unwrap();
    let comments = text.lines().map_while(|line| line.strip_prefix('#'));
    let script: String = comments.filter(|line| line.starts_with("   ")).map(|line| format!("{line}\n")).collect();
    let commands = script.replace("\\\n", " ");
    let prefix = format!("{program} ");
    let commands: Vec<_> = commands.lines().map(str::trim).filter(|line| line.starts_with(&prefix)).collect();
    assert!(!commands.is_empty(), "{name} names commands");
    for command in commands {
        let command = format!("{command} {}", flags.join(" "));
        let output = Command::new("sh").args(["-c", &command]).current_dir(dir).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {errors}\nwithout {program}: {install}");
    }
}
