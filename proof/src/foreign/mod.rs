//! Other writers on the same tables, while a processor commits under load.
//!
//! Owns the cases of the fault table's part *foreign*. Each either goes on, with every record once and all that is
//! foreign still there, or stops with the reason and leaves the table as the stranger made it.

mod against;
mod beside;
mod play;
mod rest;
mod trino;

use anyhow::Result;

use crate::report::Outcome;
use crate::servers::Service;
use crate::stack::{Case, StackArgs, Stage};

/// Runs every case.
///
/// # Errors
///
/// The servers are not to be had, or the harness broke.
pub(crate) fn run(args: &StackArgs) -> Result<Outcome> {
    Stage::run(&Stage::new("foreign", args, &[Service::Trino])?, CASES)
}

const CASES: &[Case<Stage>] = &[
    Case {
        name: "properties set by REST, as fast as the catalog takes them",
        run: beside::properties,
    },
    Case { name: "snapshots appended by REST", run: beside::snapshots },
    Case { name: "branch retention set by others", run: beside::retention },
    Case { name: "rows inserted by Trino", run: beside::inserts },
    Case { name: "Trino: optimize", run: beside::optimize },
    Case { name: "Trino: optimize_manifests", run: beside::optimize_manifests },
    Case { name: "Trino: expire_snapshots down to one", run: beside::expire },
    Case { name: "column added", run: beside::column_added },
    Case { name: "rolled back by REST", run: against::rolled_back },
    Case { name: "rolled back by Trino", run: against::rolled_back_by_trino },
    Case { name: "position property unset", run: against::unset },
    Case { name: "table dropped", run: against::dropped },
    Case { name: "table dropped and made again", run: against::recreated },
    Case { name: "job column dropped", run: against::column_dropped },
    Case { name: "job column renamed", run: against::column_renamed },
    Case { name: "partition spec changed", run: against::spec_changed },
    Case { name: "catalog restored from an older dump", run: against::restored },
];
