//! The proxy in front of the catalog and of the object store.
//!
//! One request of a connection at a time: read it, look up its fault, carry that out.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use object_store::ObjectStoreExt;
use object_store::aws::AmazonS3;
use object_store::path::Path;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::door::{Door, End, Serve};
use super::fault::{Fault, Until};
use super::late::Reads;
use super::message::Message;
use super::plan::{Plan, Rule, Seen};

/// How long a server may take to answer; every client here gives up before.
const ANSWER_MAX: Duration = Duration::from_mins(2);
/// How long a client that gets no answer is waited for.
const SILENCE_MAX: Duration = Duration::from_mins(5);
/// Pieces of a dripping answer.
const PIECES: u32 = 50;

/// What a store says that has taken an object.
const STORED: &[u8] = b"HTTP/1.1 200 OK\r\netag: \"0\"\r\ncontent-length: 0\r\n\r\n";

/// Whose protocol is spoken: how refusals look, and what can be done to objects.
pub(crate) enum Flavour {
    Catalog,
    /// With the bucket behind the proxy, in which objects can be shortened.
    Store(AmazonS3),
}

/// A proxy in front of one server.
pub(crate) struct HttpProxy {
    door: Door,
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    target: SocketAddr,
    flavour: Flavour,
    pub(super) plan: Plan,
    pub(super) reads: Reads,
}

impl HttpProxy {
    /// Listens on a free port and passes on to `target`, `http://host:port`. Chance follows from `seed`.
    pub(crate) async fn start(target: &str, flavour: Flavour, seed: u64) -> Result<Self> {
        let target = target.trim_start_matches("http://");
        let target = target.parse().with_context(|| format!("{target} is no address"))?;
        let inner = Inner { target, flavour, plan: Plan::new(seed), reads: Reads::default() };
        let inner = Arc::new(inner);
        let here = SocketAddr::from(([127, 0, 0, 1], 0));
        let service = Arc::new(Service(Arc::clone(&inner)));
        let door = Door::open(here, service).await.context("a proxy can't listen")?;
        Ok(Self { door, inner })
    }

    /// `http://host:port`.
    pub(crate) fn uri(&self) -> String {
        format!("http://{}", self.door.address())
    }

    /// From now on these rules hold, and no others. Requests that are held back stay so.
    pub(crate) fn set(&self, rules: Vec<Rule>) {
        self.inner.plan.set(rules);
    }

    /// What has happened so far.
    pub(crate) fn seen(&self) -> Seen {
        self.inner.plan.seen()
    }

    /// Lets requests go that wait for their release.
    pub(crate) fn release(&self) {
        self.inner.reads.release();
    }

    /// Refuses connections, and resets those that are there.
    pub(crate) fn down(&self) {
        self.door.shut();
    }

    /// Takes connections again.
    pub(crate) fn up(&self) {
        self.door.reopen();
    }
}

struct Service(Arc<Inner>);

impl Serve for Service {
    async fn serve(&self, client: &mut TcpStream) -> End {
        let mut client = BufReader::new(client);
        loop {
            // Whatever goes wrong here has the same outcome for the client: the connection ends.
            match self.0.one(&mut client).await {
                Ok(None) => {}
                Ok(Some(end)) => return end,
                Err(_) => return End::Reset,
            }
        }
    }
}

type Client<'a> = BufReader<&'a mut TcpStream>;

impl Inner {
    /// Serves one request; `Some` when the connection is to end with it.
    async fn one(self: &Arc<Self>, client: &mut Client<'_>) -> io::Result<Option<End>> {
        let Some(mut request) = Message::read_head(client).await? else {
            return Ok(Some(End::Closed));
        };
        let fault = self.plan.decide(&request);
        if request.header("expect").is_some() {
            client.get_mut().write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        if fault == Some(Fault::CutBefore) {
            let length: usize =
                request.header("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
            client.read_exact(&mut vec![0; length / 2]).await?;
            self.plan.count(&Fault::CutBefore);
            self.plan.became(false);
            return Ok(Some(End::Reset));
        }
        let framing = request.request_framing();
        request.read_body(client, framing).await?;
        let Some(fault) = fault else {
            let answer = self.forward(&request).await?;
            client.get_mut().write_all(&answer.bytes()).await?;
            if request.method() == "GET" && answer.status() == 200 {
                self.reads.answered(&request.path());
            }
            return Ok((answer.is_last() || request.is_last()).then_some(End::Closed));
        };
        self.act(&fault, request, client).await
    }

    /// Carries out `fault`; `Some` when the connection is to end with it.
    async fn act(
        self: &Arc<Self>,
        fault: &Fault,
        request: Message,
        client: &mut Client<'_>,
    ) -> io::Result<Option<End>> {
        match fault {
            Fault::Late(until) => {
                self.plan.count(fault);
                self.hold(*until, request);
                if *until == Until::ReleasedAndRead {
                    gone(client.get_mut()).await;
                }
                return Ok(Some(End::Reset));
            }
            Fault::Refuse(..) | Fault::HangBefore | Fault::Pretend => self.plan.became(false),
            _ => {}
        }
        let answer = match fault {
            Fault::Refuse(..) | Fault::HangBefore | Fault::Pretend | Fault::CutBefore => {
                Message::default()
            }
            Fault::Twice => {
                self.applied(&request).await?;
                self.forward(&request).await?
            }
            Fault::Redate(later) => self.applied(&redated(&request, *later)?).await?,
            _ => self.applied(&request).await?,
        };
        if *fault == Fault::Shorten {
            self.shorten(&request).await?;
        }
        self.plan.count(fault);
        let client: &mut TcpStream = client.get_mut();
        match fault {
            Fault::Refuse(status, code) | Fault::Hide(status, code) => {
                client.write_all(&self.refusal(*status, code).bytes()).await?;
            }
            Fault::CutBefore | Fault::CutAfter | Fault::Late(_) => return Ok(Some(End::Reset)),
            Fault::Lose => return Ok(Some(End::Closed)),
            Fault::HangBefore | Fault::HangAfter => {
                gone(client).await;
                return Ok(Some(End::Closed));
            }
            Fault::Truncate => {
                client.write_all(&answer.half()).await?;
                return Ok(Some(End::Closed));
            }
            Fault::Stall => {
                client.write_all(&answer.half()).await?;
                gone(client).await;
                return Ok(Some(End::Closed));
            }
            Fault::Garble(body) => {
                client.write_all(&Message::answer(200, "application/json", body).bytes()).await?;
            }
            Fault::Drip(span) => drip(client, &answer.bytes(), *span).await?,
            Fault::Pretend => {
                client.write_all(STORED).await?;
            }
            Fault::Twice | Fault::Redate(_) | Fault::Shorten => {
                client.write_all(&answer.bytes()).await?;
            }
        }
        Ok(None)
    }

    /// Passes on, and records whether the server has applied it.
    pub(super) async fn applied(&self, request: &Message) -> io::Result<Message> {
        let answer = self.forward(request).await;
        let landed = answer.as_ref().is_ok_and(|answer| matches!(answer.status(), 200..300));
        self.plan.became(landed);
        answer
    }

    async fn forward(&self, request: &Message) -> io::Result<Message> {
        let exchange = async {
            let mut server = BufReader::new(TcpStream::connect(self.target).await?);
            server.get_mut().set_nodelay(true)?;
            server.get_mut().write_all(&request.bytes()).await?;
            loop {
                let head = Message::read_head(&mut server).await?;
                let mut answer = head.ok_or(io::ErrorKind::UnexpectedEof)?;
                if (100..200).contains(&answer.status()) {
                    continue;
                }
                let framing = answer.answer_framing(&request.method());
                answer.read_body(&mut server, framing).await?;
                return Ok(answer);
            }
        };
        tokio::time::timeout(ANSWER_MAX, exchange).await?
    }

    fn refusal(&self, status: u16, code: &str) -> Message {
        match self.flavour {
            Flavour::Catalog => {
                let body = serde_json::json!({
                    "error": { "message": "injected", "type": code, "code": status }
                });
                Message::answer(status, "application/json", &body.to_string())
            }
            Flavour::Store(_) => {
                let body = format!("<Error><Code>{code}</Code><Message>injected</Message></Error>");
                Message::answer(status, "application/xml", &body)
            }
        }
    }

    /// The object that was just put keeps the first half of its bytes.
    async fn shorten(&self, request: &Message) -> io::Result<()> {
        let Flavour::Store(bucket) = &self.flavour else {
            return Err(io::Error::other("only objects can be shortened"));
        };
        let path = request.path();
        let key = path.trim_start_matches('/').split_once('/').map_or("", |(_, key)| key);
        let key = Path::from_url_path(key).map_err(io::Error::other)?;
        let mut half = request.body.clone();
        half.truncate(half.len() / 2);
        bucket.put(&key, half.into()).await.map_err(io::Error::other)?;
        Ok(())
    }
}

/// The request with every new snapshot dated `later` milliseconds later.
fn redated(request: &Message, later: i64) -> io::Result<Message> {
    let mut body: serde_json::Value = serde_json::from_slice(&request.body)?;
    let updates = body.get_mut("updates").and_then(serde_json::Value::as_array_mut);
    for update in updates.into_iter().flatten() {
        let dated = update.pointer_mut("/snapshot/timestamp-ms");
        if let Some(dated) = dated {
            *dated = (dated.as_i64().unwrap_or_default() + later).into();
        }
    }
    Ok(request.with_body(serde_json::to_vec(&body)?))
}

/// Waits until the client has gone.
async fn gone(client: &mut TcpStream) {
    let mut ignored = [0; 1024];
    let left = async { while matches!(client.read(&mut ignored).await, Ok(1..)) {} };
    // A client that never leaves is cut off.
    let _ = tokio::time::timeout(SILENCE_MAX, left).await;
}

async fn drip(client: &mut TcpStream, bytes: &[u8], span: Duration) -> io::Result<()> {
    let piece = bytes.len().div_ceil(PIECES as usize).max(1);
    for piece in bytes.chunks(piece) {
        client.write_all(piece).await?;
        tokio::time::sleep(span / PIECES).await;
    }
    Ok(())
}
