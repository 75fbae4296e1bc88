//! Training as a process, where the machine does not give what it needs.

use std::io::Write;
use std::process::Command;

use pipeline_tests::disk::SmallDisk;
use pipeline_tests::programs::{fail, programs, succeed};
use pipeline_tests::world::sample;

const SAMPLE: &str = "btcusdt_1m_2020-03.csv.gz";

/// A program that sees the small disk.
fn on_disk(disk: &SmallDisk, program: &str) -> Command {
    let [nsenter, arguments @ ..] = disk.prefix();
    let mut command = Command::new(nsenter);
    command.args(arguments).arg(program);
    command
}

#[test]
fn a_full_disk_leaves_the_model_before_as_it_was() {
    let Some(disk) = SmallDisk::new(8 << 20) else {
        // Said past the test's own output, which is shown only for failures.
        writeln!(std::io::stderr(), "a full disk is not tested: this user may not mount one").unwrap();
        return;
    };
    let train = |seed: &str| {
        let trainer = programs().join("trainer");
        let mut command = on_disk(&disk, &trainer.display().to_string());
        command.args(["train", "--coin", "bitcoin", "--quote", "usdt", "--interval", "1h", "--folds", "2"]);
        command.args(["--seed", seed, "--input"]).arg(sample(SAMPLE)).arg("--out").arg(disk.path());
        command
    };
    let sums =
        || succeed(on_disk(&disk, "sh").args(["-c", "cd \"$1\" && ls -A && sha256sum *"]).arg("sh").arg(disk.path()));
    succeed(&mut train("1"));
    // What is left takes the first file of a second model, but not all of them.
    let fill = "cd \"$1\" && head -c 64K /dev/zero >room; cat /dev/zero >fill 2>/dev/null; test -s fill && rm room";
    succeed(on_disk(&disk, "sh").args(["-c", fill]).arg("sh").arg(disk.path()));
    let before = sums();
    let (code, said) = fail(&mut train("2"));
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("No space left on device") && said.contains("what was there before still stands"), "{said}");
    assert_eq!(sums(), before);
}
