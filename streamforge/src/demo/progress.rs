//! How far the demo is: a bar on a terminal, a line every two seconds elsewhere, a summary at the end.

#![allow(clippy::disallowed_methods, reason = "progress is told now and then")]

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use data_emitter::{Summary, Tally};
use indicatif::{ProgressBar, ProgressStyle};
use stream_processor::status::{JobProgress, Status};

use super::reasons;
use crate::show;

const REDRAW: Duration = Duration::from_millis(100);
const LINE_EVERY: Duration = Duration::from_secs(2);
const BAR: &str = "{bar:40} {percent:>3}%  {msg}";
const SPINNER: &str = "{spinner} {msg}";

/// Shows progress until the task is aborted.
pub(super) async fn show(seen: Status, total: Option<u64>, started: Instant) {
    let bar = bar(total);
    let mut told = Instant::now();
    loop {
        tokio::time::sleep(REDRAW).await;
        let job = seen.job.borrow().clone();
        if let Some(bar) = &bar {
            bar.set_position(job.read);
            bar.set_message(words(&job));
        } else if told.elapsed() >= LINE_EVERY {
            told = Instant::now();
            show::line(&format!("{:>4} s  {}", started.elapsed().as_secs(), words(&job)));
        }
    }
}

fn bar(total: Option<u64>) -> Option<ProgressBar> {
    if !std::io::stderr().is_terminal() {
        return None;
    }
    let (bar, template) = match total {
        Some(total) => (ProgressBar::new(total), BAR),
        None => (ProgressBar::new_spinner(), SPINNER),
    };
    Some(bar.with_style(ProgressStyle::with_template(template).ok()?))
}

fn words(job: &JobProgress) -> String {
    let rows = job.tables.first().map_or(0, |table| table.rows);
    let commits: u64 = job.tables.iter().map(|table| table.commits).sum();
    let rejected: u64 = job.rejected.values().sum();
    format!(
        "{} read, {} committed in {}, {} rejected",
        show::grouped(job.read),
        show::count(rows, "row"),
        show::count(commits, "commit"),
        show::grouped(rejected)
    )
}

/// What was done, and at what cost.
pub(super) fn summary(seen: &Status, sent: &Summary, started: Instant) {
    let job = seen.job.borrow().clone();
    let took = started.elapsed().as_secs_f64();
    show::line(&format!("{}; {took:.1} s since the start", words(&job)));
    if !job.rejected.is_empty() {
        show::line(&format!("rejected: {}", reasons(&job.rejected)));
    }
    let first = job.tables.first().and_then(|table| table.first_commit);
    if let Some(first) = first {
        show::line(&format!("first row committed {:.2} s after the start", first.as_secs_f64()));
    }
    if let Some(faults) = faults(&sent.sent) {
        show::line(&format!("emitted on purpose: {faults}"));
    }
    if let Some(peak) = peak_memory_mib() {
        show::line(&format!("peak memory of the whole process: {peak} MiB"));
    }
}

/// What the emitter was told to do wrong, counted.
fn faults(sent: &Tally) -> Option<String> {
    let strange =
        [(sent.late, "late"), (sent.duplicates, "sent twice"), (sent.out_of_order, "out of order")];
    let broken = sent.faults.iter().map(|(fault, count)| (*count, fault.as_str().to_owned()));
    let parts: Vec<String> = strange
        .into_iter()
        .map(|(count, name)| (count, name.to_owned()))
        .chain(broken)
        .filter(|(count, _)| *count > 0)
        .map(|(count, name)| format!("{} {name}", show::grouped(count)))
        .collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// `VmHWM` of proc(5): the largest resident set so far.
fn peak_memory_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024)
}
