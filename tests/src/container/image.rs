//! Images of the Dockerfile, built in folders.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::dockerfile::{BuildStage, Instruction, words};
use super::{below, run};
use crate::programs::{programs, succeed};
use crate::server::checkout;

/// The programs of a Debian image that the images use, as far as tests need them. Their packages are checked.
const BASE_PROGRAMS: [&str; 4] = ["/usr/bin/bash", "/usr/bin/env", "/usr/bin/install", "/usr/bin/sleep"];
/// The packages of the libraries below: present in every Debian image, since apt needs them.
pub const BASE_PACKAGES: [&str; 3] = ["libc6", "libgcc-s1", "libstdc++6"];
/// Libraries of these packages that a program may be linked to.
const BASE_LIBRARIES: [&str; 10] = [
    "ld-linux-x86-64.so.2",
    "ld-linux-aarch64.so.1",
    "libc.so.6",
    "libm.so.6",
    "libdl.so.2",
    "librt.so.1",
    "libpthread.so.0",
    "libresolv.so.2",
    "libgcc_s.so.1",
    "libstdc++.so.6",
];
/// Where the host's Debian is mounted while a step runs.
const HOST: [&str; 6] = ["/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc"];

/// The image of one target.
#[derive(Debug, Clone, Default)]
pub struct BuiltImage {
    /// Its files.
    pub root: PathBuf,
    /// Its environment.
    pub env: BTreeMap<String, String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its user.
    pub user: String,
    /// Its working directory.
    pub workdir: String,
    /// The program.
    pub entrypoint: Vec<String>,
    /// Its default arguments.
    pub command: Vec<String>,
    /// Its health check.
    pub healthcheck: Vec<String>,
    /// Its stop signal.
    pub stop_signal: String,
    /// Packages that it installed.
    pub packages: BTreeSet<String>,
}

/// All targets of the Dockerfile.
#[derive(Debug)]
pub struct Images {
    images: BTreeMap<String, BuiltImage>,
    dir: PathBuf,
}

impl Images {
    /// Builds the images once for all tests of this process. They stay until the next test process removes them, since
    /// no code runs after the last test.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Images> = OnceLock::new();
        SHARED.get_or_init(|| Self::perform(&super::dockerfile()))
    }

    /// The image of a target.
    pub fn get(&self, target: &str) -> &BuiltImage {
        self.images.get(target).unwrap_or_else(|| panic!("the Dockerfile has no target {target}"))
    }

    /// All images with a program, by name.
    pub fn programs(&self) -> impl Iterator<Item = (&str, &BuiltImage)> {
        self.images.iter().filter(|(_, image)| !image.entrypoint.is_empty()).map(|(name, image)| (name.as_str(), image))
    }

    /// The files of an image beyond those of its base, sorted.
    pub fn added(&self, target: &str) -> Vec<String> {
        let base: BTreeSet<String> = files(&self.dir.join("debian")).into_iter().collect();
        files(&self.get(target).root).into_iter().filter(|file| !base.contains(file)).collect()
    }

    fn perform(stages: &[BuildStage]) -> Self {
        let mut images = Self { images: BTreeMap::new(), dir: folder() };
        images.make_base();
        for stage in stages {
            let image = images.stage(stage);
            images.images.insert(stage.name.clone(), image);
        }
        images
    }

    fn stage(&self, stage: &BuildStage) -> BuiltImage {
        let mut image = match self.images.get(&stage.base) {
            Some(base) => base.clone(),
            None => BuiltImage { user: "0:0".to_owned(), workdir: "/".to_owned(), ..BuiltImage::default() },
        };
        let before = std::mem::replace(&mut image.root, self.dir.join(&stage.name));
        match &stage.base {
            base if self.images.contains_key(base) => copy(&before, &image.root, true),
            base if base.starts_with("debian:") => copy(&self.dir.join("debian"), &image.root, true),
            base => {
                assert!(base.starts_with("rust:"), "a base that has no stand-in: {base}");
                std::fs::create_dir(&image.root).unwrap();
                let certificates = below(&image.root, "/etc/ssl/certs");
                std::fs::create_dir_all(&certificates).unwrap();
                copy(Path::new("/etc/ssl/certs/ca-certificates.crt"), &certificates.join("ca-certificates.crt"), false);
                // Put in place of the downloads of scripts/setup.
                let tools = below(&image.root, "/src/.tools");
                std::fs::create_dir_all(&tools).unwrap();
                for tool in ["nats-server", "xgboost", "xgboost_cpu.libs", "stamps"] {
                    let mut command = Command::new("cp");
                    succeed(command.arg("--archive").arg(checkout().join(".tools").join(tool)).arg(&tools));
                }
            }
        }
        for step in &stage.steps {
            self.step(&mut image, step);
        }
        image
    }

    fn step(&self, image: &mut BuiltImage, step: &Instruction) {
        match step.word.as_str() {
            "COPY" => self.copy_step(image, step),
            "RUN" => self.run_step(image, step),
            "ENV" => image.env.extend(step.pairs()),
            "LABEL" => image.labels.extend(step.pairs()),
            "USER" => image.user.clone_from(&step.rest),
            "STOPSIGNAL" => image.stop_signal.clone_from(&step.rest),
            "ENTRYPOINT" => (image.entrypoint, image.command) = (step.words(), Vec::new()),
            "CMD" => image.command = step.words(),
            "HEALTHCHECK" => {
                let command = step.rest.strip_prefix("CMD ").unwrap_or_else(|| panic!("{step:?}"));
                image.healthcheck = words(command);
            }
            "WORKDIR" => {
                image.workdir.clone_from(&step.rest);
                std::fs::create_dir_all(below(&image.root, &image.workdir)).unwrap();
            }
            "EXPOSE" => {}
            _ => panic!("not understood: {step:?}"),
        }
    }

    fn copy_step(&self, image: &BuiltImage, step: &Instruction) {
        assert!(step.flags.iter().all(|(name, _)| name == "from"), "not understood: {step:?}");
        let words = step.words();
        let (to, sources) = words.split_last().unwrap();
        let target = Path::new(&image.workdir).join(to);
        let target = below(&image.root, target.to_str().unwrap());
        let expanded: Vec<String> = match step.flag("from") {
            None => sources.iter().flat_map(|source| expand(source)).collect(),
            Some(_) => sources.to_vec(),
        };
        for source in &expanded {
            let from = match step.flag("from") {
                None => context(source),
                Some(stage) => match self.images.get(stage) {
                    Some(stage) => below(&stage.root, source),
                    None => stand_in(stage, source),
                },
            };
            let name = from.file_name().unwrap();
            // As Docker does it: the content of a folder, or a file under the given or its own name.
            let target = if from.is_file() && to.ends_with('/') { target.join(name) } else { target.clone() };
            copy(&from, &target, step.flag("from").is_some());
        }
    }

    /// Executes a RUN step on the host's Debian, where cargo has built already and apt-get only records the requested
    /// packages.
    fn run_step(&self, image: &mut BuiltImage, step: &Instruction) {
        let scratch = tempfile::tempdir_in(&self.dir).unwrap();
        let stand_ins = scratch.path().join("stand-ins");
        std::fs::create_dir(&stand_ins).unwrap();
        for (name, text) in [("cargo", CARGO), ("apt-get", APT_GET)] {
            let path = stand_ins.join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        }
        let mut command = run();
        command.arg("--keep").args(["--user", &image.user, "--workdir", &image.workdir]);
        for folder in HOST.iter().filter(|folder| Path::new(folder).exists()) {
            // Links such as /bin are the host's.
            let path = below(&image.root, folder);
            if std::fs::symlink_metadata(folder).unwrap().is_symlink() && !path.exists() {
                command.args(["--mount", &format!("{folder}/:{folder}:ro")]);
            } else {
                command.args(["--mount", &format!("{folder}:{folder}:ro")]);
            }
        }
        command.args(["--mount", &format!("{}:/programs:ro", programs().display())]);
        command.args(["--mount", &format!("{}:/stand-ins", stand_ins.display()), "--tmpfs", "/tmp"]);
        for (number, (_, mount)) in step.flags.iter().filter(|(name, _)| name == "mount").enumerate() {
            let target = mount.split(',').find_map(|part| part.strip_prefix("target="));
            let (true, Some(target)) = (mount.contains("type=cache"), target) else {
                panic!("not understood: {mount}")
            };
            // The host's folders stay unchanged; the stand-in of cargo writes nothing there.
            if HOST.iter().any(|folder| Path::new(target).starts_with(folder)) {
                continue;
            }
            let cache = scratch.path().join(format!("cache-{number}"));
            std::fs::create_dir(&cache).unwrap();
            command.args(["--mount", &format!("{}:{target}", cache.display())]);
        }
        command.arg(&image.root).args(["sh", "-c", &step.rest]);
        command.env_clear().envs(&image.env).env("PATH", "/stand-ins:/usr/sbin:/usr/bin:/sbin:/bin");
        succeed(&mut command);
        let packages = std::fs::read_to_string(stand_ins.join("packages")).unwrap_or_default();
        image.packages.extend(packages.lines().map(str::to_owned));
    }

    /// Replacement of Debian's image: some programs, and the libraries of its C and C++ compilers, taken from the host.
    fn make_base(&self) {
        let root = self.dir.join("debian");
        for link in ["bin", "sbin", "lib", "lib64"] {
            std::fs::create_dir_all(root.join("usr").join(link)).unwrap();
            std::os::unix::fs::symlink(format!("usr/{link}"), root.join(link)).unwrap();
        }
        for folder in ["etc", "dev", "proc", "run", "tmp", "var/lib"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        for device in ["null", "zero", "full", "random", "urandom"] {
            std::fs::write(root.join("dev").join(device), "").unwrap();
        }
        std::fs::write(root.join("etc/hosts"), "").unwrap();
        std::fs::write(root.join("etc/nsswitch.conf"), "hosts: files dns\n").unwrap();
        let xgboost = checkout().join(".tools/xgboost/lib/libxgboost.so");
        let mut libraries = BTreeSet::new();
        for program in BASE_PROGRAMS {
            copy(Path::new(program), &below(&root, program), false);
            libraries.extend(linked(Path::new(program)));
        }
        libraries.extend(linked(&xgboost).into_iter().filter(|library| {
            library.file_name().and_then(OsStr::to_str).is_some_and(|name| BASE_LIBRARIES.contains(&name))
        }));
        for library in libraries {
            let place = below(&root, library.to_str().unwrap());
            std::fs::create_dir_all(place.parent().unwrap()).unwrap();
            copy(&library.canonicalize().unwrap(), &place, false);
        }
        // Independent of the umask of the tests.
        succeed(Command::new("chmod").args(["-R", "a+rX"]).arg(&self.dir));
    }
}

/// A folder for this process, beside the programs. Folders of ended processes are removed.
fn folder() -> PathBuf {
    let all = programs().join("images");
    std::fs::create_dir_all(&all).unwrap();
    for entry in std::fs::read_dir(&all).unwrap().flatten() {
        if !Path::new("/proc").join(entry.file_name()).exists() {
            // Another process may be removing it too.
            drop(std::fs::remove_dir_all(entry.path()));
        }
    }
    let own = all.join(std::process::id().to_string());
    std::fs::create_dir(&own).unwrap();
    own
}

/// Replacement of cargo: returns the programs of this test's own build.
const CARGO: &str = r#"#!/bin/bash
set -eu
case $1 in
--version) echo "cargo (stand-in)" ;;
build)
    shift
    while [ $# -gt 0 ]; do
        case $1 in
        --locked) ;;
        --profile)
            shift
            folder=target/$1
            ;;
        --bin)
            shift
            mkdir -p "$folder"
            strip --strip-debug -o "$folder/$1" "/programs/$1"
            ;;
        *) echo "cargo: not understood: $1" >&2; exit 1 ;;
        esac
        shift
    done
    ;;
*) echo "cargo: not understood: $*" >&2; exit 1 ;;
esac
"#;

/// Replacement of apt-get: records the packages for checks.
const APT_GET: &str = r#"#!/bin/bash
set -eu
case $* in
update) ;;
"install -y --no-install-recommends "*) printf '%s\n' "${@:4}" >>/stand-ins/packages ;;
*) echo "apt-get: not understood: $*" >&2; exit 1 ;;
esac
"#;

/// The files that match a pattern such as `deploy/nats/*.conf`.
fn expand(source: &str) -> Vec<String> {
    let Some((start, end)) = source.split_once('*') else { return vec![source.to_owned()] };
    let folder = Path::new(start);
    let names = std::fs::read_dir(checkout().join(folder)).unwrap().map(|entry| entry.unwrap().file_name());
    let fitting = names.filter(|name| name.to_str().unwrap().ends_with(end));
    fitting.map(|name| folder.join(name).to_str().unwrap().to_owned()).collect()
}

/// A file or folder of the build context: of the checkout, unless the ignore file excludes it.
fn context(source: &str) -> PathBuf {
    assert!(is_in_context(source), "{source} is not in the build context: see Dockerfile.dockerignore");
    let path = checkout().join(source);
    assert!(path.exists(), "{source} is not in the checkout");
    path
}

/// Whether the ignore file includes a path: the last matching line decides.
pub fn is_in_context(path: &str) -> bool {
    let ignore = std::fs::read_to_string(checkout().join("deploy/docker/Dockerfile.dockerignore")).unwrap();
    let lines = ignore.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut is_in = true;
    for line in lines {
        let (lets_in, pattern) = line.strip_prefix('!').map_or((false, line), |pattern| (true, pattern));
        let fits = match pattern.split_once('*') {
            None => Path::new(path).starts_with(pattern),
            Some(("", "")) => true,
            Some((start, end)) => {
                let middle = path.strip_prefix(start).and_then(|rest| rest.strip_suffix(end));
                middle.is_some_and(|middle| !middle.contains('/'))
            }
        };
        if fits {
            is_in = lets_in;
        }
    }
    is_in
}

/// Local replacement for a file of a foreign image: the same version, installed by scripts/setup.
fn stand_in(image: &str, path: &str) -> PathBuf {
    assert!(
        image.starts_with("chrislusf/seaweedfs:4.48@") && path == "/usr/bin/weed",
        "{image} has no stand-in: {path}"
    );
    checkout().join(".tools/weed")
}

/// Copies a file, or the content of a folder, with all attributes. Files that are already in an image are linked.
fn copy(from: &Path, to: &Path, is_image: bool) {
    let mut command = Command::new("cp");
    command.args(["--archive", if is_image { "--link" } else { "--reflink=auto" }]);
    if from.is_dir() {
        std::fs::create_dir_all(to).unwrap();
        command.arg(from.join(".")).arg(to);
    } else {
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        command.args(["--dereference", "--force"]).arg(from).arg(to);
    }
    succeed(&mut command);
}

/// The libraries of a program on this machine.
fn linked(program: &Path) -> Vec<PathBuf> {
    let text = succeed(Command::new("ldd").arg(program));
    let path = |line: &str| line.split_whitespace().find(|word| word.starts_with('/')).map(PathBuf::from);
    text.lines().filter_map(path).collect()
}

/// All files and links below a folder, sorted, with a leading slash.
fn files(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path());
            } else {
                found.push(format!("/{}", entry.path().strip_prefix(root).unwrap().display()));
            }
        }
    }
    found.sort();
    found
}
