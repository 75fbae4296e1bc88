//! Threads of the learner that wait without burning a core.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// How OpenMP's threads wait for each other; read once, when the program is loaded.
const WAIT_POLICY: &str = "OMP_WAIT_POLICY";
/// How often such a thread looks before it sleeps.
const SPIN_COUNT: &str = "GOMP_SPINCOUNT";
/// Some microseconds: as long as the other thread mostly takes when both have a core.
const SPINS: &str = "1000";

/// Starts the program over with threads that look a moment and then sleep while they wait, unless the environment says how
/// they should.
///
/// By default they spin, and a tree is a few hundred such waits: on a machine whose cores are busy with other services a
/// thread spins for as long as the one that it waits for is not scheduled. If they sleep at once, each wait costs a wake-up
/// of an idle core. Measured with two threads, 100 rounds on 9,200 rows with everything around them: on two busy cores up to
/// 11 s spinning, 0.1–0.5 s sleeping, with or without a moment before; on two idle cores 0.04–0.06 s spinning, 0.37–0.41 s
/// sleeping at once, 0.04–0.06 s with a moment before. The process keeps its id, so a supervisor notices nothing. When it
/// cannot be started over, it goes on as it is: slower, not worse. A process that fits for the service inherits all of it.
pub fn be_patient() {
    if std::env::var_os(WAIT_POLICY).is_some() {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let mut arguments = std::env::args_os();
    let mut again = Command::new(program);
    if let Some(name) = arguments.next() {
        again.arg0(name);
    }
    if std::env::var_os(SPIN_COUNT).is_none() {
        again.env(SPIN_COUNT, SPINS);
    }
    // Returns only when it failed.
    drop(again.args(arguments).env(WAIT_POLICY, "passive").exec());
}
