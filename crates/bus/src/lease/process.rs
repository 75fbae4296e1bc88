//! Which process an instance is, so that a neighbour on the same machine sees at once when it is gone.

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use serde::{Deserialize, Serialize};

/// A process of a machine. What cannot be read stays empty, and then nothing is concluded from it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Name of the machine or container, for people.
    pub host: String,
    /// Its id there.
    pub pid: i32,
    /// When it started, in the machine's own ticks: an id can be given out again.
    started: u64,
    /// The boot of the machine that it runs on.
    boot: String,
    /// The name space in which its id counts: containers have their own.
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

    /// Whether it certainly runs no more, seen from the process `here`. False when it runs elsewhere or cannot be seen:
    /// then only its silence tells.
    pub(crate) fn is_gone(&self, here: &Self) -> bool {
        let is_neighbour = !self.boot.is_empty()
            && !self.name_space.is_empty()
            && (&self.boot, &self.name_space) == (&here.boot, &here.name_space);
        let Some(pid) = Pid::from_raw(self.pid).filter(|_| is_neighbour) else { return false };
        // A process of another user may be hidden from /proc: the signal that is none sees it nevertheless.
        test_kill_process(pid) == Err(Errno::SRCH)
            || stat(self.pid).is_some_and(|(is_dead, started)| is_dead || started != self.started)
    }
}

/// Whether a process has died (and waits for its parent to notice), and when it started.
fn stat(pid: i32) -> Option<(bool, u64)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the name in parentheses, which may itself hold spaces and parentheses.
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    Some((matches!(state, "Z" | "X"), fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_neighbour_is_gone_when_it_has_ended_even_before_its_parent_noticed() {
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
        assert!(neighbour.is_gone(&here), "dead, not yet buried");
        child.wait().unwrap();
        assert!(neighbour.is_gone(&here), "buried");
    }

    #[test]
    fn an_id_given_out_again_is_another_process() {
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
