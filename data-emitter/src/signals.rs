//! SIGTERM and Ctrl-C become a cancelled token, and nothing else happens on them.

use tokio_util::sync::CancellationToken;
use tracing::info;

/// Cancels `stop` when the process is asked to end. Signals count from here on.
#[cfg(unix)]
pub(crate) fn cancel_on_signal(stop: CancellationToken) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        let signal = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        info!(signal, "stopping: the last acknowledgements are awaited");
        stop.cancel();
    });
    Ok(())
}

/// Cancels `stop` when the process is asked to end.
#[cfg(not(unix))]
pub(crate) fn cancel_on_signal(stop: CancellationToken) -> std::io::Result<()> {
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            info!(signal = "Ctrl-C", "stopping: the last acknowledgements are awaited");
            stop.cancel();
        }
    });
    Ok(())
}
