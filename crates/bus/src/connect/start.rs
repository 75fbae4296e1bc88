//! Common start of every service.

use service::{Health, HealthArgs, Shutdown};

use super::{Connection, NatsArgs};

/// Checks the user and its password, serves health, and waits for the server. `None` after a shutdown request.
///
/// # Errors
/// A user without a password, an address that health cannot be served at, or a server that refuses this user.
pub async fn start_service(
    nats: &NatsArgs,
    user: &str,
    health_args: &HealthArgs,
    shutdown: &Shutdown,
) -> anyhow::Result<Option<(Connection, Health)>> {
    // Before health is served: bad flags end the process at once.
    nats.check(Some(user))?;
    let health = Health::new();
    health.serve(health_args, shutdown.clone()).await?;
    let connection = Connection::wait(nats, Some(user), &health, shutdown).await?;
    Ok(connection.map(|connection| (connection, health)))
}
