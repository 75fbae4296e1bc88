//! The verbs of `systemctl`.

use std::collections::BTreeSet;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use super::file::{Unit, full_name};
use super::root::Root;
use super::service::{MAIN_PID, Service};
use super::state::{Active, Job, StateFolder, UnitState};
use super::supervisor::send;

/// Poll interval while a unit is waited for.
const LOOK: Duration = Duration::from_millis(10);
/// Longest time for a unit to end: more than the longest TimeoutStopSec and the following kill.
const STOP_MAX: Duration = Duration::from_secs(60);

/// Starts units with all that they pull in, in order, and waits until the named ones are started.
///
/// # Errors
/// A unit does not exist or cannot be started.
pub fn start(root: &Root, program: &Path, names: &[String], is_awaited: bool) -> anyhow::Result<()> {
    let mut units = Vec::new();
    for name in names {
        gather(root, &full_name(name), true, &mut units)?;
    }
    sort_by_order(&mut units);
    let mut started: Vec<String> = Vec::new();
    for unit in units.iter().filter(|unit| !unit.is_target()) {
        let after = unit.names("Unit", "After");
        let after = after.iter().filter(|name| started.contains(name));
        if !StateFolder::of(root, &unit.name).is_supervised() {
            spawn(root, program, &unit.name, after)?;
        }
        started.push(unit.name.clone());
    }
    for unit in units.iter().filter(|unit| unit.is_target()) {
        let folder = StateFolder::of(root, &unit.name);
        folder.open()?;
        folder.write(&UnitState { active: Active::Active, ..UnitState::default() })?;
    }
    if is_awaited { await_start(root, &started, names) } else { Ok(()) }
}

fn await_start(root: &Root, started: &[String], names: &[String]) -> anyhow::Result<()> {
    let names: Vec<String> = names.iter().map(|name| full_name(name)).collect();
    let mut failed = Vec::new();
    for name in started.iter().filter(|name| names.contains(name)) {
        let job = loop {
            match StateFolder::of(root, name).read().job {
                Job::Waiting => std::thread::sleep(LOOK),
                job => break job,
            }
        };
        if job == Job::Failed {
            failed.push(format!("Job for {name} failed. See \"systemctl status {name}\"."));
        }
    }
    ensure!(failed.is_empty(), failed.join("\n"));
    Ok(())
}

/// Stops units and returns when they have ended. Their parts are stopped too, but not waited for.
///
/// # Errors
/// A unit does not end.
pub fn stop(root: &Root, program: &Path, names: &[String]) -> anyhow::Result<()> {
    let named = matching(root, names)?;
    let mut parts = with_parts(root, &named)?;
    parts.retain(|name| !named.contains(name) && StateFolder::of(root, name).is_supervised());
    if !parts.is_empty() {
        let mut command = Command::new(program);
        command.arg("--root").arg(root.path()).arg("stop").args(&parts);
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
    }
    stop_in_order(root, &named)
}

/// Stops each unit once those ordered after it have ended. Returns when all have.
fn stop_in_order(root: &Root, names: &[String]) -> anyhow::Result<()> {
    let mut waiting = Vec::new();
    for name in names {
        let folder = StateFolder::of(root, name);
        if name.ends_with(".target") {
            folder.open()?;
            folder.write(&UnitState::default())?;
        } else if folder.is_supervised() {
            let after = Unit::load(root, name).map(|unit| unit.names("Unit", "After")).unwrap_or_default();
            waiting.push((name, after, false));
        }
    }
    let start = Instant::now();
    while !waiting.is_empty() {
        let afters: Vec<Vec<String>> = waiting.iter().map(|(_, after, _)| after.clone()).collect();
        for (name, _, is_asked) in &mut waiting {
            if !*is_asked && !afters.iter().any(|after| after.contains(name)) {
                ask_to_stop(&StateFolder::of(root, name))?;
                *is_asked = true;
            }
        }
        ensure!(start.elapsed() < STOP_MAX, "{} does not end", waiting[0].0);
        std::thread::sleep(LOOK);
        waiting.retain(|(name, ..)| StateFolder::of(root, name).is_supervised());
    }
    Ok(())
}

fn ask_to_stop(folder: &StateFolder) -> anyhow::Result<()> {
    // The supervisor publishes its id a moment after it has locked the unit.
    while folder.is_supervised() {
        match folder.supervisor() {
            Some(id) => return send(id, "TERM"),
            None => std::thread::sleep(LOOK),
        }
    }
    Ok(())
}

/// Stops units with all their parts, then starts them, and those parts that ran.
///
/// # Errors
/// As [`stop`] and [`start`].
pub fn restart(root: &Root, program: &Path, names: &[String]) -> anyhow::Result<()> {
    let named = matching(root, names)?;
    let all = with_parts(root, &named)?;
    let running: Vec<String> = all.iter().filter(|name| StateFolder::of(root, name).is_supervised()).cloned().collect();
    stop_in_order(root, &all)?;
    let others: Vec<String> = running.into_iter().filter(|name| !named.contains(name)).collect();
    start(root, program, &others, false)?;
    start(root, program, &named, true)
}

/// Makes units reload their configuration.
///
/// # Errors
/// A unit does not run or cannot reload.
pub fn reload(root: &Root, names: &[String]) -> anyhow::Result<()> {
    for name in matching(root, names)? {
        let unit = Unit::load(root, &name)?;
        let command = Service::of(&unit, root)?.reload.with_context(|| format!("{name} cannot reload"))?;
        let id = main_pid(root, &name)?.to_string();
        let words: Vec<String> = command.iter().map(|word| word.replace(MAIN_PID, &id)).collect();
        let [program, arguments @ ..] = &words[..] else { bail!("{name}: ExecReload= is empty") };
        ensure!(Command::new(program).args(arguments).status()?.success(), "{name} did not reload");
    }
    Ok(())
}

/// Sends a signal to the processes of units.
///
/// # Errors
/// A unit does not run.
pub fn kill(root: &Root, names: &[String], signal: &str) -> anyhow::Result<()> {
    for name in matching(root, names)? {
        send(main_pid(root, &name)?, signal.trim_start_matches("SIG"))?;
    }
    Ok(())
}

fn main_pid(root: &Root, name: &str) -> anyhow::Result<u32> {
    let id = state(root, name).main_pid;
    ensure!(id != 0, "{name} does not run");
    Ok(id)
}

/// Enables or disables the start of units with the targets that want them.
///
/// # Errors
/// A unit does not exist or has no target.
pub fn enable(root: &Root, names: &[String], is_on: bool) -> anyhow::Result<()> {
    for name in names {
        let unit = Unit::load(root, name)?;
        let wanted_by = unit.names("Install", "WantedBy");
        ensure!(!wanted_by.is_empty(), "{}: nothing in [Install]", unit.name);
        for target in wanted_by {
            let folder = root.join("etc/systemd/system").join(format!("{target}.wants"));
            let link = folder.join(&unit.name);
            if is_on && !link.is_symlink() {
                std::fs::create_dir_all(&folder)?;
                std::os::unix::fs::symlink(Path::new("..").join(&unit.name), &link)?;
            } else if !is_on && link.is_symlink() {
                std::fs::remove_file(&link)?;
            }
        }
    }
    Ok(())
}

/// Whether a target wants the unit.
pub fn is_enabled(root: &Root, name: &str) -> bool {
    let listed = std::fs::read_dir(root.join("etc/systemd/system")).into_iter().flatten().flatten();
    listed.into_iter().any(|entry| {
        let path = entry.path();
        path.extension().is_some_and(|extension| extension == "wants") && path.join(full_name(name)).is_symlink()
    })
}

/// The state of a unit.
pub fn state(root: &Root, name: &str) -> UnitState {
    StateFolder::of(root, &full_name(name)).read()
}

/// Resets the failed state of units.
///
/// # Errors
/// A state cannot be written.
pub fn reset_failed(root: &Root, names: &[String]) -> anyhow::Result<()> {
    for name in matching(root, names)? {
        let folder = StateFolder::of(root, &name);
        if folder.read().active == Active::Failed {
            folder.write(&UnitState::default())?;
        }
    }
    Ok(())
}

/// The log of a unit.
///
/// # Errors
/// The unit was never started.
pub fn journal(root: &Root, name: &str) -> anyhow::Result<String> {
    let path = StateFolder::of(root, &full_name(name)).journal();
    let bytes = std::fs::read(&path).with_context(|| format!("{name} has no log"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// All units that were ever started, by name.
///
/// # Errors
/// Never for a root that exists.
pub fn known(root: &Root) -> anyhow::Result<Vec<String>> {
    let listed = std::fs::read_dir(root.join("run/units")).into_iter().flatten().flatten();
    let mut names: Vec<String> = listed.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}

/// The named units, or those that match a name with one `*`.
///
/// # Errors
/// As [`known`].
pub fn matching(root: &Root, names: &[String]) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for name in names {
        match name.split_once('*') {
            None => found.push(full_name(name)),
            Some((prefix, suffix)) => {
                let is_meant = |unit: &String| unit.starts_with(prefix) && unit.ends_with(suffix);
                found.extend(known(root)?.into_iter().filter(is_meant));
            }
        }
    }
    Ok(found)
}

/// Units and their known parts, without duplicates.
fn with_parts(root: &Root, names: &[String]) -> anyhow::Result<Vec<String>> {
    let mut all: BTreeSet<String> = names.iter().cloned().collect();
    for name in known(root)? {
        let is_part = Unit::load(root, &name)
            .is_ok_and(|unit| unit.names("Unit", "PartOf").iter().any(|whole| names.contains(whole)));
        if is_part {
            all.insert(name);
        }
    }
    Ok(all.into_iter().collect())
}

/// Collects a unit and its dependencies at any depth, without duplicates. Units that are only wanted may be missing.
fn gather(root: &Root, name: &str, is_needed: bool, units: &mut Vec<Unit>) -> anyhow::Result<()> {
    if units.iter().any(|unit| unit.name == name) {
        return Ok(());
    }
    let unit = match Unit::load(root, name) {
        Err(_) if !is_needed => return Ok(()),
        unit => unit?,
    };
    let mut wanted = unit.names("Unit", "Wants");
    let links = std::fs::read_dir(root.join("etc/systemd/system").join(format!("{name}.wants")));
    wanted.extend(links.into_iter().flatten().flatten().map(|link| link.file_name().to_string_lossy().into_owned()));
    let required = unit.names("Unit", "Requires");
    units.push(unit);
    for name in required {
        gather(root, &name, true, units)?;
    }
    for name in wanted {
        gather(root, &name, false, units)?;
    }
    Ok(())
}

/// Sorts units by their ordering dependencies.
fn sort_by_order(units: &mut Vec<Unit>) {
    let mut sorted: Vec<Unit> = Vec::new();
    while !units.is_empty() {
        let is_free =
            |unit: &Unit| !unit.names("Unit", "After").iter().any(|name| units.iter().any(|u| u.name == *name));
        // A cycle has no order; systemd would also break it somewhere.
        let idx = units.iter().position(is_free).unwrap_or(0);
        sorted.push(units.remove(idx));
    }
    *units = sorted;
}

/// Starts the supervisor of a unit and returns once it has locked the unit.
fn spawn<'a>(root: &Root, program: &Path, name: &str, after: impl Iterator<Item = &'a String>) -> anyhow::Result<()> {
    let mut command = Command::new(program);
    command.arg("--root").arg(root.path()).arg("supervise").arg(name).args(after);
    // A separate process group keeps a terminal's Ctrl-C away from it.
    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
    let mut said = [0; 4];
    let output = child.stdout.as_mut().context("its output is piped")?;
    ensure!(output.read_exact(&mut said).is_ok(), "{name}: the supervisor ended at once");
    Ok(())
}
