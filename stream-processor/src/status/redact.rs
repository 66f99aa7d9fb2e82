//! Keeps secrets out of whatever is served.
//!
//! Owns the list of this process's secrets and the rules which part of a setting may be shown. A server's
//! answer may repeat a key that it was sent, so texts that came from elsewhere pass through here too.

/// What stands in a secret's place.
pub(super) const HIDDEN: &str = "<hidden>";
/// A secret of fewer bytes would blot out half of every text, and is none.
const SECRET_BYTES_MIN: usize = 3;

/// Client properties that hold no secret and are worth showing; so are all that end in a unit.
const HARMLESS: [&str; 10] = [
    "security.protocol",
    "sasl.mechanism",
    "sasl.mechanisms",
    "ssl.ca.location",
    "ssl.endpoint.identification.algorithm",
    "enable.ssl.certificate.verification",
    "client.rack",
    "broker.address.family",
    "compression.type",
    "debug",
];
/// Words in the names of properties that hold a secret.
const SECRET_WORDS: [&str; 6] = ["password", "secret", "key", "token", "jaas", "oauthbearer"];
const UNITS: [&str; 4] = [".ms", ".bytes", ".kbytes", ".messages"];

/// The secrets of one process. Without `Debug`: it would show them.
#[derive(Clone, Default)]
pub(super) struct Redactor {
    secrets: Vec<String>,
}

impl Redactor {
    /// Hides `secrets` wherever they stand.
    pub(super) fn new(secrets: impl IntoIterator<Item = String>) -> Self {
        let mut secrets: Vec<String> =
            secrets.into_iter().filter(|secret| secret.len() >= SECRET_BYTES_MIN).collect();
        // One secret may be the beginning of another.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self { secrets }
    }

    /// `text` without them.
    pub(super) fn clean(&self, text: &str) -> String {
        self.secrets.iter().fold(text.to_owned(), |text, secret| {
            if text.contains(secret.as_str()) {
                text.replace(secret.as_str(), HIDDEN)
            } else {
                text
            }
        })
    }
}

/// Whether the value of a Kafka client property may be shown. Unknown ones may hold anything.
pub(super) fn is_harmless(key: &str) -> bool {
    HARMLESS.contains(&key) || UNITS.iter().any(|unit| key.ends_with(unit))
}

/// Whether the value of a Kafka client property must not be shown anywhere, not even in another's words.
pub(super) fn is_secret(key: &str) -> bool {
    SECRET_WORDS.iter().any(|word| key.contains(word))
}

/// An address without user and password, and without what stands behind a `?` or `#`.
pub(crate) fn address(uri: &str) -> String {
    let (scheme, rest) = match uri.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), uri),
    };
    // A password may hold anything; what stands behind the last `@` is none.
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let host = host.split(['?', '#']).next().unwrap_or_default();
    format!("{scheme}{host}")
}

/// Brokers, of which librdkafka takes several; none has a password unless somebody is mistaken.
pub(crate) fn brokers(list: &str) -> String {
    if list.contains('@') { address(list) } else { list.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_replaced_wherever_they_stand() {
        let secrets = ["abc", "abcdef", "", "x"].map(str::to_owned);
        let redactor = Redactor::new(secrets);
        assert_eq!(redactor.clean("x abcdef abc."), "x <hidden> <hidden>.");
    }

    #[test]
    fn addresses_lose_what_may_be_a_password() {
        for (uri, shown) in [
            ("http://catalog:8181/a", "http://catalog:8181/a"),
            ("http://me:canary@catalog:8181", "http://catalog:8181"),
            ("http://me:can/ary@catalog:8181", "http://catalog:8181"),
            ("http://me:can?ary#@catalog:8181", "http://catalog:8181"),
            ("http://catalog?token=canary", "http://catalog"),
            ("me:canary@broker:9092", "broker:9092"),
            ("file:///data/house", "file:///data/house"),
        ] {
            assert_eq!(address(uri), shown);
        }
    }

    #[test]
    fn values_of_unknown_properties_are_hidden() {
        for key in ["sasl.password", "ssl.key.pem", "sasl.username", "sasl.oauthbearer.config", "x"]
        {
            assert!(!is_harmless(key), "{key}");
        }
        assert!(is_secret("sasl.password") && is_secret("ssl.key.pem"));
        assert!(is_harmless("security.protocol") && is_harmless("fetch.wait.max.ms"));
    }
}
