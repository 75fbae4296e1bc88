//! Keys under which streams store notes in their metadata.

/// Metadata key: number of partitions.
pub(super) const PARTITIONS_KEY: &str = "candlewire.partitions";
/// Metadata key: last sequence up to which results were trimmed.
pub(super) const TRIMMED_KEY: &str = "candlewire.trimmed";
/// Metadata key: sequence after which the stream was rebuilt.
pub(super) const REBUILT_KEY: &str = "candlewire.rebuilt";
/// Metadata key of a restored stream: its log id, with the restore.
pub(super) const LOG_KEY: &str = "candlewire.log";
/// Metadata key that a stream carries while it is being restored.
pub const RESTORING_KEY: &str = "candlewire.restoring";
/// Prefix of the metadata keys that the server adds itself.
pub(super) const SERVERS_OWN: &str = "_nats.";
