"""Kafka Connect with Iceberg's sink: every row, as it stands in the topic.

It has no SQL, and neither filters, renames, nor writes where a record came from, so it is compared with our *every row* job, by the
columns that both have. The worker's JVM is warm: the first drain is discarded.
"""

import json
import time
import urllib.error
import urllib.request

from e2e import trino
from e2e.compose import Failed

from . import ours, readers, tables
from .jobs import TABLE, TOPIC, Job
from .meter import Meter, forget_peak
from .servers import fetched, poll, say
from .throughput import medians, spread, told

SERVICE = "kafka-connect"
START_SECONDS_MAX = 120
DRAIN_SECONDS_MAX = 1_200
BUILD_SECONDS_MAX = 1_800
CONTROL = "control-iceberg"
# The table's columns by the names in the topic, with ours beside them.
COLUMNS = {
    "unique_event_id": ("varchar", "unique_event_id"), "customer_id": ("varchar", "customer_id"),
    "activity_type": ("varchar", "marketing_action"), "source_url": ("varchar", "source_url"),
    "session_guid": ("varchar", "session_guid"), "client_platform": ("varchar", "platform"),
    "event_ts_utc": ("timestamp(6) with time zone", "event_ts_utc"), "customer_latitude": ("double", "customer_latitude"),
    "customer_longitude": ("double", "customer_longitude"), "product_id": ("varchar", "product_id"),
    "transaction_value": ("decimal(12, 2)", "revenue_usd"),
}
SETTINGS = {
    "connector.class": "org.apache.iceberg.connect.IcebergSinkConnector",
    "tasks.max": "2",
    "topics": TOPIC,
    "iceberg.catalog.type": "rest",
    "iceberg.catalog.uri": "http://iceberg-catalog-svc:8181",
    "iceberg.catalog.io-impl": "org.apache.iceberg.aws.s3.S3FileIO",
    "iceberg.catalog.s3.endpoint": "http://minio-storage-service:9000",
    "iceberg.catalog.s3.path-style-access": "true",
    "iceberg.catalog.client.region": "us-east-1",
    "iceberg.kafka.bootstrap.servers": "streaming-server:19092",
    "iceberg.control.topic": CONTROL,
    # As ours; five minutes is its own.
    "iceberg.control.commit.interval-ms": "1000",
}


class Table:
    """A table of the sink's; has what tables.py asks of a job."""

    def __init__(self, name):
        self.name = name
        self.table = f"iceberg_data_lake.{name}.{TABLE}"

    def make(self):
        columns = ", ".join(f"{name} {kind}" for name, (kind, _) in COLUMNS.items())
        trino.ask(f"CREATE SCHEMA IF NOT EXISTS iceberg_data_lake.{self.name}")
        trino.ask(f"CREATE TABLE {self.table} ({columns}) WITH (format = 'AVRO', partitioning = ARRAY['day(event_ts_utc)'])")


def measure(servers, args):
    servers.compose("build", SERVICE, seconds=BUILD_SECONDS_MAX)
    job = Job(servers.folder, "beside_connect", "every-row")
    tables.provision(servers, job, args.partitions)
    if not loaded(servers, args.events):
        say(f"loading {args.events:,} events …")
        readers.emit(servers, TOPIC, args.events)
    answers = tables.Answers()
    mine = [drain_ours(servers, args, run, answers) for run in range(args.runs)]
    servers.compose("exec", "-T", "streaming-server", "/opt/kafka/bin/kafka-topics.sh", "--bootstrap-server", "localhost:19092",
                    "--create", "--if-not-exists", "--topic", CONTROL, "--partitions", 1, "--replication-factor", 1)
    say("Kafka Connect …")
    servers.compose("up", "--detach", "--no-build", "--no-deps", SERVICE)
    address = f"http://{servers.address(SERVICE)}:8083"
    poll("Kafka Connect answers", START_SECONDS_MAX, 0.3, lambda: fetched(f"{address}/connectors") is not None, SERVICE)
    try:
        theirs = [drain(servers, address, args, run, answers) for run in range(-1, args.runs)][1:]
    finally:
        servers.drop(SERVICE)
    tables.drop(job)
    ours_median, theirs_median = medians(mine), medians(theirs)
    return {"events": args.events, "partitions": args.partitions,
            "cases": {"ours": {"runs": mine, "median": ours_median, "spread": spread(mine)},
                      "Kafka Connect": {"runs": theirs, "median": theirs_median, "spread": spread(theirs)}},
            "ratios": {figure: ours_median[key] / theirs_median[key] for figure, key in
                       (("rate", "events_per_second"), ("cpu", "cpu_seconds_per_million"), ("rss", "peak_rss_mib"))}}


def loaded(servers, events):
    listed = servers.compose("exec", "-T", "streaming-server", "/opt/kafka/bin/kafka-get-offsets.sh", "--bootstrap-server",
                             "localhost:19092", "--topic", TOPIC).stdout
    return sum(int(line.rsplit(":", 1)[1]) for line in listed.split() if line.count(":") == 2) == events


def drain_ours(servers, args, run, answers):
    job = Job(servers.folder, f"beside_connect_{run}", "every-row")
    figures = ours.drain(servers, job, ours.Settings(), args.events, args.partitions)
    answers.check("every row", "ours", figures | shared(job, [name for _, name in COLUMNS.values()]), args.events)
    tables.drop(job)
    figures.pop("first_commit")
    say(told("ours", figures))
    return figures


def drain(servers, address, args, run, answers):
    """One connector with a table and a consumer group of its own, until every row is committed."""
    name = f"connect_{run + 1}"
    table = Table(name)
    table.make()
    pids = [servers.container(SERVICE).pid]
    forget_peak(pids)
    meter = Meter(servers, pids).begin()
    send("POST", f"{address}/connectors", {"name": name, "config": SETTINGS | {"iceberg.tables": f"{name}.{TABLE}"}})
    try:
        poll("the connector's tasks run", START_SECONDS_MAX, 0.05, lambda: states(address, name), SERVICE)
        begun = time.time()
        poll(f"Kafka Connect commits {args.events:,} rows", DRAIN_SECONDS_MAX, 0.5,
             lambda: states(address, name) and tables.reached(servers, table, args.events), SERVICE)
        used = meter.end(args.events)
    finally:
        send("DELETE", f"{address}/connectors/{name}")
    commits = tables.commits(servers, table)
    seconds = commits.times[-1] - begun
    figures = {"seconds": seconds, "events_per_second": args.events / seconds, "first_row_seconds": commits.times[0] - begun,
               "commits": len(commits.times)} | used | tables.contents(table)
    answers.check("every row", "Kafka Connect", figures | shared(table, list(COLUMNS)), args.events)
    tables.drop(table)
    say(told("Kafka Connect", figures) + (" (discarded)" if run < 0 else ""))
    return figures


def shared(table, columns):
    """The hash over the columns that both engines write."""
    return {"hash": trino.ask(f"SELECT to_hex(checksum(ROW({', '.join(columns)}))) FROM {table.table}").one()}


def states(address, name):
    """Whether all tasks run; a failure when one has failed."""
    status = fetched(f"{address}/connectors/{name}/status") or {}
    tasks = status.get("tasks", [])
    for task in tasks:
        if task["state"] == "FAILED":
            raise Failed(f"a task of Kafka Connect failed:\n{task.get('trace', '')[:3000]}", SERVICE)
    return bool(tasks) and all(task["state"] == "RUNNING" for task in tasks)


def send(method, address, document=None):
    request = urllib.request.Request(address, document and json.dumps(document).encode(), {"Content-Type": "application/json"}, method=method)
    try:
        urllib.request.urlopen(request, timeout=60).close()
    except urllib.error.HTTPError as refused:
        raise Failed(f"Kafka Connect refuses {method}: {refused.read().decode()[:2000]}", SERVICE) from refused


def show(section):
    print(f"{'every row':16} {'events/s':>11} {'spread':>7} {'CPU s/M':>8} {'RSS MiB':>8} {'first row':>10} {'MB':>7}")
    for name, case in section["cases"].items():
        median = case["median"]
        print(f"{name:16} {median['events_per_second']:11,.0f} {case['spread']:7.0%} {median['cpu_seconds_per_million']:8.2f} "
              f"{median['peak_rss_mib']:8,.0f} {median['first_row_seconds']:9.2f}s {median['bytes_written'] / 1e6:7,.0f}")
    print("ours ÷ Kafka Connect: " + ", ".join(f"{name} {value:.2f}" for name, value in section["ratios"].items()))
