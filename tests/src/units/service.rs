//! Settings of a service unit.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};

use super::file::{Unit, words};
use super::root::Root;

/// Condition under which a unit counts as started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    /// Its program runs.
    Exec,
    /// It notified readiness.
    Notify,
    /// It ended successfully.
    Oneshot,
}

/// Ends after which a service is restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Restart {
    No,
    OnFailure,
    Always,
}

/// A service, ready to be started, with real paths.
#[derive(Debug, Clone)]
pub(super) struct Service {
    pub(super) kind: Type,
    pub(super) exec: Vec<String>,
    pub(super) reload: Option<Vec<String>>,
    pub(super) environment: BTreeMap<String, String>,
    /// Name and file of each credential.
    pub(super) credentials: Vec<(String, PathBuf)>,
    pub(super) state_directories: Vec<PathBuf>,
    pub(super) remains: bool,
    pub(super) restart: Restart,
    pub(super) restart_after: Duration,
    /// Exit codes after which it is not restarted.
    pub(super) final_codes: Vec<i32>,
    /// `None` waits forever.
    pub(super) start_max: Option<Duration>,
    pub(super) stop_max: Duration,
    pub(super) kill_signal: String,
    pub(super) watchdog: Option<Duration>,
}

/// Settings that sandbox or limit a service. They are not applied here; `systemd-analyze` judges them.
const NOT_DONE: &[&str] = &[
    "AmbientCapabilities",
    "CapabilityBoundingSet",
    "DynamicUser",
    "IPAddressAllow",
    "IPAddressDeny",
    "KeyringMode",
    "LimitNOFILE",
    "LockPersonality",
    "MemoryDenyWriteExecute",
    "MemoryHigh",
    "MemoryMax",
    "NoNewPrivileges",
    "NotifyAccess",
    "OOMPolicy",
    "PrivateDevices",
    "PrivateMounts",
    "PrivateTmp",
    "PrivateUsers",
    "ProcSubset",
    "ProtectClock",
    "ProtectControlGroups",
    "ProtectHome",
    "ProtectHostname",
    "ProtectKernelLogs",
    "ProtectKernelModules",
    "ProtectKernelTunables",
    "ProtectProc",
    "ProtectSystem",
    "RemoveIPC",
    "RestrictAddressFamilies",
    "RestrictNamespaces",
    "RestrictRealtime",
    "RestrictSUIDSGID",
    "StateDirectoryMode",
    "SystemCallArchitectures",
    "SystemCallErrorNumber",
    "SystemCallFilter",
    "UMask",
];
const DONE: &[&str] = &[
    "Environment",
    "EnvironmentFile",
    "ExecReload",
    "ExecStart",
    "KillSignal",
    "LoadCredential",
    "RemainAfterExit",
    "Restart",
    "RestartPreventExitStatus",
    "RestartSec",
    "StateDirectory",
    "TimeoutStartSec",
    "TimeoutStopSec",
    "Type",
    "UnsetEnvironment",
    "WatchdogSec",
];

/// Placeholder for the id of the main process.
pub(super) const MAIN_PID: &str = "${MAINPID}";
const RESTART_AFTER: Duration = Duration::from_millis(100);
const TIMEOUT: Duration = Duration::from_secs(90);

impl Service {
    /// Reads the service of a unit. Creates its state folders, since they make paths into them real.
    ///
    /// # Errors
    /// A setting is unknown or invalid, or a required file is missing.
    pub(super) fn of(unit: &Unit, root: &Root) -> anyhow::Result<Self> {
        for (_, key) in unit.keys().filter(|(section, _)| *section == "Service") {
            ensure!(DONE.contains(&key) || NOT_DONE.contains(&key), "{}: {key}= is not known here", unit.name);
        }
        let never_gives_up = unit.last("Unit", "StartLimitIntervalSec") == Some("0");
        let text = |key| unit.last("Service", key);
        let span = |key, default| text(key).map_or(Ok(Some(default)), |value| parse_span(value).context(key));
        let kind = match text("Type") {
            Some("exec") => Type::Exec,
            Some("notify") => Type::Notify,
            Some("oneshot") => Type::Oneshot,
            other => bail!("{}: Type={} is not known here", unit.name, other.unwrap_or_default()),
        };
        let restart = match text("Restart") {
            None | Some("no") => Restart::No,
            Some("on-failure") => Restart::OnFailure,
            Some("always") => Restart::Always,
            Some(other) => bail!("{}: Restart={other} is not known here", unit.name),
        };
        ensure!(restart == Restart::No || never_gives_up, "{}: StartLimitIntervalSec= must be 0 here", unit.name);
        let is_private = unit.is_on("Service", "DynamicUser", false);
        let state_directories = unit.names("Service", "StateDirectory");
        let state_directories = state_directories.iter().map(|name| state_directory(root, name, is_private));
        let state_directories = state_directories.collect::<Result<Vec<_>, _>>()?;
        std::fs::create_dir_all(root.join("run/credentials").join(&unit.name))?;
        let command = |line: &str| -> anyhow::Result<Vec<String>> {
            let words = words(line)?;
            // Inside a word only `${NAME}` is a variable.
            let strange = words.iter().find(|word| word.replace(MAIN_PID, "").contains('$'));
            ensure!(strange.is_none(), "{}: only {MAIN_PID} is known here, in {line}", unit.name);
            Ok(words.iter().map(|word| root.map(word)).collect())
        };
        let exec = unit.all("Service", "ExecStart");
        let [exec] = exec[..] else { bail!("{}: one ExecStart= is expected here", unit.name) };
        Ok(Self {
            kind,
            exec: command(exec)?,
            reload: text("ExecReload").map(command).transpose()?,
            environment: environment(unit, root)?,
            credentials: credentials(unit, root)?,
            state_directories,
            remains: unit.is_on("Service", "RemainAfterExit", false),
            restart,
            restart_after: span("RestartSec", RESTART_AFTER)?.unwrap_or(RESTART_AFTER),
            final_codes: unit
                .names("Service", "RestartPreventExitStatus")
                .iter()
                .map(|code| code.parse().with_context(|| format!("RestartPreventExitStatus={code}")))
                .collect::<Result<_, _>>()?,
            start_max: if kind == Type::Notify { span("TimeoutStartSec", TIMEOUT)? } else { None },
            stop_max: span("TimeoutStopSec", TIMEOUT)?.unwrap_or(TIMEOUT),
            kill_signal: text("KillSignal").unwrap_or("SIGTERM").trim_start_matches("SIG").to_owned(),
            watchdog: text("WatchdogSec").map_or(Ok(None), parse_span)?.filter(|span| !span.is_zero()),
        })
    }
}

/// Creates the state folder of a service. That of a dynamic user is in a folder that only root may enter, with a link
/// to it in `/var/lib`.
fn state_directory(root: &Root, name: &str, is_private: bool) -> anyhow::Result<PathBuf> {
    let folder = root.join("var/lib").join(name);
    let make =
        |folder: &Path| std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()));
    if !is_private {
        make(&folder)?;
        return Ok(folder);
    }
    let behind = root.join("var/lib/private").join(name);
    if folder.is_dir() && !folder.is_symlink() {
        make(&root.join("var/lib/private"))?;
        std::fs::rename(&folder, &behind)?;
    }
    make(&behind)?;
    if !folder.is_symlink() {
        std::os::unix::fs::symlink(Path::new("private").join(name), &folder)?;
    }
    Ok(folder)
}

/// Variables of the unit, overridden by those of its files.
fn environment(unit: &Unit, root: &Root) -> anyhow::Result<BTreeMap<String, String>> {
    let mut environment = BTreeMap::new();
    for line in unit.all("Service", "Environment") {
        for word in words(line)? {
            let (name, value) = word.split_once('=').with_context(|| format!("{}: Environment={word}", unit.name))?;
            environment.insert(name.to_owned(), root.map(value));
        }
    }
    for file in unit.all("Service", "EnvironmentFile") {
        let (path, is_optional) = file.strip_prefix('-').map_or((file, false), |path| (path, true));
        let path = root.join(path);
        if is_optional && !path.exists() {
            continue;
        }
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        for line in text.replace("\\\n", "").lines().map(str::trim) {
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            let (name, value) = line.split_once('=').with_context(|| format!("{}: {line}", path.display()))?;
            let value = if value.starts_with(['"', '\'']) { words(value)?.concat() } else { value.to_owned() };
            environment.insert(name.trim().to_owned(), root.map(&value));
        }
    }
    for name in unit.names("Service", "UnsetEnvironment") {
        environment.remove(&name);
    }
    Ok(environment)
}

fn credentials(unit: &Unit, root: &Root) -> anyhow::Result<Vec<(String, PathBuf)>> {
    let mut credentials = Vec::new();
    for line in unit.all("Service", "LoadCredential") {
        let (name, path) = line.split_once(':').with_context(|| format!("{}: LoadCredential={line}", unit.name))?;
        credentials.push((name.to_owned(), root.join(path)));
    }
    Ok(credentials)
}

/// Parses a time span of a unit: `30`, `500ms`, `1min 30s`; `None` for `infinity`.
fn parse_span(text: &str) -> anyhow::Result<Option<Duration>> {
    if text == "infinity" {
        return Ok(None);
    }
    if let Ok(seconds) = text.parse() {
        return Ok(Some(Duration::from_secs_f64(seconds)));
    }
    Ok(Some(humantime::parse_duration(text).with_context(|| format!("not a span: {text}"))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(text: &str) -> anyhow::Result<Service> {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("etc/systemd/system");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(dir.path().join("etc/settings.env"), "# a comment\nB=file\nC=\"two words\"\n").unwrap();
        std::fs::write(folder.join("a.service"), format!("[Service]\nType=exec\nExecStart=/bin/a\n{text}")).unwrap();
        let root = Root::at(dir.path()).unwrap();
        Service::of(&Unit::load(&root, "a").unwrap(), &root)
    }

    #[test]
    fn a_file_of_settings_counts_more_than_the_unit() {
        let service =
            service("Environment=A=1 B=unit\nEnvironmentFile=/etc/settings.env\nEnvironmentFile=-/etc/none").unwrap();
        let expected = [("A", "1"), ("B", "file"), ("C", "two words")];
        assert_eq!(service.environment, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    }

    #[test]
    fn unknown_directives_are_refused() {
        let refused = |text: &str, word: &str| assert!(service(text).unwrap_err().to_string().contains(word), "{text}");
        refused("RootDirectory=/x", "RootDirectory");
        refused("Type=forking", "forking");
        refused("Restart=always", "StartLimitIntervalSec");
        refused("EnvironmentFile=/etc/none", "/etc/none");
        refused("RestartPreventExitStatus=two", "two");
        refused("ExecReload=/bin/kill -HUP=$MAINPID", "MAINPID");
    }

    #[test]
    fn spans_are_those_of_units() {
        let service = service("TimeoutStopSec=1min 30s\nRestartSec=0.5\nWatchdogSec=0").unwrap();
        assert_eq!(service.stop_max, Duration::from_secs(90));
        assert_eq!(service.restart_after, Duration::from_millis(500));
        assert_eq!(service.watchdog, None);
        assert_eq!(parse_span("infinity").unwrap(), None);
    }
}
