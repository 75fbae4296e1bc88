//! Interruptible work that leaves no process behind.

use std::future::Future;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Runs work until it is done, or until SIGINT or SIGTERM. An interrupt drops the work and with it every process that
/// it started, and returns `None`.
///
/// The work panics, or signals cannot be received.
/// When the work does, or signals cannot be listened to.
pub async fn or<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Option<T> {
    let listen = |kind| signal(kind).expect("signals can be listened to");
    let (mut interrupt, mut terminate): (Signal, Signal) =
        (listen(SignalKind::interrupt()), listen(SignalKind::terminate()));
    let mut task = tokio::spawn(work);
    tokio::select! {
        done = &mut task => match done {
            Ok(done) => Some(done),
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        },
        () = async { tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} } } => {
            task.abort();
            drop(task.await);
            None
        }
    }
}
