//! How much of a suite is run.

use clap::ValueEnum;

/// CI has minutes for all suites, a release has hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Size {
    /// Minutes: what every change must pass.
    Ci,
    /// Hours: what a release must pass.
    Full,
}

impl Size {
    /// One of two amounts.
    pub(crate) fn of<T>(self, ci: T, full: T) -> T {
        match self {
            Self::Ci => ci,
            Self::Full => full,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        self.of("ci", "full")
    }
}
