//! Which tables a command is about: a demo's, or a platform's.
//!
//! Owns the flags for that, and what they come to. It must never open a table.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use lakehouse::commit::LakehouseSettings;
use stream_processor::config::LakehouseArgs;
use stream_processor::job::Job;

use crate::demo::Place;
use crate::job_text::JobText;

/// Where tables are, and the job that names them.
#[derive(Args, Clone, Debug)]
pub struct TablesArgs {
    /// The folder of a demo; the newest demo's when absent and no catalog is named
    #[arg(long, env = "DEMO_DIR")]
    pub dir: Option<PathBuf>,
    /// Where the tables of a platform are.
    #[command(flatten)]
    pub lakehouse: LakehouseArgs,
    /// The job file, which names the tables; found as the demo finds it when absent
    #[arg(long, env = "JOB_FILE")]
    pub job: Option<PathBuf>,
}

impl TablesArgs {
    /// The catalog and the store.
    ///
    /// # Errors
    ///
    /// There is no demo, or a setting is missing.
    pub(crate) fn settings(&self) -> Result<LakehouseSettings> {
        if self.dir.is_none() && self.lakehouse.name_a_catalog() {
            return self.lakehouse.settings();
        }
        Ok(Place::existing(self.dir.as_deref())?.lakehouse())
    }

    /// The job.
    ///
    /// # Errors
    ///
    /// There is no job file, or it is wrong.
    pub(crate) fn job(&self) -> Result<Job> {
        JobText::load(self.job.as_deref())?.parse()
    }
}
