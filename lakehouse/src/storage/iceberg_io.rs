//! The store as Iceberg's `Storage`, so that metadata takes the same client as data.
//!
//! Iceberg's trait asks for serialisation, to send a store to another process. Nothing here is sent,
//! and credentials must not be: both directions refuse.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use iceberg::io::{
    FileMetadata, FileRead, FileWrite, InputFile, OutputFile, Storage, StorageConfig,
    StorageFactory,
};
use iceberg::{Error as IcebergError, ErrorKind, Result as IcebergResult};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Store, failure};
use crate::Error;

macro_rules! never_sent {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                Err(serde::ser::Error::custom("a store is never sent to another process"))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
                Err(serde::de::Error::custom("a store is never sent to another process"))
            }
        }
    };
}

/// Hands out the one store, whatever the configuration says.
#[derive(Debug)]
pub(super) struct ObjectStorageFactory {
    store: Store,
}

never_sent!(ObjectStorageFactory);

impl ObjectStorageFactory {
    pub(super) fn new(store: Store) -> Self {
        Self { store }
    }
}

#[typetag::serde]
impl StorageFactory for ObjectStorageFactory {
    fn build(&self, _: &StorageConfig) -> IcebergResult<Arc<dyn Storage>> {
        Ok(Arc::new(ObjectStorage { store: self.store.clone() }))
    }
}

#[derive(Clone, Debug)]
struct ObjectStorage {
    store: Store,
}

never_sent!(ObjectStorage);

impl ObjectStorage {
    fn path(&self, location: &str) -> IcebergResult<Path> {
        self.store.path(location).map_err(|err| foreign(ErrorKind::DataInvalid, err))
    }

    async fn overwrite(&self, location: &str, bytes: Bytes) -> IcebergResult<()> {
        let path = self.path(location)?;
        let len = bytes.len() as u64;
        let put = self.store.objects.put_opts(&path, bytes.into(), PutMode::Overwrite.into());
        put.await.map_err(|err| failed(location, &err))?;
        let held = self.store.confirm(location, len).await;
        held.map_err(|err| foreign(ErrorKind::Unexpected, err))
    }
}

#[async_trait]
#[typetag::serde]
impl Storage for ObjectStorage {
    async fn exists(&self, path: &str) -> IcebergResult<bool> {
        let size = self.store.size(path).await;
        Ok(size.map_err(|err| foreign(ErrorKind::Unexpected, err))?.is_some())
    }

    async fn metadata(&self, path: &str) -> IcebergResult<FileMetadata> {
        let size = self.store.size(path).await;
        match size.map_err(|err| foreign(ErrorKind::Unexpected, err))? {
            Some(size) => Ok(FileMetadata { size }),
            None => Err(IcebergError::new(ErrorKind::DataInvalid, "the file is missing")
                .with_context("location", path)),
        }
    }

    async fn read(&self, path: &str) -> IcebergResult<Bytes> {
        self.store.read(path).await.map_err(|err| foreign(ErrorKind::Unexpected, err))
    }

    async fn reader(&self, path: &str) -> IcebergResult<Box<dyn FileRead>> {
        let path = self.path(path)?;
        Ok(Box::new(ObjectReader { objects: self.store.objects.clone(), path }))
    }

    async fn write(&self, path: &str, bs: Bytes) -> IcebergResult<()> {
        self.overwrite(path, bs).await
    }

    async fn writer(&self, path: &str) -> IcebergResult<Box<dyn FileWrite>> {
        let location = path.to_owned();
        Ok(Box::new(ObjectWriter { storage: self.clone(), location, open: Some(Vec::new()) }))
    }

    async fn delete(&self, path: &str) -> IcebergResult<()> {
        let key = self.path(path)?;
        match self.store.objects.delete(&key).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(err) => Err(failed(path, &err)),
        }
    }

    async fn delete_prefix(&self, path: &str) -> IcebergResult<()> {
        let key = self.path(path)?;
        let found = self.store.objects.list(Some(&key));
        found
            .map_err(|err| failed(path, &err))
            .try_for_each(|meta| async move {
                let deleted = self.store.objects.delete(&meta.location).await;
                deleted.map_err(|err| failed(path, &err))
            })
            .await
    }

    async fn delete_stream(&self, mut paths: BoxStream<'static, String>) -> IcebergResult<()> {
        while let Some(path) = paths.next().await {
            self.delete(&path).await?;
        }
        Ok(())
    }

    fn new_input(&self, path: &str) -> IcebergResult<InputFile> {
        Ok(InputFile::new(Arc::new(self.clone()), path.to_owned()))
    }

    fn new_output(&self, path: &str) -> IcebergResult<OutputFile> {
        Ok(OutputFile::new(Arc::new(self.clone()), path.to_owned()))
    }
}

struct ObjectReader {
    objects: Arc<dyn ObjectStore>,
    path: Path,
}

#[async_trait]
impl FileRead for ObjectReader {
    async fn read(&self, range: Range<u64>) -> IcebergResult<Bytes> {
        let read = self.objects.get_range(&self.path, range).await;
        read.map_err(|err| failed(self.path.as_ref(), &err))
    }
}

/// Gathers what is written and puts it whole on close: metadata files are small.
struct ObjectWriter {
    storage: ObjectStorage,
    location: String,
    open: Option<Vec<u8>>,
}

#[async_trait]
impl FileWrite for ObjectWriter {
    async fn write(&mut self, bs: Bytes) -> IcebergResult<()> {
        let open = self.open.as_mut().ok_or_else(closed)?;
        open.extend_from_slice(&bs);
        Ok(())
    }

    async fn close(&mut self) -> IcebergResult<()> {
        let bytes = self.open.take().ok_or_else(closed)?;
        self.storage.overwrite(&self.location, bytes.into()).await
    }
}

fn closed() -> IcebergError {
    IcebergError::new(ErrorKind::PreconditionFailed, "the file is closed")
}

fn failed(location: &str, err: &object_store::Error) -> IcebergError {
    foreign(ErrorKind::Unexpected, failure::failed("the store failed", location, err))
}

fn foreign(kind: ErrorKind, err: Error) -> IcebergError {
    let retryable = err.kind() == crate::Kind::Retry;
    IcebergError::new(kind, err.to_string()).with_retryable(retryable).with_source(err)
}
