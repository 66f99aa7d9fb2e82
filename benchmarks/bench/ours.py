"""Our engine: one or more workers over a topic, from the moment when their job runs to the last committed row."""

import contextlib
import time

from e2e.compose import Failed, run

from . import tables
from .meter import Meter
from .servers import fetched, inspected, poll

DRAIN_SECONDS_MAX = 600
READY_SECONDS_MAX = 60
# Often enough for a drain of a second, seldom enough not to be seen in its CPU.
LOOK_EVERY = 0.05


class Settings:
    """What a run changes about a worker; everything else is as it ships."""

    def __init__(self, codec="zstandard", interval="1s", validate="on", raw_skip="on", fetcher="own", log="info"):
        self.environment = {"BENCHMARK_AVRO_CODEC": codec, "BENCHMARK_COMMIT_INTERVAL": interval, "BENCHMARK_VALIDATE": validate,
                            "BENCHMARK_RAW_SKIP": raw_skip, "BENCHMARK_FETCHER": fetcher, "BENCHMARK_LOG": log}


class Workers:
    """Running workers of one job, in one consumer group."""

    def __init__(self, ids):
        self.ids = ids
        self.containers = inspected(*ids)
        self.started = min(container.started for container in self.containers)
        self.pids = [container.pid for container in self.containers]

    def statuses(self):
        """What each of them tells of itself; None for one that does not answer yet."""
        return [fetched(f"http://{container.address}:8084/status.json") for container in self.containers]

    def fail_if_ended(self):
        if not all(container.running for container in inspected(*self.ids)):
            raise Failed("a worker has ended", "processor")

    @staticmethod
    def joined(seen):
        """Whether any of them has been given partitions to read: what Flink calls a running job."""
        return any(status and status["reader"]["joined"] for status in seen)

    def position(self, seen):
        """Records up to which the job's first table is complete, by what any of them knows of it."""
        reached = {}
        for status in filter(None, seen):
            for table in status["job"]["tables"][:1]:
                for partition, offset in table["position"].items():
                    reached[partition] = max(offset, reached.get(partition, 0))
        return sum(reached.values())

    def sums(self, seen):
        """Counters of the job's first table, over all workers."""
        first = [status["job"]["tables"][0] for status in filter(None, seen) if status["job"]["tables"]]
        counted = {key: sum(table[key] for table in first) for key in ("rows", "commits", "conflicts")}
        return counted | {"fenced": sum(status["job"]["fenced"] for status in filter(None, seen))}


@contextlib.contextmanager
def workers(servers, job, settings, count=1, before=None):
    """Makes the containers, calls `before`, starts all of them, and stops them at the end."""
    environment = settings.environment | {"BENCHMARK_JOB": job.name}
    servers.drop("processor")
    servers.compose("up", "--no-start", "--no-build", "--no-deps", "--force-recreate", "--scale", f"processor={count}", "processor",
                    env=environment)
    ids = [container.id for container in servers.containers("processor")]
    if len(ids) != count:
        raise Failed(f"{len(ids)} workers were made, not {count}")
    if before:
        before()
    run("docker", "start", *ids)
    try:
        yield Workers(ids)
    finally:
        run("docker", "stop", "-t", "10", *ids, check=False)
        # A failure shows their logs before they go; the next run drops them.


def drain(servers, job, settings, events, partitions, count=1):
    """Runs workers until the table stands at the end of the topic; what that took, and what it wrote."""
    tables.provision(servers, job, partitions)
    meter = Meter(servers)
    with workers(servers, job, settings, count, before=meter.begin) as running:
        meter.engine = running.pids
        # The last look at which nobody read yet.
        since, runs = running.started, False

        def everything():
            nonlocal since, runs
            looked = time.time()
            seen = running.statuses()
            runs = runs or running.joined(seen)
            if not runs:
                since = looked
            if None in seen:
                running.fail_if_ended()
            return running.position(seen) >= events and seen

        seen = poll(f"{job.name} is drained", DRAIN_SECONDS_MAX, LOOK_EVERY, everything, "processor", "iceberg-catalog-svc")
        used = meter.end(events)
        counted = running.sums(seen)
    commits = tables.commits(servers, job)
    if not commits.times:
        raise Failed(f"{job.name} has committed no row", "processor")
    seconds = commits.times[-1] - since
    return {"seconds": seconds, "events_per_second": events / seconds, "first_row_seconds": commits.times[0] - running.started,
            "first_commit": commits.times[0], "commits": len(commits.times), "conflicts": counted["conflicts"]} | used | tables.contents(job)
