//! The learning core: ticks in; a model, its predictions, its scores and its model card out.
//!
//! It never reads a clock, a file or a socket, and knows no stream: the same ticks and settings give the same model,
//! byte for byte. No file but [`booster`] uses XGBoost. A row of [`features`] is made by a function that is given only
//! the past, so it cannot look ahead; [`leakage::first_leak`] checks that for a whole table.
//!
//! Start reading at [`training`], which calls everything else: [`prepare`] makes rows of ticks ([`candles`],
//! [`lookback`], [`features`], [`dataset`]) and splits them ([`split`]), [`fit`] fits a [`forecaster`] with its
//! [`interval`]s, and [`evaluation`] scores it beside the naive [`baseline`].
//!
//! ```no_run
//! use learn::booster::{BaseScore, Boosting};
//! use learn::candles::Interval;
//! use learn::config::LearnConfig;
//! use learn::split::Split;
//! use learn::training::learn;
//! use market::{Instrument, Recipe, Tick, Window};
//!
//! /// Trains a model on hourly candles and returns its verdict.
//! fn verdict(ticks: &[Tick]) -> Result<String, Box<dyn std::error::Error>> {
//!     let config = LearnConfig {
//!         instrument: Instrument::new("bitcoin", "usd")?,
//!         recipe: Recipe::Volatility,
//!         interval: Interval::Fixed(Window::Hour),
//!         horizon: 1,
//!         min_coverage: 0.5,
//!         split: Split::Time,
//!         holdout: 0.2,
//!         folds: 5,
//!         boosting: Boosting {
//!             rounds_max: 500,
//!             depth: 4,
//!             learning_rate: 0.05,
//!             leaf_rows_min: 50,
//!             base_score: BaseScore::Mean,
//!             seed: 42,
//!             threads: 2,
//!         },
//!     };
//!     let learned = learn(ticks, None, &config)?;
//!     // "The model beats the naive baseline by 6.60 % (p < 0.001): on 8758 unseen rows …"
//!     Ok(learned.card.verdict)
//! }
//! # verdict(&[]).unwrap_err();
//! ```

#![warn(missing_docs)]

pub mod baseline;
pub mod booster;
pub mod candles;
pub mod config;
pub mod dataset;
pub mod evaluation;
pub mod features;
pub mod fit;
pub mod forecaster;
pub mod interval;
pub mod leakage;
pub mod lookback;
pub mod prepare;
pub mod row_spec;
mod shortage;
pub mod split;
pub mod target;
pub mod training;
mod ubjson;
pub mod verdict;
