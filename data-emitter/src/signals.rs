//! SIGTERM and Ctrl-C become a cancelled token. The second one is left to the
//! operating system's default: it kills.

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Cancels `stop` when the process is asked to end.
pub(crate) fn cancel_on_signal(stop: CancellationToken) {
    tokio::spawn(async move {
        match asked_to_end().await {
            Ok(signal) => info!(signal, "stopping: the last acknowledgements are awaited"),
            Err(error) => warn!(%error, "signals can't be heard"),
        }
        stop.cancel();
    });
}

#[cfg(unix)]
async fn asked_to_end() -> std::io::Result<&'static str> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => Ok("SIGTERM"),
        interrupt = tokio::signal::ctrl_c() => interrupt.map(|()| "SIGINT"),
    }
}

#[cfg(not(unix))]
async fn asked_to_end() -> std::io::Result<&'static str> {
    tokio::signal::ctrl_c().await.map(|()| "Ctrl-C")
}
