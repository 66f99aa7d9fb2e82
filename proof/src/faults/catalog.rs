//! The catalog's answers: refused, hidden, lost, late, doubled and malformed.

use std::time::Duration;

use super::Case;
use super::play::{Side, Wire};
use crate::proxy::{Fault, Rule, Until, Which};

use Fault::{CutAfter, CutBefore, Drip, Garble, Hide, Late, Lose, Refuse, Truncate, Twice};

/// How many faults a case needs: enough for both tables, retries included.
const LEAST: u64 = 8;
/// The share of the requests that meet them.
const SHARE: f64 = 0.7;

/// A table that is none, in a body that is JSON.
pub(super) const OTHER_JSON: &str =
    r#"{"metadata-location":"s3://lakehouse/x.json","metadata":{}}"#;

pub(super) const CASES: &[Case] = &[
    commits("catalog: 409 before the commit", || often(Refuse(409, "CommitFailedException"))),
    commits("catalog: 409 after the commit was applied", || {
        often(Hide(409, "CommitFailedException"))
    }),
    commits("catalog: 500 before the commit", || often(Refuse(500, "InternalServerError"))),
    commits("catalog: 500 after the commit was applied", || {
        often(Hide(500, "CommitStateUnknownException"))
    }),
    commits("catalog: 502 after the commit was applied", || often(Hide(502, "BadGateway"))),
    commits("catalog: 503 before the commit", || often(Refuse(503, "ServiceUnavailable"))),
    commits("catalog: 503 after the commit was applied", || often(Hide(503, "ServiceUnavailable"))),
    commits("catalog: 504 after the commit was applied", || often(Hide(504, "GatewayTimeout"))),
    commits("catalog: 429 before the commit", || often(Refuse(429, "TooManyRequests"))),
    commits("catalog: 401 before the commit", || often(Refuse(401, "NotAuthorized"))),
    commits("catalog: 401 after the commit was applied", || often(Hide(401, "NotAuthorized"))),
    commits("catalog: 419 before the commit", || often(Refuse(419, "AuthenticationTimeout"))),
    commits("catalog: reset before the commit", || often(CutBefore)),
    commits("catalog: reset after the commit was applied", || often(CutAfter)),
    commits("catalog: answer lost", || often(Lose)),
    commits("catalog: applied 300 ms after the reset", || {
        often(Late(Until::Passed(Duration::from_millis(300))))
    }),
    commits("catalog: applied after the table was read again", || often(Late(Until::Read))),
    commits("catalog: sent twice", || often(Twice)),
    commits("catalog: truncated 200", || often(Truncate)),
    commits("catalog: 200 that is no JSON", || often(Garble("all is well"))),
    commits("catalog: 200 of another JSON", || often(Garble(OTHER_JSON))),
    reads("catalog: reads cut in the middle", || reading(Truncate)),
    reads("catalog: reads answered with no JSON", || reading(Garble("<html>moved</html>"))),
    reads("catalog: reads answered with another JSON", || reading(Garble(OTHER_JSON))),
    reads("catalog: reads answered 500, 429 and 401", || {
        let faults = vec![
            Refuse(500, "InternalServerError"),
            Refuse(429, "TooManyRequests"),
            Refuse(401, "NotAuthorized"),
        ];
        vec![Rule::some(Which::Load, SHARE, faults)]
    }),
    reads("catalog: slow drip", || {
        vec![Rule::some(Which::Any, SHARE, vec![Drip(Duration::from_secs(2))])]
    }),
    storm("catalog: 503 for 30 % of the requests", || unavailable(0.3)),
    storm("catalog: 503 for 60 % of the requests", || unavailable(0.6)),
    storm("catalog: 503 for 90 % of the requests", || unavailable(0.9)),
];

const fn commits(name: &'static str, rules: fn() -> Vec<Rule>) -> Case {
    Case::wire(name, Wire { side: Side::Catalog, rules, least: LEAST, span: Duration::ZERO })
}

/// There are fewer reads than commits: only what did not go well is read again.
const fn reads(name: &'static str, rules: fn() -> Vec<Rule>) -> Case {
    Case::wire(name, Wire { side: Side::Catalog, rules, least: LEAST, span: Duration::ZERO })
}

const fn storm(name: &'static str, rules: fn() -> Vec<Rule>) -> Case {
    Case::wire(
        name,
        Wire { side: Side::Catalog, rules, least: LEAST, span: Duration::from_secs(5) },
    )
}

fn often(fault: Fault) -> Vec<Rule> {
    vec![Rule::some(Which::Commit, SHARE, vec![fault])]
}

fn reading(fault: Fault) -> Vec<Rule> {
    vec![Rule::some(Which::Load, SHARE, vec![fault])]
}

fn unavailable(share: f64) -> Vec<Rule> {
    vec![Rule::some(Which::Any, share, vec![Refuse(503, "ServiceUnavailable")])]
}
