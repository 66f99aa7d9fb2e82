//! The real servers: Kafka, a REST catalog on `PostgreSQL`, an S3 store, and Trino where it is asked for.
//!
//! Owns their start, their addresses, their deaths and their end. It must never touch a platform of the same
//! machine: project, names and ports of `proof/servers.yml` are its own.
//!
//! Kafka is reached in two ways. [`Servers::kafka`] is the plain one. A client that bootstraps at
//! [`Servers::kafka_proxy`] is told by the broker that the broker lives at that very address, so whoever
//! listens there and passes on to [`Servers::kafka_behind_proxy`] sees all of that client's traffic.

mod database;
mod docker;
mod ready;

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use lakehouse::catalog::CatalogSettings;
use lakehouse::commit::LakehouseSettings;
use lakehouse::storage::{S3Settings, Secret};

pub(crate) use database::Dump;
pub(crate) use docker::{ADVICE, now, tell, until};

/// The bucket and the folder in it that the catalog of the Compose file is told.
pub(crate) const WAREHOUSE: &str = "s3://lakehouse/warehouse";
/// The store's account, as in the Compose file's defaults.
pub(crate) const ACCESS_KEY: &str = "minio-admin";
pub(crate) const SECRET_KEY: &str = "minio-password-1";

/// First start: the catalog's image may have to be built.
const UP_MAX: Duration = Duration::from_mins(10);
const DOWN_MAX: Duration = Duration::from_mins(2);
/// One command about one container.
const COMMAND_MAX: Duration = Duration::from_secs(30);
/// How long a server may take from its start to its first answer.
const READY_MAX: Duration = Duration::from_mins(2);

/// A server of the rig.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Service {
    Kafka,
    Store,
    Database,
    Catalog,
    Trino,
}

impl Service {
    /// What every suite needs.
    pub(crate) const BASE: [Self; 4] = [Self::Kafka, Self::Store, Self::Database, Self::Catalog];

    fn name(self) -> &'static str {
        match self {
            Self::Kafka => "streaming-server",
            Self::Store => "minio-storage-service",
            Self::Database => "metadata-db",
            Self::Catalog => "iceberg-catalog-svc",
            Self::Trino => "query-engine",
        }
    }

    fn container(self) -> &'static str {
        match self {
            Self::Kafka => "proof-streaming-server",
            Self::Store => "proof-object-storage-svc",
            Self::Database => "proof-metadata-db",
            Self::Catalog => "proof-iceberg-catalog-svc",
            Self::Trino => "proof-trino-query-server",
        }
    }
}

/// How a suite wants the servers.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct ServersArgs {
    /// Leave the servers running at the end, for the next suite
    #[arg(long, env = "PROOF_KEEP_SERVERS", value_parser = clap::builder::BoolishValueParser::new(),
        num_args = 0..=1, default_value_t = false, default_missing_value = "true")]
    pub(crate) keep_servers: bool,
}

/// By hand: start them, remove them, or say where they are.
#[derive(Debug, Clone, clap::Subcommand)]
pub(crate) enum ServersCommand {
    /// Start them and say where they are
    Up {
        /// Trino too
        #[arg(long)]
        trino: bool,
    },
    /// Remove them with all that they hold
    Down,
}

impl ServersCommand {
    /// Does it.
    ///
    /// # Errors
    ///
    /// There is no engine, an image is missing, or a server does not come up.
    pub(crate) fn run(&self) -> Result<()> {
        match self {
            Self::Up { trino } => {
                let wanted: &[_] = if *trino { &[Service::Trino] } else { &[] };
                let servers = Servers::start(&ServersArgs { keep_servers: true }, wanted)?;
                tell(&format!(
                    "kafka {} (through a proxy: listen at {}, pass on to {}), catalog {}, store {}, trino {}",
                    servers.kafka(),
                    servers.kafka_proxy(),
                    servers.kafka_behind_proxy(),
                    servers.catalog(),
                    servers.store(),
                    servers.trino()
                ));
                Ok(())
            }
            Self::Down => down(),
        }
    }
}

/// The servers, running. Whoever started them removes them, unless told to keep them.
pub(crate) struct Servers {
    remove: bool,
    /// Held for as long as a suite uses the servers: two suites that kill would spoil each other's findings.
    _turn: Option<File>,
}

/// Set for a suite whose caller has the turn already, and starts no other that kills.
pub(crate) const TURN_IS_HELD: &str = "PROOF_TURN_IS_HELD";

#[allow(clippy::unused_self, reason = "whoever has it knows that the servers are up")]
impl Servers {
    /// Starts what is not running yet, `more` besides the four of every suite.
    pub(crate) fn start(args: &ServersArgs, more: &[Service]) -> Result<Self> {
        docker::docker(&["version", "--format", "{{.Server.Version}}"], COMMAND_MAX)
            .with_context(|| format!("no Docker engine answers; {ADVICE}"))?;
        let turn = take_turn()?;
        let ran = Service::BASE.iter().any(|service| is_running(*service));
        let servers = Self { remove: !ran && !args.keep_servers, _turn: turn };
        let mut wanted: Vec<_> = Service::BASE.iter().chain(more).copied().collect();
        wanted.dedup();
        // Those that run already stay as they are, wherever the file lies that they were started by.
        wanted.retain(|service| !is_running(*service));
        Self::up(&wanted)?;
        for service in Service::BASE.iter().chain(more) {
            servers.await_ready(*service)?;
        }
        Ok(servers)
    }

    fn up(wanted: &[Service]) -> Result<()> {
        if wanted.is_empty() {
            return Ok(());
        }
        let begun = now();
        let mut args = vec!["--profile", "*", "up", "--detach", "--wait", "--wait-timeout", "300"];
        args.extend(wanted.iter().map(|service| service.name()));
        docker::compose(&args, UP_MAX)
            .with_context(|| format!("the servers of proof/servers.yml did not start; {ADVICE}"))?;
        tell(&format!("servers: started after {:.1} s", begun.elapsed().as_secs_f64()));
        Ok(())
    }

    /// Where Kafka is, `host:port`.
    pub(crate) fn kafka(&self) -> String {
        address("PROOF_KAFKA_PORT", "29092")
    }

    /// Where a proxy has to listen for Kafka's clients.
    pub(crate) fn kafka_proxy(&self) -> String {
        address("PROOF_KAFKA_PROXY_PORT", "29095")
    }

    /// Where that proxy has to pass on to.
    pub(crate) fn kafka_behind_proxy(&self) -> String {
        address("PROOF_KAFKA_BEHIND_PROXY_PORT", "29094")
    }

    /// Where the catalog is, `http://host:port`.
    pub(crate) fn catalog(&self) -> String {
        format!("http://{}", address("PROOF_CATALOG_PORT", "28181"))
    }

    /// Where the store is, `http://host:port`.
    pub(crate) fn store(&self) -> String {
        format!("http://{}", address("PROOF_S3_PORT", "29000"))
    }

    /// Where Trino is, `http://host:port`.
    pub(crate) fn trino(&self) -> String {
        format!("http://{}", address("PROOF_TRINO_PORT", "28080"))
    }

    /// The tables' place, reached without any proxy.
    pub(crate) fn lakehouse(&self) -> LakehouseSettings {
        let catalog = CatalogSettings::Rest { uri: self.catalog(), warehouse: None, token: None };
        let s3 = S3Settings {
            endpoint: Some(self.store()),
            region: "us-east-1".to_owned(),
            access_key: ACCESS_KEY.to_owned(),
            secret_key: Secret::new(SECRET_KEY),
            path_style: true,
        };
        LakehouseSettings { s3: Some(s3), ..LakehouseSettings::new(catalog, WAREHOUSE) }
    }

    /// SIGKILL, from one moment to the next.
    pub(crate) fn kill(&self, service: Service) -> Result<()> {
        docker::docker(&["kill", service.container()], COMMAND_MAX).map(drop)
    }

    /// Starts a killed one; does not wait for its first answer.
    pub(crate) fn revive(&self, service: Service) -> Result<()> {
        docker::docker(&["start", service.container()], COMMAND_MAX).map(drop)
    }

    /// Waits until it answers what it is there for, and says how long that took.
    pub(crate) fn await_ready(&self, service: Service) -> Result<Duration> {
        until(&format!("{} answers", service.name()), READY_MAX, || match service {
            Service::Kafka => ready::kafka(&self.kafka()),
            Service::Store => ready::http(&format!("{}/minio/health/live", self.store())),
            Service::Database => database::answers(),
            Service::Catalog => ready::http(&format!("{}/v1/namespaces", self.catalog())),
            Service::Trino => ready::trino(&self.trino()),
        })
    }

    /// Takes every record of a partition off the disk of a Kafka that is not running. Its topic keeps its id.
    pub(crate) fn empty_partition(&self, topic: &str, partition: i32) -> Result<()> {
        let container = Service::Kafka.container();
        let image = docker::docker(&["inspect", "--format", "{{.Image}}", container], COMMAND_MAX)?;
        let folder = format!("/var/lib/kafka/data/{topic}-{partition}");
        let script = format!("rm {folder}/*.log {folder}/*.index {folder}/*.timeindex");
        let mut args = vec!["run", "--rm", "--volumes-from", container, "--entrypoint", "bash"];
        args.extend([image.trim(), "-c", &script]);
        docker::docker(&args, COMMAND_MAX).map(drop)
    }

    /// The catalog's database as it is now.
    pub(crate) fn dump(&self) -> Result<Dump> {
        database::dump()
    }

    /// The catalog's database as it was then. The catalog keeps running, as it would for an operator.
    pub(crate) fn restore(&self, dump: &Dump) -> Result<()> {
        database::restore(dump)
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        if self.remove
            && let Err(err) = down()
        {
            tell(&format!("the servers are still there: {err:#}"));
        }
    }
}

fn down() -> Result<()> {
    docker::compose(&["--profile", "*", "down", "--volumes", "--timeout", "2"], DOWN_MAX).map(drop)
}

fn is_running(service: Service) -> bool {
    let args = ["inspect", "--format", "{{.State.Running}}", service.container()];
    // No such container is an error there.
    docker::docker(&args, COMMAND_MAX).is_ok_and(|said| said.trim() == "true")
}

/// Waits for its turn with the servers.
fn take_turn() -> Result<Option<File>> {
    if std::env::var_os(TURN_IS_HELD).is_some() {
        return Ok(None);
    }
    let path: PathBuf = std::env::temp_dir().join("streamforge-proof-servers.lock");
    let file = File::options().create(true).append(true).open(&path)?;
    if file.try_lock().is_err() {
        tell("servers: another suite uses them, waiting for my turn");
        until("another suite ends", Duration::from_mins(30), || Ok(file.try_lock().is_ok()))?;
    }
    Ok(Some(file))
}

/// A port of this machine: as the Compose file is told, or its default.
#[expect(clippy::disallowed_methods, reason = "the Compose file reads the same variables")]
fn address(variable: &str, default: &str) -> String {
    let port = std::env::var(variable).unwrap_or_else(|_| default.to_owned());
    format!("127.0.0.1:{port}")
}
