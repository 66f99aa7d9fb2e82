//! Another writer: plain REST commits, without any of the product's code.
//!
//! It must never carry the product's marks, and never hold what a careful writer would: it sets properties without
//! reading, and appends on whatever is current.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use crate::servers::Servers;

const REQUEST_MAX: Duration = Duration::from_secs(30);

/// One table, as a stranger sees it.
#[derive(Clone)]
pub(super) struct Stranger {
    client: Client,
    namespace: String,
    table: String,
    root: String,
}

impl Stranger {
    pub(super) fn new(servers: &Servers, namespace: &str, table: &str) -> Result<Self> {
        let client = Client::builder().timeout(REQUEST_MAX).build()?;
        let root = format!("{}/v1/namespaces/{namespace}/tables", servers.catalog());
        Ok(Self { client, root, namespace: namespace.to_owned(), table: table.to_owned() })
    }

    /// The table's metadata.
    pub(super) async fn metadata(&self) -> Result<Value> {
        let url = format!("{}/{}", self.root, self.table);
        let (status, body) = self.ask(Method::GET, &url, None).await?;
        ensure!(status.is_success(), "the catalog answers {status}: {body}");
        body.get("metadata").cloned().context("an answer without metadata")
    }

    /// Commits `updates`, whatever the table is now; the metadata after it, or `None` after a conflict.
    pub(super) async fn commit(&self, updates: Value) -> Result<Option<Value>> {
        self.commit_if(json!([]), updates).await
    }

    /// The same while `requirements` hold.
    pub(super) async fn commit_if(
        &self,
        requirements: Value,
        updates: Value,
    ) -> Result<Option<Value>> {
        let body = json!({
            "identifier": {"namespace": [self.namespace], "name": self.table},
            "requirements": requirements,
            "updates": updates,
        });
        let url = format!("{}/{}", self.root, self.table);
        let (status, answer) = self.ask(Method::POST, &url, Some(&body)).await?;
        if status == StatusCode::CONFLICT {
            return Ok(None);
        }
        ensure!(status.is_success(), "the catalog answers {status}: {answer}");
        answer.get("metadata").cloned().map(Some).context("an answer without metadata")
    }

    /// Commits again after each conflict.
    pub(super) async fn insist(&self, updates: Value) -> Result<Value> {
        for _ in 0..50 {
            if let Some(after) = self.commit(updates.clone()).await? {
                return Ok(after);
            }
        }
        Err(anyhow!("fifty conflicts one after the other"))
    }

    pub(super) async fn drop_table(&self) -> Result<()> {
        let url = format!("{}/{}?purgeRequested=false", self.root, self.table);
        let (status, body) = self.ask(Method::DELETE, &url, None).await?;
        ensure!(status.is_success(), "the catalog answers {status}: {body}");
        Ok(())
    }

    /// Makes a table of this name that looks like `metadata`, and holds nothing.
    pub(super) async fn create_like(&self, metadata: &Value) -> Result<()> {
        let current = metadata.get("current-schema-id");
        let schemas = metadata.get("schemas").and_then(Value::as_array);
        let schema = schemas.into_iter().flatten().find(|one| one.get("schema-id") == current);
        let specs = metadata.get("partition-specs").and_then(Value::as_array);
        let body = json!({
            "name": self.table,
            "schema": schema,
            "partition-spec": specs.and_then(|specs| specs.first()),
        });
        let (status, answer) = self.ask(Method::POST, &self.root, Some(&body)).await?;
        ensure!(status.is_success(), "the catalog answers {status}: {answer}");
        Ok(())
    }

    async fn ask(
        &self,
        method: Method,
        url: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value)> {
        let mut request = self.client.request(method, url);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }
}

/// The id of main's snapshot.
pub(super) fn main_of(metadata: &Value) -> Option<i64> {
    metadata.pointer("/refs/main/snapshot-id").and_then(Value::as_i64)
}

/// All snapshots that are retained.
pub(super) fn snapshots(metadata: &Value) -> Vec<&Value> {
    metadata.get("snapshots").and_then(Value::as_array).into_iter().flatten().collect()
}

/// A table property.
pub(super) fn property<'a>(metadata: &'a Value, key: &str) -> Option<&'a str> {
    metadata.get("properties")?.get(key)?.as_str()
}
