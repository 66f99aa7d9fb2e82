"""How old an event is when a query in Trino first shows it, while events flow at a steady rate.

The shipped filter job. An event's age counts from its own time. It was visible, at the latest, to the first query that shows it,
when that query was sent; its asker knows it when the answer is there. Both are told. Trino is asked again and again without a rest,
so the first is late by one query's time at most.
"""

import bisect
import contextlib
import functools
import math
import time

from e2e import trino
from e2e.compose import Failed

from . import flink, ours, readers, tables
from .jobs import Job
from .servers import poll, say

INTERVALS = (1, 5)
RATE = 2_000
# Events of the first seconds are not counted: consumers and JVMs settle.
SETTLE_SECONDS = 10
# Of each engine's first flow, which isn't counted: a JVM compiles its code while it runs. For ours that is Trino, for Flink its own.
WARM_SECONDS = 60
# How long after the last event its row may take; more is a failure.
LAST_SECONDS_MAX = 60
PAUSE = 0.05


def measure(servers, args):
    seconds = 30 if args.quick else 120
    found = {"rate": RATE, "seconds": seconds, "partitions": args.partitions, "cases": {}}
    say("warming Trino …")
    one(servers, args, "ours_warm", 1, WARM_SECONDS, by_ours)
    for interval in INTERVALS:
        found["cases"][f"ours, {interval} s"] = one(servers, args, "ours", interval, seconds, by_ours)
    cluster = flink.Cluster(servers).start()
    by_cluster = functools.partial(by_flink, cluster)
    try:
        say("warming Flink …")
        one(servers, args, "flink_warm", 1, WARM_SECONDS, by_cluster)
        for interval in INTERVALS:
            found["cases"][f"Flink, {interval} s"] = one(servers, args, "flink", interval, seconds, by_cluster)
    finally:
        cluster.stop()
    return found


@contextlib.contextmanager
def by_ours(servers, job, interval):
    with ours.workers(servers, job, ours.Settings(interval=f"{interval}s")) as running:
        poll("a worker answers", ours.READY_SECONDS_MAX, 0.1, lambda: all(running.statuses()), "processor")
        yield


@contextlib.contextmanager
def by_flink(cluster, _servers, job, interval):
    with flink.endless(cluster, job, f"{interval} s") as number:
        poll("Flink runs the job", 60, 0.2, lambda: flink.well(cluster, number, job) == "RUNNING", *flink.SERVICES)
        yield


def one(servers, args, engine, interval, seconds, engine_of):
    """One engine at one interval, over a topic of its own."""
    name = f"fresh_{engine}_{interval}s"
    job = Job(servers.folder, name, topic=name)
    tables.provision(servers, job, args.partitions)
    events = RATE * (SETTLE_SECONDS + seconds)
    with engine_of(servers, job, interval):
        emitter = readers.begin(servers, "data-emitter", environment=readers.settings(name, events, RATE))
        looks = watch(job, SETTLE_SECONDS + seconds)
        rows = poll(f"the last rows of {name}", LAST_SECONDS_MAX, 0.5, lambda: settled(job, looks), "processor", *flink.SERVICES)
    readers.finish(emitter, "data-emitter")
    tables.drop(job)
    tables.drop_topic(servers, name)
    figures = ages(rows, looks)
    say(f"{engine}, {interval} s: visible p50 {figures['visible_p50']:.2f} s, p99 {figures['visible_p99']:.2f} s; "
        f"answered p99 {figures['answered_p99']:.2f} s")
    return figures


class Look:
    """One query: when it was sent, when it was answered, and the highest offset of each partition that it showed."""

    def __init__(self, job):
        self.sent = time.time()
        shown = trino.ask(f"SELECT kafka_partition, max(kafka_offset) FROM {job.table} GROUP BY 1").rows
        self.answered = time.time()
        self.shown = dict(shown)


def watch(job, seconds):
    looks = []
    deadline = time.monotonic() + seconds + 2
    while time.monotonic() < deadline:
        looks.append(Look(job))
        time.sleep(PAUSE)
    return looks


def settled(job, looks):
    """Every row, once nothing has come for longer than any interval."""
    looks.append(Look(job))
    quiet = looks[-1].sent - max(INTERVALS) - 2
    if any(look.shown != looks[-1].shown for look in looks if look.sent > quiet):
        return None
    return trino.ask(f"SELECT kafka_partition, kafka_offset, to_unixtime(event_ts_utc) FROM {job.table}").rows


def ages(rows, looks):
    """The rows' ages at the first look that shows each; an engine's commits make offsets of a partition visible in their order."""
    begun = min(row[2] for row in rows) + SETTLE_SECONDS
    visible, answered = [], []
    for partition in {row[0] for row in rows}:
        highest = [look.shown.get(partition, -1) for look in looks]
        for _, offset, happened in (row for row in rows if row[0] == partition):
            look = looks[bisect.bisect_left(highest, offset)]
            if happened >= begun:
                visible.append(look.sent - happened)
                answered.append(look.answered - happened)
    if not visible:
        raise Failed("no row came after the first seconds")
    took = [look.answered - look.sent for look in looks]
    return {"rows": len(visible), "looks": len(looks), "query_p50": quantile(took, 0.5)} | {
        f"{what}_{label}": quantile(values, share) for what, values in (("visible", visible), ("answered", answered))
        for label, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))}


def quantile(values, share):
    """The smallest value that is not below `share` of them."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def show(section):
    print(f"{'engine, commit interval':24} {'visible p50':>12} {'p99':>7} {'max':>7} {'answered p99':>13} {'a query':>8} {'rows':>8}")
    for name, case in section["cases"].items():
        print(f"{name:24} {case['visible_p50']:11.2f}s {case['visible_p99']:6.2f}s {case['visible_max']:6.2f}s "
              f"{case['answered_p99']:12.2f}s {case['query_p50']:7.2f}s {case['rows']:8,}")
