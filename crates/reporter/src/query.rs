//! The one module that answers questions about the results of the pipeline, without HTTP.

pub mod rows;
