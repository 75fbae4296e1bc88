//! The machine of a measurement.

use std::fmt;
use std::process::Command;

use anyhow::{Context, ensure};
use pipeline_tests::server::{checkout, go_settings};
use serde_json::{Value, json};

/// Properties that figures depend on.
#[derive(Debug)]
pub struct Machine {
    processor: String,
    cores: usize,
    memory_gib: u64,
    kernel: String,
    file_system: String,
    nats_server: String,
    /// Variables of the Go runtime.
    go_settings: String,
    revision: String,
    /// Build profile of the programs.
    profile: &'static str,
}

/// Reads the properties of this machine.
///
/// # Errors
/// It does not run Linux, or stores would be in memory.
pub fn describe() -> anyhow::Result<Machine> {
    let read = |path: &str| std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"));
    let processors = read("/proc/cpuinfo")?;
    let processor = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let memory = read("/proc/meminfo")?;
    let kib = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok());
    let kib: u64 = kib.context("/proc/meminfo has another form")?;
    let file_system = said(Command::new("stat").args(["-f", "-c", "%T"]).arg(std::env::temp_dir()))?;
    ensure!(file_system != "tmpfs", "stores would be in memory: set TMPDIR to a folder on a disk");
    let described = Command::new("git").arg("-C").arg(checkout()).args(["describe", "--always", "--dirty"]).output();
    let revision = described.ok().filter(|output| output.status.success());
    Ok(Machine {
        processor: processor.map_or("unknown", |(_, name)| name).to_owned(),
        cores: std::thread::available_parallelism()?.get(),
        memory_gib: kib >> 20,
        kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
        file_system,
        nats_server: said(Command::new(checkout().join(".tools/nats-server")).arg("--version"))?,
        go_settings: go_settings().map(|(name, value)| format!("{name}={value}")).join(" "),
        revision: revision.map_or("unknown".to_owned(), |output| one_line(&output.stdout)),
        profile: if cfg!(debug_assertions) { "dev" } else { "release" },
    })
}

impl Machine {
    /// As JSON.
    pub fn json(&self) -> Value {
        json!({
            "processor": self.processor,
            "cores": self.cores,
            "memory_gib": self.memory_gib,
            "kernel": self.kernel,
            "file_system": self.file_system,
            "nats_server": self.nats_server,
            "go_settings": self.go_settings,
            "revision": self.revision,
            "profile": self.profile,
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processor, cores, memory_gib, kernel, file_system, nats_server, go_settings, .. } = self;
        write!(f, "{cores} cores of {processor}, {memory_gib} GiB, Linux {kernel}, {file_system}; ")?;
        write!(f, "{nats_server} with {go_settings}; candlewire at {}, {} build", self.revision, self.profile)
    }
}

/// Output of a command.
fn said(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(output.status.success(), "{command:?} failed");
    Ok(one_line(&output.stdout))
}

fn one_line(text: &[u8]) -> String {
    String::from_utf8_lossy(text).trim().to_owned()
}
