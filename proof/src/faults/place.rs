//! A processor that sees another host than ours: a small disk, or names of its own.
//!
//! Owns the name spaces. Nothing of this machine is changed, and no right is needed beyond those of a user who may
//! make user name spaces.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use lakehouse::catalog::CatalogSettings;
use lakehouse::commit::{Lakehouse, LakehouseSettings};

use super::play::Play;

/// Bytes of the small disk.
const DISK: &str = "size=32m";
/// What the ballast grows by.
const PIECE: usize = 64 << 10;

/// The start of a command in name spaces of its own; what follows is what it becomes.
const APART: [&str; 4] = ["unshare", "--user", "--map-root-user", "--mount"];

/// A disk of its own for a catalog and its tables.
pub(super) struct Disk {
    /// The same path on both sides: what the processor writes there is copied to here.
    path: PathBuf,
}

impl Disk {
    /// Has `play`'s processor put its tables on a small disk.
    pub(super) fn give(play: &mut Play<'_>) -> Result<Self> {
        let path = std::path::absolute(play.scene.folder())?.join("disk");
        std::fs::create_dir_all(&path)?;
        let disk = Self { path };
        let mount = format!(r#"mount -t tmpfs -o {DISK} none "$0" && exec "$@""#);
        let shown = disk.path.display().to_string();
        let words = [&APART[..], &["sh", "-c", &mount, &shown]].concat();
        let (catalog, warehouse) = (disk.inside("catalog.db"), disk.inside("warehouse"));
        play.spawn = play
            .spawn
            .clone()
            .flag("--catalog-uri", format!("sqlite://{catalog}"))
            .flag("--warehouse", format!("file://{warehouse}"))
            .behind(&words);
        Ok(disk)
    }

    fn inside(&self, name: &str) -> String {
        self.path.join(name).display().to_string()
    }

    /// The disk as the processor sees it, from here.
    fn seen_from_here(&self, pid: u32) -> Result<PathBuf> {
        let root = Path::new("/proc").join(pid.to_string()).join("root");
        Ok(root.join(self.path.strip_prefix("/")?))
    }

    /// Leaves no byte free.
    pub(super) fn fill(&self, pid: u32) -> Result<()> {
        let path = self.seen_from_here(pid)?.join("ballast");
        let mut ballast = File::create(&path).with_context(|| path.display().to_string())?;
        let mut piece = PIECE;
        while piece > 0 {
            match ballast.write(&vec![0; piece]) {
                Ok(_) => {}
                Err(err) if err.kind() == ErrorKind::StorageFull => piece /= 2,
                Err(err) => return Err(err.into()),
            }
        }
        Ok(())
    }

    /// Gives the space back.
    pub(super) fn clear(&self, pid: u32) -> Result<()> {
        Ok(std::fs::remove_file(self.seen_from_here(pid)?.join("ballast"))?)
    }

    /// Copies what is on it, while nobody writes, and has `play` look at the copy.
    pub(super) fn copy(&self, play: &mut Play<'_>) -> Result<()> {
        let from = self.seen_from_here(play.processor()?.pid())?;
        play.processor()?.freeze()?;
        let copied = Command::new("cp").arg("-a").arg(from.join(".")).arg(&self.path).status();
        play.processor()?.thaw()?;
        ensure!(copied?.success(), "the disk was not copied");
        let catalog = CatalogSettings::Sqlite { path: self.path.join("catalog.db") };
        let settings =
            LakehouseSettings::new(catalog, format!("file://{}", self.inside("warehouse")));
        play.scene.lake = play.scene.runtime.block_on(Lakehouse::open(&settings))?;
        Ok(())
    }
}

/// A file of host names of its own.
pub(super) struct Names {
    path: PathBuf,
}

impl Names {
    /// Has `play`'s processor know no names but those that are added.
    pub(super) fn give(play: &mut Play<'_>) -> Result<Self> {
        let path = std::path::absolute(play.scene.folder())?.join("hosts");
        std::fs::write(&path, "127.0.0.1 localhost\n")?;
        let shown = path.display().to_string();
        let mount = r#"mount --bind "$0" /etc/hosts && exec "$@""#;
        let words = [&APART[..], &["sh", "-c", mount, &shown]].concat();
        play.spawn = play.spawn.clone().behind(&words);
        Ok(Self { path })
    }

    /// From now on these names mean this machine.
    pub(super) fn add(&self, names: &[&str]) -> Result<()> {
        let mut file = OpenOptions::new().append(true).open(&self.path)?;
        for name in names {
            writeln!(file, "127.0.0.1 {name}")?;
        }
        Ok(())
    }
}
