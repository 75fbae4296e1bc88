//! Reader of recordings: observed prices of an instrument in CSV files, plain or gzip, with the columns [`COLUMNS`].
//!
//! ```csv
//! timestamp_ms,open,high,low,close,volume
//! 1583020800000,8523.61,8527.42,8521.08,8524.91,12.5
//! ```
//!
//! A row is a candle that begins at its timestamp, a price at its timestamp, or a trade: see [`RowShape`].
//! [`InstrumentRows`] reads the files of one instrument in these steps:
//!
//! 1. `survey` reads a whole file before any row of it counts, and `shape` derives the [`RowShape`] of the rows from that.
//! 2. `file` and `lines` read lines, and `columns` parses them into rows.
//! 3. `rules` judges single rows, `sort` orders the rows of a file, and `numbering` numbers trades that have no id.
//! 4. `sequence` judges rows by their neighbors.
//!
//! No row is lost silently: [`RowCounts`] counts every row that does not count, by reason.

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
pub use file::{OnRead, RecordingFile};
pub use instrument_rows::InstrumentRows;
pub use row::{RecordingRow, RowRefusal, SOURCE};
pub use rules::{Conflict, Grain, Outside, REORDER_ROWS, RowShape, Rules, STEP_MAX};
pub use unusable::UnusableFile;
