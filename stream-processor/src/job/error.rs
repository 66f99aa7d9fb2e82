//! What is wrong with a job file, where, and what to do about it.

use std::fmt;

use datafusion::sql::sqlparser::tokenizer::{Location, Span};

/// Names further apart than this many edits are not offered as the one that was meant.
const SUGGESTION_EDITS_MAX: usize = 3;

/// How much of a message, and of its hint, is shown: names and literals in it may have any length.
const SHOWN_CHARS_MAX: usize = 900;

/// The first thing in a job file that the subset does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobError {
    /// Counted from 1.
    pub line: u64,
    /// Counted from 1, in characters.
    pub column: u64,
    /// What is wrong, in lower case and without a full stop.
    pub message: String,
    /// The next step, where there is one to name.
    pub hint: Option<String>,
}

/// What the modules below return.
pub(crate) type Result<T> = std::result::Result<T, JobError>;

impl JobError {
    /// An error where `span` begins.
    pub(crate) fn at(span: Span, message: impl Into<String>) -> Self {
        Self::at_location(span.start, message)
    }

    pub(crate) fn at_location(location: Location, message: impl Into<String>) -> Self {
        // An empty span has line 0; the start of the file is the best that is known.
        let (line, column) = (location.line.max(1), location.column.max(1));
        Self { line, column, message: shortened(message.into()), hint: None }
    }

    /// Adds the next step.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(shortened(hint.into()));
        self
    }

    /// Adds the name that was probably meant, if one of `known` is close to `typed`.
    #[must_use]
    pub(crate) fn suggest<'a>(self, typed: &str, known: impl Iterator<Item = &'a str>) -> Self {
        let close = known
            .filter(|name| name.len().abs_diff(typed.len()) <= 4 * SUGGESTION_EDITS_MAX)
            .map(|name| (edits(&typed.to_lowercase(), &name.to_lowercase()), name))
            .filter(|(distance, name)| {
                *distance <= SUGGESTION_EDITS_MAX && *distance < name.chars().count()
            })
            .min();
        match close {
            Some((_, name)) => self.hint(format!("did you mean `{name}`?")),
            None => self,
        }
    }
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for JobError {}

fn shortened(text: String) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// How many characters must be added, removed or changed to turn `left` into `right`.
fn edits(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut diagonal = i;
        let mut before = i + 1;
        let mut next = vec![before];
        for (b, above) in right.iter().zip(row.iter().skip(1)) {
            before = (diagonal + usize::from(a != *b)).min(before + 1).min(above + 1);
            diagonal = *above;
            next.push(before);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}
