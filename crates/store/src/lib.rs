//! What is kept in files: recordings, the Parquet archive of ticks, predictions, model cards, and the names of them.
//!
//! This crate never talks to NATS and never computes a feature or a score. Column names are written in [`schema`] only,
//! file names and object keys in [`layout`] only, and every file appears whole or not at all ([`atomic`]). Start reading
//! at [`archive`].

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
