//! The catalog in one `SQLite` file, shared by any number of processes of this machine.
//!
//! Owns the compare-and-swap: the row names the current metadata file, and one `UPDATE … WHERE
//! metadata_location = <base>` moves it. Metadata files carry a random id, so equal locations mean equal
//! tables, and a file once read is never read again.
//!
//! A process may be killed anywhere: before the `UPDATE` it leaves files that nothing names, after it the
//! change is there. The write-ahead log makes this last over the death of any process. A power cut may
//! take back the newest commits as a whole: neither the log nor the files are forced to disk.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use iceberg::io::FileIO;
use iceberg::spec::{MetadataLog, TableMetadata, TableMetadataBuilder};
use iceberg::{MetadataLocation, TableCreation, TableIdent};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Row as _};

use super::{Answer, Base, Catalog, Change, Creation, Refs, from_iceberg, table};
use crate::commit::shell;
use crate::{Error, Kind, Result};

/// The name that other clients of the database file must give their catalog.
pub const CATALOG_NAME: &str = "streamforge";

/// How long a statement waits for the writer before it, which holds the lock for about a millisecond.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// One for each sink table that commits at the same time, within reason.
const CONNECTIONS_MAX: u32 = 4;

/// Tries to enter write-ahead mode while other processes open the same new file.
const WAL_TRIES: u32 = 200;

/// Pause between them: entering the mode can't wait for a lock by itself.
const WAL_PAUSE: Duration = Duration::from_millis(25);

/// As iceberg-catalog-sql makes them, so that either may come first.
const SCHEMA: [&str; 2] = [
    "CREATE TABLE IF NOT EXISTS iceberg_tables (
        catalog_name VARCHAR(255) NOT NULL,
        table_namespace VARCHAR(255) NOT NULL,
        table_name VARCHAR(255) NOT NULL,
        metadata_location VARCHAR(1000),
        previous_metadata_location VARCHAR(1000),
        iceberg_type VARCHAR(5),
        PRIMARY KEY (catalog_name, table_namespace, table_name))",
    "CREATE TABLE IF NOT EXISTS iceberg_namespace_properties (
        catalog_name VARCHAR(255) NOT NULL,
        namespace VARCHAR(255) NOT NULL,
        property_key VARCHAR(255),
        property_value VARCHAR(1000),
        PRIMARY KEY (catalog_name, namespace, property_key))",
];

const SELECT: &str = "SELECT metadata_location FROM iceberg_tables
    WHERE catalog_name = ? AND table_namespace = ? AND table_name = ?
      AND (iceberg_type = 'TABLE' OR iceberg_type IS NULL)";

const INSERT_NAMESPACE: &str = "INSERT OR IGNORE INTO iceberg_namespace_properties
    (catalog_name, namespace, property_key, property_value) VALUES (?, ?, 'exists', 'true')";

const INSERT_TABLE: &str = "INSERT OR IGNORE INTO iceberg_tables
    (catalog_name, table_namespace, table_name, metadata_location, iceberg_type)
    VALUES (?, ?, ?, ?, 'TABLE')";

/// One statement, so one write transaction: it waits for the lock before it reads, and can't fail
/// halfway for having read an older state.
const SWAP: &str = "UPDATE iceberg_tables SET metadata_location = ?, previous_metadata_location = ?
    WHERE catalog_name = ? AND table_namespace = ? AND table_name = ?
      AND (iceberg_type = 'TABLE' OR iceberg_type IS NULL)
      AND metadata_location = ?";

/// A catalog in a `SQLite` file.
pub(super) struct SqliteCatalog {
    pool: SqlitePool,
    warehouse: String,
    file_io: FileIO,
    /// What the last read or publish of each table saw.
    known: Mutex<HashMap<TableIdent, Base>>,
}

impl SqliteCatalog {
    pub(super) async fn open(path: &Path, warehouse: &str, file_io: FileIO) -> Result<Self> {
        let failed = |err| {
            database_error("the catalog's database can't be opened", err)
                .with("path", path.display())
        };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|err| {
                Error::new(Kind::Config, "the catalog's folder can't be made")
                    .with("path", folder.display())
                    .because(err)
            })?;
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .busy_timeout(BUSY_TIMEOUT)
            // Safe against the death of a process, and three times faster than FULL.
            .synchronous(SqliteSynchronous::Normal)
            .disable_statement_logging();
        let pool = SqlitePoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            .acquire_timeout(BUSY_TIMEOUT)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .connect_with(options)
            .await
            .map_err(failed)?;
        enter_wal(&pool).await.map_err(failed)?;
        for statement in SCHEMA {
            sqlx::query(statement).execute(&pool).await.map_err(failed)?;
        }
        let warehouse = warehouse.trim_end_matches('/').to_owned();
        Ok(Self { pool, warehouse, file_io, known: Mutex::default() })
    }

    async fn location(&self, ident: &TableIdent) -> Result<Option<String>> {
        let failed = |err| database_error("the catalog can't be read", err).with("table", ident);
        let row = sqlx::query(SELECT)
            .bind(CATALOG_NAME)
            .bind(namespace(ident))
            .bind(ident.name())
            .fetch_optional(&self.pool)
            .await
            .map_err(failed)?;
        row.map(|row| row.try_get(0).map_err(failed)).transpose()
    }

    fn known(&self, ident: &TableIdent, location: &str) -> Option<Base> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(ident).filter(|base| base.location() == location).cloned()
    }

    fn remember(&self, base: &Base) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(base.table.identifier().clone(), base.clone());
    }

    /// Puts `next` in the place of `base`; `false` when the row names something else by now.
    async fn swap(&self, ident: &TableIdent, base: &str, next: &str) -> sqlx::Result<bool> {
        let done = sqlx::query(SWAP)
            .bind(next)
            .bind(base)
            .bind(CATALOG_NAME)
            .bind(namespace(ident))
            .bind(ident.name())
            .bind(base)
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Deletes metadata files that fell out of the log of a change that was applied for certain.
    async fn clean_up(&self, metadata: &TableMetadata, expired: &[MetadataLog]) {
        let wanted = metadata.properties().get("write.metadata.delete-after-commit.enabled");
        if wanted.is_none_or(|value| value != "true") {
            return;
        }
        for log in expired {
            if let Err(err) = self.file_io.delete(&log.metadata_file).await {
                tracing::debug!(file = log.metadata_file, error = %err, "old metadata stays");
            }
        }
    }
}

#[async_trait]
impl Catalog for SqliteCatalog {
    async fn load(&self, ident: &TableIdent) -> Result<Option<Base>> {
        let mut location = self.location(ident).await?;
        loop {
            let Some(current) = location else { return Ok(None) };
            if let Some(base) = self.known(ident, &current) {
                return Ok(Some(base));
            }
            let err = match read(ident, &self.file_io, &current).await {
                Ok(base) => {
                    self.remember(&base);
                    return Ok(Some(base));
                }
                Err(err) => err,
            };
            // A writer that has moved on since may have deleted the file that was named here.
            location = self.location(ident).await?;
            if location.as_ref() == Some(&current) {
                return Err(err);
            }
        }
    }

    async fn create(&self, ident: &TableIdent, creation: &Creation) -> Result<Base> {
        let failed = |err| database_error("the table can't be made", err).with("table", ident);
        let metadata = new_metadata(ident, creation, &self.warehouse)
            .map_err(|err| Error::new(Kind::Refused, "no such table can be made").because(err))?;
        let location = MetadataLocation::new_with_metadata(metadata.location(), &metadata);
        metadata.write_to(&self.file_io, &location).await.map_err(|err| {
            from_iceberg(err, "the first metadata can't be written").with("location", &location)
        })?;
        sqlx::query(INSERT_NAMESPACE)
            .bind(CATALOG_NAME)
            .bind(namespace(ident))
            .execute(&self.pool)
            .await
            .map_err(failed)?;
        sqlx::query(INSERT_TABLE)
            .bind(CATALOG_NAME)
            .bind(namespace(ident))
            .bind(ident.name())
            .bind(location.to_string())
            .execute(&self.pool)
            .await
            .map_err(failed)?;
        self.load(ident).await?.ok_or_else(|| {
            Error::new(Kind::Refused, "the name is taken by a view").with("table", ident)
        })
    }

    async fn publish(&self, base: &Base, change: Change) -> Answer {
        // The requirements hold for the base, and the swap lets nothing but the base be replaced.
        let ident = base.table.identifier();
        let built = change.built;
        let next = match self.write_next(base, &built.metadata).await {
            Ok(next) => next,
            Err(err) => return Answer::Unknown(err),
        };
        crate::faults::point("publish.sqlite.metadata-written");
        match self.swap(ident, base.location(), &next).await {
            Ok(true) => {}
            Ok(false) => {
                // Refused for certain, and nobody else knows its name: it would be one more for each conflict.
                if let Err(err) = self.file_io.delete(&next).await {
                    tracing::debug!(file = next, error = %err, "a refused metadata file stays");
                }
                return Answer::Conflict;
            }
            Err(err) => return Answer::Unknown(database_error("the swap failed", err)),
        }
        crate::faults::point("publish.sqlite.swapped");
        self.clean_up(&built.metadata, &built.expired_metadata_logs).await;
        crate::faults::point("publish.sqlite.cleaned");
        match table(ident, &self.file_io, next, built.metadata) {
            Ok(table) => {
                let base = Base { table, refs: base.refs.after(&built.changes) };
                self.remember(&base);
                Answer::Committed(base)
            }
            Err(err) => Answer::Unknown(err),
        }
    }
}

impl SqliteCatalog {
    async fn write_next(&self, base: &Base, metadata: &TableMetadata) -> Result<String> {
        let location = base.location().parse::<MetadataLocation>().map_err(|err| {
            Error::new(Kind::Refused, "the metadata file is not named as Iceberg's catalogs do")
                .with("location", base.location())
                .because(err)
        })?;
        let next = location.with_next_version().with_new_metadata(metadata);
        metadata.write_to(&self.file_io, &next).await.map_err(|err| {
            from_iceberg(err, "the next metadata can't be written").with("location", &next)
        })?;
        Ok(next.to_string())
    }
}

async fn enter_wal(pool: &SqlitePool) -> sqlx::Result<()> {
    let mut tries = 1;
    loop {
        let entered = sqlx::query("PRAGMA journal_mode = WAL").fetch_one(pool).await;
        match entered.and_then(|row| row.try_get::<String, _>(0)) {
            Ok(_) => return Ok(()),
            Err(err) if tries == WAL_TRIES || !is_busy(&err) => return Err(err),
            Err(_) => {
                tries += 1;
                shell::pause(WAL_PAUSE).await;
            }
        }
    }
}

fn new_metadata(
    ident: &TableIdent,
    creation: &Creation,
    warehouse: &str,
) -> iceberg::Result<TableMetadata> {
    let creation = TableCreation::builder()
        .name(ident.name().to_owned())
        .location(format!("{warehouse}/{}/{}", namespace(ident), ident.name()))
        .schema(creation.schema.clone())
        .partition_spec(creation.partition.clone())
        .properties(creation.properties.clone())
        .build();
    Ok(TableMetadataBuilder::from_table_creation(creation)?.build()?.metadata)
}

async fn read(ident: &TableIdent, file_io: &FileIO, location: &str) -> Result<Base> {
    let unread =
        |err| from_iceberg(err, "the table's metadata can't be read").with("location", location);
    let input = file_io.new_input(location).map_err(unread)?;
    let bytes = inflate(input.read().await.map_err(unread)?.into())?;
    let corrupt = |err: serde_json::Error| {
        Error::new(Kind::Corrupt, "the table's metadata is not readable")
            .with("location", location)
            .because(err)
    };
    let metadata = serde_json::from_slice(&bytes).map_err(corrupt)?;
    let refs = Refs::from_metadata(&bytes).map_err(corrupt)?;
    let table = table(ident, file_io, location.to_owned(), metadata)?;
    Ok(Base { table, refs })
}

/// Undoes `write.metadata.compression-codec = gzip`, which another client may have set.
pub(crate) fn inflate(bytes: Vec<u8>) -> Result<Vec<u8>> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes);
    }
    let mut plain = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(bytes.as_slice()), &mut plain)
        .map_err(|err| Error::new(Kind::Corrupt, "the metadata's gzip is broken").because(err))?;
    Ok(plain)
}

fn namespace(ident: &TableIdent) -> String {
    ident.namespace().join(".")
}

fn is_busy(err: &sqlx::Error) -> bool {
    matches!(primary_code(err), Some(BUSY | LOCKED))
}

fn database_error(message: &str, err: sqlx::Error) -> Error {
    let kind = match primary_code(&err) {
        Some(CORRUPT) => Kind::Corrupt,
        // Waiting does not help.
        Some(PERMISSION | READ_ONLY | CAN_NOT_OPEN | NO_DATABASE) => Kind::Config,
        _ => Kind::Retry,
    };
    Error::new(kind, message).because(err)
}

const PERMISSION: i32 = 3;
const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const READ_ONLY: i32 = 8;
const CORRUPT: i32 = 11;
const CAN_NOT_OPEN: i32 = 14;
const NO_DATABASE: i32 = 26;

/// `SQLite`'s result code; extended codes share their low byte with the primary one.
fn primary_code(err: &sqlx::Error) -> Option<i32> {
    let code = err.as_database_error()?.code()?;
    code.parse::<i32>().ok().map(|code| code & 0xff)
}
