//! Files and objects of the pipeline: recordings, the Parquet archive of ticks, predictions and model cards.
//!
//! This crate never talks to NATS and never computes a feature or a score. Column names are written in [`schema`] only,
//! file names and object keys in [`paths`] only, and every file appears whole or not at all ([`atomic_file`]). Start
//! reading at [`archive`] for stored ticks, and at [`recording`] for the files of users.
//!
//! ```
//! use market::{EventTime, Instrument, Tick};
//! use store::archive::catalog::SeqRange;
//! use store::archive::{Archive, ArchiveWriter, Through};
//! use store::ticks::TickRows;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path();
//! let bitcoin = Instrument::new("bitcoin", "usd")?;
//! let tick = Tick::point(EventTime(1_583_020_800_000), 67_187.33);
//! // MARKET messages 1 to 10 were examined; message 4 accepted this tick.
//! let mut rows = TickRows::default();
//! rows.push(&bitcoin, &tick, 4);
//! let mut writer = ArchiveWriter::open(folder, "identity of the MARKET stream")?;
//! writer.append(SeqRange { first: 1, last: 10 }, &rows.into_batch())?;
//!
//! let series = Archive::new(folder).series(&bitcoin, Through::ALL)?;
//! assert_eq!(series.ticks, [tick]);
//! # Ok(())
//! # }
//! ```

#![warn(missing_docs)]

pub mod archive;
pub mod atomic_file;
pub mod bucket;
pub mod digest;
pub mod model_card;
pub mod paths;
pub mod predictions;
pub mod recording;
pub mod schema;
pub mod ticks;
pub mod zip;
