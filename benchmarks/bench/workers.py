"""One, two, four and eight workers on one table: how fast a backlog goes, and how often commits meet.

First the group drains a full topic of eight partitions; then events flow at a steady rate, and each worker commits once a second.
"""

import time

from e2e.compose import Failed

from . import ours, readers, tables
from .commits import identity
from .freshness import quantile
from .jobs import Job, TABLE
from .servers import poll, say

COUNTS = (1, 2, 4, 8)
PARTITIONS = 8
RATE = 20_000
LOOK_EVERY = 0.2


def measure(servers, args):
    backlog = args.events
    seconds = 20 if args.quick else 60
    topic, flowing = "many_workers", RATE * seconds
    found = {"backlog": backlog, "rate": RATE, "seconds": seconds, "partitions": PARTITIONS, "cases": {}}
    for index, count in enumerate(COUNTS):
        job = Job(servers.folder, f"workers_{count}", topic=topic)
        tables.provision(servers, job, PARTITIONS)
        if index == 0:
            say(f"loading {backlog:,} events …")
            readers.emit(servers, topic, backlog)
        # What flowed for the ones before is backlog for the next.
        events = backlog + index * flowing
        found["cases"][str(count)] = one(servers, job, count, events, flowing)
        tables.drop(job)
    tables.drop_topic(servers, topic)
    return found


def one(servers, job, count, events, flowing):
    with ours.workers(servers, job, ours.Settings(), count) as running:
        seen = poll(f"{count} workers drain {job.topic}", ours.DRAIN_SECONDS_MAX, ours.LOOK_EVERY, lambda: at(running, events),
                    "processor", "iceberg-catalog-svc")
        drained = tables.commits(servers, job).times[-1] - running.started
        before = running.sums(seen)
        emitter = readers.begin(servers, "data-emitter",
                                environment=readers.settings(job.topic, flowing, RATE, seed=readers.SEED + count))
        took = journal(running, events + flowing)
        after = running.sums(running.statuses())
    readers.finish(emitter, "data-emitter")
    rows = tables.contents(job)["rows"]
    if rows != after["rows"]:
        raise Failed(f"{rows} rows are in the table, and {after['rows']} were committed", "processor")
    commits, conflicts = (after[key] - before[key] for key in ("commits", "conflicts"))
    figures = {"events": events, "drain_seconds": drained, "events_per_second": events / drained, "rows": rows,
               "commits": commits, "conflicts": conflicts, "conflicts_per_commit": conflicts / max(1, commits),
               "commit_p50_ms": quantile(took, 0.5), "commit_p99_ms": quantile(took, 0.99)}
    say(f"{count} workers: {figures['events_per_second'] / 1e6:.2f}M events/s; {commits} commits, {conflicts} conflicts, "
        f"p99 {figures['commit_p99_ms']} ms")
    return figures


def at(running, events):
    seen = running.statuses()
    if None in seen:
        running.fail_if_ended()
    return running.position(seen) >= events and seen


def journal(running, events):
    """Milliseconds of each commit with rows, of all workers, until the table stands there."""
    took, begun = {}, time.time() * 1000
    deadline = time.monotonic() + ours.DRAIN_SECONDS_MAX
    while time.monotonic() < deadline:
        seen = running.statuses()
        for worker, status in enumerate(seen):
            for entry in status["commits"] if status else []:
                if entry["table"].endswith("." + TABLE) and entry["unix_ms"] >= begun:
                    took[worker, identity(entry)] = entry["ms"]
        if running.position(seen) >= events:
            return list(took.values())
        time.sleep(LOOK_EVERY)
    raise Failed(f"the workers stand at {running.position(seen):,} of {events:,} records", "processor")


def show(section):
    print(f"{'workers':>7} {'backlog, events/s':>18} {'commits':>8} {'conflicts':>10} {'per commit':>11} {'p50 ms':>7} {'p99 ms':>7}")
    for count, case in section["cases"].items():
        print(f"{count:>7} {case['events_per_second']:18,.0f} {case['commits']:8} {case['conflicts']:10} "
              f"{case['conflicts_per_commit']:11.3f} {case['commit_p50_ms']:7} {case['commit_p99_ms']:7}")
