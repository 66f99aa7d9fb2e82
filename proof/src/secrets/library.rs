//! What only the library takes, not yet the command line: a catalog's token.

use anyhow::Result;
use lakehouse::catalog::CatalogSettings;
use lakehouse::commit::{Lakehouse, LakehouseSettings};
use lakehouse::storage::Secret;

use super::Watch;
use super::echo::Echo;
use super::search::{Searched, canary};
use crate::stack::{Found, must};

/// The token is refused with an answer that repeats it; neither the settings nor the error show it.
pub(super) fn token(watch: &Watch) -> Result<Found> {
    let mut searched = Searched::default();
    let mut answered = 0;
    for status in ["401 Unauthorized", "403 Forbidden", "500 Internal Server Error"] {
        let echo = Echo::start(status)?;
        let settings = LakehouseSettings {
            catalog: CatalogSettings::Rest {
                uri: echo.url(),
                warehouse: None,
                token: Some(Secret::new(canary("the catalog's token")?)),
            },
            ..watch.stage.servers.lakehouse()
        };
        searched.text("settings", &format!("{settings:?}"));
        let opened = watch.stage.runtime.block_on(Lakehouse::open(&settings));
        let Some(err) = opened.err() else { anyhow::bail!("a catalog that refuses was opened") };
        searched.text("error", &format!("{err} / {err:?}"));
        searched.text("error, with its causes", &format!("{:#}", anyhow::Error::new(err)));
        answered += echo.answered();
    }
    must(answered >= 3, || format!("only {answered} requests were repeated"))?;
    searched.found()
}
