//! See `candlewire::launch`.

fn main() -> std::process::ExitCode {
    candlewire::launch("producer")
}
