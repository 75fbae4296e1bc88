//! `scripts/install`: the files that it installs, keeps and removes.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use pipeline_tests::programs::{fail, path_without, succeed};
use pipeline_tests::server::checkout;
use tempfile::TempDir;

const PROGRAMS: [&str; 6] = ["producer", "stream-processor", "aggregator", "trainer", "reporter", "topology"];

/// A checkout with small programs, and a folder to install into.
struct Site {
    checkout: TempDir,
    root: TempDir,
}

impl Site {
    fn new() -> Self {
        let site = Self { checkout: tempfile::tempdir().unwrap(), root: tempfile::tempdir().unwrap() };
        let own = site.checkout.path();
        std::fs::create_dir_all(own.join("target/release")).unwrap();
        for name in ["scripts", "deploy", "nats.conf"] {
            succeed(Command::new("cp").arg("-a").arg(checkout().join(name)).arg(own.join(name)));
        }
        for program in PROGRAMS {
            site.build(&format!("target/release/{program}"), "one");
        }
        for file in ["nats-server", "xgboost/lib/libxgboost.so.3", "xgboost/lib/libgomp-1.so.1"] {
            site.build(&format!(".tools/{file}"), "one");
        }
        site
    }

    fn build(&self, path: &str, content: &str) {
        let path = self.checkout.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.checkout.path().join("scripts/install"));
        command.env_remove("CARGO_TARGET_DIR").args(arguments);
        command
    }

    fn install(&self, arguments: &[&str]) -> String {
        let root = self.root.path().to_str().unwrap();
        succeed(self.command(&["--no-build", "--destdir", root]).args(arguments))
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Everything below the root: inode, mode and content, by path.
    fn everything(&self) -> BTreeMap<PathBuf, (u64, u32, Vec<u8>)> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.root.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().flatten() {
                let (path, metadata) = (entry.path(), entry.metadata().unwrap());
                if metadata.is_dir() {
                    folders.push(path);
                } else {
                    let content = std::fs::read(&path).unwrap();
                    found.insert(path, (metadata.ino(), metadata.mode(), content));
                }
            }
        }
        found
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().mode() & 0o777
}

#[test]
fn a_second_call_changes_nothing_and_says_so() {
    let site = Site::new();
    let said = site.install(&[]);
    assert!(said.contains("systemctl enable --now candlewire.target"), "{said}");
    let before = site.everything();
    assert!(site.install(&[]).contains("nothing to change"));
    assert_eq!(before, site.everything());
    for program in PROGRAMS {
        assert_eq!(site.read(&format!("usr/local/bin/{program}")), "one");
        assert_eq!(mode(&site.path(&format!("usr/local/bin/{program}"))), 0o755);
    }
}

#[test]
fn secrets_are_made_once_and_only_root_reads_them() {
    let site = Site::new();
    site.install(&[]);
    assert_eq!(mode(&site.path("etc/candlewire/secrets")), 0o700);
    let secret = |user: &str| site.read(&format!("etc/candlewire/secrets/{user}"));
    let users = ["admin", "producer", "stream-processor", "aggregator", "trainer", "reporter", "reader"];
    for user in users {
        assert_eq!(mode(&site.path(&format!("etc/candlewire/secrets/{user}"))), 0o600, "{user}");
        assert!(secret(user).len() >= 48 && users.iter().all(|other| *other == user || secret(other) != secret(user)));
    }
    let environment = || site.read("etc/candlewire/nats.env");
    assert_eq!(mode(&site.path("etc/candlewire/nats.env")), 0o600);
    assert!(environment().contains(&format!("CANDLEWIRE_PASSWORD_STREAM_PROCESSOR={}\n", secret("stream-processor"))));

    // The operator's own line stays, and a changed secret reaches the server.
    let own = "GOMEMLIMIT=1GiB\nCANDLEWIRE_PASSWORD_ROUTES=\"cw-between-the-servers\"\nCANDLEWIRE_PASSWORD_ADMIN_2=x\n";
    std::fs::write(site.path("etc/candlewire/nats.env"), environment() + own).unwrap();
    std::fs::write(site.path("etc/candlewire/secrets/trainer"), "cw-another-secret\n").unwrap();
    let admin = secret("admin");
    site.install(&[]);
    assert_eq!((secret("admin"), secret("trainer")), (admin, "cw-another-secret\n".to_owned()));
    let environment = environment();
    assert!(environment.contains(own) && environment.contains("_TRAINER=cw-another-secret\n"), "{environment}");
    assert_eq!(environment.matches("_TRAINER=").count(), 1);
}

#[test]
fn an_unreadable_secret_is_refused_before_any_change() {
    let site = Site::new();
    site.install(&[]);
    site.build("target/release/trainer", "two");
    let root = site.root.path().to_str().unwrap();
    let refused = |file: &str, content: &str| {
        let path = site.path(file);
        let kept = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, content).unwrap();
        let before = site.everything();
        let (code, error) = fail(&mut site.command(&["--no-build", "--destdir", root]));
        assert!(code == 1 && error.contains(path.to_str().unwrap()), "{content}: {code} {error}");
        assert!(error.contains("write another one") && error.contains("16 characters"), "{content}: {error}");
        assert_eq!(before, site.everything(), "{content}");
        std::fs::write(path, kept).unwrap();
    };
    for wrong in
        ["12345678901234567890", "cw-short", "cw with spaces and more", "cw$DOLLAR-and-more", "cw-two\ncw-lines-in-it"]
    {
        refused("etc/candlewire/secrets/trainer", wrong);
    }
    refused("etc/candlewire/nats.env", "CANDLEWIRE_PASSWORD_ROUTES=12345678901234567890\n");
    // An empty secret is replaced by a new one.
    std::fs::write(site.path("etc/candlewire/secrets/trainer"), "").unwrap();
    site.install(&[]);
    assert!(site.read("etc/candlewire/secrets/trainer").len() >= 48);
}

/// `sudo scripts/install` in another user's checkout: root's PATH has no cargo, and no file of that user may become
/// root's.
#[test]
fn root_has_the_owner_of_the_checkout_build_it() {
    const OWNER: u32 = 4711;
    let site = Site::new();
    let own = site.checkout.path();
    std::fs::remove_dir_all(own.join("target")).unwrap();
    site.build("scripts/setup", "#!/bin/sh\ntouch .tools/made\necho \"$@\" >.tools/called\n");
    let home = own.join("home");
    site.build("home/.profile", "PATH=$HOME/.cargo/bin:$PATH\nexport RUSTFLAGS=--of-the-user\n");
    let programs = PROGRAMS.join(" ");
    site.build(
        "home/.cargo/bin/cargo",
        &format!(
            "#!/bin/sh -e\n[ -z \"$RUSTFLAGS\" ]\nmkdir -p \"$CARGO_TARGET_DIR/release\"\n\
             for program in {programs}; do echo built >\"$CARGO_TARGET_DIR/release/$program\"; done\n"
        ),
    );
    succeed(Command::new("chown").args(["-R", &OWNER.to_string()]).arg(own));
    // The machine knows that user for the time of this call.
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let known = site.path("passwd");
    std::fs::write(&known, format!("{users}newcomer:x:{OWNER}:{OWNER}::{}:/bin/sh\n", home.display())).unwrap();
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-ec", "mount --bind \"$1\" /etc/passwd; shift; exec \"$@\"", "sh"]).arg(known);
    command.arg(own.join("scripts/install")).arg("--destdir").arg(site.path("machine"));
    succeed(command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"));

    assert_eq!(site.read("machine/usr/local/bin/trainer"), "built\n");
    assert_eq!(std::fs::read_to_string(own.join(".tools/called")).unwrap(), "--quiet --tools\n");
    for made in ["target/release/trainer", ".tools/made"] {
        assert_eq!(std::fs::metadata(own.join(made)).unwrap().uid(), OWNER, "{made}");
    }
    assert!(!own.join(".env").exists());
}

#[test]
fn without_cargo_it_says_how_to_build() {
    let site = Site::new();
    let root = site.root.path().to_str().unwrap();
    let path = path_without(&["cargo"]);
    let (code, error) = fail(site.command(&["--destdir", root]).env("PATH", path.path()));
    assert!(code == 1 && error.contains("cargo is not in the PATH of") && error.contains("--no-build"), "{error}");
    assert!(site.everything().is_empty());
}

#[test]
fn everything_that_units_refer_to_is_installed() {
    let site = Site::new();
    site.install(&[]);
    let mut referred = 0;
    for (path, (_, _, content)) in site.everything() {
        let text = String::from_utf8(content).unwrap();
        let words = text.split(|c: char| c.is_whitespace() || "=()'\"`".contains(c));
        for word in words.filter(|word| word.starts_with("/etc/candlewire/deploy/")) {
            let target = site.path(word.trim_start_matches('/').trim_end_matches(['.', ',']));
            assert!(target.exists(), "{} refers to {word}", path.display());
            referred += usize::from(word.ends_with("README.md"));
        }
    }
    assert!(referred >= 5, "the units name the pages about changing them");
}

/// A new version replaces unchanged files; beside an edited file it puts the new one under another name.
#[test]
fn an_upgrade_replaces_unchanged_files_and_keeps_edited_ones() {
    let site = Site::new();
    site.install(&[]);
    let edited = site.read("etc/candlewire/candlewire.env") + "CANDLEWIRE_LOG=debug\n";
    std::fs::write(site.path("etc/candlewire/candlewire.env"), &edited).unwrap();
    assert!(site.install(&[]).contains("nothing to change"), "the shipped settings are the same as before");

    // A running program keeps the file that it was started from.
    let old = std::fs::File::open(site.path("usr/local/bin/trainer")).unwrap();
    site.build("target/release/trainer", "two");
    for (file, line) in [("deploy/systemd/candlewire.env", "#CANDLEWIRE_NEW=1\n"), ("nats.conf", "# new\n")] {
        let path = site.checkout.path().join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, text + line).unwrap();
    }
    std::fs::remove_file(site.checkout.path().join("deploy/systemd/candlewire-reporter.service")).unwrap();
    let said = site.install(&[]);
    assert!(said.contains("candlewire.env was changed and stays"), "{said}");
    assert_eq!(site.read("usr/local/bin/trainer"), "two");
    assert_eq!(std::io::read_to_string(old).unwrap(), "one");
    assert_eq!(site.read("etc/candlewire/candlewire.env"), edited);
    assert!(site.read("etc/candlewire/candlewire.env.new").ends_with("#CANDLEWIRE_NEW=1\n"));
    assert!(site.read("etc/candlewire/nats.conf").ends_with("# new\n"));
    assert!(!site.path("usr/local/lib/systemd/system/candlewire-reporter.service").exists());

    // The new file is offered only once.
    std::fs::remove_file(site.path("etc/candlewire/candlewire.env.new")).unwrap();
    assert!(site.install(&[]).contains("nothing to change"));
    assert!(!site.path("etc/candlewire/candlewire.env.new").exists());
}

#[test]
fn uninstalling_removes_programs_and_keeps_operator_files() {
    let site = Site::new();
    site.install(&[]);
    std::fs::create_dir_all(site.path("var/lib/candlewire")).unwrap();
    std::fs::write(site.path("var/lib/candlewire/ticks.parquet"), "data").unwrap();
    let own: Vec<PathBuf> = site.everything().into_keys().filter(|path| !path.starts_with(site.path("usr"))).collect();
    let said = site.install(&["--uninstall"]);
    for place in ["etc/candlewire", "var/lib/candlewire", "var/lib/candlewire-nats"] {
        assert!(said.contains(site.path(place).to_str().unwrap()), "{said}");
    }
    assert_eq!(site.everything().into_keys().collect::<Vec<_>>(), own);
    assert!(!site.path("usr/local/lib/candlewire").exists());
    let root = site.root.path().to_str().unwrap();
    let again = site.command(&["--uninstall", "--destdir", root]).output().unwrap();
    assert_eq!(again.status.code(), Some(1));
}

#[test]
fn another_prefix_is_where_the_units_look() {
    let site = Site::new();
    site.install(&["--prefix", "/opt/candlewire"]);
    let unit = site.read("etc/systemd/system/candlewire-stream-processor@.service");
    assert!(unit.contains("ExecStart=/opt/candlewire/bin/stream-processor run\n"), "{unit}");
    assert!(site.path("opt/candlewire/lib/candlewire/bin/stream-processor").exists());
    assert!(!site.read("etc/systemd/system/candlewire-nats.service").contains("/usr/local"));
}

#[test]
fn foreign_files_are_never_replaced() {
    let site = Site::new();
    let foreign = site.path("usr/local/bin/producer");
    std::fs::create_dir_all(foreign.parent().unwrap()).unwrap();
    std::fs::write(&foreign, "somebody else's").unwrap();
    let root = site.root.path().to_str().unwrap();
    let output = site.command(&["--no-build", "--destdir", root]).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && error.contains("/usr/local/bin/producer"), "{error}");
    assert_eq!(std::fs::read_to_string(foreign).unwrap(), "somebody else's");
}

#[test]
fn impossible_requests_are_refused_before_any_change() {
    let site = Site::new();
    let check = |arguments: &[&str], code: i32, word: &str| {
        let output = site.command(arguments).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(code) && error.contains(word), "{arguments:?}: {error}");
    };
    check(&["--frobnicate"], 2, "--help");
    check(&["--prefix"], 2, "needs a value");
    check(&["--prefix", "local"], 2, "absolute");
    check(&["--prefix", "/opt/100%"], 2, "--prefix");
    check(&["--destdir", "/dev/null/x"], 1, "--destdir");
    let root = site.root.path().to_str().unwrap();
    check(&["--destdir", root, "--profile", "fast", "--no-build"], 2, "release, dist or dev");
    std::fs::remove_file(site.checkout.path().join("target/release/topology")).unwrap();
    check(&["--destdir", root, "--no-build"], 1, "topology is missing");
    assert!(site.everything().is_empty());
}

#[test]
fn without_root_it_asks_for_a_folder() {
    // Run as an unprivileged user, even if the tests run as root.
    let site = Site::new();
    std::fs::set_permissions(site.checkout.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let script = site.checkout.path().join("scripts/install");
    let is_root = succeed(Command::new("id").arg("-u")).trim() == "0";
    let mut command = Command::new(if is_root { "setpriv" } else { "env" });
    if is_root {
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    }
    let output = command.arg(script).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && error.contains("--destdir"), "{error}");
}
