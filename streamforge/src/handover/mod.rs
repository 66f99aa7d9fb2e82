//! The tables handed to Apache Flink, and taken back, without a record lost or doubled.
//!
//! Owns the order of the steps and their words. What may be true of a position is decided in `standing`; that nobody
//! else writes while it is recorded is `lakehouse`'s. It must never start or stop an engine.

mod args;
mod cluster;
mod open;
mod standing;

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lakehouse::position::Position;

pub use args::{
    ADOPT_ABOUT, AdoptArgs, Adoption, LEND_ABOUT, LendArgs, Lending, Named, Plan, PositionArgs,
};

use crate::patience::{Patience, Teller};
use crate::show;
use crate::verify::Offsets;
use cluster::Cluster;
use open::Open;

/// Whom the tables are lent to.
const FLINK: &str = "flink";
/// Between two looks at a cluster that is not idle yet.
const PAUSE: Duration = Duration::from_millis(500);

/// Says where each table stands.
///
/// # Errors
///
/// Topic or tables can't be read.
pub async fn position(plan: Plan) -> Result<()> {
    let open = Open::new(&plan).await?;
    let rejects = plan.job.rejects_spec();
    for spec in plan.job.sinks.iter().map(|sink| &sink.table).chain([&rejects]) {
        let name = format!("{}.{}", spec.namespace, spec.name);
        let held = open.look(&spec.namespace, &spec.name).await?;
        let words = match &held {
            None => "not there".to_owned(),
            Some(table) => {
                let at =
                    table.recorded().map_or("nowhere yet".to_owned(), |at| shown(at.offsets()));
                match table.lent_to() {
                    Some(borrower) => format!("{at}, lent to {borrower}"),
                    None if table.others_wrote() => format!("{at}, with later rows of others"),
                    None => at,
                }
            }
        };
        show::line(&format!("{name}: {words}"));
    }
    show::line(&format!("topic {}: {}", plan.job.source.topic, shown(&open.topic.ends)));
    Ok(())
}

/// Hands the tables to Flink.
///
/// # Errors
///
/// A server can't be reached, the tables stand at different places, or one is not what it should be.
pub async fn lend(lending: Lending) -> Result<()> {
    let Lending { plan, flink, out } = lending;
    let patience = Patience::new(plan.wait, "HANDOVER_WAIT");
    let runs = match &flink {
        Some(url) => settled(url, &patience).await?,
        None => None,
    };
    let open = Open::new(&plan).await?;
    if let Some(running) = runs {
        for (name, table) in open.sinks().await? {
            ensure!(
                table.lent_to() == Some(FLINK),
                "Flink runs {running}, but {name} is not lent to it; stop that job"
            );
        }
        show::progress(&format!("lent already; Flink runs {running}"));
        return Ok(());
    }
    let position = open.handed(&patience, |table, position| {
        let position = position.clone();
        async move { table.lend(FLINK, &position).await }
    });
    let position = position.await?;
    let statement = plan.job.source.for_flink(&plan.consumer.brokers, &position);
    let statement = format!(
        "-- Where Flink goes on. Run it before the job file: it hides the table of the same name there.\n{statement}"
    );
    match &out {
        Some(path) => write(path, &statement)?,
        None => show::line(&statement),
    }
    show::progress(&format!("lent to {FLINK}, which goes on at {}", shown(&position)));
    Ok(())
}

/// Takes the tables back.
///
/// # Errors
///
/// A server can't be reached, Flink still runs a job, or the position can't be true.
pub async fn adopt(adoption: Adoption) -> Result<()> {
    let Adoption { plan, flink, position } = adoption;
    let patience = Patience::new(plan.wait, "HANDOVER_WAIT");
    if let Some(url) = &flink
        && let Some(running) = settled(url, &patience).await?
    {
        bail!("Flink still runs {running}; stop it first: a late commit of it would be rows twice");
    }
    let open = Open::new(&plan).await?;
    for sink in &open.plan.job.sinks {
        let name = Open::name(sink);
        let take = async || {
            let table = open.table(sink).await?;
            // A position of our own is not moved by hand: what it passes over would be lost.
            if !table.others_wrote() {
                return Ok(None);
            }
            let at = open.stands(sink, &table, position.as_ref()).await?;
            table.take_back(&Position::new(open.topic.source.clone(), at.clone())).await?;
            Ok(Some(at))
        };
        match patience.wait(&plan.catalog, take).await.with_context(|| format!("table {name}"))? {
            Some(at) => show::line(&format!("table {name}: ours again, at {}", shown(&at))),
            None => show::line(&format!("table {name}: ours already")),
        }
    }
    Ok(())
}

/// What the cluster runs, once that is certain.
async fn settled(url: &str, patience: &Patience) -> Result<Option<String>> {
    let mut teller = Teller::default();
    loop {
        let owned = url.to_owned();
        let cause = match tokio::task::spawn_blocking(move || cluster::ask(&owned)).await? {
            Ok(Cluster::Idle) => return Ok(None),
            Ok(Cluster::Runs(job)) => return Ok(Some(job)),
            Ok(Cluster::Unsettled(why)) => why,
            Err(err) => format!("{err:#}"),
        };
        if patience.is_over() {
            bail!("the Flink cluster at {url} is not ready: {cause}");
        }
        teller.tell(|| patience.words("the Flink cluster", &cause));
        #[allow(clippy::disallowed_methods, reason = "between two looks")]
        tokio::time::sleep(PAUSE).await;
    }
}

/// `0:4711,1:4699`
fn shown(offsets: &Offsets) -> String {
    let parts: Vec<_> = offsets.iter().map(|(partition, at)| format!("{partition}:{at}")).collect();
    parts.join(",")
}

/// Whole, or not at all.
fn write(path: &Path, text: &str) -> Result<()> {
    let unfinished = path.with_extension("unfinished");
    let written = std::fs::File::create(&unfinished)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&unfinished, path));
    written.with_context(|| format!("{} can't be written", path.display()))
}
