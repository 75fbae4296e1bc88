//! The program itself: which service it is, its name says.

use std::path::PathBuf;
use std::process::ExitCode;

use service::Code;

fn main() -> ExitCode {
    let own = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
    match candlewire::called(&own) {
        Some("producer") => service::main(producer::run, bus::exit_code),
        Some("stream-processor") => service::main(stream_processor::run, bus::exit_code),
        Some("aggregator") => service::main(aggregator::run, bus::exit_code),
        Some("reporter") => service::main(reporter::run, bus::exit_code),
        _ => refuse(),
    }
}

/// Nobody is meant to call it by its own name.
#[allow(clippy::print_stderr)]
fn refuse() -> ExitCode {
    let names = candlewire::NAMES.join(", ");
    eprintln!("error: {} is called by the name of a service: start one of {names} instead", candlewire::PROGRAM);
    ExitCode::from(Code::BadConfig as u8)
}
