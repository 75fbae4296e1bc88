//! `reporter report`: one self-contained HTML page on a model, for people who know nothing of the system.
//!
//! `command` reads the files of a run, `page` composes the sections as a pure function, and `answer` says in plain words
//! whether the model beats the naive baseline. The page needs no script, no other file and no network.

mod answer;
mod command;
mod counts;
mod data_section;
mod html;
mod model_sections;
mod page;
mod quality;
mod words;

pub use command::{ReportArgs, run};

pub(crate) use command::read_folder;
pub(crate) use page::{ReportData, page, style};
pub(crate) use quality::Quality;
