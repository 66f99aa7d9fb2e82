"""Whether commits get slower as they become many.

Every row is written while events flow, and commits follow each other as closely as they can: a commit takes its upload, its manifests
and one swap at the catalog. The processor's own journal says how long each took; it is asked often enough to miss none.
"""

import time

from e2e.compose import Failed, run

from . import ours, readers, tables
from .freshness import quantile
from .jobs import Job, TABLE
from .servers import say

COMMITS = 10_000
COMMITS_QUICK = 1_000
# A part of as many, to another table, comes first and isn't counted: a new catalog's JVM takes twice as long for a commit, and
# getting quicker it would hide that the table makes commits slower.
WARM_PART = 5
# Events per second: each commit has rows, and none is held up by their number.
RATE = 2_000
SECONDS_MAX = 3_600
# The journal remembers fifty commits of all tables.
LOOK_EVERY = 0.2
HUNDRED = 100
# Points of the plot.
STEPS = 50


def measure(servers, args):
    wanted = args.commits or (COMMITS_QUICK if args.quick else COMMITS)
    say("warming the catalog …")
    one(servers, args, "commits_warm", max(1, wanted // WARM_PART))
    return one(servers, args, "many_commits", wanted)


def one(servers, args, name, wanted):
    """So many commits to a table of their own."""
    job = Job(servers.folder, name, "every-row", topic=name)
    tables.provision(servers, job, args.partitions)
    with ours.workers(servers, job, ours.Settings(interval="10ms", log="warn")) as running:
        emitter = readers.begin(servers, "data-emitter", environment=readers.settings(job.topic, RATE * SECONDS_MAX, RATE))
        took = listen(running, wanted)
        counted = running.sums(running.statuses())
        rows = counted["rows"]
    run("docker", "rm", "--force", emitter, check=False)
    kept = tables.contents(job)
    if kept["rows"] < rows:
        raise Failed(f"{kept['rows']} rows are in the table, and {rows} were committed", "processor")
    tables.drop(job)
    tables.drop_topic(servers, job.topic)
    first, last = took[:HUNDRED], took[-HUNDRED:]
    return {"commits": len(took), "rows": kept["rows"], "files": kept["files"], "conflicts": counted["conflicts"],
            "first_hundred": percentiles(first), "last_hundred": percentiles(last), "all": percentiles(took),
            "p99_last_to_first": quantile(last, 0.99) / max(1, quantile(first, 0.99)), "course": course(took)}


def listen(running, wanted):
    """Milliseconds of each commit of the job's table, in their order."""
    took, seen, deadline, told = [], set(), time.monotonic() + SECONDS_MAX, 0
    while len(took) < wanted:
        status = running.statuses()[0]
        if status is None:
            running.fail_if_ended()
        else:
            entries = [entry for entry in status["commits"] if entry["table"].endswith("." + TABLE)]
            new = [entry for entry in reversed(entries) if identity(entry) not in seen]
            seen.update(map(identity, new))
            took += [entry["ms"] for entry in new]
            made = status["job"]["tables"][0]["commits"] if status["job"]["tables"] else 0
            if made > len(took) + 1:
                raise Failed(f"{made} commits were made and {len(took)} heard of: the journal is too short for this machine")
        if len(took) >= told + 1_000:
            told += 1_000
            say(f"{len(took):,} of {wanted:,} commits, the last hundred p99 {quantile(took[-HUNDRED:], 0.99)} ms")
        if time.monotonic() > deadline:
            raise Failed(f"only {len(took)} commits in {SECONDS_MAX} s", "processor", "iceberg-catalog-svc")
        time.sleep(LOOK_EVERY)
    return took


def identity(entry):
    """A worker makes one commit of a table after the other."""
    return entry["unix_ms"], entry["snapshot"]


def percentiles(took):
    return {"p50_ms": quantile(took, 0.5), "p99_ms": quantile(took, 0.99), "max_ms": max(took)}


def course(took):
    """The whole in steps: how many commits there were then, their median and their 99th percentile."""
    step = max(1, len(took) // STEPS)
    parts = [took[at:at + step] for at in range(0, len(took) - step + 1, step)]
    return [{"commits": (index + 1) * step, "p50_ms": quantile(part, 0.5), "p99_ms": quantile(part, 0.99)}
            for index, part in enumerate(parts)]


def show(section):
    print(f"{section['commits']:,} commits, {section['rows']:,} rows, {section['files']:,} files")
    for name in ("first_hundred", "last_hundred", "all"):
        figures = section[name]
        print(f"{name.replace('_', ' '):14} p50 {figures['p50_ms']:5} ms   p99 {figures['p99_ms']:5} ms   max {figures['max_ms']:5} ms")
    print(f"p99, last hundred ÷ first hundred: {section['p99_last_to_first']:.2f}")
