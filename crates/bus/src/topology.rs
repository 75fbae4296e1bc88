//! Definitions of the streams, and the requests that read and change streams.

mod definition;
mod difference;
mod info;
mod metadata;
mod request;

pub use definition::{GIB, Limits, PARTITIONS_MAX, definitions, partitions_of};
pub use difference::{SettingDifference, differences};
pub use info::{StreamInfo, StreamState};
pub use metadata::RESTORING_KEY;
pub use request::{StreamNote, any_stream_info, check_room, create, mark, purge, require, reveal, stream_info, update};
