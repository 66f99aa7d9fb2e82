//! A TCP relay that flips a bit on its way to the consumer, once.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Starts a relay to a port of this machine. Returns its port, and how often `needle` may still be
/// damaged: the relay counts it down.
pub(crate) fn start(target: u16, needle: &'static [u8], times: usize) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let left = Arc::new(AtomicUsize::new(times));
    let counter = Arc::clone(&left);
    thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.unwrap();
            let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else { continue };
            let (to_server, to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            thread::spawn(move || relay(client, to_server, |_| ()));
            let counter = Arc::clone(&counter);
            thread::spawn(move || {
                relay(server, to_client, |bytes| damage(bytes, needle, &counter));
            });
        }
    });
    (port, left)
}

fn relay(mut from: TcpStream, mut to: TcpStream, mut change: impl FnMut(&mut [u8])) {
    let mut buffer = vec![0; 256 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        change(&mut buffer[..length]);
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
}

fn damage(bytes: &mut [u8], needle: &[u8], left: &AtomicUsize) {
    let Some(place) = bytes.windows(needle.len()).position(|window| window == needle) else {
        return;
    };
    let spend = |left: usize| left.checked_sub(1);
    if left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, spend).is_ok() {
        bytes[place] ^= 1;
    }
}
