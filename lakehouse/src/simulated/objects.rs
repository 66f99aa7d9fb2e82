//! The object store as a simulated process sees it: puts of data wait, and some of metadata.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::{BoxStream, StreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::operations::{Reply, Request};
use super::{Servers, at_once, lock};

pub(super) struct Objects {
    servers: Servers,
    host: u32,
}

impl Objects {
    pub(super) fn new(servers: Servers, host: u32) -> Self {
        Self { servers, host }
    }

    fn inner(&self) -> &Arc<InMemory> {
        &self.servers.shared.objects
    }
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("simulated")
    }
}

impl fmt::Display for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("simulated")
    }
}

#[async_trait]
impl ObjectStore for Objects {
    async fn put_opts(
        &self,
        path: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let waits = is_data(path) || lock(&self.servers.shared.operations).metadata_waits();
        if !waits {
            return self.servers.put(path, &payload, &opts.mode);
        }
        let request = Request::Put { path: path.clone(), payload, mode: opts.mode };
        match self.servers.send(self.host, request).await {
            Reply::Put(answer) => answer,
            _ => Err(failed("the simulated server answers another question")),
        }
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(Error::NotImplemented { operation: "multipart".into(), implementer: self.to_string() })
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        if lock(&self.servers.shared.operations).read_fails() {
            return Err(failed("503 SlowDown"));
        }
        self.inner().get_opts(path, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let servers = self.servers.clone();
        let deleted = self.inner().delete_stream(locations);
        let noted = move |path: Result<Path>| {
            if let Ok(path) = &path {
                lock(&servers.shared.operations).deleted.push(location(path));
            }
            path
        };
        deleted.map(noted).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner().list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner().list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner().copy_opts(from, to, options).await
    }
}

fn is_data(path: &Path) -> bool {
    path.as_ref().contains("/data/")
}

pub(super) fn failed(why: &str) -> Error {
    Error::Generic { store: "simulated", source: why.into() }
}

/// Where the store keeps `location`.
pub(super) fn path(location: &str) -> Path {
    Path::from(location.trim_start_matches("file://"))
}

fn location(path: &Path) -> String {
    format!("file:///{path}")
}

pub(super) fn list(objects: &InMemory, below: &str) -> Vec<(String, u64)> {
    let found: Vec<_> = at_once(objects.list(Some(&path(below))).collect());
    let found = found.into_iter().filter_map(Result::ok);
    found.map(|meta| (location(&meta.location), meta.size)).collect()
}
