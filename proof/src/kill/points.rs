//! Every fault point by name, and when it is passed.
//!
//! A run arms each of them; one that did not fire fails the run. The names are compared with the sources, so that
//! none is forgotten here.

/// When a process passes a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// At every start.
    Start,
    /// When the tables are made, once each.
    Made,
    /// When a table that is there lacks a column of the job.
    Evolved,
    /// All the time.
    Running,
    /// When another process writes the same partitions.
    Rivals,
    /// When a consumer group shares the topic anew.
    Group,
    /// After SIGTERM.
    Stopping,
    /// Over a REST catalog only: the suites on real servers arm it.
    Rest,
}

/// A place where a process can be made to die.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Point {
    pub(crate) name: &'static str,
    pub(crate) when: When,
    /// Whether a process that only commits passes it, too.
    pub(crate) committer: bool,
}

const fn of(name: &'static str, when: When) -> Point {
    Point { name, when, committer: false }
}

const fn also_committer(name: &'static str, when: When) -> Point {
    Point { name, when, committer: true }
}

/// All of them, in the order in which a process meets them.
pub(crate) const POINTS: [Point; 37] = [
    of("start.topic-seen", When::Start),
    also_committer("ensure.created", When::Made),
    of("ensure.evolved", When::Evolved),
    of("start.tables-open", When::Start),
    also_committer("pin.published", When::Made),
    of("start.pinned", When::Start),
    of("rebalance.assigned", When::Group),
    of("reader.polled", When::Running),
    of("worker.decoded", When::Running),
    of("assembler.appended", When::Running),
    of("assembler.sealed", When::Running),
    of("assembler.heartbeat", When::Running),
    also_committer("upload.before", When::Running),
    also_committer("upload.after", When::Running),
    also_committer("commit.read", When::Running),
    also_committer("commit.decided", When::Running),
    also_committer("commit.folded", When::Running),
    also_committer("commit.manifest-written", When::Running),
    also_committer("commit.list-written", When::Running),
    also_committer("commit.before-publish", When::Running),
    also_committer("publish.sqlite.metadata-written", When::Running),
    also_committer("publish.sqlite.swapped", When::Running),
    also_committer("publish.sqlite.cleaned", When::Running),
    of("publish.rest.sent", When::Rest),
    of("publish.rest.answered", When::Rest),
    also_committer("commit.after-200", When::Running),
    of("commit.told-assembler", When::Running),
    of("group.before-offset-commit", When::Running),
    also_committer("commit.conflict", When::Rivals),
    also_committer("commit.fenced", When::Rivals),
    of("rewind.reload", When::Rivals),
    of("rewind.seek", When::Rivals),
    of("rebalance.revoked", When::Group),
    of("rebalance.settled", When::Group),
    of("stop.signalled", When::Stopping),
    of("stop.flushed", When::Stopping),
    of("stop.closed", When::Stopping),
];

/// Those that are passed then.
pub(crate) fn when(when: When) -> impl Iterator<Item = &'static str> {
    POINTS.iter().filter(move |point| point.when == when).map(|point| point.name)
}

/// Those where a frozen process may wake as a zombie: something of it is on its way, or it believes that it
/// holds partitions.
pub(crate) const DANGEROUS: [&str; 13] = [
    "worker.decoded",
    "assembler.sealed",
    "upload.before",
    "upload.after",
    "commit.read",
    "commit.decided",
    "commit.manifest-written",
    "commit.list-written",
    "commit.before-publish",
    "publish.sqlite.metadata-written",
    "publish.sqlite.swapped",
    "commit.after-200",
    "group.before-offset-commit",
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failing test may panic")]

    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    fn named_in(folder: &Path, names: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                named_in(&path, names);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let after = text.split("faults::point(\"").skip(1);
                names.extend(after.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
            }
        }
    }

    #[test]
    fn the_list_names_exactly_the_points_of_the_sources() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut found = Vec::new();
        for source in ["lakehouse/src", "stream-processor/src"] {
            named_in(&root.join(source), &mut found);
        }
        let distinct: BTreeSet<&str> = found.iter().map(String::as_str).collect();
        let listed: BTreeSet<&str> = POINTS.iter().map(|point| point.name).collect();
        assert_eq!(distinct, listed);
        assert_eq!(listed.len(), POINTS.len(), "a name is listed twice");
        assert_eq!(found.len(), POINTS.len(), "two places share a name");
        assert!(DANGEROUS.iter().all(|name| listed.contains(name)));
    }
}
