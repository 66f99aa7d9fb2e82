//! One HTTP/1.1 message, byte for byte as it came.
//!
//! Owns where a message ends. It must never change a byte of what is passed on: requests to an object store are
//! signed.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

/// Longest head; those of the servers here have some hundred bytes.
const HEAD_MAX: usize = 64 * 1024;

/// A request or an answer: its head, and its body as framed on the wire.
#[derive(Clone, Debug, Default)]
pub(super) struct Message {
    pub(super) head: Vec<u8>,
    pub(super) body: Vec<u8>,
}

/// Where a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Nothing,
    Length(usize),
    Chunks,
    /// With the connection.
    Close,
}

impl Message {
    /// An answer of our own.
    pub(super) fn answer(status: u16, kind: &str, body: &str) -> Self {
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status} injected\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n"
        );
        Self { head: head.into_bytes(), body: body.as_bytes().to_vec() }
    }

    /// Reads a head; `None` when the other side has ended before it.
    pub(super) async fn read_head(
        from: &mut (impl AsyncBufRead + Unpin),
    ) -> io::Result<Option<Self>> {
        let mut head = Vec::new();
        loop {
            let before = head.len();
            let read = from.read_until(b'\n', &mut head).await?;
            match head.get(before..) {
                Some(b"\r\n" | b"\n") if before > 0 => {
                    return Ok(Some(Self { head, body: Vec::new() }));
                }
                _ if read == 0 && before == 0 => return Ok(None),
                _ if read == 0 || head.len() > HEAD_MAX => {
                    return Err(unreadable("a head without an end"));
                }
                _ => {}
            }
        }
    }

    /// Reads the body that belongs to the head.
    pub(super) async fn read_body(
        &mut self,
        from: &mut (impl AsyncBufRead + Unpin),
        framing: Framing,
    ) -> io::Result<()> {
        match framing {
            Framing::Nothing => Ok(()),
            Framing::Length(length) => take(from, length, &mut self.body).await,
            Framing::Chunks => self.read_chunks(from).await,
            Framing::Close => from.read_to_end(&mut self.body).await.map(drop),
        }
    }

    async fn read_chunks(&mut self, from: &mut (impl AsyncBufRead + Unpin)) -> io::Result<()> {
        loop {
            let line = self.read_line(from).await?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16)
                .map_err(|_| unreadable("a chunk without a size"))?;
            if size == 0 {
                // Trailers, and the empty line behind them.
                while !self.read_line(from).await?.trim().is_empty() {}
                return Ok(());
            }
            take(from, size + "\r\n".len(), &mut self.body).await?;
        }
    }

    async fn read_line(&mut self, from: &mut (impl AsyncBufRead + Unpin)) -> io::Result<String> {
        let before = self.body.len();
        if from.read_until(b'\n', &mut self.body).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = self.body.get(before..).unwrap_or_default();
        Ok(String::from_utf8_lossy(line).into_owned())
    }

    /// The words of the first line.
    fn words(&self) -> Vec<String> {
        let line = self.head.split(|byte| *byte == b'\r').next().unwrap_or_default();
        String::from_utf8_lossy(line).split(' ').map(str::to_owned).collect()
    }

    pub(super) fn method(&self) -> String {
        self.words().first().cloned().unwrap_or_default()
    }

    /// What a request asks for, without its query.
    pub(super) fn path(&self) -> String {
        let words = self.words();
        let target = words.get(1).map(String::as_str).unwrap_or_default();
        target.split('?').next().unwrap_or_default().to_owned()
    }

    pub(super) fn status(&self) -> u16 {
        self.words().get(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    pub(super) fn header(&self, name: &str) -> Option<String> {
        let head = String::from_utf8_lossy(&self.head);
        let mut pairs = head.lines().skip(1).filter_map(|line| line.split_once(':'));
        let found = pairs.find(|(key, _)| key.trim().eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.trim().to_owned())
    }

    /// How the body of this request ends.
    pub(super) fn request_framing(&self) -> Framing {
        self.framing().unwrap_or(Framing::Nothing)
    }

    /// How the body of this answer to `method` ends.
    pub(super) fn answer_framing(&self, method: &str) -> Framing {
        let empty = method == "HEAD" || matches!(self.status(), 100..200 | 204 | 304);
        if empty { Framing::Nothing } else { self.framing().unwrap_or(Framing::Close) }
    }

    fn framing(&self) -> Option<Framing> {
        let chunked = self.header("transfer-encoding").is_some_and(|how| how.ends_with("chunked"));
        let length = self.header("content-length").and_then(|length| length.parse().ok());
        if chunked { Some(Framing::Chunks) } else { length.map(Framing::Length) }
    }

    /// Whether the connection ends with this message.
    pub(super) fn is_last(&self) -> bool {
        self.header("connection").is_some_and(|how| how.eq_ignore_ascii_case("close"))
    }

    /// The same with another body.
    pub(super) fn with_body(&self, body: Vec<u8>) -> Self {
        let head = String::from_utf8_lossy(&self.head);
        let framing = ["content-length", "transfer-encoding"];
        let is_framing = |line: &str| {
            line.split_once(':')
                .is_some_and(|(key, _)| framing.iter().any(|f| key.eq_ignore_ascii_case(f)))
        };
        let lines = head.lines().filter(|line| !line.is_empty() && !is_framing(line));
        let lines: String = lines.flat_map(|line| [line, "\r\n"]).collect();
        let head = format!("{lines}content-length: {}\r\n\r\n", body.len());
        Self { head: head.into_bytes(), body }
    }

    /// All of it.
    pub(super) fn bytes(&self) -> Vec<u8> {
        [self.head.as_slice(), &self.body].concat()
    }

    /// The head and the first half of the body; half of the head where there is no body.
    pub(super) fn half(&self) -> Vec<u8> {
        let mut bytes = self.bytes();
        let kept = if self.body.is_empty() {
            self.head.len() / 2
        } else {
            self.head.len() + self.body.len() / 2
        };
        bytes.truncate(kept);
        bytes
    }
}

async fn take(
    from: &mut (impl AsyncBufRead + Unpin),
    length: usize,
    into: &mut Vec<u8>,
) -> io::Result<()> {
    let limit = u64::try_from(length).unwrap_or(u64::MAX);
    if from.take(limit).read_to_end(into).await? < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

fn unreadable(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}
