//! `reporter plot`: draws pictures of one model as SVG or PNG.
//!
//! `command` reads the files, `subject` names the kinds of pictures, and each kind is a pure function from rows to a
//! [`Picture`]. There is one drawing path: shapes and texts are collected by `canvas` and written as SVG, and PNG is that
//! SVG, rendered.

mod axis;
mod bars;
mod calibration;
mod candle_file;
mod candlesticks;
mod canvas;
mod command;
mod drawing;
mod extent;
mod fonts;
mod frame;
mod heading;
mod importance;
mod labels;
mod last_rows;
mod layout;
mod overview;
mod picture;
mod residuals;
#[cfg(test)]
pub(crate) mod samples;
mod scored_days;
mod skill_over_time;
mod skill_panel;
mod subject;
mod text;
mod theme;
mod title;
mod training_files;

pub use bars::{Bar, bars};
pub use command::{ImageFormat, PlotArgs, run};
pub use picture::{Picture, PictureError};
pub use subject::PlotKind;

pub(crate) use candle_file::read_candles;
pub(crate) use fonts::font_faces;
pub(crate) use layout::Format;
pub(crate) use picture::style;
pub(crate) use scored_days::{ScoredDay, ScoredDays};
pub(crate) use subject::Subject;
pub(crate) use theme::dark_rules;
pub(crate) use training_files::{TrainingFiles, check_same_training};
