//! What can be typed, and the checked settings it becomes.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use lakehouse::commit::LakehouseSettings;
use lakehouse::ids::{Offset, PartitionId};
use stream_processor::config::{KafkaArgs, LakehouseArgs, duration};
use stream_processor::job::Job;
use stream_processor::kafka::ConsumerSettings;

use super::cluster;
use crate::job_text::JobText;
use crate::verify::Offsets;

/// What `lend --help` says.
pub const LEND_ABOUT: &str = "\
Hands the job's tables to Apache Flink, and writes the statement by which Flink goes on where they stand.

From then on our processors are refused by these tables, also one that still runs. The statement declares the \
job's source with start offsets, as a temporary table that hides the one of the job file: run it before the job \
file, which stays as it is. Run this before each start of the Flink job, the first and every other: where \
Flink has written, the position is worked out from the rows.

Exit code: 0 when Flink may start, or runs already; 64 for a wrong setting or job file, 1 for anything else.";

/// What `adopt --help` says.
pub const ADOPT_ABOUT: &str = "\
Takes the job's tables back from Apache Flink: records where they stand, so that our processors go on there.

The Flink job must have ended: nothing can keep its late commit out. With --flink its cluster is asked. The \
position is worked out from the rows: behind the last one of each partition, and nowhere before the position \
that was recorded when the tables were lent. Records behind it that Flink had read made no rows, and are read again. \
--position names it instead, for tables without partition and offset columns, and where retention has \
deleted such records; it is refused where the table holds a row at or behind it.

Exit code: 0 when the tables are ours, 64 for a wrong setting or job file, 1 for anything else.";

/// Where the job, its topic and its tables are.
#[derive(Args, Clone, Debug)]
pub struct PositionArgs {
    /// The job file
    #[arg(long, env = "JOB_FILE")]
    pub job: Option<PathBuf>,
    /// Where Kafka is.
    #[command(flatten)]
    pub kafka: KafkaArgs,
    /// Where the tables are.
    #[command(flatten)]
    pub lakehouse: LakehouseArgs,
    /// How long servers may take to answer, and a cluster to become idle
    #[arg(long, env = "HANDOVER_WAIT", default_value = "120s", value_parser = duration, value_name = "TIME")]
    pub wait: Duration,
}

/// Hands tables to Flink.
#[derive(Args, Clone, Debug)]
pub struct LendArgs {
    /// Where everything is.
    #[command(flatten)]
    pub place: PositionArgs,
    /// Flink's REST address, such as `http://flink-job-master:8081`
    #[arg(long, env = "FLINK_URL", value_name = "URL")]
    pub flink: Option<String>,
    /// The file for Flink's statement; standard output when absent
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Takes tables back from Flink.
#[derive(Args, Clone, Debug)]
pub struct AdoptArgs {
    /// Where everything is.
    #[command(flatten)]
    pub place: PositionArgs,
    /// Flink's REST address; asked, so that no job writes any more
    #[arg(long, env = "FLINK_URL", value_name = "URL")]
    pub flink: Option<String>,
    /// The next offset of every partition, such as `0:4711,1:4699`
    #[arg(long, value_name = "OFFSETS")]
    pub position: Option<Named>,
}

/// Offsets as an operator types them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named(Offsets);

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut offsets = Offsets::new();
        for part in text.split(',') {
            let numbers = part.trim().split_once(':').and_then(|(partition, offset)| {
                Some((partition.parse().ok()?, offset.parse().ok()?))
            });
            let Some((partition @ 0.., offset @ 0..)) = numbers else {
                return Err(format!("`{part}` is not PARTITION:OFFSET; say it like 0:4711,1:4699"));
            };
            if offsets.insert(PartitionId::new(partition), Offset::new(offset)).is_some() {
                return Err(format!("partition {partition} stands there twice"));
            }
        }
        Ok(Self(offsets))
    }
}

/// The settings, checked.
pub struct Plan {
    pub(super) job: Job,
    pub(super) consumer: ConsumerSettings,
    pub(super) lakehouse: LakehouseSettings,
    /// Its address, for people.
    pub(super) catalog: String,
    pub(super) wait: Duration,
}

/// The settings of `lend`, checked.
pub struct Lending {
    pub(super) plan: Plan,
    pub(super) flink: Option<String>,
    pub(super) out: Option<PathBuf>,
}

/// The settings of `adopt`, checked.
pub struct Adoption {
    pub(super) plan: Plan,
    pub(super) flink: Option<String>,
    pub(super) position: Option<Offsets>,
}

impl PositionArgs {
    /// Checks what was typed, and the job file. Touches no server.
    ///
    /// # Errors
    ///
    /// What is wrong, and the setting to change.
    pub fn check(&self) -> Result<Plan> {
        let job = JobText::load(self.job.as_deref())?.parse()?;
        Ok(Plan {
            consumer: self.kafka.settings(&job.source)?,
            lakehouse: self.lakehouse.settings()?,
            catalog: format!("the catalog at {}", self.lakehouse.catalog_uri()),
            wait: self.wait,
            job,
        })
    }
}

impl LendArgs {
    /// Checks what was typed, and the job file. Touches no server.
    ///
    /// # Errors
    ///
    /// What is wrong, and the setting to change.
    pub fn check(&self) -> Result<Lending> {
        let (plan, flink) = (self.place.check()?, checked(self.flink.as_ref())?);
        Ok(Lending { plan, flink, out: self.out.clone() })
    }
}

impl AdoptArgs {
    /// Checks what was typed, and the job file. Touches no server.
    ///
    /// # Errors
    ///
    /// What is wrong, and the setting to change.
    pub fn check(&self) -> Result<Adoption> {
        let (plan, flink) = (self.place.check()?, checked(self.flink.as_ref())?);
        Ok(Adoption { plan, flink, position: self.position.clone().map(|named| named.0) })
    }
}

fn checked(url: Option<&String>) -> Result<Option<String>> {
    let url = url.filter(|url| !url.is_empty());
    url.map(|url| cluster::host(url).map(|_| url.clone())).transpose()
}

#[cfg(test)]
mod tests {
    use super::super::shown;
    use super::*;

    #[test]
    fn offsets_are_typed_as_they_are_shown() {
        let named: Named = "1:5, 0:42".parse().expect("offsets");
        assert_eq!(shown(&named.0), "0:42,1:5");
        for wrong in ["", "0", "0:", "0:-1", "-1:0", "0:1,0:2", "a:1", "0:1;1:2"] {
            assert!(wrong.parse::<Named>().is_err(), "{wrong}");
        }
    }
}
