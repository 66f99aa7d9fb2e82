//! A server that refuses everything and repeats what it was sent, as error pages do.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;

/// How long a client may take to send its request.
const REQUEST_MAX: Duration = Duration::from_secs(2);
/// As much of a request as is repeated.
const REQUEST_BYTES_MAX: usize = 16 << 10;

/// It listens until it is dropped.
pub(super) struct Echo {
    address: String,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
}

impl Echo {
    /// Answers every request with `status`, such as `403 Forbidden`.
    pub(super) fn start(status: &'static str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&answered));
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                // A client that hangs up has had its answer or does not want one.
                drop(connection.and_then(|connection| answer(connection, status, &count)));
            }
        });
        Ok(Self { address, stop, answered })
    }

    /// `http://host:port`
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Requests that were refused and repeated: counted before the answer goes out, so that who has it finds it counted.
    pub(super) fn answered(&self) -> u64 {
        self.answered.load(Ordering::SeqCst)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the thread up; when nobody listens any more, that is as good.
        drop(TcpStream::connect(&self.address));
    }
}

fn answer(mut connection: TcpStream, status: &str, count: &AtomicU64) -> std::io::Result<()> {
    connection.set_read_timeout(Some(REQUEST_MAX))?;
    let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
    while !request.windows(4).any(|four| four == b"\r\n\r\n") && request.len() < REQUEST_BYTES_MAX {
        match connection.read(&mut buffer)? {
            0 => break,
            read => request.extend(buffer.iter().take(read)),
        }
    }
    let request = String::from_utf8_lossy(&request);
    let json = serde_json::json!({"error": {"message": request, "type": "Echo", "code": 403}});
    // The one as an XML store, the other as a JSON catalog would.
    let body = if request.contains("/v1/") {
        json.to_string()
    } else {
        format!("<Error><Code>AccessDenied</Code><Message>{request}</Message></Error>")
    };
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n", body.len());
    count.fetch_add(1, Ordering::SeqCst);
    connection.write_all(format!("{head}\r\n{body}").as_bytes())
}
