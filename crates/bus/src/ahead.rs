//! How a message says that it was stored ahead of its commit.

use async_nats::HeaderMap;

/// Says of a message which result of which input it is, such as `812 1/2`.
pub const AHEAD_HEADER: &str = "Candlewire-Ahead";
/// Which result of which input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Stream sequence of the input.
    pub input: u64,
    /// Which one of its results, from 1 on.
    pub number: usize,
    /// How many results it has.
    pub of: usize,
}

impl Mark {
    /// What the headers of a message say; `None` when it was not stored ahead of its commit.
    pub fn of(headers: Option<&HeaderMap>) -> Option<Self> {
        let (input, place) = headers?.get(AHEAD_HEADER)?.as_str().split_once(' ')?;
        let (number, of) = place.split_once('/')?;
        Some(Self { input: input.parse().ok()?, number: number.parse().ok()?, of: of.parse().ok()? })
    }

    /// Whether no other result of the input follows.
    pub fn is_last(self) -> bool {
        self.number == self.of
    }

    /// As it stands in the header.
    pub fn text(self) -> String {
        format!("{} {}/{}", self.input, self.number, self.of)
    }
}
