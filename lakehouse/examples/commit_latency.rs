//! How long a commit takes on `SQLite` and local files: `commit_latency [folder] [commits]`.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::indexing_slicing, reason = "a tool")]
#![allow(clippy::disallowed_methods, reason = "it measures time")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::time::{Duration, Instant};

use common::{request, source, spec, sqlite, starts};
use lakehouse::commit::{CommitOutcome, Lakehouse};

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1);
    let temporary = tempfile::tempdir().unwrap();
    let folder = args.next().map_or_else(|| temporary.path().to_owned(), Into::into);
    let commits: usize = args.next().map_or(1_000, |count| count.parse().unwrap());

    let begin = Instant::now();
    let lakehouse = Lakehouse::open(&sqlite(&folder)).await.unwrap();
    let opened = begin.elapsed();
    let spec = spec("latency");
    let sink = lakehouse.ensure(&spec).await.unwrap();
    let ensured = begin.elapsed();
    let mut position = sink.pin(&source(), &starts(&[(0, 0)])).await.unwrap();
    println!("opened {opened:?}, table {ensured:?}, pinned {:?}", begin.elapsed());

    let mut times = Vec::new();
    for n in 0..commits {
        let next = position.offsets().values().next().unwrap().get();
        let request = request(&sink, &spec, &[(0, next, next + 200)]).await;
        let start = Instant::now();
        let CommitOutcome::Committed(report) = sink.commit(&request).await.unwrap() else {
            panic!("nobody else is here")
        };
        times.push(start.elapsed());
        if n == 0 {
            println!("first rows in the table {:?} after the start", begin.elapsed());
        }
        if (n + 1) % 100 == 0 {
            let hundred = &times[n - 99..];
            let (p50, p99, manifests) = (part(hundred, 50), part(hundred, 99), report.manifests);
            println!("{:>6} commits: p50 {p50:?} p99 {p99:?}, {manifests} manifests", n + 1);
        }
        position = report.position;
    }
    println!("all: p50 {:?} p99 {:?}", part(&times, 50), part(&times, 99));
}

fn part(times: &[Duration], percent: usize) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times[(times.len() * percent / 100).min(times.len() - 1)]
}
