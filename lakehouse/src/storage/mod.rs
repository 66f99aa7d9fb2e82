//! Files → object store: one client for data and metadata, on a local disk or in S3.
//!
//! Owns locations, credentials, time-outs and retries. It must never overwrite a data file, and a file
//! it puts appears whole or not at all, also when the process is killed half-way: a local file is
//! written beside its place and linked into it, an S3 object exists once its upload is complete.
//! A local file survives the process, not a power cut: nothing is flushed to the disk's platter.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use iceberg::io::{FileIO, FileIOBuilder, StorageFactory};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientOptions, ObjectStore, ObjectStoreExt, PutMode, PutPayload, RetryConfig,
};

use failure::{Said, failed};

use crate::{Error, Kind, Result};

mod bucket;
mod failure;
mod iceberg_io;
mod list;

#[cfg(test)]
mod tests;

pub use bucket::Bucket;
pub use list::StoredFile;

/// A healthy store on the same network answers in milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// For one attempt at one request, its body included: a 64 MiB file at 2 MiB/s.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(32);

/// Attempts after the first one.
const RETRIES_MAX: usize = 5;

/// No new attempt starts later than this after the first; the caller's own loop goes on from there.
const RETRY_TIME_MAX: Duration = Duration::from_mins(1);

/// The pauses between attempts double from the first to the last.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// How to reach an S3 store.
#[derive(Clone, PartialEq, Eq)]
pub struct S3Settings {
    /// Such as `http://127.0.0.1:9003`; `None` is AWS itself.
    pub endpoint: Option<String>,
    /// Such as `us-east-1`; `MinIO` takes any.
    pub region: String,
    /// The access key's id.
    pub access_key: String,
    /// The access key's secret.
    pub secret_key: Secret,
    /// Whether the bucket stands in the path, as `MinIO` wants it, or in the host name, as AWS does.
    pub path_style: bool,
}

impl fmt::Debug for S3Settings {
    /// Without either key: half of a pair helps whoever looks for the other.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Settings")
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("path_style", &self.path_style)
            .finish_non_exhaustive()
    }
}

/// A text that must not be shown: its `Debug` is redacted, and it has no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one call that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// The warehouse's store. Clones share one client.
#[derive(Clone)]
pub struct Store {
    warehouse: Arc<str>,
    place: Place,
    objects: Arc<dyn ObjectStore>,
}

#[derive(Clone)]
enum Place {
    Disk,
    Bucket { name: Arc<str>, region: Arc<str>, client: Arc<AmazonS3> },
}

impl Place {
    fn is_disk(&self) -> bool {
        matches!(self, Self::Disk)
    }
}

impl fmt::Debug for Store {
    /// Without the client, whose own `Debug` shows credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("warehouse", &self.warehouse).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store of `warehouse`: `file:///absolute/folder` or `s3://bucket/prefix`. Nothing is
    /// sent or created yet.
    ///
    /// # Errors
    ///
    /// [`Kind::Config`]: the warehouse is neither, or the settings don't make a client.
    pub fn open(warehouse: &str, s3: Option<&S3Settings>) -> Result<Self> {
        let warehouse = warehouse.trim_end_matches('/');
        let (place, objects): (_, Arc<dyn ObjectStore>) = if warehouse.starts_with("file:///") {
            (Place::Disk, Arc::new(LocalFileSystem::new()))
        } else if let Some((bucket, _)) = s3_parts(warehouse) {
            let settings = s3.ok_or_else(|| {
                Error::new(Kind::Config, "a warehouse in S3 needs S3 settings")
                    .with("warehouse", warehouse)
            })?;
            let client = Arc::new(s3_client(bucket, settings)?);
            let (name, region) = (bucket.into(), settings.region.as_str().into());
            (Place::Bucket { name, region, client: client.clone() }, client)
        } else {
            return Err(Error::new(
                Kind::Config,
                "the warehouse must be file:///absolute/folder or s3://bucket/prefix",
            )
            .with("warehouse", warehouse));
        };
        Ok(Self { warehouse: warehouse.into(), place, objects })
    }

    /// A store whose objects the simulator keeps.
    #[cfg(feature = "faults")]
    pub(crate) fn simulated(warehouse: &str, objects: Arc<dyn ObjectStore>) -> Self {
        Self { warehouse: warehouse.into(), place: Place::Disk, objects }
    }

    /// Deletes the file at `location`: only a mistake made on purpose does that.
    #[cfg(feature = "faults")]
    pub(crate) async fn delete(&self, location: &str) -> Result<()> {
        let path = self.path(location)?;
        self.objects.delete(&path).await.map_err(|err| failed("the file stays", location, &err))
    }

    /// Logs a table's store as iceberg's own catalogs make it, credentials and all: the mistake S12.
    pub(crate) fn log_with_credentials(&self, s3: Option<&S3Settings>) {
        let Some(s3) = s3 else { return };
        let table = FileIOBuilder::new(self.storage_factory())
            .with_prop("s3.access-key-id", &s3.access_key)
            .with_prop("s3.secret-access-key", s3.secret_key.reveal())
            .build();
        tracing::debug!(?table, "opened");
    }

    /// The warehouse's location, without a slash at its end.
    pub fn warehouse(&self) -> &str {
        &self.warehouse
    }

    /// Creates the file at `location`. A file of the same length that is there already is taken for
    /// our own, from an attempt whose answer was lost: names are never used twice.
    ///
    /// # Errors
    ///
    /// - [`Kind::Retry`]: nothing is known about the outcome, or the store does not hold what it took. Put it
    ///   again.
    /// - [`Kind::Conflict`]: another file is there.
    /// - [`Kind::Config`]: the store refuses us, or the bucket is missing.
    pub async fn put_new(&self, location: &str, content: impl Into<PutPayload>) -> Result<()> {
        let path = self.path(location)?;
        let content = content.into();
        let len = content.content_length() as u64;
        match self.objects.put_opts(&path, content, PutMode::Create.into()).await {
            Ok(_) => self.confirm(location, len).await,
            Err(object_store::Error::AlreadyExists { .. }) => match self.size(location).await? {
                Some(size) if size == len => Ok(()),
                Some(size) => Err(Error::new(Kind::Conflict, "another file is in this place")
                    .with("location", location)
                    .with("length", len)
                    .with("found", size)),
                // An attempt of ours whose answer was lost is still on its way.
                None => Err(Error::new(Kind::Retry, "another attempt at this file is under way")
                    .with("location", location)),
            },
            Err(err) => Err(failed("the file was not written", location, &err)),
        }
    }

    /// Looks whether a bucket holds what it has just confirmed: a store that answered too early, or kept a part,
    /// must be found out before a table names the file. One question for each file.
    async fn confirm(&self, location: &str, len: u64) -> Result<()> {
        if self.place.is_disk() {
            return Ok(());
        }
        match self.size(location).await? {
            Some(size) if size == len => Ok(()),
            size => Err(Error::new(Kind::Retry, "the store took the file and does not hold it")
                .with("location", location)
                .with("length", len)
                .with("found", size.map_or_else(|| "nothing".to_owned(), |size| size.to_string()))),
        }
    }

    /// The whole file at `location`.
    ///
    /// # Errors
    ///
    /// - [`Kind::Retry`]: the store failed.
    /// - [`Kind::Corrupt`]: the file is missing.
    /// - [`Kind::Config`]: the store refuses us.
    pub async fn read(&self, location: &str) -> Result<Bytes> {
        let path = self.path(location)?;
        let read = async { self.objects.get(&path).await?.bytes().await };
        read.await.map_err(|err| match &err {
            object_store::Error::NotFound { .. }
                if self.place.is_disk() || Said::of(&err).is_missing_object() =>
            {
                Error::new(Kind::Corrupt, "the file is missing").with("location", location)
            }
            _ => failed("the file was not read", location, &err),
        })
    }

    /// The length in bytes of the file at `location`, if there is one.
    ///
    /// # Errors
    ///
    /// - [`Kind::Retry`]: the store failed.
    /// - [`Kind::Config`]: the store refuses us.
    pub async fn size(&self, location: &str) -> Result<Option<u64>> {
        let path = self.path(location)?;
        match self.objects.head(&path).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(err) => Err(failed("the file was not looked up", location, &err)),
        }
    }

    /// This store as Iceberg wants it for metadata.
    pub(crate) fn file_io(&self) -> FileIO {
        FileIOBuilder::new(self.storage_factory()).build()
    }

    /// This store for Iceberg's catalogs, which build their own [`FileIO`]. The factory ignores
    /// storage properties a catalog hands out: this store's own settings hold.
    pub(crate) fn storage_factory(&self) -> Arc<dyn StorageFactory> {
        Arc::new(iceberg_io::ObjectStorageFactory::new(self.clone()))
    }

    /// Whether files at `location` are this store's to read and write.
    pub(crate) fn holds(&self, location: &str) -> bool {
        self.path(location).is_ok()
    }

    fn path(&self, location: &str) -> Result<Path> {
        let elsewhere = || {
            Error::new(Kind::Config, "the location lies outside the warehouse's store")
                .with("location", location)
                .with("warehouse", &self.warehouse)
        };
        let key = match &self.place {
            Place::Disk => disk_path(location).ok_or_else(elsewhere)?,
            Place::Bucket { name, .. } => match s3_parts(location) {
                Some((bucket, key)) if bucket == &**name => key,
                _ => return Err(elsewhere()),
            },
        };
        Path::parse(key).map_err(|err| elsewhere().because(err))
    }
}

/// `file:///a/b`, `file:/a/b` (as Java writes it) and `/a/b` are one place.
fn disk_path(location: &str) -> Option<&str> {
    let path = match location.strip_prefix("file:") {
        Some(rest) => rest.strip_prefix("//").unwrap_or(rest),
        None => location,
    };
    path.starts_with('/').then_some(path)
}

/// Bucket and key; `s3a` and `s3n` are what Hadoop calls the same thing.
fn s3_parts(location: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = location.split_once("://")?;
    if !matches!(scheme, "s3" | "s3a" | "s3n") {
        return None;
    }
    let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
    (!bucket.is_empty()).then_some((bucket, key))
}

fn s3_client(bucket: &str, settings: &S3Settings) -> Result<AmazonS3> {
    let plain = settings.endpoint.as_ref().is_some_and(|e| e.starts_with("http://"));
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(&settings.region)
        .with_access_key_id(&settings.access_key)
        .with_secret_access_key(settings.secret_key.reveal())
        .with_virtual_hosted_style_request(!settings.path_style)
        .with_allow_http(plain)
        .with_client_options(
            ClientOptions::new()
                .with_allow_http(plain)
                .with_connect_timeout(CONNECT_TIMEOUT)
                .with_timeout(REQUEST_TIMEOUT),
        )
        .with_retry(RetryConfig {
            backoff: BackoffConfig {
                init_backoff: BACKOFF_MIN,
                max_backoff: BACKOFF_MAX,
                base: 2.0,
            },
            max_retries: RETRIES_MAX,
            retry_timeout: RETRY_TIME_MAX,
        });
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    builder.build().map_err(|err| {
        Error::new(Kind::Config, "the S3 settings make no client")
            .with("bucket", bucket)
            .because(err)
    })
}
