//! Users of nats.conf, and their passwords in tests.

/// The users of nats.conf that have a password.
pub const USERS: [&str; 7] = ["admin", "producer", "stream-processor", "aggregator", "trainer", "reporter", "reader"];

/// The password of a user in tests.
pub fn password(user: &str) -> String {
    format!("cw-test-{user}")
}

/// The environment variable of a user's password.
pub fn password_variable(user: &str) -> String {
    format!("CANDLEWIRE_PASSWORD_{}", user.to_uppercase().replace('-', "_"))
}
