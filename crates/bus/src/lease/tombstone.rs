//! The marker of a deleted key in a key-value bucket.

use async_nats::HeaderMap;

/// Header by which a key-value bucket marks a deleted key.
pub(super) const OPERATION_HEADER: &str = "KV-Operation";
/// The value of that header for a deletion.
pub(super) const DELETED: &str = "DEL";

/// Whether a message of the bucket marks its key as deleted.
pub(super) fn is_deletion(headers: Option<&HeaderMap>) -> bool {
    headers.and_then(|headers| headers.get(OPERATION_HEADER)).is_some()
}
