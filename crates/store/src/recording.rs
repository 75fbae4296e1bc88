//! Reader of recordings: observed prices of an instrument in files of many formats.
//!
//! ```csv
//! timestamp_ms,open,high,low,close,volume
//! 1583020800000,8523.61,8527.42,8521.08,8524.91,12.5
//! ```
//!
//! A row is a candle that begins at its timestamp, a price at its timestamp, or a trade: see [`RowShape`].
//! [`InstrumentRows`] reads the files of one instrument in these steps:
//!
//! 1. `container` opens a file of any known compression and encoding as lines of text; `parquet_text` writes the columns of
//!    Parquet as lines. `foreign` names a file that is none of these.
//! 2. `detect` finds the [`FileFormat`] and the `layout` of a file in its first lines: `columns` by `header`, the notation of
//!    `time` and `number`. The user may say any of it with [`LayoutOptions`].
//! 3. `survey` reads the whole file before any row of it counts, and `shape` derives the [`RowShape`] of the rows from that.
//! 4. `rows` parses lines into rows, `rules` judges single rows, `sort` orders the rows of a file, and `numbering` numbers
//!    trades that have no id.
//! 5. `sequence` judges rows by their neighbors.
//!
//! No row is lost silently: [`RowCounts`] counts every row that does not count, by reason.

mod args;
mod columns;
mod container;
mod counts;
mod detect;
mod encoding;
mod fields;
mod file;
mod foreign;
mod format;
mod header;
mod instrument_rows;
#[cfg(test)]
mod instrument_rows_tests;
mod json;
mod layout;
mod lines;
mod names;
mod number;
mod numbering;
mod parquet_text;
mod row;
mod rows;
mod rules;
mod sequence;
mod shape;
mod slots;
mod sort;
mod steps;
mod survey;
mod time;
mod time_statistics;
mod time_text;
#[cfg(test)]
mod trap_tests;
mod unusable;
mod zip_member;

pub use args::{ReadingArgs, ReadingOptions};
pub use counts::{Rejects, RowCounts};
pub use file::{OnRead, RecordingFile};
pub use format::FileFormat;
pub use header::ColumnChoice;
pub use instrument_rows::InstrumentRows;
pub use layout::{LayoutOptions, LayoutWords, StampedAt};
pub use number::Decimal;
pub use row::{RecordingRow, RowRefusal, SOURCE};
pub use rules::{Conflict, Grain, Outside, REORDER_ROWS, RowShape, Rules, STEP_MAX};
pub use slots::COLUMNS;
pub use unusable::UnusableFile;
