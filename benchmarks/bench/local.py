"""Our processor alone, as processes of this machine: no Docker, one Kafka broker from Maven Central's jars, SQLite and files.

For work on the processor: a run takes a minute, and a profiler sees the processes. Nothing here is compared with another engine.
"""

import json
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

from e2e.compose import ROOT

from .jobs import SHIPPED as JOB
from .jobs import TOPIC, WHERE
from .meter import cpu_seconds, peak_rss_mib
from .servers import fetched, say

CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "streamforge"
DRAIN_SECONDS_MAX = 300
BROKER_SECONDS_MAX = 60


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Kafka:
    """One broker in a folder of its own; gone when the run ends."""

    def __init__(self, folder):
        self.folder = folder
        self.address = f"127.0.0.1:{free_port()}"
        self.jars = CACHE / "kafka-4.3.1"
        self.process = None

    def java(self, *args):
        return ["java", "-cp", f"{self.jars}/*", *args]

    def start(self, partitions):
        if not any(self.jars.glob("kafka_2.13-*.jar")):
            say("fetching Kafka's jars …")
            subprocess.run(
                ["mvn", "-B", "-q", "-f", ROOT / "benchmarks/kafka/pom.xml", "dependency:copy-dependencies",
                 "-DincludeScope=runtime", f"-DoutputDirectory={self.jars}"], check=True)
        controller = f"127.0.0.1:{free_port()}"
        settings = self.folder / "server.properties"
        settings.write_text(f"""process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{controller}
listeners=PLAINTEXT://{self.address},CONTROLLER://{controller}
advertised.listeners=PLAINTEXT://{self.address}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={self.folder}/log
auto.create.topics.enable=false
offsets.topic.replication.factor=1
""")
        log = open(self.folder / "broker.log", "w")
        made = subprocess.run(self.java("kafka.tools.StorageTool", "random-uuid"),
                              check=True, capture_output=True, text=True).stdout.split()[-1]
        subprocess.run(self.java("kafka.tools.StorageTool", "format", "-t", made, "-c", str(settings)),
                       check=True, stdout=log, stderr=log)
        self.process = subprocess.Popen(
            self.java("-Xms1g", "-Xmx1g", "kafka.Kafka", str(settings))[:1] + ["-Xms1g", "-Xmx1g", "-cp",
            f"{self.jars}/*", "kafka.Kafka", str(settings)], stdout=log, stderr=log)
        deadline = time.monotonic() + BROKER_SECONDS_MAX
        create = self.java("org.apache.kafka.tools.TopicCommand", "--bootstrap-server", self.address, "--create",
                           "--topic", TOPIC, "--partitions", str(partitions), "--replication-factor", "1")
        while subprocess.run(create, stdout=log, stderr=log).returncode:
            if time.monotonic() > deadline or self.process.poll() is not None:
                sys.exit(f"the broker does not start; see {self.folder}/broker.log")
        return self

    def cpu(self):
        return cpu_seconds([self.process.pid])

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait()


def drain(binaries, kafka, job, events, extra, folder):
    """Runs one processor until its table stands at the end of the topic."""
    folder.mkdir()
    address = f"127.0.0.1:{free_port()}"
    log = open(folder / "processor.log", "w")
    broker_before = kafka.cpu()
    begun = time.monotonic()
    process = subprocess.Popen(
        [binaries / "stream-processor", "--job", job, "--brokers", kafka.address, "--assign", "all",
         "--catalog-uri", f"sqlite://{folder}/catalog.db", "--warehouse", f"file://{folder}/warehouse",
         "--status-address", address, *extra], stdout=log, stderr=log)
    first = None
    while True:
        if process.poll() is not None or time.monotonic() - begun > DRAIN_SECONDS_MAX:
            process.kill()
            sys.exit(f"the processor did not finish; see {folder}/processor.log")
        seen = fetched(f"http://{address}/status.json")
        if seen and seen["job"]["tables"]:
            table = seen["job"]["tables"][0]
            if first is None and table["rows"]:
                first = time.monotonic() - begun
            if sum(table["position"].values()) >= events:
                break
        time.sleep(0.02)
    seconds = time.monotonic() - begun
    result = {
        "seconds": seconds,
        "events_per_second": events / seconds,
        "cpu_seconds_per_million": cpu_seconds([process.pid]) / events * 1e6,
        "broker_cpu_seconds_per_million": (kafka.cpu() - broker_before) / events * 1e6,
        "peak_rss_mib": peak_rss_mib([process.pid]),
        "first_row_seconds": first,
        "rows": table["rows"],
        "commits": table["commits"],
        "bytes_written": sum(f.stat().st_size for f in (folder / "warehouse").rglob("data/**/*.avro")),
    }
    process.terminate()
    process.wait()
    shutil.rmtree(folder)
    return result


def measure(args):
    say("building …")
    subprocess.run(["cargo", "build", "--workspace", "--release", "--locked", "--quiet"], cwd=ROOT, check=True)
    target = json.loads(subprocess.run(["cargo", "metadata", "--format-version", "1", "--no-deps", "--offline"],
                                       cwd=ROOT, check=True, capture_output=True, text=True).stdout)
    binaries = pathlib.Path(target["target_directory"]) / "release"

    with tempfile.TemporaryDirectory(prefix="streamforge-benchmark-") as name:
        folder = pathlib.Path(name)
        every_row = folder / "every_row.sql"
        text = JOB.read_text()
        every_row.write_text(text[:text.rindex(WHERE)] + ";\n")
        cases = [
            ("filter", JOB, []),
            ("filter, no validation", JOB, ["--validate", "off"]),
            ("filter, no raw skip", JOB, ["--raw-skip", "off"]),
            ("every row, zstandard", every_row, []),
            ("every row, deflate", every_row, ["--codec", "deflate"]),
            ("every row, no codec", every_row, ["--codec", "none"]),
        ]
        say("starting Kafka …")
        kafka = Kafka(folder).start(args.partitions)
        try:
            say(f"loading {args.events:,} events …")
            subprocess.run([binaries / "data-emitter", "--brokers", kafka.address, "--events", str(args.events),
                            "--rate", "max", "--seed", "1"], check=True, stderr=subprocess.DEVNULL)
            results = {}
            for name, job, extra in cases:
                say(f"{name} …")
                runs = [drain(binaries, kafka, job, args.events, extra, folder / "run") for _ in range(args.runs)]
                results[name] = runs
        finally:
            kafka.stop()
    show(results)
    return {"events": args.events, "cases": results}


def show(results):
    print(f"{'case':24} {'events/s':>12} {'spread':>7} {'CPU s/M':>8} {'broker':>7} {'RSS MiB':>8} {'first row':>10} {'rows':>12}")
    for name, runs in results.items():
        rates = [run["events_per_second"] for run in runs]
        middle = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        spread = (max(rates) - min(rates)) / statistics.median(rates)
        print(f"{name:24} {middle['events_per_second']:12,.0f} {spread:7.0%} {middle['cpu_seconds_per_million']:8.2f} "
              f"{middle['broker_cpu_seconds_per_million']:7.2f} {middle['peak_rss_mib']:8.0f} "
              f"{middle['first_row_seconds']:9.2f}s {middle['rows']:12,.0f}")
