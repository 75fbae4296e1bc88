//! Identity of a process, so that other processes on the same machine notice its end at once.

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use serde::{Deserialize, Serialize};

/// A process of a machine. Fields that cannot be read stay empty, and nothing is concluded from empty fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Name of the machine or container.
    pub host: String,
    /// Process id.
    pub pid: i32,
    /// Start time in clock ticks since boot: a process id can be reused.
    started: u64,
    /// Boot id of the machine.
    boot: String,
    /// PID namespace of the process id: containers have their own.
    name_space: String,
}

impl Process {
    /// This process.
    pub(crate) fn current() -> Self {
        let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let pid = i32::try_from(std::process::id()).unwrap_or_default();
        let name_space = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        Self {
            host: text("/proc/sys/kernel/hostname"),
            pid,
            started: stat(pid).map_or(0, |(_, started)| started),
            boot: text("/proc/sys/kernel/random/boot_id"),
            name_space: name_space.to_string_lossy().into_owned(),
        }
    }

    /// Whether the process has certainly ended, as seen from the process `here`. False when it runs on another machine
    /// or container: then only missing renewals tell.
    pub(crate) fn is_gone(&self, here: &Self) -> bool {
        let is_neighbour = !self.boot.is_empty()
            && !self.name_space.is_empty()
            && (&self.boot, &self.name_space) == (&here.boot, &here.name_space);
        let Some(pid) = Pid::from_raw(self.pid).filter(|_| is_neighbour) else { return false };
        // A process of another user may be hidden from /proc, but signal 0 still finds it.
        test_kill_process(pid) == Err(Errno::SRCH)
            || stat(self.pid).is_some_and(|(is_dead, started)| is_dead || started != self.started)
    }
}

/// Whether a process is dead (perhaps not yet reaped), and its start time.
fn stat(pid: i32) -> Option<(bool, u64)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the name in parentheses, which may contain spaces and parentheses.
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    Some((matches!(state, "Z" | "X"), fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_local_process_is_gone_even_before_its_parent_reaps_it() {
        let here = Process::current();
        assert!(!here.is_gone(&here));
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let (_, started) = stat(pid).unwrap();
        let neighbour = Process { pid, started, ..here.clone() };
        assert!(!neighbour.is_gone(&here));
        child.kill().unwrap();
        while stat(pid).is_some_and(|(is_dead, _)| !is_dead) {
            std::thread::yield_now();
        }
        assert!(neighbour.is_gone(&here), "dead, not yet reaped");
        child.wait().unwrap();
        assert!(neighbour.is_gone(&here), "reaped");
    }

    #[test]
    fn a_reused_process_id_is_another_process() {
        let here = Process::current();
        let before = Process { started: here.started - 1, ..here.clone() };
        assert!(before.is_gone(&here));
    }

    #[test]
    fn nothing_is_concluded_about_other_machines_and_containers() {
        let here = Process::current();
        let gone = Process { started: here.started - 1, ..here.clone() };
        for elsewhere in [
            Process { boot: "another".to_owned(), ..gone.clone() },
            Process { name_space: "pid:[1]".to_owned(), ..gone.clone() },
        ] {
            assert!(!elsewhere.is_gone(&here), "{elsewhere:?}");
        }
        let unknown = Process { boot: String::new(), ..gone };
        assert!(!unknown.is_gone(&unknown));
    }
}
