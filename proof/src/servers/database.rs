//! The catalog's database: dumped, and restored from an older dump, as an operator would.

use std::time::Duration;

use anyhow::Result;
use tempfile::NamedTempFile;

use super::Service;
use super::docker::{docker, docker_reading};

const NAME: &str = "iceberg";
const COMMAND_MAX: Duration = Duration::from_mins(1);

/// What the database held at one moment.
pub(crate) struct Dump(NamedTempFile);

pub(super) fn answers() -> Result<bool> {
    psql(NAME, "SELECT 1").map(|_| true)
}

pub(super) fn dump() -> Result<Dump> {
    let container = Service::Database.container();
    let text = docker(
        &["exec", "--user", "postgres", container, "pg_dump", "--username", "postgres", NAME],
        COMMAND_MAX,
    )?;
    let file = NamedTempFile::new()?;
    std::fs::write(file.path(), text)?;
    Ok(Dump(file))
}

pub(super) fn restore(Dump(file): &Dump) -> Result<()> {
    let container = Service::Database.container();
    // Those who are connected are cut off.
    psql("postgres", &format!("DROP DATABASE {NAME} WITH (FORCE)"))?;
    psql("postgres", &format!("CREATE DATABASE {NAME} OWNER {NAME}"))?;
    let mut args = vec!["exec", "--interactive", "--user", "postgres", container, "psql"];
    args.extend(["--username", "postgres", "--dbname", NAME, "--quiet"]);
    args.extend(["--set", "ON_ERROR_STOP=1", "--single-transaction"]);
    docker_reading(&args, file.path(), COMMAND_MAX).map(drop)
}

fn psql(database: &str, sql: &str) -> Result<String> {
    let container = Service::Database.container();
    let mut args = vec!["exec", "--user", "postgres", container, "psql", "--username", "postgres"];
    args.extend(["--dbname", database, "--tuples-only", "--no-align"]);
    args.extend(["--set", "ON_ERROR_STOP=1", "--command", sql]);
    docker(&args, COMMAND_MAX)
}
