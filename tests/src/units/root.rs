//! The folder used as the root of a machine.

use std::path::{Path, PathBuf};

use anyhow::Context;

/// A folder with `usr`, `etc` and the files of services below it.
#[derive(Debug, Clone)]
pub struct Root(PathBuf);

impl Root {
    /// Opens a folder as root.
    ///
    /// # Errors
    /// The folder does not exist.
    pub fn at(path: &Path) -> anyhow::Result<Self> {
        Ok(Self(path.canonicalize().with_context(|| format!("cannot enter {}", path.display()))?))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A path below it, given with or without a leading slash.
    pub fn join(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.0.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Maps a word of a command line or a variable's value: an absolute path that exists below the root, or whose
    /// folder does, is mapped there; other words stay unchanged.
    pub(crate) fn map(&self, word: &str) -> String {
        let path = Path::new(word);
        let is_locked = |path: &Path| path != Path::new("/") && self.join(path).exists();
        let is_below = path.is_absolute() && (is_locked(path) || path.parent().is_some_and(is_locked));
        if is_below { self.join(path).to_string_lossy().into_owned() } else { word.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_that_are_in_the_folder_are_mapped() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path()).unwrap();
        std::fs::create_dir_all(root.join("/etc/candlewire")).unwrap();
        let check = |word: &str, is_mapped: bool| {
            let expected = if is_mapped { format!("{}{word}", root.path().display()) } else { word.to_owned() };
            assert_eq!(root.map(word), expected);
        };
        check("/etc/candlewire/nats.conf", true);
        check("/etc/candlewire", true);
        check("/home/me/ticks.csv", false);
        check("/proc", false);
        check("--flag", false);
        check("s3://bucket/etc", false);
    }
}
