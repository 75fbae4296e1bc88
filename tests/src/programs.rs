//! The programs as processes, started like users start them.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::host::Host;
use crate::users::{USERS, password, password_variable};

/// A process that is killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
}

impl Running {
    /// Starts the process.
    pub fn start(command: &mut Command) -> Self {
        Self { child: command.stdin(Stdio::null()).spawn().unwrap() }
    }

    /// Starts the process and returns the lines of its log.
    pub fn start_followed(command: &mut Command) -> (Self, Lines<BufReader<ChildStderr>>) {
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        (Self { child }, lines)
    }

    /// Sends kill -9.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends SIGTERM, as systemd and docker do.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        crate::process::signal(self.id(), name);
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end and returns the exit code.
    pub fn wait(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// Whether the process still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The running child processes of a process.
pub fn children(parent: u32) -> Vec<u32> {
    let threads = std::fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
    let started =
        |thread: std::fs::DirEntry| std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
    let ids = threads.map(started).collect::<Vec<_>>().concat();
    ids.split_whitespace().map(|id| id.parse().unwrap()).filter(|id| is_alive(*id)).collect()
}

/// The running descendants of a process, children before their own.
pub fn descendants(id: u32) -> Vec<u32> {
    children(id).into_iter().flat_map(|child| [vec![child], descendants(child)].concat()).collect()
}

/// Whether a process that is no child of this one still runs.
pub fn is_alive(id: u32) -> bool {
    // A process that ended but was not waited for has an empty command line.
    std::fs::read(format!("/proc/{id}/cmdline")).is_ok_and(|line| !line.is_empty())
}

/// The name of a process in process lists, which it may have set itself; empty when it has ended.
pub fn name_of(id: u32) -> String {
    std::fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default().trim_end().to_owned()
}

/// The folder with the programs of this build.
pub fn programs() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let folder = own.parent().unwrap();
    // Tests are in deps/ below the programs; tools are beside them.
    if folder.ends_with("deps") { folder.parent().unwrap().to_owned() } else { folder.to_owned() }
}

/// Variables that would make a program upload to the bucket of the user who runs the tests.
const S3_VARIABLES: [&str; 5] =
    ["S3_BUCKET_NAME", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"];

/// A program of this project, with the users' secrets and no other setting in its environment. It runs in `dir`, so
/// that it neither reads nor writes files of the checkout by accident.
pub fn program(name: &str, dir: &Path) -> Command {
    let path = programs().join(name);
    assert!(path.exists(), "{} is missing: run cargo build --workspace --bins", path.display());
    let mut command = Command::new(path);
    command.current_dir(dir).env_remove("NATS_URL").env_remove("NATS_USER").env_remove("NATS_PASSWORD");
    for name in S3_VARIABLES {
        command.env_remove(name);
    }
    command.envs(USERS.map(|user| (password_variable(user), password(user))));
    command
}

/// A program of this project that connects to this server or cluster.
pub fn program_at(name: &str, dir: &Path, server: &impl Host) -> Command {
    let mut command = program(name, dir);
    command.env("NATS_URL", server.url()).env("CANDLEWIRE_LOG", "warn").env("CANDLEWIRE_LEASE_TTL", "500ms");
    // Most tests replay without a stream-processor, or wait for it themselves.
    command.env("CANDLEWIRE_DOWNSTREAM_WAIT", "0");
    command
}

/// The same command, started by a prefix of program and arguments, which may be empty.
pub fn started_by(prefix: &[impl AsRef<OsStr>], command: &Command) -> Command {
    let mut words = prefix.iter().map(AsRef::as_ref).chain([command.get_program()]).chain(command.get_args());
    let mut started = Command::new(words.next().unwrap_or_default());
    started.args(words);
    if let Some(dir) = command.get_current_dir() {
        started.current_dir(dir);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => started.env(name, value),
            None => started.env_remove(name),
        };
    }
    started
}

/// Runs a command to its end, asserts success, and returns its output.
pub fn succeed(command: &mut Command) -> String {
    let output = finish(command);
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a command to its end; returns its exit code and the last line of its standard error.
pub fn fail(command: &mut Command) -> (i32, String) {
    let output = finish(command);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = errors.lines().rfind(|line| line.starts_with("error:")).unwrap_or(&errors).to_owned();
    (output.status.code().unwrap(), line)
}

/// A folder for PATH with everything on the current PATH except these programs.
pub fn path_without(missing: &[&str]) -> TempDir {
    let path = tempfile::tempdir().unwrap();
    let own = std::env::var_os("PATH").unwrap();
    for program in std::env::split_paths(&own).filter_map(|folder| folder.read_dir().ok()).flatten().flatten() {
        let name = program.file_name();
        let link = path.path().join(&name);
        if !missing.iter().any(|missing| name == *missing) && !link.is_symlink() {
            std::os::unix::fs::symlink(program.path(), link).unwrap();
        }
    }
    path
}

fn finish(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap()
}

/// Longest wait of a test for anything.
pub const NEVER: Duration = Duration::from_secs(180);

/// Polls until the check returns true.
pub fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let start = Instant::now();
    while !check() {
        assert!(start.elapsed() < NEVER, "{what}: not within {} s", NEVER.as_secs());
        std::thread::sleep(Duration::from_millis(20));
    }
}
