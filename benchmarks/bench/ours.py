"""Our engine: one or more workers over a topic, from the moment when their job runs to the last committed row."""

import contextlib
import json
import time

from e2e.compose import Failed, run

from . import tables
from .meter import Meter
from .servers import fetched, inspected, poll

DRAIN_SECONDS_MAX = 600
READY_SECONDS_MAX = 60
# Until the job runs, often enough for a drain of a second; from then on as seldom as at Flink, not to be seen in its CPU.
START_LOOK_EVERY = 0.05
LOOK_EVERY = 0.1
# An endless job is watched by its tables' positions, which stand still for so long where no row passes; a bounded one tells its end.
SHIPPED_HEARTBEAT_INTERVAL = "10s"
# The last words of a worker whose job has ended.
DONE = "everything up to the end of the topic is committed"


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

    def ended(self):
        """Whether all have ended, as a bounded job does."""
        containers = inspected(*self.ids)
        if any(not container.running and container.exit_code for container in containers):
            raise Failed("a worker has failed", "processor")
        return not any(container.running for container in containers)

    def account(self):
        """CPU seconds, and the highest memory in MiB added up, by what each worker said at its end."""
        said = [json.loads(line) for one in self.ids for line in run("docker", "logs", one).stderr.splitlines() if DONE in line]
        if len(said) != len(self.ids):
            raise Failed("a worker did not say that it is done", "processor")
        return sum(line["cpu_ms"] for line in said) / 1e3, sum(line["rss_peak_bytes"] for line in said) / 2**20

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
    if job.bounded:
        environment |= {"BENCHMARK_HEARTBEAT_INTERVAL": SHIPPED_HEARTBEAT_INTERVAL}
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


def began(running):
    """Waits for the job to run. When that was: the last look at which nobody read yet."""
    unread = running.started

    def reads():
        nonlocal unread
        looked = time.time()
        seen = running.statuses()
        if running.joined(seen) or not any(seen) and running.ended():
            return True
        unread = looked
        return False

    poll("the workers read", READY_SECONDS_MAX, START_LOOK_EVERY, reads, "processor")
    return unread


def drain(servers, job, settings, events, partitions, count=1):
    """Runs workers of an endless job until the table stands at the end of the topic; what that took, and what it wrote."""
    tables.provision(servers, job, partitions)
    meter = Meter(servers)
    with workers(servers, job, settings, count, before=meter.begin) as running:
        meter.engine = running.pids
        since = began(running)

        def everything():
            seen = running.statuses()
            if None in seen:
                running.fail_if_ended()
            return running.position(seen) >= events

        poll(f"{job.name} is drained", DRAIN_SECONDS_MAX, LOOK_EVERY, everything, "processor", "iceberg-catalog-svc")
        used = meter.end(events)
    return figures(servers, job, events, running, since, used)


def drain_bounded(servers, job, settings, events, partitions, count=1):
    """Runs workers of a bounded job until each has ended by itself."""
    tables.provision(servers, job, partitions)
    meter = Meter(servers)
    with workers(servers, job, settings, count, before=meter.begin) as running:
        since = began(running)
        # A worker that has ended answers no more.
        poll(f"{job.name} ends", DRAIN_SECONDS_MAX, LOOK_EVERY, lambda: not any(running.statuses()) and running.ended(),
             "processor", "iceberg-catalog-svc")
        used = meter.end(events, running.account())
    return figures(servers, job, events, running, since, used)


def figures(servers, job, events, running, since, used):
    commits = tables.commits(servers, job)
    if not commits.times:
        raise Failed(f"{job.name} has committed no row", "processor")
    seconds = commits.times[-1] - since
    return {"seconds": seconds, "events_per_second": events / seconds, "first_row_seconds": commits.times[0] - running.started,
            "first_commit": commits.times[0], "commits": len(commits.times)} | used | tables.contents(job)
