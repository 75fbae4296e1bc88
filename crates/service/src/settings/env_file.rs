//! `.env` in the working directory: settings and secrets.
//!
//! Its lines decide where passwords are sent, so the file must belong to the caller. A file that another user owns or can
//! write is refused, not skipped: a program without its settings would do something else than intended.

use std::collections::BTreeSet;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::process::geteuid;

/// Write permission for group or others.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Names that have their value from `.env`.
#[derive(Debug, Default)]
pub(crate) struct EnvFile(BTreeSet<String>);

impl EnvFile {
    /// Reads a file, if it exists, into the environment. Never replaces an existing variable.
    ///
    /// # Errors
    /// The file cannot be read, or belongs to another user.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let Some(text) = text(path)? else { return Ok(Self::default()) };
        let unreadable = |error| match error {
            // The line may hold a secret, so only its name is printed.
            dotenvy::Error::LineParse(line, _) => {
                let name = line.split('=').next().unwrap_or_default().trim().chars().take(64).collect::<String>();
                anyhow::anyhow!("cannot read {}: the value of {name:?} is not quoted correctly", path.display())
            }
            error => anyhow::anyhow!("cannot read {}: {error}", path.display()),
        };
        let mut names = BTreeSet::new();
        for entry in dotenvy::from_read_iter(text.as_bytes()) {
            let (name, _) = entry.map_err(unreadable)?;
            if std::env::var_os(&name).is_none() {
                names.insert(name);
            }
        }
        dotenvy::from_read(text.as_bytes()).map_err(unreadable)?;
        Ok(Self(names))
    }

    /// Whether a variable has its value from the file.
    pub(super) fn gave(&self, name: &str) -> bool {
        self.0.contains(name)
    }
}

/// The text of the file; `None` when it does not exist.
fn text(path: &Path) -> anyhow::Result<Option<String>> {
    let shown = path.display();
    let unreadable = |error| anyhow::anyhow!("cannot read {shown}: {error}");
    // Checked before opening, since a symbolic link has an owner too.
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        named => check_owner(&named.map_err(unreadable)?).map_err(|reason| refused(path, &reason))?,
    }
    // The name may point to another file or a pipe by now, so the opened file is checked.
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(nonblocking).open(path).map_err(unreadable)?;
    let opened = file.metadata().map_err(unreadable)?;
    if !opened.is_file() {
        return Err(refused(path, "it is no regular file; remove it, or start in another folder"));
    }
    check_owner(&opened).and_then(|()| check_mode(&opened)).map_err(|reason| refused(path, &reason))?;
    io::read_to_string(file).map(Some).map_err(unreadable)
}

fn refused(path: &Path, reason: &str) -> anyhow::Error {
    anyhow::anyhow!("refused to read {}: {reason}", path.display())
}

fn check_owner(file: &Metadata) -> Result<(), String> {
    let (owner, caller) = (file.uid(), geteuid().as_raw());
    if owner == caller || owner == 0 {
        return Ok(());
    }
    Err(format!(
        "it belongs to user {owner}, not to you (user {caller}) or root; start in another folder, or check its lines and `chown` it"
    ))
}

fn check_mode(file: &Metadata) -> Result<(), String> {
    if file.mode() & WRITABLE_BY_OTHERS == 0 {
        return Ok(());
    }
    let mode = file.mode() & 0o777;
    Err(format!("others can write it (mode {mode:04o}); check its lines, then `chmod go-w .env`, or move it away"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    #[test]
    fn an_unreadable_line_is_named_without_its_value() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".env");
        std::fs::write(&path, "CANDLEWIRE_PASSWORD_ADMIN=abc def hush\"1 '\n").unwrap();
        let error = EnvFile::read(&path).unwrap_err().to_string();
        assert!(error.contains("CANDLEWIRE_PASSWORD_ADMIN") && !error.contains("hush"), "{error}");
    }

    #[test]
    fn a_file_that_others_can_write_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".env");
        std::fs::write(&path, "").unwrap();
        let read = |mode| {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            EnvFile::read(&path).map(drop).map_err(|error| error.to_string())
        };
        for mode in [0o600, 0o644, 0o444] {
            assert_eq!(read(mode), Ok(()), "{mode:o}");
        }
        for mode in [0o620, 0o664, 0o602, 0o666] {
            assert!(read(mode).is_err_and(|error| error.contains("chmod go-w .env")), "{mode:o}");
        }
    }

    /// Runs completely as root only, which can create files of other users.
    #[test]
    fn a_file_of_another_user_is_refused_but_not_of_root() {
        assert!(text(Path::new("/etc/passwd")).unwrap().is_some(), "root's");
        if !geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let [path, link] = ["theirs", "link"].map(|name| dir.path().join(name));
        std::fs::write(&path, "").unwrap();
        symlink(&path, &link).unwrap();
        assert!(text(&link).unwrap().is_some());
        chown(&path, Some(65_534), None).unwrap();
        for name in [&path, &link] {
            assert!(text(name).is_err_and(|error| error.to_string().contains("belongs to user 65534")));
        }
        chown(&path, Some(0), None).unwrap();
        std::os::unix::fs::lchown(&link, Some(65_534), None).unwrap();
        assert!(
            text(&link).is_err_and(|error| error.to_string().contains("belongs to user 65534")),
            "the owner of the link decides"
        );
    }
}
