"""Apache Flink: a session cluster, and the same job file submitted to it.

Two ways to drain a topic. *Bounded*: the source ends where the topic ends, the job ends with its one commit, and no checkpoint
disturbs it: Flink at its fastest. *Endless*: the job file as it is, a commit at each checkpoint, as it runs in production; it is
cancelled when all rows are there.
"""

import contextlib
import re
import subprocess
import urllib.request

from e2e.compose import ROOT, Failed, run, tail

from . import tables
from .meter import Meter, forget_peak
from .servers import fetched, poll

INIT = ROOT / "stream-processor/sql-client/init.sql"
SERVICES = ["flink-job-master", "flink-worker"]
START_SECONDS_MAX = 120
SUBMIT_SECONDS_MAX = 120
DRAIN_SECONDS_MAX = 900
LOOK_EVERY = 0.1
OVER = {"FINISHED", "FAILED", "CANCELED", "SUSPENDED"}
JOB_ID = re.compile(r"Job ID: ([0-9a-f]{32})")
# What our names of the codecs are called in Iceberg's Java library; its own default is gzip, which is deflate.
CODECS = {"none": "uncompressed", "deflate": "gzip", "zstandard": "zstd"}
# No checkpoint before the end: with short ones Iceberg's sink (1.11) was seen to leave out rows of a job that ends.
NO_CHECKPOINT = "1 h"


class Cluster:
    """A job manager and a task manager with two slots, as orchestrator.flink.yml starts them."""

    def __init__(self, servers):
        self.servers = servers

    def start(self):
        self.servers.compose("up", "--detach", "--no-build", "--no-deps", *SERVICES)
        containers = [self.servers.container(service) for service in SERVICES]
        self.started = min(container.started for container in containers)
        self.ids = [container.id for container in containers]
        self.pids = [container.pid for container in containers]
        self.address = f"http://{self.servers.address('flink-job-master')}:8081"
        self.await_slots()
        return self

    def await_slots(self):
        poll("Flink's task manager has free slots", START_SECONDS_MAX, 0.2,
             lambda: (fetched(f"{self.address}/overview") or {}).get("slots-available"), *SERVICES)

    def stop(self):
        self.servers.drop(*SERVICES)

    @contextlib.contextmanager
    def frozen(self):
        """Its processes stand still meanwhile: they keep what their JVMs have compiled, and take no CPU."""
        run("docker", "pause", *self.ids)
        try:
            yield
        finally:
            run("docker", "unpause", *self.ids)
        self.await_slots()

    def jobs(self):
        """Every job it knows, by number."""
        listed = fetched(f"{self.address}/jobs/overview")
        if listed is None:
            raise Failed("Flink's job manager does not answer", *SERVICES)
        return {job["jid"]: job["state"] for job in listed["jobs"]}

    def cancel(self, number):
        request = urllib.request.Request(f"{self.address}/jobs/{number}?mode=cancel", method="PATCH")
        urllib.request.urlopen(request, timeout=10).close()
        poll("the job is cancelled", 60, 0.3, lambda: self.jobs()[number] in OVER, *SERVICES)

    def running_since(self, number):
        return fetched(f"{self.address}/jobs/{number}")["timestamps"]["RUNNING"] / 1000

    def cause(self, number):
        said = fetched(f"{self.address}/jobs/{number}/exceptions") or {}
        entries = said.get("exceptionHistory", {}).get("entries", [])
        return tail(entries[0]["stacktrace"], 200)[:3000] if entries else "no cause is told"

    @contextlib.contextmanager
    def submitted(self, job, settings, more=""):
        """Submits a job and gives its number as soon as the cluster has it; waits for the client to end at the end."""
        init = INIT.read_text() + "".join(f"SET '{key}' = '{value}';\n" for key, value in settings.items()) + more
        (self.servers.folder / f"{job.name}.init.sql").write_text(init)
        before = set(self.jobs())
        client = self.servers.begin("run", "--rm", "--no-deps", "-T", "flink-submit", "sql-client.sh",
                                    "-i", f"/jobs/{job.name}.init.sql", "-f", f"/jobs/{job.name}.sql")
        try:
            yield poll(f"Flink takes {job.name}", SUBMIT_SECONDS_MAX, LOOK_EVERY, lambda: self.arrived(before, client), *SERVICES)
            output, _ = client.communicate(timeout=SUBMIT_SECONDS_MAX)
            if client.returncode or not JOB_ID.search(output):
                raise Failed(f"the client ended with {client.returncode}:\n{tail(output, 40)}")
        except subprocess.TimeoutExpired as late:
            raise Failed(f"the client has not ended after {SUBMIT_SECONDS_MAX} s") from late
        finally:
            if client.poll() is None:
                client.kill()

    def arrived(self, before, client):
        for number in set(self.jobs()) - before:
            return number
        if client.poll():
            raise Failed(f"the client ended with {client.returncode}:\n{tail(client.stdout.read(), 40)}")
        return None


def drain_bounded(cluster, job, events, partitions, codec=None):
    """A bounded job until it ends by itself."""
    servers = cluster.servers
    tables.provision(servers, job, partitions)
    forget_peak(cluster.pids)
    settings = {"execution.checkpointing.interval": NO_CHECKPOINT}
    meter = Meter(servers, cluster.pids)
    with running(cluster, job, settings, codec_statement(job, codec)) as number:
        meter.begin()
        poll(f"Flink ends {job.name}", DRAIN_SECONDS_MAX, LOOK_EVERY, lambda: well(cluster, number, job) == "FINISHED", *SERVICES)
        used = meter.end(events)
        since = cluster.running_since(number)
    return figures(servers, job, events, since, used)


def drain_endless(cluster, job, events, partitions, rows, interval="1 s", codec=None):
    """The job as it is until `rows` are committed."""
    servers = cluster.servers
    tables.provision(servers, job, partitions)
    forget_peak(cluster.pids)
    meter = Meter(servers, cluster.pids)
    with endless(cluster, job, interval, codec) as number:
        meter.begin()
        poll(f"Flink commits {rows:,} rows of {job.name}", DRAIN_SECONDS_MAX, 0.5,
             lambda: well(cluster, number, job) and tables.reached(servers, job, rows), *SERVICES)
        used = meter.end(events)
        since = cluster.running_since(number)
    return figures(servers, job, events, since, used)


def endless(cluster, job, interval, codec=None):
    """The job file as it is, committing that often, until the caller is done with it."""
    return running(cluster, job, {"execution.checkpointing.interval": interval}, codec_statement(job, codec))


@contextlib.contextmanager
def running(cluster, job, settings, more=""):
    """A job from its submission on; cancelled at the end unless it is over."""
    with cluster.submitted(job, {"pipeline.name": job.name} | settings, more) as number:
        try:
            yield number
        finally:
            if cluster.jobs().get(number) not in OVER:
                cluster.cancel(number)


def well(cluster, number, job):
    """The job's state; a failure if it is one that no figure can come from."""
    state = cluster.jobs()[number]
    if state in ("FAILING", "FAILED", "RESTARTING", "CANCELLING", "CANCELED"):
        raise Failed(f"{job.name} is {state} on Flink: {cluster.cause(number)}", *SERVICES)
    return state


def codec_statement(job, codec):
    """Nothing for the engine's own default."""
    return f"ALTER TABLE {job.table} SET ('write.avro.compression-codec' = '{CODECS[codec]}');\n" if codec else ""


def figures(servers, job, events, since, used):
    commits = tables.commits(servers, job)
    if not commits.times:
        raise Failed(f"Flink has committed no row of {job.name}", *SERVICES)
    seconds = commits.times[-1] - since
    return {"seconds": seconds, "events_per_second": events / seconds, "first_row_seconds": commits.times[0] - since,
            "first_commit": commits.times[0], "commits": len(commits.times)} | used | tables.contents(job)
