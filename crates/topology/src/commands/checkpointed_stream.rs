//! Streams that a command can be given: those that hold checkpoints.

use bus::stream::Stream;
use clap::ValueEnum;

/// A stream that holds checkpoints beside its results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CheckpointedStream {
    /// Prices and 1-minute candles
    Market,
    /// Candles of longer windows
    Stats,
    /// Forecasts and their scores
    Forecast,
}

impl CheckpointedStream {
    pub(crate) const ALL: [Self; 3] = [Self::Market, Self::Stats, Self::Forecast];
}

impl From<CheckpointedStream> for Stream {
    fn from(stream: CheckpointedStream) -> Self {
        match stream {
            CheckpointedStream::Market => Self::Market,
            CheckpointedStream::Stats => Self::Stats,
            CheckpointedStream::Forecast => Self::Forecast,
        }
    }
}
