//! Notifications to systemd: ready, status, watchdog, stopping.

use sd_notify::NotifyState;
use tokio::time::Interval;

use super::{BEAT, Health};
use crate::shutdown::Shutdown;

/// Whether systemd listens for notifications (`Type=notify`).
pub(super) fn is_listening() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

/// Reports until shutdown. The watchdog is fed only while every loop moves, so systemd restarts a process that hangs.
pub(super) async fn report(health: Health, shutdown: Shutdown) {
    let mut changes = health.shared.changes.subscribe();
    let mut interval = tokio::time::interval(sd_notify::watchdog_enabled().map_or(BEAT, |bound| (bound / 3).min(BEAT)));
    let mut was_ready = false;
    loop {
        changes.mark_unchanged();
        let checked = health.check();
        if checked.is_ok() && !was_ready {
            was_ready = true;
            notify(NotifyState::Ready);
        }
        notify(NotifyState::Status(checked.as_ref().map_or_else(String::as_str, |()| "ready")));
        tokio::select! {
            () = feed_watchdog(&health, &mut interval) => return,
            _ = changes.changed() => {}
            () = shutdown.requested() => break,
        }
    }
    notify(NotifyState::Stopping);
    notify(NotifyState::Status("stopping"));
}

/// Feeds the watchdog while every loop moves.
async fn feed_watchdog(health: &Health, interval: &mut Interval) {
    loop {
        interval.tick().await;
        match health.check_alive() {
            Ok(()) => notify(NotifyState::Watchdog),
            Err(reason) => tracing::error!("stuck: {reason}"),
        }
    }
}

fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::debug!(%error, "cannot notify systemd");
    }
}
