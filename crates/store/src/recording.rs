//! Recordings: what was observed of an instrument, as CSV files, plain or gzip, with the columns [`COLUMNS`].
//!
//! ```csv
//! timestamp_ms,open,high,low,close,volume
//! 1583020800000,8523.61,8527.42,8521.08,8524.91,12.5
//! ```
//!
//! A row is a candle from its timestamp on, a price at its timestamp, or a trade: see [`Shape`]. `survey` looks at a whole
//! file before a row of it counts, `shape` tells from it what the rows are, `file` and `lines` read, `columns` makes rows of
//! lines, `rules` judges each, `sort` puts a file in order, `numbering` numbers trades, `sequence` judges rows by their
//! neighbours, and [`InstrumentRows`] does all that for the files of one instrument. Nothing is lost silently: what does not count is
//! in the [`RowCounts`], by its reason.

mod columns;
mod container;
mod counts;
mod file;
mod instrument_rows;
#[cfg(test)]
mod instrument_rows_tests;
mod lines;
mod names;
mod numbering;
mod row;
mod rules;
mod sequence;
mod shape;
mod sort;
mod steps;
mod survey;
mod time;
mod unusable;

pub use columns::COLUMNS;
pub use counts::{Rejects, RowCounts};
pub use file::{Input, OnRead};
pub use instrument_rows::InstrumentRows;
pub use row::{Refusal, Row, SOURCE};
pub use rules::{Conflict, Grain, Outside, REORDER_ROWS, Rules, STEP_MAX, Shape};
pub use unusable::Unusable;
