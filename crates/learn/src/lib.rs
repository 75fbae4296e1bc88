//! The learning core: ticks in; a model, its predictions, its scores and its card out.
//!
//! It never reads a clock, a file or a socket, and knows no stream: the same ticks and settings give the same model.
//! [`booster`] is the only file that knows XGBoost. A row of [`features`] is made by a function that is given the past
//! alone, so it cannot look ahead; [`dataset::first_leak`] checks the whole table. Start reading at [`training`], then
//! [`dataset`], [`lookback`] and [`interval`].

#![warn(missing_docs)]

pub mod baseline;
pub mod booster;
pub mod candles;
pub mod dataset;
pub mod evaluation;
pub mod features;
pub mod fit;
pub mod forecaster;
pub mod interval;
pub mod leakage;
pub mod lookback;
mod shortage;
pub mod split;
pub mod target;
pub mod training;
mod ubjson;
pub mod verdict;
