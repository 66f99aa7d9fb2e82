//! The catalog behind Iceberg's REST protocol.
//!
//! Owns requests, time-outs, and what a status says about the outcome. It must never show the token, and
//! never take a failed publish for one that did not happen: 200 with a readable table is *committed*, 409
//! is *conflict*, and everything else, 503 and a cut connection alike, is *unknown*.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use async_trait::async_trait;
use iceberg::TableIdent;
use iceberg::io::FileIO;
use iceberg::spec::TableMetadata;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{Answer, Base, Catalog, Change, Creation, Refs, table};
use crate::storage::Secret;
use crate::{Error, Kind, Result};

/// Time limits of one request.
#[derive(Clone, Copy)]
pub(super) struct Timeouts {
    pub(super) connect: Duration,
    /// From the first byte sent to the last one received.
    pub(super) total: Duration,
}

/// A server that is there connects in milliseconds and commits in tens of them; under load, seconds.
pub(super) const TIMEOUTS: Timeouts =
    Timeouts { connect: Duration::from_secs(5), total: Duration::from_secs(30) };

/// Idle connections are closed before common proxies close them under us.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// How much of a server's message is worth showing.
const MESSAGE_CHARS_MAX: usize = 300;
/// How much of a refusal is read: Java's servers send their stack.
const REFUSAL_BYTES_MAX: usize = 64 << 10;
/// How much of a table is read. Metadata of 100,000 snapshots is a third of it.
const TABLE_BYTES_MAX: usize = 256 << 20;

/// A client of one REST catalog.
pub(super) struct RestCatalog {
    client: Client,
    /// `…/v1` and the server's prefix.
    root: Url,
    token: Option<Secret>,
    file_io: FileIO,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Config {
    defaults: HashMap<String, String>,
    overrides: HashMap<String, String>,
}

#[derive(Deserialize)]
struct Loaded<'a> {
    #[serde(rename = "metadata-location")]
    metadata_location: Option<String>,
    #[serde(borrow)]
    metadata: &'a RawValue,
}

impl RestCatalog {
    /// Asks the server for its configuration.
    pub(super) async fn open(
        uri: &str,
        warehouse: Option<&str>,
        token: Option<Secret>,
        file_io: FileIO,
        timeouts: Timeouts,
    ) -> Result<Self> {
        let root = root(uri)?;
        let client = Client::builder()
            .connect_timeout(timeouts.connect)
            .timeout(timeouts.total)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .user_agent(concat!("streamforge/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|err| Error::new(Kind::Config, "no HTTP client can be made").because(err))?;
        let mut catalog = Self { client, root, token, file_io };
        let request = catalog.request(Method::GET, &["config"])?;
        let request = request.query(&warehouse.map(|name| ("warehouse", name)).as_slice());
        let answer = catalog.send(request).await?;
        if !answer.status().is_success() {
            return Err(catalog.refusal("the catalog gives no configuration", answer).await);
        }
        let (body, _) = read(answer, REFUSAL_BYTES_MAX).await?;
        let config: Config = serde_json::from_slice(&body).map_err(|err| {
            Error::new(Kind::Config, "this is no Iceberg REST catalog")
                .because(catalog.shown(&err.to_string()))
        })?;
        let setting = |key| config.overrides.get(key).or_else(|| config.defaults.get(key));
        if let Some(prefix) = setting("prefix") {
            extend(&mut catalog.root, prefix.split('/').filter(|part| !part.is_empty()))?;
        }
        Ok(catalog)
    }

    fn request(&self, method: Method, path: &[&str]) -> Result<RequestBuilder> {
        let mut url = self.root.clone();
        extend(&mut url, path.iter().copied())?;
        let request = self.client.request(method, url);
        Ok(match &self.token {
            Some(token) => request.bearer_auth(token.reveal()),
            None => request,
        })
    }

    fn table_request(&self, method: Method, ident: &TableIdent) -> Result<RequestBuilder> {
        let namespace = ident.namespace().to_url_string();
        self.request(method, &["namespaces", &namespace, "tables", ident.name()])
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response> {
        request.send().await.map_err(transport)
    }

    /// Makes a namespace or a table; that it exists already is as good.
    async fn make(&self, path: &[&str], body: &Value) -> Result<()> {
        let request = self.request(Method::POST, path)?.json(body);
        let answer = self.send(request).await?;
        match answer.status() {
            status if status.is_success() || status == StatusCode::CONFLICT => Ok(()),
            _ => Err(self.refusal("the catalog made nothing", answer).await),
        }
    }

    async fn base(&self, ident: &TableIdent, answer: Response) -> Result<Base> {
        let unreadable = |err: serde_json::Error| {
            // Cut off on the way more often than not.
            Error::new(Kind::Retry, "the catalog's table is not readable")
                .because(self.shown(&err.to_string()))
        };
        let (body, is_whole) = read(answer, TABLE_BYTES_MAX).await?;
        if !is_whole {
            return Err(Error::new(Kind::Retry, "the catalog's table is too large")
                .with("bytes_max", TABLE_BYTES_MAX)
                .advising("let fewer snapshots be kept"));
        }
        let loaded: Loaded<'_> = serde_json::from_slice(&body).map_err(unreadable)?;
        let location = loaded.metadata_location.ok_or_else(|| {
            Error::new(Kind::Refused, "the table is staged, not committed").with("table", ident)
        })?;
        let json = loaded.metadata.get();
        let metadata: TableMetadata = serde_json::from_str(json).map_err(unreadable)?;
        let refs = Refs::from_metadata(json.as_bytes()).map_err(unreadable)?;
        Ok(Base { table: table(ident, &self.file_io, location, metadata)?, refs })
    }

    /// What a server said instead of what was asked for.
    async fn refusal(&self, message: &str, answer: Response) -> Error {
        let status = answer.status();
        // What the status says is known without it.
        let body = read(answer, REFUSAL_BYTES_MAX).await.map(|(body, _)| body).unwrap_or_default();
        let text = String::from_utf8_lossy(&body);
        let said = serde_json::from_str::<Value>(&text).ok();
        let said = said.as_ref().and_then(|body| body.pointer("/error/message")?.as_str());
        let said = said.unwrap_or(&text);
        let clocks = is_about_clocks(status, said);
        let kind = if clocks { Kind::Retry } else { kind(status) };
        let err = Error::new(kind, message)
            .with("status", status.as_u16())
            .with("said", self.shown(said));
        if clocks { err.advising("set this machine's clock, or the catalog's") } else { err }
    }

    /// A server may repeat what it was sent.
    fn shown(&self, text: &str) -> String {
        let text = match self.token.as_ref().map(Secret::reveal) {
            Some(token) if !token.is_empty() => text.replace(token, "<secret>"),
            _ => text.to_owned(),
        };
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MESSAGE_CHARS_MAX).collect()
    }

    async fn post(&self, ident: &TableIdent, change: &Change) -> Result<Response> {
        let body = json!({
            "identifier": ident,
            "requirements": change.requirements,
            "updates": change.built.changes,
        });
        // No `Idempotency-Key`: a repeated request is told by its stale requirement, and a server that keeps the
        // answer of every key (Iceberg's own, for half an hour) runs out of memory at a commit a second.
        self.send(self.table_request(Method::POST, ident)?.json(&body)).await
    }
}

#[async_trait]
impl Catalog for RestCatalog {
    async fn load(&self, ident: &TableIdent) -> Result<Option<Base>> {
        let answer = self.send(self.table_request(Method::GET, ident)?).await?;
        match answer.status() {
            StatusCode::OK => self.base(ident, answer).await.map(Some),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(self.refusal("the table can't be read", answer).await.with("table", ident)),
        }
    }

    async fn create(&self, ident: &TableIdent, creation: &Creation) -> Result<Base> {
        let namespace = ident.namespace().to_url_string();
        let body = json!({ "namespace": ident.namespace(), "properties": {} });
        self.make(&["namespaces"], &body).await?;
        let properties: &BTreeMap<_, _> = &creation.properties;
        let body = json!({
            "name": ident.name(),
            "schema": creation.schema,
            "partition-spec": creation.partition,
            "stage-create": false,
            "properties": properties,
        });
        self.make(&["namespaces", &namespace, "tables"], &body).await?;
        self.load(ident).await?.ok_or_else(|| {
            Error::new(Kind::Refused, "the name is taken by something else").with("table", ident)
        })
    }

    async fn publish(&self, base: &Base, change: Change) -> Answer {
        let ident = base.table.identifier();
        crate::faults::point("publish.rest.sent");
        let answer = match self.post(ident, &change).await {
            Ok(answer) => answer,
            Err(err) => return Answer::Unknown(err),
        };
        crate::faults::point("publish.rest.answered");
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::CONFLICT => return Answer::Conflict,
            // No refusal, and no table either: an answer of something in between.
            status if status.is_success() || status.is_redirection() => {
                let said = Error::new(Kind::Retry, "the publish has an answer that shows no table");
                return Answer::Unknown(said.with("status", status.as_u16()));
            }
            _ => return Answer::Unknown(self.refusal("the publish failed", answer).await),
        }
        let wanted = change.built.metadata.current_snapshot_id();
        match self.base(ident, answer).await {
            Ok(base) if base.metadata().current_snapshot_id() == wanted => Answer::Committed(base),
            Ok(_) => Answer::Unknown(Error::new(Kind::Retry, "the answer shows another snapshot")),
            Err(err) if err.kind() == Kind::Retry => Answer::Unknown(err),
            // It may have been applied, whatever is wrong with the table that is shown.
            Err(err) => Answer::Unknown(
                Error::new(Kind::Retry, "the publish has an answer that shows no table")
                    .because(err),
            ),
        }
    }
}

/// What to do about a status that is no success. Whether it happened is another question.
fn kind(status: StatusCode) -> Kind {
    match status.as_u16() {
        // Passing: a proxy, a restart, a token that is about to be replaced.
        401 | 403 | 408 | 419 | 425 | 429 | 500..=599 => Kind::Retry,
        409 => Kind::Conflict,
        404 => Kind::Refused,
        _ => Kind::Config,
    }
}

/// Whether Java's catalogs refuse a snapshot because it is dated more than a minute off their own clock: that
/// passes when the clock is set.
fn is_about_clocks(status: StatusCode, said: &str) -> bool {
    let dates = ["Invalid update timestamp", "Invalid snapshot timestamp"];
    status == StatusCode::BAD_REQUEST && dates.iter().any(|words| said.contains(words))
}

/// The body as far as `bytes_max`, and whether that is all of it.
async fn read(mut answer: Response, bytes_max: usize) -> Result<(Vec<u8>, bool)> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(transport)? {
        if body.len() + chunk.len() > bytes_max {
            let rest = bytes_max - body.len();
            body.extend_from_slice(chunk.get(..rest).unwrap_or_default());
            return Ok((body, false));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((body, true))
}

/// Addresses stay out of errors: they may hold a password.
fn transport(err: reqwest::Error) -> Error {
    Error::new(Kind::Retry, "the catalog did not answer").because(err.without_url())
}

fn root(uri: &str) -> Result<Url> {
    let wrong = |what: &str| Error::new(Kind::Config, what).with("uri", without_credentials(uri));
    let mut url = Url::parse(uri)
        .map_err(|err| wrong("the catalog's address is not readable").because(err))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(wrong("the catalog's address must be http:// or https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("the catalog's address must not hold credentials; set the token"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("the catalog's address must end with its path"));
    }
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty();
    }
    extend(&mut url, ["v1"])?;
    Ok(url)
}

fn extend<'a>(url: &mut Url, path: impl IntoIterator<Item = &'a str>) -> Result<()> {
    let mut segments = url
        .path_segments_mut()
        .map_err(|()| Error::new(Kind::Config, "the catalog's address has no path"))?;
    segments.extend(path);
    Ok(())
}

/// The address without what stands before the `@` or after a `?`.
pub(super) fn without_credentials(uri: &str) -> String {
    let uri = uri.split(['?', '#']).next().unwrap_or_default();
    match (uri.split_once("://"), uri.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
        (None, Some((_, host))) => host.to_owned(),
        (_, None) => uri.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_of_the_future_is_a_matter_of_clocks() {
        let said = "Invalid update timestamp 1795612969691: before last snapshot log entry at 1795613089673";
        assert!(is_about_clocks(StatusCode::BAD_REQUEST, said));
        assert!(!is_about_clocks(StatusCode::BAD_REQUEST, "Cannot parse the request"));
        assert!(!is_about_clocks(StatusCode::NOT_FOUND, said));
    }
}
