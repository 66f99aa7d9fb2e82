//! The catalog as a simulated process sees it: every call waits.

use std::sync::Arc;

use async_trait::async_trait;
use iceberg::TableIdent;
use iceberg::io::FileIO;

use super::Servers;
use super::operations::{Held, Reply, Request};
use crate::catalog::{Answer, Base, Catalog, Change, Creation, table};
use crate::{Error, Kind, Result};

pub(super) struct Waited {
    servers: Servers,
    host: u32,
    file_io: FileIO,
}

impl Waited {
    pub(super) fn new(servers: Servers, host: u32, file_io: FileIO) -> Self {
        Self { servers, host, file_io }
    }

    fn base(&self, ident: &TableIdent, (location, metadata, refs): Held) -> Result<Base> {
        Ok(Base { table: table(ident, &self.file_io, location, metadata)?, refs })
    }
}

#[async_trait]
impl Catalog for Waited {
    async fn load(&self, ident: &TableIdent) -> Result<Option<Base>> {
        match self.servers.send(self.host, Request::Load(ident.clone())).await {
            Reply::Loaded(held) => held?.map(|held| self.base(ident, held)).transpose(),
            _ => Err(mixed_up()),
        }
    }

    async fn create(&self, ident: &TableIdent, creation: &Creation) -> Result<Base> {
        let creation = Creation {
            schema: creation.schema.clone(),
            partition: creation.partition.clone(),
            properties: creation.properties.clone(),
        };
        let request = Request::Create(ident.clone(), Arc::new(creation));
        match self.servers.send(self.host, request).await {
            Reply::Loaded(Ok(Some(held))) => self.base(ident, held),
            Reply::Loaded(Err(err)) => Err(err),
            _ => Err(mixed_up()),
        }
    }

    async fn publish(&self, base: &Base, change: Change) -> Answer {
        let ident = base.table.identifier().clone();
        let (requirements, updates) = (change.requirements, change.built.changes);
        let Some(base) = base.table.metadata_location().map(str::to_owned) else {
            return Answer::Unknown(Error::new(Kind::Bug, "a table without a location"));
        };
        let request = Request::Publish { ident: ident.clone(), base, requirements, updates };
        match self.servers.send(self.host, request).await {
            Reply::Published(Ok(None)) => Answer::Conflict,
            Reply::Published(Ok(Some(held))) => match self.base(&ident, held) {
                Ok(base) => Answer::Committed(base),
                Err(err) => Answer::Unknown(err),
            },
            Reply::Published(Err(err)) => Answer::Unknown(err),
            _ => Answer::Unknown(mixed_up()),
        }
    }
}

fn mixed_up() -> Error {
    Error::new(Kind::Bug, "the simulated server answers another question")
}
