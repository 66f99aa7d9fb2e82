//! Whether a server does what it is there for: an open port says nothing yet.

use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};

const ASK_MAX: Duration = Duration::from_secs(5);

/// The broker gives metadata with itself as a broker in it.
pub(super) fn kafka(brokers: &str) -> Result<bool> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("log_level", "0");
    let client: BaseConsumer = config.create()?;
    let metadata = client.fetch_metadata(None, ASK_MAX)?;
    Ok(!metadata.brokers().is_empty())
}

/// The server answers with a success.
pub(super) fn http(url: &str) -> Result<bool> {
    let (status, _) = ask(get(url))?;
    ensure!(status.is_success(), "{url} answers {status}");
    Ok(true)
}

/// The server answers and has finished starting.
pub(super) fn trino(address: &str) -> Result<bool> {
    let (_, body) = ask(get(&format!("{address}/v1/info")))?;
    let body: serde_json::Value = serde_json::from_slice(&body)?;
    Ok(body.get("starting") == Some(&serde_json::Value::Bool(false)))
}

async fn get(url: &str) -> Result<(reqwest::StatusCode, bytes::Bytes)> {
    let client = reqwest::Client::builder().timeout(ASK_MAX).build()?;
    let answer = client.get(url).send().await?;
    Ok((answer.status(), answer.bytes().await?))
}

/// A question on a thread of its own: who asks may be inside a runtime already.
fn ask<T: Send>(question: impl Future<Output = Result<T>> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            builder.enable_all().build()?.block_on(question)
        });
        asked.join().unwrap_or_else(|_| Err(anyhow!("the question panicked")))
    })
}
