//! An installation made by `scripts/install` below a folder, and an operator's actions on it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use tempfile::TempDir;

use crate::programs::{programs, succeed};
use crate::server::checkout;
use crate::units::{Root, UnitState, control};

/// Port range of installations, a hundred ports each: below those that the kernel assigns.
const HUNDREDS: std::ops::Range<u16> = 110..320;
/// Longest wait for a health endpoint.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// A separate installation on its own ports. Dropping it stops everything and removes it.
#[derive(Debug)]
pub struct Installed {
    root: Root,
    hundred: u16,
    /// Holding the last port of a hundred reserves all of them.
    _claim: TcpListener,
    dir: TempDir,
}

/// `scripts/install` with the programs of this build.
pub fn install(destdir: &Path) -> Command {
    let mut command = Command::new(checkout().join("scripts/install"));
    command.args(["--profile", "dev", "--no-build", "--destdir"]).arg(destdir);
    command.env("CARGO_TARGET_DIR", programs().parent().unwrap());
    command
}

impl Installed {
    /// Installs into an empty folder.
    pub fn fresh() -> Self {
        let dir = tempfile::tempdir().unwrap();
        succeed(&mut install(dir.path()));
        Self::at(dir)
    }

    /// An installation whose programs and units are shared by all tests of this process.
    pub fn shared() -> Self {
        static SHARED: OnceLock<PathBuf> = OnceLock::new();
        let shared = SHARED.get_or_init(|| {
            let path = programs().join("installed");
            succeed(&mut install(&path));
            path
        });
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(shared.join("usr"), dir.path().join("usr")).unwrap();
        succeed(Command::new("cp").arg("-a").arg(shared.join("etc")).arg(dir.path().join("etc")));
        Self::at(dir)
    }

    /// Moves the ports as an operator would: by settings, one line of nats.conf and drop-ins.
    fn at(dir: TempDir) -> Self {
        let (hundred, claim) = claim();
        let installed = Self { root: Root::at(dir.path()).unwrap(), hundred, _claim: claim, dir };
        let conf = installed.root.join("etc/candlewire/nats.conf");
        let text = std::fs::read_to_string(&conf).unwrap();
        let moved = text.replace("port: 4222", &format!("port: {hundred}00"));
        assert_ne!(text, moved, "nats.conf names its port");
        std::fs::write(conf, moved).unwrap();
        installed.set("NATS_URL", &installed.url());
        installed.set("CANDLEWIRE_LISTEN", &installed.address("04"));
        for (unit, port) in [
            ("candlewire-producer.service", "01"),
            ("candlewire-trainer.service", "02"),
            ("candlewire-reporter.service", "03"),
            ("candlewire-stream-processor@.service", "1%i"),
            ("candlewire-aggregator@.service", "2%i"),
        ] {
            installed.drop_in(unit, "ports", &format!("Environment=CANDLEWIRE_HTTP={}", installed.address(port)));
        }
        installed
    }

    /// The folder used as the root of the machine.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Address of nats-server.
    pub fn url(&self) -> String {
        format!("nats://{}", self.address("00"))
    }

    fn address(&self, port: &str) -> String {
        format!("127.0.0.1:{}{port}", self.hundred)
    }

    /// Adds a setting to candlewire.env.
    pub fn set(&self, name: &str, value: &str) {
        let path = self.root.join("etc/candlewire/candlewire.env");
        let mut file = std::fs::File::options().append(true).open(path).unwrap();
        writeln!(file, "{name}={value}").unwrap();
    }

    /// Overrides a unit, as `systemctl edit` does: lines for its section `[Service]`.
    pub fn drop_in(&self, unit: &str, name: &str, lines: &str) {
        let folder = self.root.join("etc/systemd/system").join(format!("{unit}.d"));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{name}.conf")), format!("[Service]\n{lines}\n")).unwrap();
    }

    /// The password file of a user.
    pub fn secret(&self, user: &str) -> PathBuf {
        self.root.join("etc/candlewire/secrets").join(user)
    }

    /// The `systemctl` of this installation with these arguments.
    pub fn systemctl(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(programs().join("units"));
        command.arg("--root").arg(self.path()).args(arguments);
        command
    }

    /// Starts units and waits until they are started.
    pub fn start(&self, units: &[&str]) {
        succeed(self.systemctl(&["start"]).args(units));
    }

    /// Starts units without waiting.
    pub fn begin(&self, units: &[&str]) {
        succeed(self.systemctl(&["start", "--no-block"]).args(units));
    }

    /// Stops units and waits until they have ended.
    pub fn stop(&self, units: &[&str]) {
        succeed(self.systemctl(&["stop"]).args(units));
    }

    /// The state of a unit.
    pub fn state(&self, unit: &str) -> UnitState {
        control::state(&self.root, unit)
    }

    /// The log of a unit.
    pub fn journal(&self, unit: &str) -> String {
        control::journal(&self.root, unit).unwrap_or_default()
    }

    /// An installed program, called as root with the password of a user.
    pub fn program(&self, name: &str, user: &str) -> Command {
        let mut command = Command::new(self.root.join("usr/local/bin").join(name));
        command.current_dir(self.path()).env_clear().env("NATS_URL", self.url());
        command.env("NATS_PASSWORD_FILE", self.secret(user));
        command
    }

    /// Status code and body of a path of a service's health endpoint; `None` without an answer.
    pub fn ask(&self, unit: &str, path: &str) -> Option<(u16, String)> {
        let instance = unit.split_once('@').map_or("", |(_, instance)| instance);
        let port = match unit.split('@').next()? {
            "candlewire-producer" => "01".to_owned(),
            "candlewire-trainer" => "02".to_owned(),
            "candlewire-reporter" => "03".to_owned(),
            "candlewire-stream-processor" => format!("1{instance}"),
            "candlewire-aggregator" => format!("2{instance}"),
            _ => return None,
        };
        let mut stream = TcpStream::connect(self.address(&port)).ok()?;
        stream.set_read_timeout(Some(ANSWER_MAX)).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split_whitespace().nth(1)?.parse().ok()?, body.trim().to_owned()))
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        drop(self.systemctl(&["stop", "--all"]).status());
    }
}

/// Reserves a hundred free ports.
fn claim() -> (u16, TcpListener) {
    // Tests of several processes start at different places.
    let first = u16::try_from(std::process::id() % u32::from(HUNDREDS.end - HUNDREDS.start)).unwrap();
    let hundreds = HUNDREDS.clone().cycle().skip(first.into()).take(HUNDREDS.len());
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).ok();
    let mut claimed = hundreds.filter_map(|hundred| {
        let claim = is_free(hundred * 100 + 99)?;
        (0..5).all(|port| is_free(hundred * 100 + port).is_some()).then_some((hundred, claim))
    });
    claimed.next().expect("a hundred ports are free")
}
