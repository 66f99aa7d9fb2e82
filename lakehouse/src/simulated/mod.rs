//! Servers, clock and chance in memory, for the proof's simulator.
//!
//! Every call that a simulated process makes to the catalog or the store waits here as an operation until
//! the adversary performs it, loses it, or answers it with an error. It must never decide by itself what
//! goes wrong, wait, or know what is right: the proof's checker reads what is left in a [`TableView`].

mod catalog;
mod dice;
mod foreign;
mod objects;
mod operations;
pub(crate) mod seam;
mod view;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::FutureExt;
use iceberg::TableIdent;
use iceberg::io::FileIO;
use iceberg::spec::TableMetadata;
use object_store::ObjectStore;
use object_store::memory::InMemory;

use crate::catalog::Refs;
use crate::catalog::memory::MemoryCatalog;
use crate::commit::Lakehouse;
use crate::datafile::{EncodedFile, Metrics};
use crate::storage::Store;

pub use dice::Dice;
pub use foreign::{Backup, Foreign};
pub use operations::{Call, How, Performed, Trouble, Waiting};
pub use seam::Simulation;
pub use view::{DataFileView, SnapshotView, TableView};

use operations::Operations;

/// Where every table lies.
const WAREHOUSE: &str = "file:///memory";
/// The namespace of every table.
pub const NAMESPACE: &str = "ns";

/// A catalog and an object store that any number of simulated processes share. Clones are the same ones.
#[derive(Clone)]
pub struct Servers {
    shared: Arc<Shared>,
}

struct Shared {
    memory: MemoryCatalog,
    objects: Arc<InMemory>,
    /// Reads and writes without waiting: for foreign writers and the checker.
    file_io: FileIO,
    operations: Mutex<Operations>,
    seen: Mutex<HashMap<TableIdent, Seen>>,
    /// Metadata that was handed out, by location, in the order in which that happened first.
    states: Mutex<HashMap<String, u64>>,
    manifests: Mutex<view::ManifestCache>,
}

/// What was worked out of a table's metadata, until it changes.
#[derive(Clone)]
struct Seen {
    location: String,
    refs: Refs,
    shown: Arc<TableView>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Servers {
    /// Servers that hold nothing. `seed` decides which of the many small requests have to wait.
    pub fn new(seed: u64) -> Self {
        let objects = Arc::new(InMemory::new());
        let file_io = Store::simulated(WAREHOUSE, objects.clone()).file_io();
        let shared = Shared {
            memory: MemoryCatalog::new(file_io.clone()),
            objects,
            file_io,
            operations: Mutex::new(Operations::new(seed)),
            seen: Mutex::default(),
            states: Mutex::default(),
            manifests: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The servers as the process `host` sees them.
    pub fn lakehouse(&self, host: u32, snapshots_kept: usize) -> Lakehouse {
        let objects = Arc::new(objects::Objects::new(self.clone(), host));
        let store = Store::simulated(WAREHOUSE, objects);
        let catalog = catalog::Waited::new(self.clone(), host, store.file_io());
        Lakehouse::simulated(Arc::new(catalog), store, snapshots_kept)
    }

    /// The object at `location`, as it is stored.
    pub fn object(&self, location: &str) -> Option<Bytes> {
        let path = objects::path(location);
        let read = async {
            self.shared
                .objects
                .get_opts(&path, object_store::GetOptions::default())
                .await?
                .bytes()
                .await
        };
        at_once(read).ok()
    }

    /// Every object below a table's data folder, with its length.
    pub fn data_objects(&self, table: &str) -> Vec<(String, u64)> {
        objects::list(&self.shared.objects, &format!("{WAREHOUSE}/{NAMESPACE}/{table}/data"))
    }

    fn held(&self, ident: &TableIdent) -> Option<(String, TableMetadata)> {
        self.shared.memory.get(ident)
    }
}

/// An encoded file with any bytes in it: what the protocol does not look at, it need not pay for.
pub fn encoded(day: i32, rows: u64, bytes: Bytes) -> EncodedFile {
    EncodedFile { content: bytes.into(), rows, day: Some(day), metrics: Metrics::default() }
}

fn ident(table: &str) -> TableIdent {
    TableIdent::new(iceberg::NamespaceIdent::new(NAMESPACE.to_owned()), table.to_owned())
}

/// What a future comes to that has nothing to wait for.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    let Some(done) = future.now_or_never() else { panic!("memory has nothing to wait for") };
    done
}
