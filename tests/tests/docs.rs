//! Commands of the documentation: run as written, or at least checked to exist.

use std::cell::Cell;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use pipeline_tests::docs::{self, Documented, PROGRAMS};
use pipeline_tests::programs::{Running, eventually, programs, succeed};
use pipeline_tests::server::checkout;
use pipeline_tests::test_pipeline::{TestPipeline, sample};

/// Commands that are not run, by prefix, with the reason. Their names are checked nevertheless.
const NOT_RUN: [(&str, &str); 7] = [
    ("./scripts/run --live", "asks CoinGecko"),
    ("./scripts/run", "builds with --release; the tests in run.rs call it with --profile dev added"),
    ("./scripts/chaos", "takes minutes; the test in chaos.rs does ten of its kills"),
    ("./scripts/bench", "takes minutes, and says what a busy machine is worth"),
    ("nats ", "the NATS command line is not in our hands"),
    ("sudo", "changes the machine; the tests of the units install into a folder and start from there"),
    ("docker ", "needs an engine; the tests in compose.rs start the same without one"),
];
/// Commands that run until stopped, by a part of their text.
const ENDLESS: [&str; 2] = ["reporter watch", "stream-processor run"];
/// Pages whose commands are run by other tests.
const ELSEWHERE: [(&str, &str); 5] = [
    ("OPERATIONS.md", "tests/operator types its commands"),
    ("deploy/README.md", "needs systemd, or three machines"),
    ("CONTRIBUTING.md", "builds and tests the checkout, as CI does"),
    ("docs/testing.md", "runs the tests, this one among them"),
    ("docs/api.md", "needs a reporter; the test in api.rs types its commands"),
];

#[test]
fn every_command_of_the_documentation_exists() {
    let mut wrong = Vec::new();
    for page in docs::pages() {
        for command in docs::commands(&page) {
            wrong.extend(
                docs::check(&command).err().map(|why| format!("{}: {}\n    {why}", command.place, command.text)),
            );
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_command_that_does_not_exist_is_found() {
    let check = |text: &str| docs::check(&Documented { place: String::new(), block: 0, text: text.to_owned() });
    for good in [
        "target/release/topology show --format json | grep 'a # b' > x.json; cd y && ls tests/data",
        "CANDLEWIRE_REPLICAS=3 topology plan",
        "scripts/setup --test",
        "sudo systemctl start candlewire-{producer,stream-processor@{1..4}}",
        "systemctl stop candlewire.target 'candlewire-*'",
        "docker compose -f deploy/compose.yaml --env-file deploy/docker/s3.env run --rm topology show --format json",
    ] {
        assert_eq!(check(good), Ok(()), "{good}");
    }
    for bad in [
        "target/release/topology shwo",
        "topology show --fromat json",
        "topology show --format yaml",
        "CANDLEWIRE_REPLICAS=many topology plan",
        "cd x && scripts/setup --tset",
        "scripts/stepup",
        "ls tests/dada/x.csv",
        "nets sub live.price",
        "systemctl start candlewire-nothing",
        "systemctl stop 'candlewires-*'",
        "systemctl start candlewire-{producer,nothing@{1..4}}",
        "docker compose -f deploy/compose.yaml up --scael x=1",
        "docker compose -f deploy/compose.yaml run --rm topology shwo",
        "docker compose -f deploy/compose.yml up",
    ] {
        assert!(check(bad).is_err(), "{bad}");
    }
}

/// In running text a command is a program's name and what follows it in the same code span.
#[test]
fn every_mentioned_command_is_a_subcommand() {
    let known = PROGRAMS.map(|program| (program, docs::subcommands(program)));
    for page in docs::pages() {
        let text = fs::read_to_string(checkout().join(&page)).unwrap();
        for span in text.lines().flat_map(|line| line.split('`').skip(1).step_by(2)) {
            let mut words = span.split_whitespace();
            let (Some(name), Some(word)) = (words.next(), words.next()) else { continue };
            let name = Path::new(name).file_name().and_then(|name| name.to_str()).unwrap_or(name);
            let Some((_, subcommands)) = known.iter().find(|(program, _)| *program == name) else { continue };
            let word = word.trim_end_matches(',');
            assert!(word.starts_with("--") || subcommands.contains(word), "{page}: `{span}`: {name} has no {word}");
        }
    }
}

/// A folder like the checkout after scripts/run, with a pipeline that has processed a recording.
async fn reader_of_the_readme() -> (TestPipeline, Vec<Running>) {
    let pipeline = TestPipeline::new().await;
    let dir = pipeline.dir.path();
    // Copies, since the commands may write there.
    for name in ["scripts", "deploy", "nats.conf"] {
        succeed(Command::new("cp").arg("--archive").arg(checkout().join(name)).arg(dir));
    }
    symlink(checkout().join(".tools"), dir.join(".tools")).unwrap();
    fs::create_dir_all(dir.join("target")).unwrap();
    symlink(programs(), dir.join("target/release")).unwrap();
    fs::create_dir_all(dir.join("tests/data")).unwrap();
    symlink(checkout().join("tests/data/formats"), dir.join("tests/data/formats")).unwrap();
    // The start of the sample is enough, since the trained model does not matter here.
    let name = "btcusdt_1h_2019-2023.csv.gz";
    let rows = BufReader::new(GzDecoder::new(fs::File::open(sample(name)).unwrap())).lines().take(2_501);
    let mut excerpt = GzEncoder::new(fs::File::create(dir.join("tests/data").join(name)).unwrap(), Compression::fast());
    rows.for_each(|row| writeln!(excerpt, "{}", row.unwrap()).unwrap());
    excerpt.finish().unwrap();
    let mut trainer = pipeline.program("trainer");
    trainer.args(["run", "--archive", "archive", "--interval", "1h", "--every", "30d", "--expire", "90d"]);
    trainer.args(["--threads", "1", "--folds", "1", "--rounds", "20"]);
    let services = [pipeline.start("stream-processor"), pipeline.start("aggregator"), Running::start(&mut trainer)];
    succeed(&mut pipeline.replay(&dir.join("tests/data").join(name), "1h"));
    pipeline.wait();
    (pipeline, services.into())
}

/// The command as typed in that folder.
fn typed(pipeline: &TestPipeline, command: &Documented) -> Command {
    let model = pipeline.program("topology");
    let mut shell = Command::new("bash");
    shell.args(["-euo", "pipefail", "-c", &command.text]).current_dir(pipeline.dir.path());
    for (name, value) in model.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_readme_work() {
    let (pipeline, _services) = reader_of_the_readme().await;
    let excuses = NOT_RUN.map(|(begins, _)| (begins, Cell::new(0)));
    let mut run = 0;
    for command in docs::pages().iter().filter(|page| !is_elsewhere(page)).flat_map(|page| docs::commands(page)) {
        if let Some((_, used)) = excuses.iter().find(|(begins, _)| command.text.starts_with(begins)) {
            used.set(used.get() + 1);
        } else if ENDLESS.iter().any(|endless| command.text.contains(endless)) {
            run_for_a_while(&pipeline, &command);
            run += 1;
        } else {
            run_to_its_end(&pipeline, &command);
            run += 1;
        }
    }
    assert!(run >= 5, "only {run} commands are run: where are they?");
    let unused: Vec<&str> = excuses.iter().filter(|(_, used)| used.get() == 0).map(|(begins, _)| *begins).collect();
    assert!(unused.is_empty(), "exceptions for commands that no page has any more: {unused:?}");
}

fn is_elsewhere(page: &str) -> bool {
    ELSEWHERE.iter().any(|(elsewhere, _)| *elsewhere == page)
}

/// Runs a command that ends by itself.
fn run_to_its_end(pipeline: &TestPipeline, command: &Documented) {
    let [out, errors] = ["out", "errors"].map(|name| pipeline.dir.path().join(format!("command.{name}")));
    let mut shell = typed(pipeline, command);
    shell.stdout(fs::File::create(&out).unwrap()).stderr(fs::File::create(&errors).unwrap());
    let mut running = Running::start(&mut shell);
    eventually(&format!("{} ends", command.text), || !running.is_running());
    let said = fs::read_to_string(&errors).unwrap();
    assert_eq!(running.wait(), Some(0), "{}: {}: {said}", command.place, command.text);
    assert!(fs::metadata(&out).unwrap().len() > 0, "{}: {} says nothing", command.place, command.text);
}

/// Starts a command that runs until stopped, checks that it finds the server, and stops it.
fn run_for_a_while(pipeline: &TestPipeline, command: &Documented) {
    let log = pipeline.dir.path().join("endless.log");
    let mut shell = typed(pipeline, command);
    // The shell is replaced by the program, so that the signal reaches it.
    shell.env("CANDLEWIRE_LOG", "info").stdout(Stdio::null()).stderr(fs::File::create(&log).unwrap());
    let mut running = Running::start(&mut shell);
    eventually(&format!("{} is connected", command.text), || fs::read_to_string(&log).unwrap().contains("connected"));
    running.terminate();
    let said = fs::read_to_string(&log).unwrap();
    assert_eq!(running.wait(), Some(0), "{}: {}: {said}", command.place, command.text);
}
