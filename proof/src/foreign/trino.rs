//! Trino, asked over its own HTTP protocol.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::servers::{Servers, now};

const STATEMENT_MAX: Duration = Duration::from_mins(2);
/// Maintenance that deletes what is a second old, and not a week.
const SESSION: &str = "iceberg_data_lake.expire_snapshots_min_retention=0s,\
    iceberg_data_lake.remove_orphan_files_min_retention=0s";

/// Statements about the tables of one namespace.
pub(super) struct Trino<'a> {
    runtime: &'a Runtime,
    client: reqwest::Client,
    address: String,
    namespace: String,
}

impl<'a> Trino<'a> {
    pub(super) fn new(servers: &Servers, runtime: &'a Runtime, namespace: &str) -> Result<Self> {
        let client = reqwest::Client::builder().timeout(STATEMENT_MAX).build()?;
        Ok(Self { runtime, client, address: servers.trino(), namespace: namespace.to_owned() })
    }

    /// The rows that a statement gives.
    pub(super) fn ask(&self, sql: &str) -> Result<Vec<Value>> {
        self.runtime.block_on(self.statement(sql)).with_context(|| sql.to_owned())
    }

    async fn statement(&self, sql: &str) -> Result<Vec<Value>> {
        let begun = now();
        let request = self.client.post(format!("{}/v1/statement", self.address));
        let mut page: Value =
            self.with_headers(request).body(sql.to_owned()).send().await?.json().await?;
        let mut rows = Vec::new();
        loop {
            if let Some(error) = page.pointer("/error/message").and_then(Value::as_str) {
                bail!("Trino refuses: {error}");
            }
            if let Some(data) = page.get("data").and_then(Value::as_array) {
                rows.extend(data.iter().cloned());
            }
            let Some(next) = page.get("nextUri").and_then(Value::as_str) else { return Ok(rows) };
            if begun.elapsed() >= STATEMENT_MAX {
                bail!("Trino did not answer within {STATEMENT_MAX:?}");
            }
            page = self.with_headers(self.client.get(next)).send().await?.json().await?;
        }
    }

    fn with_headers(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        request
            .header("X-Trino-User", "proof")
            .header("X-Trino-Catalog", "iceberg_data_lake")
            .header("X-Trino-Schema", &self.namespace)
            .header("X-Trino-Session", SESSION)
    }
}
