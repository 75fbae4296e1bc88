use std::process::ExitCode;

fn main() -> ExitCode {
    service::main(stream_processor::run, bus::exit_code, include_str!("../../../deploy/settings.txt"))
}
