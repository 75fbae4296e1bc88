//! The compose file as Compose itself reads it, and its containers.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::image::{BuiltImage, Images};
use super::{below, run};
use crate::process::signal;
use crate::programs::{NEVER, Running, children, eventually, succeed};
use crate::server::checkout;

/// PATH of programs in a Debian container.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The compose file with given settings, and its networks. Removed when dropped.
#[derive(Debug)]
pub struct Project {
    config: Value,
    images: &'static Images,
    /// Holds the network namespace with the bridges.
    engine: Child,
    dir: TempDir,
}

/// A started container. Killed when dropped.
#[derive(Debug)]
pub struct Container {
    name: String,
    process: Running,
    image: BuiltImage,
    env: BTreeMap<String, String>,
    log: PathBuf,
}

impl Project {
    /// The project with one of the variants named in the head of the compose file, or with none.
    pub fn new(variant: Option<&str>) -> Self {
        Self::with("", variant.as_slice())
    }

    /// Copies deploy/, makes secrets, writes settings to deploy/.env and adds variants, has Compose read and check the
    /// compose file, and makes the networks.
    pub fn with(settings: &str, variants: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["deploy", "scripts"] {
            succeed(Command::new("cp").arg("--archive").arg(checkout().join(folder)).arg(dir.path()));
        }
        succeed(&mut Command::new(dir.path().join("deploy/docker/make-secrets")));
        let config = configure(dir.path(), settings, variants);
        let engine = Command::new("unshare").args(["--net", "sleep", "infinity"]).stdin(Stdio::null()).spawn().unwrap();
        let project = Self { config, images: Images::shared(), engine, dir };
        project.make_networks();
        project
    }

    /// The names of the services.
    pub fn services(&self) -> Vec<&str> {
        self.config["services"].as_object().unwrap().keys().map(String::as_str).collect()
    }

    /// A service, as Compose resolves it.
    pub fn service(&self, name: &str) -> &Value {
        let service = &self.config["services"][name];
        assert!(service.is_object(), "the compose file has no service {name}");
        service
    }

    /// A network, as Compose resolves it.
    pub fn network(&self, name: &str) -> &Value {
        &self.config["networks"][name]
    }

    /// The image of a service.
    pub fn image(&self, service: &str) -> &BuiltImage {
        self.images.get(self.service(service)["build"]["target"].as_str().unwrap())
    }

    /// `docker compose run --env NAME=VALUE`, for all containers of a service.
    pub fn set(&mut self, service: &str, variable: &str, value: &str) {
        self.config["services"][service]["environment"][variable] = json!(value);
    }

    /// The environment of a service.
    pub fn environment(&self, service: &str) -> BTreeMap<String, String> {
        let own = self.service(service)["environment"].as_object().cloned().unwrap_or_default();
        let mut env = self.image(service).env.clone();
        env.extend(own.into_iter().filter_map(|(name, value)| Some((name, value.as_str()?.to_owned()))));
        env
    }

    /// The command that a container of a service runs.
    pub fn command(&self, service: &str) -> Vec<String> {
        let image = self.image(service);
        let own = self.service(service)["command"].as_array();
        let command = own.map(|words| words.iter().map(|word| word.as_str().unwrap().to_owned()).collect());
        [image.entrypoint.clone(), command.unwrap_or_else(|| image.command.clone())].concat()
    }

    /// Starts the container with this number, counted from 1.
    pub fn start(&self, service: &str, number: usize) -> Container {
        self.start_with(service, number, &self.command(service))
    }

    /// `docker compose run --rm SERVICE ARGUMENTS`, to its end; returns its output.
    pub fn run(&self, service: &str, arguments: &[&str]) -> String {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let command = [self.image(service).entrypoint.clone(), arguments].concat();
        let mut container = self.start_with(service, 9, &command);
        let code = container.process.wait();
        let log = container.log();
        assert_eq!(code, Some(0), "{command:?}: {log}");
        log
    }

    /// A command on the machine that hosts the containers.
    pub fn host(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--net", "--target", &self.engine.id().to_string(), "--", program]);
        command
    }

    /// Address of the first container of a service on one of its networks.
    pub fn address(&self, service: &str, network: &str) -> String {
        self.address_of(service, 1, network)
    }

    /// Starts the container with this number and another command.
    pub fn start_with(&self, service: &str, number: usize, words: &[String]) -> Container {
        let config = self.service(service);
        let image = self.image(service);
        let name = format!("{service}-{number}");
        let scratch = tempfile::tempdir_in(self.dir.path()).unwrap().keep();
        let mut command = run();
        command.arg("--scratch").arg(&scratch).args(["--hostname", &name, "--workdir", &image.workdir]);
        command.args(["--user", config["user"].as_str().unwrap_or(&image.user)]);
        if config["read_only"] == true {
            command.arg("--read-only");
        }
        command.args(["--engine", &self.engine.id().to_string()]);
        for network in config["networks"].as_object().unwrap().keys() {
            command.args(["--network", &format!("{network}={}/24", self.address_of(service, number, network))]);
        }
        let hosts = scratch.join("hosts");
        std::fs::write(&hosts, self.hosts(config)).unwrap();
        command.args(["--mount", &format!("{}:/etc/hosts:ro", hosts.display())]);
        for secret in config["secrets"].as_array().into_iter().flatten() {
            let file = self.config["secrets"][secret["source"].as_str().unwrap()]["file"].as_str().unwrap();
            command.args(["--mount", &format!("{file}:{}:ro", secret["target"].as_str().unwrap())]);
        }
        for place in config["tmpfs"].as_array().into_iter().flatten() {
            command.args(["--tmpfs", place.as_str().unwrap()]);
        }
        for volume in config["volumes"].as_array().into_iter().flatten() {
            assert_eq!(volume["type"], "volume", "{volume}");
            let target = volume["target"].as_str().unwrap();
            let place = self.volume(volume["source"].as_str().unwrap(), &below(&image.root, target));
            command.args(["--mount", &format!("{}:{target}", place.display())]);
        }
        let mut env = self.environment(service);
        env.insert("PATH".to_owned(), PATH.to_owned());
        let log = self.dir.path().join(format!("{name}.log"));
        let file = File::create(&log).unwrap();
        command.arg(&image.root).args(words).env_clear().envs(&env);
        command.stdout(file.try_clone().unwrap()).stderr(file);
        Container { name, process: Running::start(&mut command), image: image.clone(), env, log }
    }

    /// A new volume takes owner, mode and content from the image.
    fn volume(&self, name: &str, of_image: &Path) -> PathBuf {
        assert!(self.config["volumes"][name].is_object(), "no volume {name}");
        let place = self.dir.path().join("volumes").join(name);
        if !place.exists() {
            std::fs::create_dir_all(place.parent().unwrap()).unwrap();
            succeed(Command::new("cp").arg("--archive").arg(of_image).arg(&place));
        }
        place
    }

    /// The names that a service can resolve: those of services on a common network.
    fn hosts(&self, config: &Value) -> String {
        let mut lines = String::new();
        for network in config["networks"].as_object().unwrap().keys() {
            let is_there = |name: &&str| self.service(name)["networks"].as_object().unwrap().contains_key(network);
            for name in self.services().into_iter().filter(is_there) {
                lines += &format!("{} {name}\n", self.address(name, network));
            }
        }
        lines
    }

    fn make_networks(&self) {
        eventually("the engine has its network", || {
            let own = std::fs::read_link("/proc/self/ns/net").unwrap();
            std::fs::read_link(format!("/proc/{}/ns/net", self.engine.id())).is_ok_and(|namespace| namespace != own)
        });
        succeed(self.host("ip").args(["link", "set", "lo", "up"]));
        for name in self.networks() {
            succeed(self.host("ip").args(["link", "add", name, "type", "bridge"]));
            succeed(self.host("ip").args(["address", "add", &format!("{}/24", self.gateway(name)), "dev", name]));
            succeed(self.host("ip").args(["link", "set", name, "up"]));
        }
    }

    fn networks(&self) -> Vec<&str> {
        self.config["networks"].as_object().unwrap().keys().map(String::as_str).collect()
    }

    /// The host's address on a network.
    pub fn gateway(&self, network: &str) -> String {
        let index = self.networks().iter().position(|name| *name == network).unwrap();
        format!("10.99.{index}.1")
    }

    fn address_of(&self, service: &str, number: usize, network: &str) -> String {
        let index = self.services().iter().position(|name| *name == service).unwrap();
        let prefix = self.gateway(network);
        format!("{}.{}", prefix.rsplit_once('.').unwrap().0, 10 * (index + 1) + number)
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        drop(self.engine.kill());
        drop(self.engine.wait());
    }
}

impl Container {
    /// The id of its process 1 outside the container; `None` while it starts, or after its end.
    pub fn id(&self) -> Option<u32> {
        let outer = self.process.id();
        let child = *children(outer).first()?;
        // Once process 1 has its own root, everything is in place.
        let namespace = |id: u32| std::fs::read_link(format!("/proc/{id}/ns/pid")).ok();
        (namespace(child)? != namespace(outer)?).then_some(child)
    }

    /// `docker compose exec`.
    pub fn exec(&self, words: &[String]) -> Option<Output> {
        let mut command = Command::new("/usr/bin/nsenter");
        command.args(["--target", &self.id()?.to_string(), "--mount", "--net", "--pid", "--uts", "--ipc", "--root"]);
        let (user, group) = self.image.user.split_once(':').unwrap();
        command.args(["--setuid", user, "--setgid", group, "--"]).args(words);
        command.env_clear().envs(&self.env).stdin(Stdio::null());
        Some(command.output().unwrap())
    }

    /// Whether its health check succeeds.
    pub fn is_healthy(&self) -> bool {
        assert!(!self.image.healthcheck.is_empty(), "{} has no health check", self.name);
        self.exec(&self.image.healthcheck).is_some_and(|output| output.status.success())
    }

    /// Waits until its health check succeeds.
    pub fn wait_until_healthy(&mut self) {
        let start = Instant::now();
        while !self.is_healthy() {
            let is_running = self.process.is_running();
            assert!(is_running && start.elapsed() < NEVER, "{} is not healthy: {}", self.name, self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for its end and returns the exit code.
    pub fn wait(&mut self) -> Option<i32> {
        self.process.wait()
    }

    /// `docker compose stop`: the image's signal to process 1.
    pub fn stop(&mut self) -> Option<i32> {
        self.signal(self.image.stop_signal.trim_start_matches("SIG"));
        self.wait()
    }

    /// `docker compose kill`.
    pub fn kill(&mut self) {
        self.signal("KILL");
        self.wait();
    }

    /// Sends a signal to process 1, which is the only way to end it: it outlives the process that started it.
    fn signal(&self, name: &str) {
        if let Some(id) = self.id() {
            signal(id, name);
        }
    }

    /// The output of the container.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.signal("KILL");
    }
}

/// Compose reads the compose file of a checkout, against its schema, with these settings and no others.
fn configure(checkout_copy: &Path, settings: &str, variants: &[&str]) -> Value {
    let program = checkout().join(".tools/docker-compose");
    assert!(program.exists(), "Docker Compose is missing: run scripts/setup --test");
    let file = checkout_copy.join("deploy/compose.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(checkout_copy.join("deploy/.env"), settings).unwrap();
    for variant in variants {
        // The command that the head of the file gives.
        let line = text.lines().take_while(|line| line.starts_with('#')).find(|line| line.contains(variant));
        let line = line.unwrap_or_else(|| panic!("the head of the compose file does not name {variant}"));
        let command = line.trim_start_matches(['#', ' ']).split("   ").next().unwrap();
        succeed(Command::new("sh").args(["-ec", command]).current_dir(checkout_copy));
    }
    let mut command = Command::new(program);
    command.current_dir(checkout_copy).env_clear().args(["-f", "deploy/compose.yaml", "config", "--format", "json"]);
    serde_json::from_str(&succeed(&mut command)).unwrap()
}
