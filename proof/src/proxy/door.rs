//! A listener that can be shut, and connections that can be cut.
//!
//! Owns sockets and how they end. It must never read a byte: what is said is for those who serve.

use std::future::{Future, pending};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Between two tries to listen again: the port may still be held by a connection that is being cut.
const BIND_AGAIN: Duration = Duration::from_millis(20);

/// Tries to listen before it is given up: a few seconds.
const BINDS_MAX: u32 = 200;

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// In order: what was written arrives, then the end.
    Closed,
    /// At once, with a reset.
    Reset,
}

/// What is done with a client.
pub(super) trait Serve: Send + Sync + 'static {
    /// Serves it until it has gone, or is to be gone.
    fn serve(&self, client: &mut TcpStream) -> impl Future<Output = End> + Send;
}

#[derive(Clone, Copy)]
struct State {
    open: bool,
    cuts: u64,
}

/// The listener. It is shut when this is dropped.
pub(super) struct Door {
    address: SocketAddr,
    state: watch::Sender<State>,
    /// Connections that were reset from here.
    cut: Arc<AtomicU64>,
}

impl Door {
    /// Listens at `at` and has every client served.
    pub(super) async fn open<S: Serve>(at: SocketAddr, service: Arc<S>) -> io::Result<Self> {
        let listener = bind(at).await?;
        let address = listener.local_addr()?;
        let (state, changes) = watch::channel(State { open: true, cuts: 0 });
        let cut = Arc::new(AtomicU64::new(0));
        tokio::spawn(attend(address, listener, changes, service, Arc::clone(&cut)));
        Ok(Self { address, state, cut })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections are refused from now on, and those that are there are reset.
    pub(super) fn shut(&self) {
        self.state.send_modify(|state| {
            state.open = false;
            state.cuts += 1;
        });
    }

    /// Listens again.
    pub(super) fn reopen(&self) {
        self.state.send_modify(|state| state.open = true);
    }

    /// Resets the connections that are there.
    pub(super) fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }

    /// Connections that were reset by [`cut`](Self::cut) or [`shut`](Self::shut).
    pub(super) fn were_cut(&self) -> u64 {
        self.cut.load(Ordering::SeqCst)
    }
}

async fn attend<S: Serve>(
    address: SocketAddr,
    listener: TcpListener,
    mut changes: watch::Receiver<State>,
    service: Arc<S>,
    cut: Arc<AtomicU64>,
) {
    let mut listener = Some(listener);
    loop {
        tokio::select! {
            told = changes.changed() => if told.is_err() { return },
            client = accepted(listener.as_ref()) => {
                let (state, service) = (changes.clone(), Arc::clone(&service));
                tokio::spawn(keep(client, state, service, Arc::clone(&cut)));
            }
        }
        if !changes.borrow_and_update().open {
            listener = None;
        }
        while listener.is_none() && changes.borrow().open {
            listener = TcpListener::bind(address).await.ok();
            if listener.is_none() {
                tokio::time::sleep(BIND_AGAIN).await;
            }
        }
    }
}

/// A port that somebody names may be given up at this moment by the proxy before.
async fn bind(at: SocketAddr) -> io::Result<TcpListener> {
    let mut tries = 1;
    loop {
        match TcpListener::bind(at).await {
            Err(err) if err.kind() == io::ErrorKind::AddrInUse && tries < BINDS_MAX => {
                tries += 1;
                tokio::time::sleep(BIND_AGAIN).await;
            }
            bound => return bound,
        }
    }
}

async fn accepted(listener: Option<&TcpListener>) -> TcpStream {
    let Some(listener) = listener else { return pending().await };
    loop {
        // A client that has gone already is no reason to stop listening.
        if let Ok((client, _)) = listener.accept().await {
            return client;
        }
    }
}

async fn keep<S: Serve>(
    mut client: TcpStream,
    mut state: watch::Receiver<State>,
    service: Arc<S>,
    cut: Arc<AtomicU64>,
) {
    let cuts = state.borrow_and_update().cuts;
    // Small pieces must leave when they are written. A client that has gone already ends by itself.
    let _ = client.set_nodelay(true);
    let end = tokio::select! {
        end = service.serve(&mut client) => end,
        _ = state.wait_for(|now| now.cuts != cuts) => {
            cut.fetch_add(1, Ordering::SeqCst);
            End::Reset
        }
    };
    if end == End::Reset {
        let _ = client.set_zero_linger();
    }
}
