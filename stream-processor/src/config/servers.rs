//! Where Kafka and the tables are: the settings that every command has which reads either.

use std::fmt;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use lakehouse::catalog::CatalogSettings;
use lakehouse::commit::LakehouseSettings;
use lakehouse::storage::{S3Settings, Secret};

use super::properties;
use crate::job::SourceTable;
use crate::kafka::ConsumerSettings;
use crate::status::address;

/// The catalog on the platform.
const CATALOG_URI: &str = "http://iceberg-catalog-svc:8181";

/// Where Kafka is, as typed.
#[derive(Args, Clone)]
pub struct KafkaArgs {
    /// Kafka brokers, host:port[,host:port…]; the job file's when absent
    #[arg(long, env = "KAFKA_BROKERS")]
    pub brokers: Option<String>,
    /// More librdkafka settings, key=value[,key=value…], with `\,` for a comma inside a value
    ///
    /// For example `security.protocol=sasl_ssl,sasl.mechanism=PLAIN,sasl.username=…,sasl.password=…`. Values are
    /// never shown. What exactly-once needs is refused.
    #[arg(
        long,
        env = "KAFKA_PROPERTIES",
        value_name = "LIST",
        default_value = "",
        hide_default_value = true,
        hide_env_values = true
    )]
    pub kafka_properties: String,
}

impl KafkaArgs {
    /// Checks them; what is not typed comes from the job's `source`.
    ///
    /// # Errors
    ///
    /// What is wrong, and the setting to change.
    pub fn settings(&self, source: &SourceTable) -> Result<ConsumerSettings> {
        let brokers = self.brokers.as_deref().or(source.brokers.as_deref());
        let brokers = brokers
            .context("no brokers: set KAFKA_BROKERS or the job's 'properties.bootstrap.servers'")?;
        let extra = properties(&self.kafka_properties)?;
        let settings = ConsumerSettings { extra, ..ConsumerSettings::new(brokers) };
        settings.accepted(&source.topic).context("KAFKA_PROPERTIES")?;
        Ok(settings)
    }
}

/// The properties may hold passwords.
impl fmt::Debug for KafkaArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaArgs").field("brokers", &self.brokers).finish_non_exhaustive()
    }
}

/// Where the tables are, as typed.
#[derive(Args, Clone)]
pub struct LakehouseArgs {
    /// The Iceberg catalog: `http(s)://…` for REST, `sqlite:///file` for an embedded one; the platform's,
    /// `http://iceberg-catalog-svc:8181`, when absent
    #[arg(long, env = "ICEBERG_CATALOG_URI", value_name = "URI")]
    pub catalog_uri: Option<String>,
    /// Where tables are put: `s3://bucket[/prefix]` or `file:///folder`
    #[arg(
        long,
        env = "ICEBERG_WAREHOUSE",
        default_value = "s3://lakehouse/warehouse",
        value_name = "URI"
    )]
    pub warehouse: String,
    /// Address of the object store
    #[arg(
        long,
        env = "S3_ENDPOINT",
        default_value = "http://minio-storage-service:9000",
        value_name = "URL"
    )]
    pub s3_endpoint: String,
    /// Region that requests are signed for
    #[arg(long, env = "S3_REGION", default_value = "us-east-1")]
    pub s3_region: String,
    /// Access key of the object store
    #[arg(long, env = "S3_ACCESS_KEY", hide_env_values = true)]
    pub s3_access_key: Option<String>,
    /// Secret key of the object store
    #[arg(long, env = "S3_SECRET_KEY", hide_env_values = true)]
    pub s3_secret_key: Option<String>,
}

impl LakehouseArgs {
    /// Whether a catalog is named at all, and not only meant by default.
    pub fn name_a_catalog(&self) -> bool {
        self.catalog_uri.is_some()
    }

    /// Where the catalog is.
    pub fn catalog_uri(&self) -> &str {
        self.catalog_uri.as_deref().unwrap_or(CATALOG_URI)
    }

    /// Checks them.
    ///
    /// # Errors
    ///
    /// What is wrong, and the setting to change.
    pub fn settings(&self) -> Result<LakehouseSettings> {
        let uri = self.catalog_uri();
        let catalog = if let Some(path) = uri.strip_prefix("sqlite://") {
            CatalogSettings::Sqlite { path: PathBuf::from(path) }
        } else if uri.starts_with("http://") || uri.starts_with("https://") {
            CatalogSettings::Rest { uri: uri.to_owned(), warehouse: None, token: None }
        } else {
            let uri = address(uri);
            bail!("ICEBERG_CATALOG_URI `{uri}` is neither http(s)://… nor sqlite:///file");
        };
        let shown = address(&self.warehouse);
        let s3 = if self.warehouse.starts_with("file:///") {
            None
        } else if !self.warehouse.starts_with("s3://") {
            bail!("ICEBERG_WAREHOUSE `{shown}` is neither s3://bucket/… nor file:///folder");
        } else if shown != self.warehouse {
            bail!(
                "ICEBERG_WAREHOUSE `{shown}` must not hold credentials or parameters; set S3_ACCESS_KEY and S3_SECRET_KEY"
            );
        } else {
            Some(self.s3()?)
        };
        Ok(LakehouseSettings { s3, ..LakehouseSettings::new(catalog, &self.warehouse) })
    }

    fn s3(&self) -> Result<S3Settings> {
        let endpoint = self.s3_endpoint.trim_end_matches('/');
        let shown = address(endpoint);
        if !endpoint.starts_with("http://") && !endpoint.starts_with("https://") {
            bail!("S3_ENDPOINT `{shown}` does not start with http:// or https://");
        }
        if shown != endpoint {
            bail!(
                "S3_ENDPOINT `{shown}` must not hold credentials or parameters; set S3_ACCESS_KEY and S3_SECRET_KEY"
            );
        }
        let given = |key: &Option<String>| key.clone().filter(|key| !key.is_empty());
        Ok(S3Settings {
            endpoint: Some(endpoint.to_owned()),
            region: self.s3_region.clone(),
            access_key: given(&self.s3_access_key).context("S3_ACCESS_KEY is not set")?,
            secret_key: Secret::new(
                given(&self.s3_secret_key).context("S3_SECRET_KEY is not set")?,
            ),
            path_style: true,
        })
    }
}

/// Keys of the object store are not shown.
impl fmt::Debug for LakehouseArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LakehouseArgs")
            .field("catalog_uri", &address(self.catalog_uri()))
            .field("warehouse", &address(&self.warehouse))
            .field("s3_endpoint", &address(&self.s3_endpoint))
            .field("s3_region", &self.s3_region)
            .finish_non_exhaustive()
    }
}
