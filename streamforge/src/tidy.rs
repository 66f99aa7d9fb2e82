//! Deletes what killed processes and old commits have left in the tables' folders.
//!
//! Owns when it is done and what is told of it. What may go is the janitor's to say (`lakehouse::janitor`).

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use lakehouse::commit::{Lakehouse, LakehouseSettings};
use lakehouse::janitor::{FILES_MAX, RETENTION_MIN, Tidied, Tidying};
use stream_processor::config::duration;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::query::Tables;
use crate::show;
use crate::tables::TablesArgs;

/// What `--help` says.
pub const LONG_ABOUT: &str = "\
Looks for files in the tables' folders that no retained snapshot, branch or tag names, and that have been there for \
the retention: what killed processes had uploaded, manifests that were folded, lists of expired snapshots. Shows \
them; with --delete they are deleted. It is safe beside running processors.

  streamforge tidy --dir streamforge-data/latest
  streamforge tidy --catalog-uri http://127.0.0.1:8182 --s3-endpoint http://127.0.0.1:9003 --delete --every 1h";

/// Looks for leftovers of a demo, or of a platform.
#[derive(Args, Clone, Debug)]
pub struct TidyArgs {
    /// Which tables.
    #[command(flatten)]
    pub tables: TablesArgs,
    /// How long a file must have been there; more than any upload takes from its begin to its commit
    #[arg(long, env = "TIDY_RETENTION", default_value = "24h", value_parser = duration, value_name = "TIME")]
    pub retention: Duration,
    /// Delete what is found
    #[arg(long)]
    pub delete: bool,
    /// Go on until stopped, looking this often
    #[arg(long, env = "TIDY_EVERY", value_parser = duration, value_name = "TIME")]
    pub every: Option<Duration>,
}

/// Shows, and deletes if asked to, what is left over in each table of the job.
///
/// # Errors
///
/// A setting is wrong, or a table can't be tidied: nothing of it is deleted then, and the others are done.
pub async fn tidy(args: TidyArgs, stop: CancellationToken) -> Result<()> {
    let settings = args.tables.settings()?;
    let tables = Tables::of(&args.tables.job()?);
    let how = Tidying::new(args.retention, FILES_MAX, args.delete).with_context(|| {
        format!("--retention must be {} h or more", RETENTION_MIN.as_secs() / 3_600)
    })?;
    loop {
        let passed = pass(&settings, &tables, &how, args.delete).await;
        let Some(every) = args.every else { return passed };
        if let Err(err) = passed {
            // What is away now may be back by the next pass.
            error!("{err:#}");
        }
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = stop.cancelled() => return Ok(()),
        }
    }
}

async fn pass(
    settings: &LakehouseSettings,
    tables: &Tables,
    how: &Tidying,
    delete: bool,
) -> Result<()> {
    let lake = Lakehouse::open(settings).await?;
    let mut failed = 0;
    for (namespace, name) in tables.names() {
        match lake.tidy(namespace, name, how).await {
            Ok(tidied) => show::line(&words(&format!("{namespace}.{name}"), &tidied, delete)),
            Err(err) => {
                failed += 1;
                error!("{namespace}.{name}: {:#}", anyhow::Error::new(err));
            }
        }
    }
    ensure!(failed == 0, "{} not tidied", show::count(failed, "table"));
    Ok(())
}

fn words(table: &str, tidied: &Tidied, delete: bool) -> String {
    let choice = &tidied.choice;
    let (files, bytes) = (choice.leftovers.len() as u64, choice.bytes());
    let done = if delete { "deleted" } else { "left over; --delete deletes them" };
    let mut text = format!(
        "{table}: {} ({} bytes) {done}; {} in use, {} too young to tell",
        show::count(files, "file"),
        show::grouped(bytes),
        show::grouped(choice.named as u64),
        show::grouped(choice.young as u64),
    );
    for (count, what) in [(choice.foreign, "of others"), (choice.beyond, "for the next pass")] {
        if count > 0 {
            text = format!("{text}, {} {what}", show::grouped(count as u64));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use lakehouse::janitor::Choice;
    use lakehouse::storage::StoredFile;

    use super::*;

    #[test]
    fn what_was_found_is_said_in_one_line() {
        let file = StoredFile { key: "k".into(), bytes: 4_000, modified_ms: 0 };
        let mut choice = Choice::default();
        (choice.named, choice.leftovers) = (1_200, vec![file]);
        let said = |choice: &Choice, delete| {
            words("ns.t", &Tidied { choice: choice.clone(), ..Tidied::default() }, delete)
        };
        assert_eq!(
            said(&choice, false),
            "ns.t: 1 file (4,000 bytes) left over; --delete deletes them; 1,200 in use, 0 too young to tell"
        );
        (choice.foreign, choice.beyond) = (2, 3);
        assert_eq!(
            said(&choice, true),
            "ns.t: 1 file (4,000 bytes) deleted; 1,200 in use, 0 too young to tell, 2 of others, 3 for the next pass"
        );
    }
}
