use std::process::ExitCode;

fn main() -> ExitCode {
    service::main(aggregator::run, bus::exit_code, include_str!("../../../deploy/settings.txt"))
}
