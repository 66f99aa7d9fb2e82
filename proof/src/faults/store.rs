//! The object store's answers: refused, hidden, lost, and true without an object.

use std::time::Duration;

use super::Case;
use super::play::{Side, Wire};
use crate::proxy::{Fault, Rule, Which};

use Fault::{CutAfter, CutBefore, Drip, Hide, Lose, Pretend, Refuse, Shorten, Twice};

const LEAST: u64 = 8;
const SHARE: f64 = 0.5;

pub(super) const CASES: &[Case] = &[
    storm("store: 503 SlowDown for 30 % of the requests", || slow_down(0.3)),
    storm("store: 503 SlowDown for 60 % of the requests", || slow_down(0.6)),
    storm("store: 503 SlowDown for 90 % of the requests", || slow_down(0.9)),
    puts("store: 500 after the object was stored", || some(Hide(500, "InternalError"))),
    puts("store: 503 after the object was stored", || some(Hide(503, "ServiceUnavailable"))),
    puts("store: reset in the middle of an upload", || some(CutBefore)),
    puts("store: reset after the object was stored", || some(CutAfter)),
    puts("store: answer lost", || some(Lose)),
    puts("store: a put is sent twice", || some(Twice)),
    puts("store: no space", || some(Refuse(507, "XMinioStorageFull"))),
    puts("store: our clock is said to be wrong", || some(Refuse(403, "RequestTimeTooSkewed"))),
    puts("store: 200 for a data file that is short", || objects(Which::PutData, Shorten)),
    puts("store: 200 for a manifest that is short", || objects(Which::PutMetadata, Shorten)),
    puts("store: 200 for a data file that is not there", || objects(Which::PutData, Pretend)),
    puts("store: 200 for a manifest that is not there", || objects(Which::PutMetadata, Pretend)),
    puts("store: slow drip", || {
        vec![Rule::some(Which::Any, SHARE, vec![Drip(Duration::from_secs(2))])]
    }),
];

const fn puts(name: &'static str, rules: fn() -> Vec<Rule>) -> Case {
    Case::wire(name, Wire { side: Side::Store, rules, least: LEAST, span: Duration::ZERO })
}

const fn storm(name: &'static str, rules: fn() -> Vec<Rule>) -> Case {
    Case::wire(name, Wire { side: Side::Store, rules, least: LEAST, span: Duration::from_secs(5) })
}

fn some(fault: Fault) -> Vec<Rule> {
    objects(Which::Put, fault)
}

fn objects(which: Which, fault: Fault) -> Vec<Rule> {
    vec![Rule::some(which, SHARE, vec![fault])]
}

fn slow_down(share: f64) -> Vec<Rule> {
    vec![Rule::some(Which::Any, share, vec![Refuse(503, "SlowDown")])]
}
