//! The commands, a file each: what each prints, and which exit code it ends with.

pub(crate) mod advice;
pub(crate) mod backup;
pub(crate) mod credentials;
pub(crate) mod export;
pub(crate) mod limits;
pub(crate) mod output;
pub(crate) mod patience;
pub(crate) mod plan;
pub(crate) mod rebuild;
pub(crate) mod show;
pub(crate) mod trim;
pub(crate) mod wait;
