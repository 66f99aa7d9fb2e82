//! A small REST catalog over [`MemoryCatalog`], with faults on the wire, for tests of the client.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use iceberg::io::FileIO;
use iceberg::spec::TableMetadata;
use iceberg::{NamespaceIdent, TableCreation, TableIdent};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::memory::MemoryCatalog;

/// What happens to one publish.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wire {
    /// It is carried out and answered.
    Fine,
    /// Answered with this status, not carried out.
    Refused(u16),
    /// Carried out, answered with this status.
    Hidden(u16),
    /// Carried out, the connection is cut.
    CutAfter,
    /// Not carried out, the connection is cut.
    CutBefore,
    /// Carried out, half of the answer arrives.
    Truncated,
    /// Carried out, 200 with something else in it.
    Garbled,
    /// Carried out, no answer ever.
    Hang,
}

pub(super) struct RestServer {
    pub(super) uri: String,
    pub(super) tables: Arc<MemoryCatalog>,
    script: Arc<Mutex<VecDeque<Wire>>>,
    seen: Arc<Mutex<Vec<String>>>,
}

struct Request {
    method: String,
    path: String,
    headers: Vec<String>,
    body: Value,
}

impl RestServer {
    pub(super) async fn start(file_io: FileIO) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap());
        let tables = Arc::new(MemoryCatalog::new(file_io));
        let (script, seen) = (Arc::default(), Arc::default());
        let server = Self { uri, tables, script, seen };
        let (tables, script, seen) =
            (server.tables.clone(), server.script.clone(), server.seen.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, tables.clone(), script.clone(), seen.clone()));
            }
        });
        server
    }

    /// What becomes of the publishes to come.
    pub(super) fn script(&self, wires: impl IntoIterator<Item = Wire>) {
        self.script.lock().unwrap().extend(wires);
    }

    /// The `Idempotency-Key` and `authorization` headers of the publishes so far.
    pub(super) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

async fn serve(
    stream: TcpStream,
    tables: Arc<MemoryCatalog>,
    script: Arc<Mutex<VecDeque<Wire>>>,
    seen: Arc<Mutex<Vec<String>>>,
) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream).await {
        let parts: Vec<_> = request.path.trim_start_matches('/').split('/').collect();
        let publish = request.method == "POST" && parts.len() == 6;
        let wire = if publish {
            seen.lock().unwrap_or_else(PoisonError::into_inner).extend(request.headers.clone());
            script.lock().unwrap().pop_front().unwrap_or(Wire::Fine)
        } else {
            Wire::Fine
        };
        let (status, body) = match wire {
            Wire::Refused(status) => (status, error("not now, <token>")),
            Wire::CutBefore => return,
            Wire::Fine | Wire::Truncated => answer(&tables, &request, &parts),
            Wire::Hidden(status) => {
                answer(&tables, &request, &parts);
                (status, error("something broke"))
            }
            Wire::Garbled => {
                answer(&tables, &request, &parts);
                (200, json!("all is well"))
            }
            Wire::CutAfter => {
                answer(&tables, &request, &parts);
                return;
            }
            Wire::Hang => {
                answer(&tables, &request, &parts);
                return std::future::pending().await;
            }
        };
        let body = body.to_string();
        let head = format!(
            "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let sent = if matches!(wire, Wire::Truncated) { body.len() / 2 } else { body.len() };
        stream.get_mut().write_all(head.as_bytes()).await.unwrap();
        stream.get_mut().write_all(&body.as_bytes()[..sent]).await.unwrap();
        if sent < body.len() {
            return;
        }
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok().filter(|length| *length > 0)?;
    let mut words = line.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let (mut length, mut headers) = (0, Vec::new());
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        let line = line.trim().to_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().ok()?;
        }
        if line.starts_with("idempotency-key") || line.starts_with("authorization") {
            headers.push(line);
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    Some(Request { method, path, headers, body })
}

/// `/v1/config`, then `/v1/pre/namespaces[/ns/tables[/table]]`.
fn answer(tables: &MemoryCatalog, request: &Request, parts: &[&str]) -> (u16, Value) {
    match (request.method.as_str(), parts) {
        ("GET", ["v1", config]) if config.starts_with("config") => {
            (200, json!({"defaults": {"prefix": "no"}, "overrides": {"prefix": "pre"}}))
        }
        ("POST", ["v1", "pre", "namespaces"]) => (200, json!({})),
        ("POST", ["v1", "pre", "namespaces", namespace, "tables"]) => {
            let name = request.body["name"].as_str().unwrap();
            let of = |key: &str| request.body[key].clone();
            let creation = TableCreation::builder()
                .name(name.to_owned())
                .location(format!("memory:///{namespace}/{name}"))
                .schema(serde_json::from_value(of("schema")).unwrap())
                .partition_spec_opt(serde_json::from_value(of("partition-spec")).ok())
                .properties(
                    serde_json::from_value::<std::collections::HashMap<_, _>>(of("properties"))
                        .unwrap(),
                )
                .build();
            tables.make(&ident(namespace, name), creation).unwrap();
            (200, json!({}))
        }
        ("GET", ["v1", "pre", "namespaces", namespace, "tables", name]) => {
            match tables.get(&ident(namespace, name)) {
                Some(held) => (200, table(held)),
                None => (404, error("no such table")),
            }
        }
        ("POST", ["v1", "pre", "namespaces", namespace, "tables", name]) => {
            let requirements: Vec<_> =
                serde_json::from_value(request.body["requirements"].clone()).unwrap();
            let updates = serde_json::from_value(request.body["updates"].clone()).unwrap();
            match tables.apply(&ident(namespace, name), &requirements, updates) {
                Ok(Some(held)) => (200, table(held)),
                Ok(None) => (409, error("conflict")),
                Err(err) => (400, error(&err.to_string())),
            }
        }
        _ => (406, error("what?")),
    }
}

fn ident(namespace: &str, name: &str) -> TableIdent {
    TableIdent::new(NamespaceIdent::new(namespace.to_owned()), name.to_owned())
}

fn table((location, metadata): (String, TableMetadata)) -> Value {
    json!({"metadata-location": location, "metadata": metadata, "config": {}})
}

fn error(message: &str) -> Value {
    let message = message.replace("<token>", "Bearer canary-token");
    json!({"error": {"message": message, "type": "x", "code": 1}})
}
