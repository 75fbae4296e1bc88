//! `reporter plot`: draws predictions and actual values into one PNG.
//!
//! `command` reads the files, and `drawing` composes the panels as a pure function from rows to pixels.

mod axis;
mod bars;
mod canvas;
mod command;
mod drawing;
mod extent;
mod frame;
mod labels;
mod last_rows;
mod layout;
mod overview;
mod skill_panel;
mod theme;
mod title;

pub use bars::{Bar, bars};
pub use canvas::Image;
pub use command::{PlotArgs, run};
pub use drawing::{draw, no_data};
