//! The NATS user of this service.

/// The name by which the NATS server knows the reporter.
pub(crate) const USER: &str = "reporter";
