//! Exit codes, which supervisors and scripts may rely on.

use std::fmt;

/// Exit code of a failed process; success is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// A check found a difference, or the command failed after starting.
    Failed = 1,
    /// Bad configuration, unusable input, port taken, path not writable: a restart will not help.
    BadConfig = 2,
    /// Server too old, other topology, wrong log, authentication or permission: the server's side must be corrected.
    Server = 3,
    /// Not enough data.
    NotEnoughData = 4,
    /// The result is complete, but an upload failed.
    UploadFailed = 5,
}

/// An error with the exit code of the process that it ends.
#[derive(Debug)]
pub struct Coded {
    code: Code,
    error: anyhow::Error,
}

impl Coded {
    /// Attaches an exit code to an error.
    pub fn new(code: Code, error: impl Into<anyhow::Error>) -> Self {
        Self { code, error: error.into() }
    }

    /// The exit code.
    pub fn code(&self) -> Code {
        self.code
    }
}

impl fmt::Display for Coded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl std::error::Error for Coded {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

/// Attaches an exit code to the error of a result.
pub trait WithCode<T> {
    /// Ends the process with `code` when this error reaches [`main`](crate::main).
    ///
    /// # Errors
    /// The same error, with its code.
    fn exit_code(self, code: Code) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> WithCode<T> for Result<T, E> {
    fn exit_code(self, code: Code) -> anyhow::Result<T> {
        self.map_err(|error| Coded::new(code, error).into())
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn an_exit_code_survives_further_context() {
        let result: anyhow::Result<()> = Err(anyhow::anyhow!("line 7").context("cannot read ticks.csv"));
        let error = result.exit_code(Code::BadConfig).context("recording").unwrap_err();
        assert_eq!(error.downcast_ref::<Coded>().map(Coded::code), Some(Code::BadConfig));
        assert_eq!(format!("{error:#}"), "recording: cannot read ticks.csv: line 7");
    }
}
