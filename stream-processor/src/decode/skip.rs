//! Which records no sink wants, told without evaluating a WHERE clause.
//!
//! Sound, not complete: a record is left out only if every sink's WHERE clause surely drops it. Derived
//! from conditions of the form `column = 'text'`; a sink without one wants every record.

use memchr::memmem::Finder;

use super::layout::{Cell, Layout, Scratch};
use crate::job::Job;

/// What the sinks ask of a record; empty when some sink takes all.
#[derive(Debug)]
pub(super) struct Skip {
    wanted: Vec<Wanted>,
}

/// What one sink asks of a record.
#[derive(Debug)]
struct Wanted {
    field: usize,
    values: Vec<String>,
    /// Each value as JSON writes it when nothing in it is escaped.
    needles: Vec<Finder<'static>>,
}

impl Skip {
    pub(super) fn new(job: &Job, layout: &Layout) -> Self {
        let wanted = job.sinks.iter().map(|sink| {
            let prefilter = sink.prefilter.as_ref()?;
            let column = job.source.columns.get(prefilter.column)?;
            let needle = |value: &String| Finder::new(&format!("\"{value}\"")).into_owned();
            Some(Wanted {
                field: layout.find(&column.name)?,
                values: prefilter.values.clone(),
                needles: prefilter.values.iter().map(needle).collect(),
            })
        });
        // One sink that takes all makes the others' wishes irrelevant.
        Self { wanted: wanted.collect::<Option<_>>().unwrap_or_default() }
    }

    /// Whether the bytes alone tell that no sink wants the record.
    ///
    /// A text that is escaped can spell a value in other bytes, so a backslash anywhere leaves it open.
    pub(super) fn by_bytes(&self, payload: &[u8]) -> bool {
        !self.wanted.is_empty()
            && memchr::memchr(b'\\', payload).is_none()
            && self
                .wanted
                .iter()
                .all(|wanted| wanted.needles.iter().all(|needle| needle.find(payload).is_none()))
    }

    /// Whether the record that was read is one that no sink wants.
    #[inline]
    pub(super) fn by_cells(&self, text: &str, cells: &[Cell], scratch: &Scratch) -> bool {
        !self.wanted.is_empty()
            && self.wanted.iter().all(|wanted| {
                let value = match cells.get(wanted.field) {
                    Some(Cell::Text { start, end }) => text.get(*start..*end),
                    Some(Cell::Unescaped { start, end }) => scratch.text.get(*start..*end),
                    _ => None,
                };
                value.is_none_or(|value| !wanted.values.iter().any(|wanted| wanted == value))
            })
    }
}
