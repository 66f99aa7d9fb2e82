//! What a store's failure means, and what it said, in one line.
//!
//! Pure. It must never take a lasting fault for a passing one: who waits for a wrong key waits for ever.

use std::error::Error as StdError;
use std::fmt;

use crate::{Error, Kind};

/// S3's name for a missing object.
const NO_OBJECT: &str = "NoSuchKey";
/// How much of a server's message is worth showing.
const TEXT_CHARS_MAX: usize = 200;

/// What a store answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    status: Option<u16>,
    /// S3's name for the fault, such as `NoSuchBucket`.
    code: Option<String>,
    text: String,
}

impl Said {
    /// Reads it from an error of the client, whose own text runs over many lines.
    pub(super) fn of(err: &object_store::Error) -> Self {
        let mut text = err.to_string();
        let mut status = None;
        let mut cause: Option<&(dyn StdError + 'static)> = err.source();
        while let Some(inner) = cause {
            text = inner.to_string();
            status = status.or_else(|| {
                text.split_once("status code: ").and_then(|(_, rest)| rest.get(..3)?.parse().ok())
            });
            cause = inner.source();
        }
        Self { status, ..Self::parse(&text) }
    }

    /// Reads it from an HTTP answer.
    pub(super) fn answer(status: u16, body: &str) -> Self {
        Self { status: Some(status), ..Self::parse(body) }
    }

    fn parse(text: &str) -> Self {
        let code = element(text, "Code").map(str::to_owned);
        let text = match code {
            Some(_) => element(text, "Message").unwrap_or_default(),
            None => text,
        };
        let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
        Self { status: None, code, text: plain.take(TEXT_CHARS_MAX).collect() }
    }

    pub(super) fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }

    /// Whether an object is missing, and nothing else. An answer without a body can't say what is.
    pub(super) fn is_missing_object(&self) -> bool {
        self.status == Some(404) && (self.code.is_none() || self.is(NO_OBJECT))
    }

    /// What to do about a failure that the client has no name for, and the words for it.
    fn meaning(&self) -> Option<(Kind, &'static str, &'static str)> {
        let refused = (
            Kind::Config,
            "the object store refuses the credentials",
            "check S3_ACCESS_KEY and S3_SECRET_KEY",
        );
        Some(match (self.code.as_deref(), self.status) {
            (Some("NoSuchBucket"), _) => (
                Kind::Config,
                "the bucket is missing",
                "make it with `streamforge provision`, or correct ICEBERG_WAREHOUSE",
            ),
            (Some("RequestTimeTooSkewed"), _) => (
                Kind::Retry,
                "the object store's clock and this machine's differ too much",
                "set the clock",
            ),
            (Some("AccessDenied"), _) => (
                Kind::Config,
                "the object store's user may not do this",
                "let it read and write in the bucket",
            ),
            (Some("AuthorizationHeaderMalformed" | "PermanentRedirect"), _) => {
                (Kind::Config, "the object store is in another region", "check S3_REGION")
            }
            (_, Some(401 | 403)) => refused,
            // Some servers say so of a user that they don't know.
            (Some(_), Some(404)) if !self.is(NO_OBJECT) => (
                Kind::Config,
                "the object store knows no such user or place",
                "check S3_ACCESS_KEY, S3_ENDPOINT and ICEBERG_WAREHOUSE",
            ),
            (_, Some(400 | 405)) => (
                Kind::Config,
                "the object store does not take this request",
                "check S3_ENDPOINT, S3_REGION and ICEBERG_WAREHOUSE",
            ),
            _ => return None,
        })
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.code, self.status) {
            (Some(code), Some(status)) => write!(f, "{status} {code}: {}", self.text),
            (Some(code), None) => write!(f, "{code}: {}", self.text),
            (None, _) => f.write_str(&self.text),
        }
    }
}

/// The text of the first `<name>` of an XML document.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(text, _)| text)
}

/// The error for what `doing` says was tried at `location`.
pub(super) fn failed(doing: &str, location: &str, err: &object_store::Error) -> Error {
    let said = Said::of(err);
    if let object_store::Error::InvalidPath { .. }
    | object_store::Error::NotSupported { .. }
    | object_store::Error::NotImplemented { .. }
    | object_store::Error::UnknownConfigurationKey { .. } = err
    {
        return Error::new(Kind::Bug, doing).with("location", location).with("said", said);
    }
    refused(doing, location, &said)
}

/// The error for an answer.
pub(super) fn refused(doing: &str, location: &str, said: &Said) -> Error {
    let (kind, what, hint) = match said.meaning() {
        Some((kind, what, hint)) => (kind, Some(what), Some(hint)),
        None => (Kind::Retry, None, None),
    };
    let message = what.map_or_else(|| doing.to_owned(), |what| format!("{doing}: {what}"));
    let err = Error::new(kind, message).with("location", location).with("said", said);
    match hint {
        Some(hint) => err.advising(hint),
        None => err,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: u16, body: &str, kind: Kind, words: &[&str]) {
        let text = refused("not written", "s3://b/x", &Said::answer(status, body));
        assert_eq!(text.kind(), kind, "{text}");
        let text = text.to_string();
        assert!(!text.contains('\n'), "{text}");
        for word in words {
            assert!(text.contains(word), "`{word}` is missing in {text}");
        }
    }

    fn xml(code: &str) -> String {
        format!(
            "<?xml version=\"1.0\"?>\n<Error>\n<Code>{code}</Code><Message>so\nit is</Message></Error>"
        )
    }

    #[test]
    fn a_lasting_fault_is_named_with_what_to_do() {
        check(
            403,
            &xml("InvalidAccessKeyId"),
            Kind::Config,
            &["S3_ACCESS_KEY", "403 InvalidAccessKeyId: so it is"],
        );
        check(403, &xml("SignatureDoesNotMatch"), Kind::Config, &["S3_SECRET_KEY"]);
        check(403, "", Kind::Config, &["credentials"]);
        check(
            404,
            &xml("NoSuchBucket"),
            Kind::Config,
            &["bucket is missing", "streamforge provision"],
        );
        check(400, &xml("AuthorizationHeaderMalformed"), Kind::Config, &["S3_REGION"]);
        check(400, &xml("InvalidBucketName"), Kind::Config, &["ICEBERG_WAREHOUSE"]);
        check(404, &xml("NoSuchUser"), Kind::Config, &["S3_ACCESS_KEY"]);
        check(403, &xml("AccessDenied"), Kind::Config, &["may not do this"]);
    }

    #[test]
    fn a_passing_fault_is_tried_again() {
        check(503, &xml("SlowDown"), Kind::Retry, &["503 SlowDown: so it is"]);
        check(500, "<html>", Kind::Retry, &["<html>"]);
        check(429, "", Kind::Retry, &[]);
        check(403, &xml("RequestTimeTooSkewed"), Kind::Retry, &["clock"]);
    }
}
