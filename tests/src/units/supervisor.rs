//! Supervisor of one service, as systemd would be: start, readiness, watchdog, restart, stop.

use std::fs::File;
use std::io::Write;
use std::os::unix::net::UnixDatagram as StdDatagram;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context;
use tokio::net::UnixDatagram;
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::file::Unit;
use super::root::Root;
use super::service::{Restart, Service, Type};
use super::state::{Active, Job, StateFolder, UnitState};

/// Poll interval for the units that this one is ordered after.
const LOOK: Duration = Duration::from_millis(20);
/// Longest notification of a service: a few short lines.
const MESSAGE_MAX: usize = 4096;
/// PATH of services: systemd's default.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Signals that count as a clean end.
const CLEAN_SIGNALS: [i32; 4] = [1, 2, 13, 15];

/// Starts a unit once the units in `after` are started, and supervises it until SIGTERM or until the unit stays down.
/// Prints one line once it has locked the unit.
///
/// # Errors
/// The unit is invalid, or has a supervisor already.
pub fn supervise(root: &Root, name: &str, after: &[String]) -> anyhow::Result<()> {
    let folder = StateFolder::of(root, name);
    folder.open()?;
    let _occupied = folder.lock()?;
    let state = UnitState { active: Active::Activating, job: Job::Waiting, ..UnitState::default() };
    folder.write(&state)?;
    report_locked();
    let journal = File::options().create(true).append(true).open(folder.journal())?;
    let mut supervisor = Supervisor { root: root.clone(), name: name.to_owned(), folder, state, journal };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if let Err(error) = runtime.block_on(supervisor.live(after)) {
        supervisor.log(&format!("{error:#}"));
        "resources".clone_into(&mut supervisor.state.result);
        supervisor.ended(Active::Failed)?;
    }
    Ok(())
}

/// The process that started this one waits for the line.
#[allow(clippy::print_stdout)]
fn report_locked() {
    println!("held");
}

struct Supervisor {
    root: Root,
    name: String,
    folder: StateFolder,
    state: UnitState,
    journal: File,
}

/// End of a run of the program.
enum End {
    /// It ended by itself or by its watchdog or start timeout: the result, and whether it was clean.
    Itself { result: &'static str, is_clean: bool },
    /// It finished its work and counts as active.
    Remains,
    /// It was stopped.
    Stopped { result: &'static str, is_clean: bool },
}

impl Supervisor {
    async fn live(&mut self, after: &[String]) -> anyhow::Result<()> {
        let mut stop = signal(SignalKind::terminate())?;
        if !self.wait_for(after, &mut stop).await {
            return self.ended(Active::Inactive);
        }
        loop {
            let service = Service::of(&Unit::load(&self.root, &self.name)?, &self.root)?;
            let end = self.run(&service, &mut stop).await?;
            let (result, is_clean) = match end {
                End::Remains => {
                    self.change(|state| (state.active, state.job, state.main_pid) = (Active::Active, Job::Done, 0))?;
                    stop.recv().await;
                    return self.ended(Active::Inactive);
                }
                End::Stopped { result, is_clean } => {
                    result.clone_into(&mut self.state.result);
                    return self.ended(if is_clean { Active::Inactive } else { Active::Failed });
                }
                End::Itself { result, is_clean } => (result, is_clean),
            };
            result.clone_into(&mut self.state.result);
            let is_final = self.state.exit_code.is_some_and(|code| service.final_codes.contains(&code));
            let starts_again = match service.restart {
                Restart::No => false,
                Restart::OnFailure => !is_clean,
                Restart::Always => true,
            };
            self.log(&format!("main process ended: {result}, exit code {:?}", self.state.exit_code));
            if is_final || !starts_again {
                return self.ended(if is_clean { Active::Inactive } else { Active::Failed });
            }
            self.change(|state| {
                (state.active, state.main_pid, state.restarts) = (Active::Activating, 0, state.restarts + 1);
                if state.job == Job::Waiting {
                    state.job = Job::Failed;
                }
            })?;
            tokio::select! {
                () = sleep(service.restart_after) => {}
                _ = stop.recv() => return self.ended(Active::Inactive),
            }
        }
    }

    /// Waits until the units are started or have failed; false when stopped before.
    async fn wait_for(&self, units: &[String], stop: &mut Signal) -> bool {
        let is_waiting = |unit: &String| {
            let state = StateFolder::of(&self.root, unit).read();
            state.active == Active::Activating && state.job == Job::Waiting
        };
        while units.iter().any(is_waiting) {
            tokio::select! {
                () = sleep(LOOK) => {}
                _ = stop.recv() => return false,
            }
        }
        true
    }

    /// Runs the program once.
    async fn run(&mut self, service: &Service, stop: &mut Signal) -> anyhow::Result<End> {
        let socket = self.listen()?;
        let mut child = self.spawn(service)?;
        self.change(|state| {
            (state.main_pid, state.exit_code) = (child.id().unwrap_or_default(), None);
            "success".clone_into(&mut state.result);
            state.status.clear();
            if service.kind == Type::Exec {
                (state.active, state.job) = (Active::Active, Job::Done);
            }
        })?;
        // The start timeout applies until the service is ready, the watchdog afterwards.
        let mut deadline = service.start_max.map(|span| Instant::now() + span);
        let mut message = [0; MESSAGE_MAX];
        loop {
            tokio::select! {
                status = child.wait() => return self.end_of(service, status?),
                _ = stop.recv() => return self.stop(service, &mut child).await,
                received = socket.recv(&mut message) => {
                    let text = String::from_utf8_lossy(&message[..received?]).into_owned();
                    if self.handle_notification(service, &text)? {
                        deadline = service.watchdog.map(|span| Instant::now() + span);
                    }
                }
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    let is_up = self.state.active == Active::Active;
                    let (result, signal) = if is_up { ("watchdog", "ABRT") } else { ("timeout", "TERM") };
                    self.log(&format!("killed: {result}"));
                    self.end(&mut child, signal, service.stop_max).await?;
                    return Ok(End::Itself { result, is_clean: false });
                }
            }
        }
    }

    /// Handles a notification; true when it resets the watchdog.
    fn handle_notification(&mut self, service: &Service, text: &str) -> anyhow::Result<bool> {
        let is_watched = |state: &UnitState| state.active == Active::Active;
        let mut feeds = false;
        let mut state = self.state.clone();
        for line in text.lines() {
            match line.split_once('=') {
                Some(("READY", "1")) if service.kind == Type::Notify => {
                    (state.active, state.job) = (Active::Active, Job::Done);
                    feeds = true;
                }
                Some(("STATUS", status)) => status.clone_into(&mut state.status),
                Some(("STOPPING", "1")) => state.active = Active::Deactivating,
                Some(("WATCHDOG", "1")) => feeds |= is_watched(&state),
                _ => {}
            }
        }
        if state != self.state {
            self.change(|old| *old = state)?;
        }
        Ok(feeds)
    }

    fn end_of(&mut self, service: &Service, status: ExitStatus) -> anyhow::Result<End> {
        self.state.exit_code = status.code();
        let is_clean = status.success() || status.signal().is_some_and(|signal| CLEAN_SIGNALS.contains(&signal));
        if service.kind == Type::Oneshot && status.success() && service.remains {
            return Ok(End::Remains);
        }
        if service.kind == Type::Notify && is_clean && self.state.job == Job::Waiting {
            return Ok(End::Itself { result: "protocol", is_clean: false });
        }
        Ok(End::Itself { result: result_of(status), is_clean })
    }

    async fn stop(&mut self, service: &Service, child: &mut Child) -> anyhow::Result<End> {
        self.change(|state| state.active = Active::Deactivating)?;
        let status = self.end(child, &service.kill_signal, service.stop_max).await?;
        Ok(match status {
            Some(status) => {
                self.state.exit_code = status.code();
                let is_clean =
                    status.success() || status.signal().is_some_and(|signal| CLEAN_SIGNALS.contains(&signal));
                End::Stopped { result: result_of(status), is_clean }
            }
            None => End::Stopped { result: "timeout", is_clean: false },
        })
    }

    /// Ends the process by a signal, or with SIGKILL after a timeout; then there is no status.
    async fn end(&mut self, child: &mut Child, signal: &str, limit: Duration) -> anyhow::Result<Option<ExitStatus>> {
        let id = child.id().context("the process has ended")?;
        send(id, signal)?;
        // A stopped process would not react.
        send(id, "CONT")?;
        if let Ok(status) = timeout(limit, child.wait()).await {
            return Ok(Some(status?));
        }
        self.log("does not end: killed");
        child.kill().await?;
        Ok(None)
    }

    fn listen(&self) -> anyhow::Result<UnixDatagram> {
        let path = self.folder.socket();
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let socket = StdDatagram::bind(&path).with_context(|| format!("cannot listen on {}", path.display()))?;
        socket.set_nonblocking(true)?;
        Ok(UnixDatagram::from_std(socket)?)
    }

    fn spawn(&self, service: &Service) -> anyhow::Result<Child> {
        let credentials = self.load_credentials(service)?;
        let [program, arguments @ ..] = &service.exec[..] else { anyhow::bail!("ExecStart= is empty") };
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.root.path()).env_clear();
        command.env("PATH", PATH).env("LANG", "C.UTF-8").envs(&service.environment);
        if service.kind == Type::Notify {
            command.env("NOTIFY_SOCKET", self.folder.socket());
        }
        if let Some(watchdog) = service.watchdog {
            command.env("WATCHDOG_USEC", watchdog.as_micros().to_string());
        }
        if !service.credentials.is_empty() {
            command.env("CREDENTIALS_DIRECTORY", credentials);
        }
        if let Some(folder) = service.state_directories.first() {
            command.env("STATE_DIRECTORY", folder);
        }
        command.stdin(Stdio::null()).stdout(self.journal.try_clone()?).stderr(self.journal.try_clone()?);
        command.kill_on_drop(true).spawn().with_context(|| format!("cannot start {program}"))
    }

    /// Copies the credentials of this service.
    fn load_credentials(&self, service: &Service) -> anyhow::Result<PathBuf> {
        let folder = self.root.join("run/credentials").join(&self.name);
        for (name, from) in &service.credentials {
            let to = folder.join(name);
            std::fs::copy(from, &to).with_context(|| format!("cannot load the credential {}", from.display()))?;
        }
        Ok(folder)
    }

    fn ended(&mut self, active: Active) -> anyhow::Result<()> {
        let job = if self.state.job == Job::Waiting { Job::Failed } else { self.state.job };
        self.change(|state| (state.active, state.job, state.main_pid) = (active, job, 0))
    }

    fn change(&mut self, change: impl FnOnce(&mut UnitState)) -> anyhow::Result<()> {
        change(&mut self.state);
        self.folder.write(&self.state)
    }

    /// Writes a line of its own between those of the service.
    fn log(&mut self, text: &str) {
        drop(writeln!(self.journal, "units: {}: {text}", self.name));
    }
}

fn result_of(status: ExitStatus) -> &'static str {
    match (status.success(), status.signal()) {
        (true, _) => "success",
        (false, Some(_)) => "signal",
        (false, None) => "exit-code",
    }
}

/// Sends a signal by its name.
pub(super) fn send(id: u32, signal: &str) -> anyhow::Result<()> {
    let status =
        std::process::Command::new("kill").args(["-s", signal, &id.to_string()]).stderr(Stdio::null()).status();
    status.context("cannot run kill")?;
    Ok(())
}
