//! Tells systemd when the service is useful, why it is not, that its loops move, and that it stops.

use sd_notify::NotifyState;
use tokio::time::Interval;

use super::{BEAT, Health};
use crate::shutdown::Shutdown;

/// Whether whoever started us listens (`Type=notify`).
pub(super) fn has_started_us() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

/// Reports until shutdown. The watchdog is fed only while every loop moves: systemd starts a process that hangs anew.
pub(super) async fn report(health: Health, shutdown: Shutdown) {
    let mut changes = health.shared.changes.subscribe();
    let mut look = tokio::time::interval(sd_notify::watchdog_enabled().map_or(BEAT, |bound| (bound / 3).min(BEAT)));
    let mut was_ready = false;
    loop {
        changes.mark_unchanged();
        let checked = health.check();
        if checked.is_ok() && !was_ready {
            was_ready = true;
            tell(NotifyState::Ready);
        }
        tell(NotifyState::Status(checked.as_ref().map_or_else(String::as_str, |()| "ready")));
        tokio::select! {
            () = feed_watchdog(&health, &mut look) => return,
            _ = changes.changed() => {}
            () = shutdown.requested() => break,
        }
    }
    tell(NotifyState::Stopping);
    tell(NotifyState::Status("stopping"));
}

/// Says that the process lives, as long as it does.
async fn feed_watchdog(health: &Health, look: &mut Interval) {
    loop {
        look.tick().await;
        match health.check_alive() {
            Ok(()) => tell(NotifyState::Watchdog),
            Err(reason) => tracing::error!("stuck: {reason}"),
        }
    }
}

fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::debug!(%error, "systemd was not told");
    }
}
