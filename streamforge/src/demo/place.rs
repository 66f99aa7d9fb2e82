//! Where a demo's tables lie.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use lakehouse::catalog::CatalogSettings;
use lakehouse::commit::LakehouseSettings;

/// The parent of folders made without `--dir`, relative to where the command was run.
const PARENT: &str = "streamforge-data";
/// Demos that it may hold.
const RUNS_MAX: u32 = 100_000;
/// Points to the newest of them.
const LATEST: &str = "latest";

/// A folder with a catalog and a warehouse.
#[derive(Clone, Debug)]
pub struct Place {
    /// As the user would type it.
    shown: PathBuf,
    root: PathBuf,
}

impl Place {
    /// An empty place: `dir`, or a new folder under `streamforge-data`.
    ///
    /// # Errors
    ///
    /// `dir` holds a catalog already, or a folder can't be made.
    pub fn new(dir: Option<&Path>) -> Result<Self> {
        let Some(dir) = dir else { return Self::numbered() };
        let place = Self::at(dir, dir)?;
        ensure!(
            !place.catalog().exists(),
            "{} holds an earlier demo, whose broker is gone; choose another --dir, or remove it",
            dir.display()
        );
        Ok(place)
    }

    /// The place of an earlier demo: `dir`, or the newest one.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn existing(dir: Option<&Path>) -> Result<Self> {
        let newest = Path::new(PARENT).join(LATEST);
        let dir = dir.unwrap_or(&newest);
        ensure!(
            dir.join("catalog.db").exists(),
            "{} holds no tables; run `streamforge demo` first, or give --dir",
            dir.display()
        );
        Self::at(dir, dir)
    }

    fn numbered() -> Result<Self> {
        let parent = Path::new(PARENT);
        std::fs::create_dir_all(parent).with_context(|| format!("{PARENT} can't be made"))?;
        let mut names = (1..=RUNS_MAX).map(|number| format!("run-{number}"));
        let name = names.find(|name| !parent.join(name).exists());
        let name = name.context("streamforge-data is full of demos; remove it")?;
        let dir = parent.join(&name);
        let place = Self::at(&dir, &dir)?;
        let link = parent.join(LATEST);
        if link.is_symlink() {
            std::fs::remove_file(&link)?;
        }
        std::os::unix::fs::symlink(&name, &link)
            .context("the link to the newest demo can't be made")?;
        Ok(place)
    }

    fn at(dir: &Path, shown: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir).with_context(|| format!("{} can't be made", dir.display()))?;
        Ok(Self { shown: shown.to_owned(), root: dir.canonicalize()? })
    }

    fn catalog(&self) -> PathBuf {
        self.root.join("catalog.db")
    }

    /// How to open it.
    pub fn lakehouse(&self) -> LakehouseSettings {
        let warehouse = format!("file://{}", self.root.join("warehouse").display());
        LakehouseSettings::new(CatalogSettings::Sqlite { path: self.catalog() }, warehouse)
    }

    /// What a person can do next.
    pub fn epilogue(&self) -> String {
        let shown = self.shown.display();
        format!(
            "The tables lie in {shown}: Avro files and Iceberg metadata in warehouse/, the catalog in catalog.db.\n\
             Ask them something:\n  \
             cargo run --release -- query --dir {shown} \"SELECT platform, count(*), sum(revenue_usd) \
             FROM processed_conversions GROUP BY platform ORDER BY 2 DESC\""
        )
    }
}
