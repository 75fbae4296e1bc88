//! Recordings: what was observed of an instrument, as CSV files, plain or gzip, with the columns [`COLUMNS`].
//!
//! ```csv
//! timestamp_ms,open,high,low,close,volume
//! 1583020800000,8523.61,8527.42,8521.08,8524.91,12.5
//! ```
//!
//! A row observes the span from its timestamp on; how long that is, the reader must know. `file` reads lines, `row` makes
//! rows of them, `order` sorts within a bounded buffer, `sequence` judges, and [`Track`] does all that for the files of
//! one instrument. Nothing is lost silently: what does not count is in the [`Tally`], by its reason.

mod file;
mod order;
mod row;
mod sequence;
mod tally;
mod track;

pub use file::{Input, Line, OnRead, Rows, Start, Unusable};
pub use row::{COLUMNS, Refusal, Row, SOURCE};
pub use tally::{Rejects, Tally};
pub use track::{Rules, Track};
