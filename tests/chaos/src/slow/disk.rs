//! A separate file system for a store, which can lose its power or be full.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use tempfile::TempDir;

/// `EXT4_IOC_SHUTDOWN` of the kernel, `_IOR('X', 125, __u32)`, and its flag to shut down without flushing. Called from
/// Python, since an ioctl by number is unsafe code in Rust.
const CUT: &str = "import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack('I', 2))";

/// A mounted file system. Unmounted when dropped.
#[derive(Debug)]
pub(super) struct Disk {
    dir: TempDir,
    /// Arguments of `mount` for the source: an image file, or `tmpfs`.
    source: Vec<String>,
}

impl Disk {
    /// An ext4 on a loop device.
    ///
    /// # Errors
    /// The machine or the user does not allow it.
    pub(super) fn ext4(mib: u64) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let image = dir.path().join("image");
        std::fs::File::create(&image)?.set_len(mib << 20)?;
        let image = image.display().to_string();
        run("mkfs.ext4", &["-q", "-F", &image])?;
        Self::mounted(dir, vec!["-o".to_owned(), "loop".to_owned(), image])
    }

    /// A file system in memory.
    ///
    /// # Errors
    /// The machine or the user does not allow it.
    pub(super) fn tmpfs(mib: u64) -> anyhow::Result<Self> {
        let source = format!("-t tmpfs -o size={mib}m tmpfs");
        Self::mounted(tempfile::tempdir()?, source.split(' ').map(str::to_owned).collect())
    }

    fn mounted(dir: TempDir, source: Vec<String>) -> anyhow::Result<Self> {
        std::fs::create_dir(dir.path().join("mount"))?;
        let disk = Self { dir, source };
        disk.mount()?;
        Ok(disk)
    }

    /// The mount point.
    pub(super) fn path(&self) -> PathBuf {
        self.dir.path().join("mount")
    }

    fn mount(&self) -> anyhow::Result<()> {
        let path = self.path().display().to_string();
        let arguments: Vec<&str> = self.source.iter().map(String::as_str).chain([path.as_str()]).collect();
        run("mount", &arguments)
    }

    /// Cuts the power: unflushed data never reaches the device.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(super) fn cut(&self) -> anyhow::Result<()> {
        run("python3", &["-c", CUT, &self.path().display().to_string()])
    }

    /// Mounts it again as after a power cut. No process may use it.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(super) fn mount_again(&self) -> anyhow::Result<()> {
        run("umount", &[&self.path().display().to_string()])?;
        self.mount()
    }

    /// Checks that the file system is writable.
    ///
    /// # Errors
    /// It is not.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        std::fs::write(self.path().join("probe"), "probe").context("the disk cannot be written to")
    }

    /// Resizes a file system in memory.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(super) fn resize(&self, mib: u64) -> anyhow::Result<()> {
        run("mount", &["-o", &format!("remount,size={mib}m"), &self.path().display().to_string()])
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: processes with open files keep them until they end.
        drop(run("umount", &["-l", &self.path().display().to_string()]));
    }
}

fn run(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(program).args(arguments).output().with_context(|| format!("cannot run {program}"))?;
    ensure!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

/// Shortened write-back timers of the kernel, restored when dropped. With the usual half minute, a power cut within
/// seconds loses everything that was not synced, and tears no batch.
#[derive(Debug)]
pub(super) struct FastWriteBack(Vec<(&'static Path, String)>);

impl FastWriteBack {
    /// Shortens the timers of the whole machine.
    ///
    /// # Errors
    /// The user may not.
    pub(super) fn begin() -> anyhow::Result<Self> {
        let mut before = Self(Vec::new());
        let timers = [("/proc/sys/vm/dirty_writeback_centisecs", "20"), ("/proc/sys/vm/dirty_expire_centisecs", "50")];
        for (path, value) in timers {
            let path = Path::new(path);
            before.0.push((path, std::fs::read_to_string(path)?));
            std::fs::write(path, value).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(before)
    }
}

impl Drop for FastWriteBack {
    fn drop(&mut self) {
        for (path, value) in &self.0 {
            drop(std::fs::write(path, value));
        }
    }
}
