//! The report in Prometheus' text format.
//!
//! Owns the names, which are promises: `streamforge_<noun>_<unit>[_total]`. No label comes from a record.

use std::fmt::{Display, Write as _};

use super::health::{Facts, State};
use super::process::Size;
use super::progress::{JobProgress, TableProgress, lag, lags};
use crate::pipeline::Timestamp;

/// Everything but the counters of the job itself.
pub(super) struct Surroundings {
    pub(super) version: &'static str,
    pub(super) state: State,
    pub(super) size: Size,
    pub(super) now: Timestamp,
}

/// One page of metrics.
pub(super) fn text(facts: Facts<'_>, around: &Surroundings) -> String {
    let mut page = Page { text: String::with_capacity(8 << 10), family: "" };
    process(&mut page, around);
    records(&mut page, facts.job);
    tables(&mut page, facts, around.now);
    page.text
}

fn process(page: &mut Page, around: &Surroundings) {
    page.family("streamforge_build_info", "gauge", "the version that runs");
    page.line(&[("version", around.version)], 1);
    page.family("streamforge_ready", "gauge", "1 while /readyz says so");
    page.line(&[], u8::from(around.state.is_ready()));
    page.family("streamforge_uptime_seconds", "gauge", "since the start of the process");
    page.line(&[], around.now.as_secs_f64());
    if let Some(bytes) = around.size.rss_bytes {
        page.family("streamforge_resident_memory_bytes", "gauge", "memory of the process in RAM");
        page.line(&[], bytes);
    }
    if let Some(cpu) = around.size.cpu() {
        page.family("streamforge_cpu_seconds_total", "counter", "CPU time of the process");
        page.line(&[], cpu.as_secs_f64());
    }
}

fn records(page: &mut Page, job: &JobProgress) {
    let help = "records decoded, re-reads included";
    page.family("streamforge_records_read_total", "counter", help);
    page.line(&[], job.read);
    page.family("streamforge_records_rejected_total", "counter", "rejected records, by reason");
    for (reason, count) in &job.rejected {
        page.line(&[("reason", reason)], count);
    }
    let help = "batches dropped because another writer was first";
    page.family("streamforge_fences_total", "counter", help);
    page.line(&[], job.fenced);
}

fn tables(page: &mut Page, facts: Facts<'_>, now: Timestamp) {
    type Counter = fn(&TableProgress) -> u64;
    let counters: [(&'static str, &str, Counter); 6] = [
        ("streamforge_rows_committed_total", "rows committed", |table| table.rows),
        ("streamforge_committed_bytes_total", "bytes of data files committed", |table| table.bytes),
        (
            "streamforge_rows_selected_total",
            "rows made, committed or not, re-reads included",
            |t| t.selected,
        ),
        ("streamforge_records_filtered_total", "records that were not for the table", |table| {
            table.filtered
        }),
        ("streamforge_commits_total", "commits", |table| table.commits),
        ("streamforge_conflicts_total", "lost races with other writers", |table| table.conflicts),
    ];
    for (name, help, value) in counters {
        page.family(name, "counter", &format!("{help}, by table"));
        for table in &facts.job.tables {
            page.line(&[("table", &table.name)], value(table));
        }
    }
    let high = &facts.reader.high;
    page.family(
        "streamforge_lag_records",
        "gauge",
        "records behind the end of the topic, by table",
    );
    for table in &facts.job.tables {
        page.line(&[("table", &table.name)], lag(high, &table.position));
    }
    let help = "the same, by table and partition held";
    page.family("streamforge_partition_lag_records", "gauge", help);
    for table in &facts.job.tables {
        for (partition, lag) in lags(high, &table.position) {
            page.line(&[("table", &table.name), ("partition", &partition.to_string())], lag);
        }
    }
    let help = "since the last commit, by table";
    page.family("streamforge_last_commit_age_seconds", "gauge", help);
    for table in &facts.job.tables {
        if let Some(at) = table.last_commit {
            page.line(&[("table", &table.name)], now.saturating_sub(at).as_secs_f64());
        }
    }
    let help = "how long commits took, uploads included, by table";
    page.family("streamforge_commit_duration_seconds", "histogram", help);
    for table in &facts.job.tables {
        page.histogram(table);
    }
}

/// Text under way, one family after the other. Writing to it does not fail.
struct Page {
    text: String,
    family: &'static str,
}

impl Page {
    fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        self.family = name;
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// A sample of the family that was begun last.
    fn line(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.sample("", labels, value);
    }

    fn sample(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> =
            labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escaped(value))).collect();
        let labels =
            if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.text, "{}{suffix}{labels} {value}", self.family);
    }

    fn histogram(&mut self, table: &TableProgress) {
        let of = ("table", table.name.as_str());
        for (bound, count) in table.took.cumulative() {
            self.sample("_bucket", &[of, ("le", &bound.to_string())], count);
        }
        self.sample("_bucket", &[of, ("le", "+Inf")], table.took.count());
        self.sample("_sum", &[of], table.took.sum().as_secs_f64());
        self.sample("_count", &[of], table.took.count());
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failing test may panic")]

    use std::collections::BTreeMap;
    use std::time::Duration;

    use lakehouse::ids::{Offset, PartitionId};

    use super::super::progress::{Life, ReaderProgress};
    use super::*;

    fn page() -> String {
        let at = |offset| BTreeMap::from([(PartitionId::new(2), Offset::new(offset))]);
        let mut table = TableProgress {
            name: "shop.\"sales\"".to_owned(),
            position: at(7),
            rows: 5,
            bytes: 1_234,
            last_commit: Some(Duration::from_secs(3)),
            ..TableProgress::default()
        };
        table.took.record(Duration::from_millis(20));
        table.took.record(Duration::from_mins(1));
        let job = JobProgress {
            read: 10,
            rejected: BTreeMap::from([("empty", 2)]),
            tables: vec![table],
            ..JobProgress::default()
        };
        let reader = ReaderProgress { high: at(10), ..ReaderProgress::default() };
        let life = Life::default();
        let around = Surroundings {
            version: "9.8.7",
            state: State::Committing,
            size: Size { rss_bytes: Some(1 << 20), ..Size::default() },
            now: Duration::from_secs(5),
        };
        text(Facts { life: &life, reader: &reader, job: &job }, &around)
    }

    #[test]
    fn every_number_has_its_line() {
        let page = page();
        for line in [
            "streamforge_build_info{version=\"9.8.7\"} 1",
            "streamforge_ready 1",
            "streamforge_resident_memory_bytes 1048576",
            "streamforge_records_read_total 10",
            "streamforge_records_rejected_total{reason=\"empty\"} 2",
            "streamforge_rows_committed_total{table=\"shop.\\\"sales\\\"\"} 5",
            "streamforge_committed_bytes_total{table=\"shop.\\\"sales\\\"\"} 1234",
            "streamforge_lag_records{table=\"shop.\\\"sales\\\"\"} 3",
            "streamforge_partition_lag_records{table=\"shop.\\\"sales\\\"\",partition=\"2\"} 3",
            "streamforge_last_commit_age_seconds{table=\"shop.\\\"sales\\\"\"} 2",
            "streamforge_commit_duration_seconds_bucket{table=\"shop.\\\"sales\\\"\",le=\"0.025\"} 1",
            "streamforge_commit_duration_seconds_bucket{table=\"shop.\\\"sales\\\"\",le=\"+Inf\"} 2",
            "streamforge_commit_duration_seconds_sum{table=\"shop.\\\"sales\\\"\"} 60.02",
            "streamforge_commit_duration_seconds_count{table=\"shop.\\\"sales\\\"\"} 2",
        ] {
            assert!(page.lines().any(|found| found == line), "no `{line}` in\n{page}");
        }
    }

    #[test]
    fn every_family_is_told_once_and_before_its_samples() {
        let page = page();
        let mut family = "";
        let mut seen = Vec::new();
        for line in page.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                family = rest.split(' ').next().unwrap();
                assert!(!seen.contains(&family), "{family} twice");
                seen.push(family);
            } else if !line.starts_with('#') {
                assert!(line.starts_with(family), "{line} stands under {family}");
            }
        }
    }
}
