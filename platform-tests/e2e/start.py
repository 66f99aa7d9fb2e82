"""From nothing to rows: images, lint, `up`, health, and the README's session in Trino's own client."""

import csv
import os
import time

from . import trino
from .compose import ROOT, Failed, run, until

FIRST_ROW_SECONDS_MAX = 180
IMAGE_MB_MAX = 120
BUILD_SECONDS_MAX = 3000
TESTS_SECONDS_MAX = 1500
LONG_RUNNING = ["streaming-server", "minio-storage-service", "metadata-db", "iceberg-catalog-svc", "data-emitter",
                "stream-processor", "query-engine", "viz-dashboard"]
ONE_SHOTS = ["platform-setup", "dashboard-setup"]
# The README's statements, and the columns that they must show.
SESSION = "USE iceberg_data_lake.marketing_events;\nSELECT * FROM processed_conversions LIMIT 5;\n"
COLUMNS = {
    "unique_event_id": "varchar", "customer_id": "varchar", "marketing_action": "varchar", "source_url": "varchar",
    "session_guid": "varchar", "platform": "varchar", "event_ts_utc": "timestamp(6) with time zone",
    "customer_latitude": "double", "customer_longitude": "double", "product_id": "varchar",
    "revenue_usd": "decimal(12,2)", "kafka_partition": "integer", "kafka_offset": "bigint",
}


def images(context):
    """The engine and, where no registry is reached, the stand-ins under the official names."""
    if context.official:
        print("official images: pulled by `up`")
        return
    print(run(ROOT / "platform-tests/offline-images/build", seconds=BUILD_SECONDS_MAX).stdout.strip())


def lint(_context):
    print(run(ROOT / "platform-tests/lint").stdout.strip())


def build(context):
    context.platform.compose("build", seconds=BUILD_SECONDS_MAX)
    listed = run("docker", "image", "ls", "--format", "{{.Repository}} {{.ID}}").stdout
    for name, identity in (line.split() for line in listed.splitlines() if line.startswith("streamforge/")):
        size = int(run("docker", "image", "inspect", "--format", "{{.Size}}", identity).stdout) / 1e6
        print(f"{name}: {size:.0f} MB")
        if name in ("streamforge/data-emitter", "streamforge/stream-processor", "streamforge/streamforge") and size > IMAGE_MB_MAX:
            raise Failed(f"{name} has {size:.0f} MB, more than {IMAGE_MB_MAX}")


def up(context):
    """`up` beside a user who asks Trino until the first row is there."""
    begun = time.monotonic()
    starting = context.platform.begin("up", "--build", "-d")

    def a_row():
        if starting.poll():
            raise SystemExit(f"`up` failed:\n{starting.communicate()[0][-4000:]}")
        return trino.number("SELECT count(*) FROM (SELECT 1 FROM processed_conversions LIMIT 1)") == 1

    until("the first row is seen in Trino", FIRST_ROW_SECONDS_MAX, a_row,
          "platform-setup", "stream-processor", "query-engine", "iceberg-catalog-svc")
    context.figures["first_row_seconds"] = round(time.monotonic() - begun, 1)
    print(f"first row in Trino after {context.figures['first_row_seconds']} s")
    output, _ = starting.communicate(timeout=FIRST_ROW_SECONDS_MAX)
    if starting.returncode:
        raise Failed(f"`up` ended with {starting.returncode}:\n{output[-4000:]}", *ONE_SHOTS)
    print(f"`up` returned after {time.monotonic() - begun:.1f} s")


def services(context):
    for service in LONG_RUNNING:
        context.platform.await_healthy(service)
    for service in ONE_SHOTS:
        state = context.platform.container(service)["State"]
        if state["Status"] != "exited" or state["ExitCode"] != 0:
            raise Failed(f"{service} is {state['Status']} with {state['ExitCode']}", service)
    print(f"{len(LONG_RUNNING)} services healthy, {len(ONE_SHOTS)} one-shots ended with 0")


def session(context):
    """Word for word what the README types into Trino's client."""
    client = ["exec", "-T", "query-engine", "trino", "--user", "analytics_user"]
    shown = context.platform.compose(*client, "--output-format", "CSV_HEADER", "--execute", SESSION).stdout
    lines = list(csv.reader(line for line in shown.splitlines() if line.strip() and line != "USE"))
    header, rows = lines[0], lines[1:]
    if header != list(COLUMNS):
        raise Failed(f"the README's query shows the columns {header}")
    if len(rows) != 5:
        raise Failed(f"the README's query shows {len(rows)} rows, not 5:\n{shown}")
    types = {row[0]: row[1] for row in trino.ask("DESCRIBE processed_conversions").rows}
    if types != COLUMNS:
        raise Failed(f"the columns are {types}")
    typed = context.platform.compose(*client, "--output-format", "ALIGNED", stdin=SESSION).stdout
    if "unique_event_id" not in typed or "(5 rows)" not in typed:
        raise Failed(f"the statements typed into the client show:\n{typed}")
    (context.artefacts / "trino-session.txt").write_text(typed)
    low = trino.number("SELECT count(*) FROM processed_conversions WHERE revenue_usd <= 50 OR marketing_action <> 'purchase'")
    if low:
        raise Failed(f"{low} rows should have been filtered")
    readme = (ROOT / "README.md").read_text()
    for statement in SESSION.splitlines():
        if statement not in readme:
            raise Failed(f"the README does not show `{statement}`")
    print("5 rows with the right columns and types")


def suites(_context):
    """The suites that `cargo test` runs against SQLite and a mock, against the real catalog, store and broker."""
    servers = {
        "LAKEHOUSE_REST_URI": "http://127.0.0.1:8182",
        "LAKEHOUSE_REST_WAREHOUSE": "s3://lakehouse/conformance",
        "S3_ENDPOINT": "http://127.0.0.1:9003",
        "S3_REGION": "us-east-1",
        "S3_ACCESS_KEY": "minio-admin",
        "S3_SECRET_KEY": "minio-password-1",
        "STREAMFORGE_TEST_BROKERS": "127.0.0.1:9092",
    }
    for name, only in [("conformance", []), ("kafka_consumer", ["real"])]:
        outcome = run("cargo", "test", "--workspace", "--release", "--locked", "--test", name, "--", *only,
                      seconds=TESTS_SECONDS_MAX, env=os.environ | servers)
        for line in outcome.stdout.splitlines():
            if line.startswith("test result"):
                print(f"{name}: {line}", flush=True)
