//! A small disk, visible only to the processes that a test starts on it.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::programs::{eventually, started_by};

/// A file system in memory, in its own mount namespace. Unmounted when dropped.
#[derive(Debug)]
pub struct SmallDisk {
    /// Holds the namespace.
    holder: Child,
    dir: TempDir,
}

impl SmallDisk {
    /// Creates one of this size in bytes.
    pub fn new(bytes: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", "mount -t tmpfs -o size=$1 tmpfs \"$2\" && exec sleep infinity", "sh"]);
        command.arg(bytes.to_string()).arg(dir.path()).stdin(Stdio::null());
        let mut disk = Self { holder: command.spawn().expect("unshare is there: apt-get install util-linux"), dir };
        eventually("the disk is there", || {
            let mounts = std::fs::read_to_string(format!("/proc/{}/mounts", disk.holder.id())).unwrap_or_default();
            let is_permitted = disk.holder.try_wait().unwrap().is_none();
            assert!(is_permitted, "this user may not mount a small disk: call scripts/test as root");
            mounts.contains(&*disk.path().to_string_lossy())
        });
        disk
    }

    /// The mount point.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The same command, with the disk visible to it.
    pub fn seen_by(&self, command: &Command) -> Command {
        started_by(&self.prefix(), command)
    }

    /// Program and arguments that start another program with the disk visible to it.
    pub fn prefix(&self) -> [String; 4] {
        ["nsenter", "--mount", "--target", &self.holder.id().to_string()].map(str::to_owned)
    }

    /// Enlarges it.
    pub fn grow(&self, bytes: u64) {
        let [nsenter, arguments @ ..] = self.prefix();
        let mut command = Command::new(nsenter);
        command.args(arguments).args(["mount", "-o", &format!("remount,size={bytes}")]).arg(self.path());
        assert!(command.status().unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(self.holder.kill());
        drop(self.holder.wait());
    }
}
