//! The job file as text: where it is found, and the one number of it that the verifier needs.

use std::path::Path;

use anyhow::{Context, Result};
use stream_processor::job::Job;

/// Where the job file lies in a checkout.
const IN_CHECKOUT: &str = "stream-processor/sql-jobs/transform_pipeline.sql";
/// The same file as it was when this binary was built.
const BUILT_IN: &str = include_str!("../../stream-processor/sql-jobs/transform_pipeline.sql");

/// A job file.
pub(crate) struct JobText {
    name: String,
    text: String,
}

impl JobText {
    /// Reads `path`; without one, the job of the checkout, or the one built in.
    ///
    /// # Errors
    ///
    /// The file can't be read.
    pub(crate) fn load(path: Option<&Path>) -> Result<Self> {
        let (name, text) = match path {
            Some(path) => {
                let text = std::fs::read_to_string(path);
                (
                    path.display().to_string(),
                    text.with_context(|| format!("job file {}", path.display()))?,
                )
            }
            None => match std::fs::read_to_string(IN_CHECKOUT) {
                Ok(text) => (IN_CHECKOUT.to_owned(), text),
                Err(_) => ("the built-in job file".to_owned(), BUILT_IN.to_owned()),
            },
        };
        Ok(Self { name, text })
    }

    /// As it is written.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Parses and checks it.
    ///
    /// # Errors
    ///
    /// What is wrong, with line and column.
    pub(crate) fn parse(&self) -> Result<Job> {
        Job::parse(&self.text).with_context(|| self.name.clone())
    }

    /// The filter's threshold in hundredths, found in the text without the engine's parser.
    ///
    /// # Errors
    ///
    /// The text does not say `transaction_value > NUMBER`: the verifier does not know such a job.
    pub(crate) fn threshold_cents(&self) -> Result<i128> {
        let after =
            self.text.rsplit_once("transaction_value >").map(|(_, after)| after.trim_start());
        let number = after.and_then(|after| {
            let end = after.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(after.len());
            let (whole, cents) =
                after.get(..end)?.split_once('.').unwrap_or((after.get(..end)?, "0"));
            let cents: i128 = format!("{cents:0<2}").get(..2)?.parse().ok()?;
            Some(whole.parse::<i128>().ok()? * 100 + cents)
        });
        number.with_context(|| {
            format!(
                "{} does not filter by `transaction_value > NUMBER`; the verifier knows no other",
                self.name
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, cents: i128) {
        let job = JobText { name: "job".to_owned(), text: text.to_owned() };
        assert_eq!(job.threshold_cents().expect("a threshold"), cents);
    }

    #[test]
    fn the_threshold_is_read_from_the_text() {
        check("WHERE a AND transaction_value > 50;", 5_000);
        check("WHERE transaction_value > 100.5", 10_050);
        check("WHERE transaction_value >\n 0.07 AND b", 7);
    }
}
