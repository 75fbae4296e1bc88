//! The four services that do not learn, as one program under four names.
//!
//! Processes of one program share the pages of its code, which are more than half of what such a service takes of a
//! machine. So `producer`, `stream-processor`, `aggregator` and `reporter` are a few lines each that become the program
//! `candlewire` beside them, called by their name. The trainer stays by itself: nobody else needs libxgboost.

#![warn(missing_docs)]

use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use service::Code;

/// The file name of the program.
pub const PROGRAM: &str = "candlewire";
/// The names that it is called by.
pub const NAMES: [&str; 4] = ["producer", "stream-processor", "aggregator", "reporter"];

/// Becomes the program beside this one, called by `name`. The process keeps its id, so a supervisor notices nothing.
/// Returns only when that failed, having said why: with the code of a bad configuration when the program is missing or may not
/// be run.
#[allow(clippy::print_stderr)]
pub fn launch(name: &str) -> ExitCode {
    let own = match std::env::current_exe() {
        Ok(own) => own,
        Err(error) => {
            eprintln!("error: {name} cannot find out where it is: {error}");
            return ExitCode::FAILURE;
        }
    };
    let program = own.with_file_name(PROGRAM);
    let error = Command::new(&program).arg0(name).args(std::env::args_os().skip(1)).exec();
    eprintln!(
        "error: {name} needs the program {}: {error}; build it with `cargo build --workspace --bins`, or install it again",
        program.display()
    );
    let is_amiss = matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied);
    ExitCode::from(if is_amiss { Code::BadConfig } else { Code::Failed } as u8)
}

/// The name that a program was called by, if it is one of ours: the last part of its first argument.
pub fn called(argument: &Path) -> Option<&'static str> {
    let name = argument.file_name()?.to_str()?;
    NAMES.into_iter().find(|known| *known == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_known_wherever_the_program_is() {
        assert_eq!(called(Path::new("/usr/local/bin/producer")), Some("producer"));
        assert_eq!(called(Path::new("stream-processor")), Some("stream-processor"));
        for other in ["candlewire", "producer/", "trainer", "", "/"] {
            assert!(called(Path::new(other)).is_none_or(|name| other == format!("{name}/")), "{other}");
        }
    }
}
