//! The commands, one file each: flags, output and exit code.

pub(crate) mod advice;
pub(crate) mod backup;
pub(crate) mod checkpointed_stream;
pub(crate) mod export;
pub(crate) mod limits;
pub(crate) mod output;
pub(crate) mod plan;
pub(crate) mod rebuild;
pub(crate) mod retry;
pub(crate) mod show;
pub(crate) mod trim;
pub(crate) mod wait;
