//! deploy/docker/Dockerfile and deploy/compose.yaml, executed without an engine.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use pipeline_tests::container::{self, Images};
use pipeline_tests::programs::succeed;
use pipeline_tests::server::checkout;

/// Files of each image beyond Debian.
const CONTENT: [(&str, &[&str]); 8] = [
    ("aggregator", &["/usr/local/bin/aggregator"]),
    ("nats", &["/etc/candlewire/nats.conf", "/usr/local/bin/nats-server"]),
    ("producer", &["/usr/local/bin/producer"]),
    ("reporter", &["/usr/local/bin/reporter"]),
    ("s3", &["/usr/local/bin/weed"]),
    ("stream-processor", &["/usr/local/bin/stream-processor"]),
    ("topology", &["/usr/local/bin/topology"]),
    ("trainer", &["/usr/local/bin/trainer", "/usr/local/lib/libxgboost.so", "/usr/local/lib/libxgboost.so.3"]),
];

#[test]
fn an_image_has_its_program_and_nothing_that_it_does_not_need() {
    let images = Images::shared();
    for (target, content) in CONTENT {
        let has = |path: &str| {
            // The wheel chooses the name of libgomp; other files of deploy/nats are configurations too.
            content.contains(&path)
                || path == "/etc/ssl/certs/ca-certificates.crt"
                || (target == "trainer" && path.starts_with("/usr/local/lib/libgomp-"))
                || (target == "nats" && path.starts_with("/etc/candlewire/deploy/nats/") && path.ends_with(".conf"))
        };
        let added = images.added(target);
        assert!(added.iter().all(|path| has(path)), "{target} has more: {added:?}");
        assert!(content.iter().all(|path| added.iter().any(|of| of == path)), "{target} has less: {added:?}");
    }
    let targets: BTreeSet<&str> = images.programs().map(|(name, _)| name).collect();
    assert_eq!(targets, CONTENT.map(|(target, _)| target).into(), "every target is checked");
}

#[test]
fn images_are_pinned_and_run_without_privileges() {
    let stages = container::dockerfile();
    let own: BTreeSet<&str> = stages.iter().map(|stage| stage.name.as_str()).collect();
    let copied = stages.iter().flat_map(|stage| &stage.steps).filter(|step| step.word == "COPY");
    let foreign = stages.iter().map(|stage| stage.base.as_str()).chain(copied.filter_map(|step| step.flag("from")));
    for image in foreign.filter(|image| !own.contains(image)) {
        let (name, digest) = image.split_once("@sha256:").unwrap_or_else(|| panic!("{image} has no digest"));
        assert!(digest.len() == 64 && name.contains(|c: char| c.is_ascii_digit()), "{image} has no version or digest");
    }
    let version = env!("CARGO_PKG_VERSION");
    for (target, image) in Images::shared().programs() {
        assert_eq!((image.user.as_str(), image.stop_signal.as_str()), ("65532:65532", "SIGTERM"), "{target}");
        assert_eq!(image.labels["org.opencontainers.image.version"], version, "{target}");
        assert!(image.packages.is_empty(), "{target} installs packages");
        assert!(target == "topology" || !image.healthcheck.is_empty(), "{target} has no health check");
    }
}

#[test]
fn packages_of_the_build_and_of_the_base_are_in_debians_index() {
    let images = Images::shared();
    let packages = &images.get("build").packages;
    assert!(packages.contains("libclang-dev"), "the build asks for {packages:?}");
    for package in packages {
        succeed(Command::new("apt-cache").args(["show", "--no-all-versions", package]));
    }
    let of_apt = succeed(Command::new("apt-cache").args(["depends", "--recurse", "--important", "apt"]));
    for package in container::BASE_PACKAGES {
        assert!(of_apt.lines().any(|line| line == package), "an image of Debian may be without {package}");
    }
}

/// The build uses a stand-in for the compiler, so cargo itself checks that it would find all sources.
#[test]
fn the_build_context_is_a_complete_workspace() {
    let images = Images::shared();
    let source = images.get("build").root.join("src");
    let mut cargo = Command::new("cargo");
    cargo.args(["metadata", "--locked", "--offline", "--format-version", "1", "--no-deps"]).current_dir(&source);
    let metadata: serde_json::Value = serde_json::from_str(&succeed(&mut cargo)).unwrap();
    let targets =
        metadata["packages"].as_array().unwrap().iter().flat_map(|package| package["targets"].as_array().unwrap());
    let programs: BTreeSet<&str> = targets
        .filter(|target| target["kind"][0] == "bin" && Path::new(target["src_path"].as_str().unwrap()).exists())
        .map(|target| target["name"].as_str().unwrap())
        .collect();
    let ours = CONTENT.iter().map(|(target, _)| *target).filter(|target| !["nats", "s3"].contains(target));
    for name in ours {
        assert!(programs.contains(name), "cargo finds no program {name} among {programs:?}");
    }
}

#[test]
fn secrets_and_builds_stay_out_of_the_build_context() {
    for path in ["Cargo.lock", "crates/bus/src/lib.rs", "deploy/nats/cluster.conf", "nats.conf", "scripts/setup"] {
        assert!(container::is_in_context(path) && checkout().join(path).exists(), "{path} is missing");
    }
    for path in [
        ".env",
        ".git",
        ".tools/nats-server",
        "target",
        "out",
        "deploy/docker/secrets/admin",
        "deploy/nats/credentials/admin.creds",
        "tests/data",
    ] {
        assert!(!container::is_in_context(path), "{path} is let in");
    }
}

#[test]
fn stages_and_their_steps_are_read_in_order() {
    let text = "# a comment\nFROM a:1 AS build\nRUN --mount=type=cache,target=/x one \\\n    # why\n    && two\n\n\
                FROM build AS last\nENV A=1 B=\"two words\"\nCMD [\"run\", \"a b\"]\n";
    let stages = container::parse(text);
    let [build, last] = &stages[..] else { panic!("{stages:?}") };
    assert_eq!((build.name.as_str(), build.base.as_str(), last.base.as_str()), ("build", "a:1", "build"));
    assert_eq!(build.steps[0].flag("mount"), Some("type=cache,target=/x"));
    assert_eq!(build.steps[0].words(), ["one", "&&", "two"]);
    assert_eq!(last.steps[0].pairs()["B"], "two words");
    assert_eq!(last.steps[1].words(), ["run", "a b"]);
}
