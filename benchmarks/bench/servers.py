"""The servers of a measurement: a Compose project of its own, asked by its containers' addresses.

Owns how they are started, watched and removed. Knows nothing of what is measured.
"""

import json
import os
import subprocess
import sys
import time
import urllib.request
from datetime import datetime, timezone

from e2e import trino
from e2e.compose import ROOT, Failed, run

PROJECT = "streamforge-benchmark"
FILE = "benchmarks/servers.yml"
OFFLINE = ROOT / "platform-tests/offline-images"
STAND_INS = ["rust", "maven", "kafka", "flink", "postgres", "silo", "trino"]
BASE = ["streaming-server", "minio-storage-service", "metadata-db", "iceberg-catalog-svc"]
BUILD_SECONDS_MAX = 5400
START_SECONDS_MAX = 180
QUERY_SECONDS_MAX = 900
ANSWER_SECONDS_MAX = 10
BEGUN = time.monotonic()


def say(text):
    """A line of progress, with the time since the start."""
    minutes, seconds = divmod(int(time.monotonic() - BEGUN), 60)
    print(f"{minutes:3d}:{seconds:02d}  {text}", file=sys.stderr, flush=True)


def poll(what, seconds, every, probe, *services):
    """Asks `probe` until it gives something; what it gave, or a failure with the services whose logs tell more."""
    deadline = time.monotonic() + seconds
    while True:
        found = probe()
        if found:
            return found
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not within {seconds} s", *services)
        time.sleep(every)


def fetched(address):
    """The JSON document there, or None while nobody answers."""
    try:
        with urllib.request.urlopen(address, timeout=ANSWER_SECONDS_MAX) as answer:
            return json.load(answer)
    except (OSError, ValueError):
        return None


class Container:
    """What Docker says of one container."""

    def __init__(self, facts):
        self.id = facts["Id"]
        self.pid = facts["State"]["Pid"]
        self.running = facts["State"]["Running"]
        self.exit_code = facts["State"]["ExitCode"]
        self.started = unix_time(facts["State"]["StartedAt"])
        addresses = [network["IPAddress"] for network in facts["NetworkSettings"]["Networks"].values()]
        self.address = next(filter(None, addresses), None)


def unix_time(text):
    """Seconds since 1970 of Docker's `2026-01-02T03:04:05.123456789Z`."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    moment = datetime.strptime(whole, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
    return moment.timestamp() + float(f"0.{fraction or 0}")


def inspected(*names):
    return [Container(facts) for facts in json.loads(run("docker", "inspect", *names).stdout)]


class Servers:
    """Kafka, object store, catalog and Trino, and what else a benchmark starts beside them."""

    def __init__(self, folder, official):
        self.folder = folder
        self.official = official
        self.base = ["docker", "compose", "-f", FILE]
        if not official:
            self.base += ["--env-file", OFFLINE / "images.env"]
        self.addresses = {}
        self.others = []

    def compose(self, *args, env=None, **options):
        environment = os.environ | {"BENCHMARK_FOLDER": str(self.folder)} | (env or {})
        return run(*self.base, *args, env=environment, **options)

    def begin(self, *args):
        """Starts a command and does not wait for it."""
        return subprocess.Popen([str(part) for part in [*self.base, *args]], cwd=ROOT, text=True,
                                env=os.environ | {"BENCHMARK_FOLDER": str(self.folder)},
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def build(self):
        """Every image that is built here; the layers that did not change are there already."""
        if not self.official:
            say("stand-in images …")
            run(OFFLINE / "build", *STAND_INS, seconds=BUILD_SECONDS_MAX)
        say("images of the project …")
        self.compose("build", "platform-setup", "data-emitter", "processor", "iceberg-catalog-svc", "flink-job-master",
                     "librdkafka-reader", seconds=BUILD_SECONDS_MAX)

    def start(self):
        """From nothing: whatever an earlier run left is removed."""
        self.remove()
        self.warn_of_others()
        say("Kafka, object store, catalog …")
        self.compose("up", "--detach", "--no-build", *BASE, seconds=START_SECONDS_MAX)
        for service in BASE:
            self.await_healthy(service)
        say("Trino …")
        self.compose("up", "--detach", "--no-build", "--no-deps", "query-engine")
        trino.ADDRESS = f"http://{self.address('query-engine')}:8080"
        trino.QUERY_SECONDS_MAX = QUERY_SECONDS_MAX
        poll("Trino answers", START_SECONDS_MAX, 0.5, self.trino_answers, "query-engine")

    def trino_answers(self):
        try:
            return trino.number("SELECT 1")
        except Failed:
            return None

    def warn_of_others(self):
        self.others = run("docker", "ps", "--format", "{{.Names}}").stdout.split()
        if self.others:
            say(f"WARNING: other containers run, and will disturb what is measured: {', '.join(self.others)}")

    def await_healthy(self, service):
        def healthy():
            state = json.loads(run("docker", "inspect", self.container(service).id).stdout)[0]["State"]
            if not state["Running"]:
                raise Failed(f"{service} has stopped with {state['ExitCode']}", service)
            return state.get("Health", {}).get("Status") == "healthy"
        poll(f"{service} is healthy", START_SECONDS_MAX, 0.5, healthy, service)

    def containers(self, service):
        ids = run("docker", "ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={PROJECT}",
                  "--filter", f"label=com.docker.compose.service={service}",
                  "--filter", "label=com.docker.compose.oneoff=False").stdout.split()
        return inspected(*ids) if ids else []

    def container(self, service):
        found = self.containers(service)
        if not found:
            raise Failed(f"{service} has no container", service)
        return found[0]

    def address(self, service):
        """Where a service that stays is found on this machine."""
        if service not in self.addresses:
            self.addresses[service] = self.container(service).address
        return self.addresses[service]

    def drop(self, *services):
        """Removes containers, not what they keep."""
        self.compose("--profile", "*", "rm", "--stop", "--force", *services, check=False)
        for service in services:
            self.addresses.pop(service, None)

    def remove(self):
        # Also containers that ran once: a network with somebody in it stays.
        left = run("docker", "ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={PROJECT}").stdout.split()
        if left:
            run("docker", "rm", "--force", "--volumes", *left, check=False)
        self.compose("--profile", "*", "down", "--volumes", "--remove-orphans", "--timeout", "5", check=False)
        self.addresses = {}

    def logs(self, service, lines=40):
        return self.compose("--profile", "*", "logs", "--no-color", "--tail", lines, service, check=False).stdout
