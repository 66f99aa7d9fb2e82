//! One TCP connection to a broker: a request, then its answer.
//!
//! Owns time-outs and framing. It must never ask for the memory that an answer claims to need before its bytes are
//! there.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use super::wire::{self, Amount, Api, Ask, Metadata, TopicId};

/// How long a connection may take to be made.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How long a broker may be silent, beyond the time it was asked to wait.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// A longer answer is none: librdkafka's limit is 100 MB.
const ANSWER_MAX: u64 = 128 << 20;
/// Bytes of an answer before what it says: its length and the number of its request.
const HEAD: usize = 8;

/// Why a broker did not answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the answer can't be read")]
    Malformed,
    /// This way of reading does not work with it.
    #[error("the broker does not know request {} in version {}", .0.key, .0.version)]
    Unsupported(Api),
}

/// Where a broker listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

pub(super) struct Connection {
    stream: TcpStream,
    client: String,
    number: i32,
}

impl Connection {
    /// Connects to a broker that knows `api`.
    /// A request may wait there for up to `wait`.
    pub(super) fn open(
        address: &Address,
        client: &str,
        api: Api,
        wait: Duration,
    ) -> Result<Self, NoAnswer> {
        let stream = connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE_MAX + wait))?;
        stream.set_write_timeout(Some(SILENCE_MAX))?;
        let mut connection = Self { stream, client: client.to_owned(), number: 0 };
        let mut answer = Vec::new();
        let request = wire::api_versions(connection.count(), client);
        connection.ask(&request, &mut answer)?;
        match wire::knows(&answer, api) {
            Some(true) => Ok(connection),
            Some(false) => Err(NoAnswer::Unsupported(api)),
            None => Err(NoAnswer::Malformed),
        }
    }

    /// Another handle of the connection, to cut it off.
    pub(super) fn handle(&self) -> io::Result<TcpStream> {
        self.stream.try_clone()
    }

    pub(super) fn metadata(&mut self, topic: &str) -> Result<Metadata, NoAnswer> {
        let mut answer = Vec::new();
        let request = wire::metadata(self.count(), &self.client, topic);
        self.ask(&request, &mut answer)?;
        wire::read_metadata(&answer).ok_or(NoAnswer::Malformed)
    }

    /// Fetches into `answer`.
    pub(super) fn fetch(
        &mut self,
        topic: &TopicId,
        asks: &[Ask],
        amount: Amount,
        answer: &mut Vec<u8>,
    ) -> Result<(), NoAnswer> {
        let request = wire::fetch(self.count(), &self.client, topic, asks, amount);
        self.ask(&request, answer)
    }

    fn count(&mut self) -> i32 {
        self.number = self.number.wrapping_add(1) & i32::MAX;
        self.number
    }

    fn ask(&mut self, request: &[u8], answer: &mut Vec<u8>) -> Result<(), NoAnswer> {
        self.stream.write_all(request)?;
        let mut head = [0; HEAD];
        self.stream.read_exact(&mut head)?;
        let mut head = wire::Bytes::new(&head);
        let (length, number) = (head.i32(), head.i32());
        let length = length.and_then(|length| u64::try_from(length).ok()?.checked_sub(4));
        let length = length.filter(|length| *length <= ANSWER_MAX).ok_or(NoAnswer::Malformed)?;
        if number != Some(self.number) {
            return Err(NoAnswer::Malformed);
        }
        answer.clear();
        (&self.stream).take(length).read_to_end(answer)?;
        if answer.len() as u64 != length {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        Ok(())
    }
}

/// Tries every address of the host.
fn connect(address: &Address) -> io::Result<TcpStream> {
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for found in (address.host.as_str(), address.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&found, CONNECT_MAX) {
            Ok(stream) => return Ok(stream),
            Err(err) => failed = err,
        }
    }
    Err(failed)
}
