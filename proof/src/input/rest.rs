//! Answers of a REST catalog: whatever comes back, the client says *committed* only to a readable table that shows its
//! snapshot, *conflict* only to 409, and to everything that may have been applied: *unknown, read again*.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use anyhow::{Context, Result};
use lakehouse::Kind;
use lakehouse::faults::probes::{Heard, RestProbe, WANTED_SNAPSHOT, sound_table};
use rand::Rng;
use rand::rngs::StdRng;
use serde_json::Value;
use tokio::runtime::Runtime;

use super::Target;
use super::corpus::Corpus;
use super::mutate;

/// In every answer of the corpus: a server repeats what it was sent.
const TOKEN: &str = "c4n4ry-token";
/// How an error begins that is about the connection.
const UNHEARD: &str = "the catalog did not answer";
/// An error is read by people.
const SAID_CHARS_MAX: usize = 2_000;

pub(super) struct Answers {
    runtime: Runtime,
    probe: RestProbe,
    next: Arc<Mutex<Answer>>,
}

/// One answer, as an input describes it: a line of `STATUS`, `STATUS cut N` or `raw`, and the body. A raw one is sent
/// as it is; of a cut one only so many bytes arrive.
#[derive(Clone, Default)]
struct Answer {
    status: Option<u16>,
    cut: Option<usize>,
    body: Vec<u8>,
}

impl Answers {
    pub(super) fn new() -> Result<Self> {
        let sound = Answer { status: Some(200), cut: None, body: sound_table(false)?.into_bytes() };
        let next = Arc::new(Mutex::new(sound));
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let uri = format!("http://{}", listener.local_addr()?);
        let served = Arc::clone(&next);
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let served = Arc::clone(&served);
                thread::spawn(move || serve(stream, &served));
            }
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let probe = runtime.block_on(RestProbe::open(&uri, TOKEN)).context("the probe's server")?;
        Ok(Self { runtime, probe, next })
    }
}

impl Target for Answers {
    fn name(&self) -> &'static str {
        "rest"
    }

    fn title(&self) -> &'static str {
        "answers of a REST catalog, any status and body"
    }

    fn wanted(&self) -> &[&'static str] {
        &["committed", "conflict", "unknown", "unknown, not to be tried again"]
    }

    fn giants(&self) -> Vec<super::Giant> {
        vec![
            ("an error of 10 MB", || format!("500\n{}", "x".repeat(10 << 20)).into_bytes()),
            ("a message of 10 MB", || {
                format!(r#"503{}{{"error":{{"message":"{}"}}}}"#, '\n', "x".repeat(10 << 20))
                    .into_bytes()
            }),
            ("a table of 100,000 levels", || format!("200\n{}", "[".repeat(100_000)).into_bytes()),
            ("metadata of 100,000 levels", || {
                let nested = "{\"a\":".repeat(100_000);
                format!("200\n{{\"metadata-location\":\"x\",\"metadata\":{nested}").into_bytes()
            }),
            ("an error of 100,000 levels", || {
                format!("400\n{}", "{\"error\":".repeat(100_000)).into_bytes()
            }),
        ]
    }

    fn make(&mut self, dice: &mut StdRng, corpus: &Corpus) -> Vec<u8> {
        let mut entry = mutate::one_of(dice, &corpus.entries).clone();
        let mut answer = Answer::read(&entry);
        if dice.random_ratio(1, 3) {
            answer.status = Some(dice.random_range(200..600));
        }
        if dice.random_ratio(1, 6) {
            answer.cut = Some(dice.random_range(0..=answer.body.len()));
        }
        if dice.random_ratio(1, 2)
            && let Ok(sound) = sound_table(dice.random())
        {
            answer.body = sound.into_bytes();
        }
        if dice.random_ratio(3, 4) {
            mutate::mutate(dice, &mut answer.body, corpus);
        }
        if answer.status.is_none() || dice.random_ratio(1, 20) {
            mutate::mutate(dice, &mut entry, corpus);
            return entry;
        }
        answer.written()
    }

    fn take(&mut self, input: &[u8]) -> Result<&'static str, String> {
        let answer = Answer::read(input);
        *self.next.lock().map_err(|_| "the server's thread has panicked")? = answer.clone();
        let heard = self.runtime.block_on(self.probe.publish()).map_err(|err| err.to_string())?;
        let loaded = self.runtime.block_on(self.probe.load());
        answer.judge_load(&loaded)?;
        answer.judge(&heard)
    }
}

impl Answer {
    fn read(input: &[u8]) -> Self {
        let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
        let (head, body) = input.split_at_checked(end).unwrap_or((input, &[]));
        let head = String::from_utf8_lossy(head);
        let mut words = head.split(' ');
        let status = words.next().and_then(|word| word.parse().ok());
        let status = status.filter(|status| (200..600).contains(status));
        let cut = match (words.next(), words.next()) {
            (Some("cut"), Some(bytes)) => bytes.parse().ok(),
            _ => None,
        };
        Self { status, cut, body: body.get(1..).unwrap_or_default().to_vec() }
    }

    fn written(&self) -> Vec<u8> {
        let status = self.status.map_or("raw".to_owned(), |status| status.to_string());
        let cut = self.cut.map(|bytes| format!(" cut {bytes}")).unwrap_or_default();
        [format!("{status}{cut}\n").as_bytes(), &self.body].concat()
    }

    /// Whether all of it arrives.
    fn is_whole(&self) -> bool {
        self.cut.is_none_or(|cut| cut >= self.body.len())
    }

    /// Whether it is a table that a client may believe, by a reading of its own.
    fn shows_wanted(&self) -> bool {
        let body: Option<Value> = serde_json::from_slice(&self.body).ok();
        let body = body.as_ref();
        let shown = body.and_then(|body| body.pointer("/metadata/current-snapshot-id")?.as_i64());
        let named = body.and_then(|body| body.get("metadata-location")?.as_str()).is_some();
        self.is_whole() && named && shown == Some(WANTED_SNAPSHOT)
    }

    fn judge(&self, heard: &Heard) -> Result<&'static str, String> {
        let status = self.status;
        match heard {
            Heard::Committed if status == Some(200) && self.shows_wanted() => Ok("committed"),
            Heard::Committed if status.is_none() => Ok("raw, taken for committed"),
            Heard::Committed => Err(format!("{status:?} was taken for committed")),
            Heard::Conflict if matches!(status, Some(409) | None) => Ok("conflict"),
            Heard::Conflict => Err(format!("{status:?} was taken for a conflict")),
            // Asked by a connection that the answer before had broken: nothing was heard.
            Heard::Unknown(Kind::Retry, said) if said.starts_with(UNHEARD) => {
                fit_to_be_shown(said).map(|()| "no answer")
            }
            Heard::Unknown(_, said) if status == Some(409) => {
                Err(format!("409 was not taken for a conflict: {said}"))
            }
            Heard::Unknown(kind, said) => {
                fit_to_be_shown(said)?;
                match kind {
                    Kind::Retry => Ok("unknown"),
                    _ if status.is_some_and(refuses) => Ok("unknown, not to be tried again"),
                    // What is sent raw may be any status.
                    _ if status.is_none() => Ok("raw, refused"),
                    kind => {
                        Err(format!("{status:?} may have been applied, and is {kind:?}: {said}"))
                    }
                }
            }
        }
    }

    #[allow(clippy::option_option, reason = "no table, or a table with or without a snapshot")]
    fn judge_load(&self, loaded: &lakehouse::Result<Option<Option<i64>>>) -> Result<(), String> {
        let Some(status) = self.status else { return Ok(()) };
        match loaded {
            Ok(Some(_)) if status == 200 && self.is_whole() => Ok(()),
            Ok(None) if status == 404 => Ok(()),
            Ok(found) => Err(format!("{status} was read as {found:?}")),
            Err(err) => {
                fit_to_be_shown(&shown(err))?;
                let passing =
                    matches!(status, 500..600 | 429 | 408) || !self.is_whole() && status == 200;
                if passing && err.kind() != Kind::Retry {
                    return Err(format!(
                        "{status} passes, and reading it is {:?}: {err}",
                        err.kind()
                    ));
                }
                Ok(())
            }
        }
    }
}

/// A plain refusal: the server has looked at the request and does not want it.
fn refuses(status: u16) -> bool {
    (400..500).contains(&status) && !matches!(status, 401 | 403 | 408 | 409 | 419 | 425 | 429)
}

fn shown(err: &lakehouse::Error) -> String {
    let source = std::error::Error::source(err).map(|source| format!(": {source}"));
    format!("{err}{}", source.unwrap_or_default())
}

fn fit_to_be_shown(said: &str) -> Result<(), String> {
    if said.contains(TOKEN) {
        return Err(format!("the token is shown: {said}"));
    }
    if said.chars().count() > SAID_CHARS_MAX {
        return Err(format!("an error of {} characters", said.chars().count()));
    }
    if said.chars().any(char::is_control) {
        return Err(format!("an error with control characters: {said:?}"));
    }
    Ok(())
}

/// Answers one request. The next one comes by another connection: it must not meet one that was just cut.
fn serve(mut stream: TcpStream, next: &Mutex<Answer>) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let config = read_request(&mut BufReader::new(stream.try_clone().ok()?))?;
    let answer = next.lock().ok()?.clone();
    let Some(status) = answer.status else {
        return stream.write_all(&answer.body).ok();
    };
    let (status, body) = if config { (200, b"{}".as_slice()) } else { (status, &*answer.body) };
    let length = body.len();
    let sent = answer.cut.filter(|_| !config).unwrap_or(length).min(length);
    let head =
        format!("HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all(&[head.as_bytes(), body.get(..sent)?].concat()).ok()
}

/// Reads a request to its end; whether it asks for the configuration.
fn read_request(requests: &mut BufReader<TcpStream>) -> Option<bool> {
    let (mut length, mut config) = (0, false);
    for number in 0.. {
        let mut line = String::new();
        if requests.read_line(&mut line).ok()? == 0 {
            return None;
        }
        config |= number == 0 && line.contains("/v1/config");
        let line = line.trim().to_ascii_lowercase();
        if let Some(bytes) = line.strip_prefix("content-length:") {
            length = bytes.trim().parse().ok()?;
        }
        if line.is_empty() {
            break;
        }
    }
    std::io::copy(&mut requests.by_ref().take(length), &mut std::io::sink()).ok()?;
    Some(config)
}
