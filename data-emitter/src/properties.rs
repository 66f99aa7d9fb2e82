//! More settings for librdkafka, as one list: `key=value[,key=value…]`.
//!
//! Owns the syntax, and the settings that nobody may change because the account
//! of deliveries stands on them. It never shows a value, nor a text that it can't
//! read: either may be a password.
//!
//! The stream processor reads the same syntax. The two share no crate;
//! `streamforge/tests/properties.rs` holds them together.

use std::fmt;
use std::str::FromStr;

/// Settings for librdkafka beside the emitter's own.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Properties(Vec<(String, String)>);

/// What nobody may change, and what to do instead.
const PROTECTED: [(&str, &str); 10] = [
    ("bootstrap.servers", "use --brokers"),
    ("metadata.broker.list", "use --brokers"),
    ("compression.type", "use --compression"),
    ("compression.codec", "use --compression"),
    ("enable.idempotence", "a retry must not write a record twice"),
    ("acks", "an acknowledged record must be on every replica"),
    ("request.required.acks", "an acknowledged record must be on every replica"),
    ("transactional.id", "the emitter writes no transactions"),
    ("delivery.report.only.error", "every record is accounted for"),
    ("dr_msg_cb", "every record is accounted for"),
];

impl Properties {
    /// Key and value of each, in the order in which they were given.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

impl FromStr for Properties {
    type Err = PropertyError;

    fn from_str(text: &str) -> Result<Self, PropertyError> {
        let mut properties = Vec::new();
        for (number, part) in (1..).zip(parts(text)) {
            let (key, value) = part.split_once('=').ok_or(PropertyError::NoPair { number })?;
            let (key, value) = (key.trim(), value.trim());
            if key.is_empty()
                || key.contains(|c: char| !c.is_ascii_alphanumeric() && !"._-".contains(c))
            {
                return Err(PropertyError::NoPair { number });
            }
            if let Some((key, hint)) = PROTECTED.iter().find(|(protected, _)| *protected == key) {
                return Err(PropertyError::Protected { key, hint });
            }
            properties.push((key.to_owned(), value.to_owned()));
        }
        Ok(Self(properties))
    }
}

/// The parts between commas. `\,` is a comma and `\\` a backslash; any other backslash is itself.
fn parts(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let escaped = character == '\\' && matches!(characters.peek(), Some(',' | '\\'));
        match (character, parts.last_mut()) {
            (',', _) | (_, None) => parts.push(String::new()),
            (_, Some(part)) if escaped => part.extend(characters.next()),
            (_, Some(part)) => part.push(character),
        }
    }
    parts.retain(|part| !part.trim().is_empty());
    parts
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(key, _)| key)).finish()
    }
}

/// Settings for librdkafka that can't be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PropertyError {
    /// Something has no key or no value.
    #[error(
        "part {number} of KAFKA_PROPERTIES is not key=value, for example linger.ms=20; \
         write `\\,` for a comma inside a value"
    )]
    NoPair {
        /// Which part, from 1.
        number: usize,
    },
    /// The emitter's account would no longer hold.
    #[error("the Kafka property `{key}` can't be set: {hint}")]
    Protected {
        /// The property.
        key: &'static str,
        /// Why, or what to use instead.
        hint: &'static str,
    },
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failing test may panic")]

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[(&str, &str)]) {
        let properties: Properties = text.parse().unwrap();
        assert_eq!(properties.iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_list_is_read_part_by_part() {
        check("", &[]);
        check(" , ", &[]);
        check("linger.ms=20", &[("linger.ms", "20")]);
        check("a.b=1, c = 2 ,", &[("a.b", "1"), ("c", "2")]);
        check("sasl.password=", &[("sasl.password", "")]);
    }

    #[test]
    fn any_value_can_be_written() {
        check("sasl.password=x=y==", &[("sasl.password", "x=y==")]);
        check(r"sasl.password=x\,y,a=1", &[("sasl.password", "x,y"), ("a", "1")]);
        check(r"a=C:\certs\ca.pem", &[("a", r"C:\certs\ca.pem")]);
        check(r"a=x\\,b=\\\,", &[("a", r"x\"), ("b", r"\,")]);
        check("ssl.ca.pem=-----BEGIN-----\nabc=\n", &[("ssl.ca.pem", "-----BEGIN-----\nabc=")]);
    }

    #[track_caller]
    fn check_refused(text: &str, hint: &str) {
        let refused = text.parse::<Properties>().unwrap_err().to_string();
        assert!(refused.contains(hint), "{refused}");
        assert!(!refused.contains("hunter2"), "{refused}");
    }

    #[test]
    fn what_is_no_pair_is_refused_by_its_number_and_not_shown() {
        check_refused("a=1,hunter2", "part 2 of KAFKA_PROPERTIES");
        check_refused("=hunter2", "part 1");
        check_refused("sasl.password=x,hunter2!=y", r"write `\,`");
    }

    #[test]
    fn what_the_account_stands_on_is_refused() {
        check_refused("acks=1", "on every replica");
        check_refused("linger.ms=5, bootstrap.servers=hunter2", "use --brokers");
    }

    #[test]
    fn values_are_never_shown() {
        let properties: Properties = "sasl.password=hunter2".parse().unwrap();
        assert_eq!(format!("{properties:?}"), r#"["sasl.password"]"#);
    }
}
