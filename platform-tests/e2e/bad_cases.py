"""What goes wrong in practice: each has one line that names the cause and the next step, and loses nothing."""

from . import trino
from .compose import ROOT, Failed, until
from .faults import verify

RUN_SECONDS_MAX = 60
TOPIC = "user-activity-stream"


def all_of_them(context):
    platform = context.platform
    before = trino.number("SELECT count(*) FROM processed_conversions")
    platform.compose("stop", "stream-processor")
    refused(platform, "wrong S3 credentials", ["-e", "S3_SECRET_KEY=wrong"], "S3_SECRET_KEY")
    refused(platform, "missing bucket", ["-e", "ICEBERG_WAREHOUSE=s3://nowhere/warehouse"], "bucket is missing", "provision")
    job_that_does_not_fit(context)
    foreign_table(context)
    platform.compose("start", "stream-processor")
    platform.await_healthy("stream-processor")
    catalog_down(platform)
    trino_down(platform)
    after = trino.number("SELECT count(*) FROM processed_conversions")
    if after < before:
        raise Failed(f"{before} rows before, {after} after")
    verify(context)
    recreated_topic(platform)


def refused(platform, name, options, *words, service="stream-processor"):
    """The service's program ends by itself, not with 0, and its last line holds `words`."""
    outcome = platform.compose("run", "--rm", "--no-deps", "-T", *options, service,
                               check=False, seconds=RUN_SECONDS_MAX)
    said = (outcome.stdout + outcome.stderr).strip()
    last = said.splitlines()[-1] if said else ""
    if outcome.returncode == 0:
        raise Failed(f"{name}: accepted\n{said[-2000:]}")
    for word in words:
        if word not in last:
            raise Failed(f"{name}: the last line does not name `{word}`:\n{said[-2000:]}")
    print(f"{name}: {outcome.returncode}, {last}", flush=True)


def job_that_does_not_fit(context):
    """The same job with a column of another type."""
    options = changed_job(context, "transaction_value AS revenue_usd", "source_url AS revenue_usd")
    refused(context.platform, "a job that does not fit its table", options, "revenue_usd")


def foreign_table(context):
    """A table of that name which somebody else made, with other columns."""
    trino.ask("CREATE TABLE foreign_conversions (revenue_usd varchar, event_ts_utc timestamp(6) with time zone)")
    options = changed_job(context, "marketing_events.processed_conversions", "marketing_events.foreign_conversions")
    refused(context.platform, "a table made by someone else", options, "foreign_conversions")
    held = trino.number("SELECT count(*) FROM foreign_conversions")
    if held:
        raise Failed(f"{held} rows were written into someone else's table")
    trino.ask("DROP TABLE foreign_conversions")


def changed_job(context, text, by):
    """Options that run a copy of the job file in which `by` stands for `text`."""
    job = (ROOT / "stream-processor/sql-jobs/transform_pipeline.sql").read_text()
    if text not in job:
        raise Failed(f"the job file holds no `{text}` any more: change this test")
    copy = context.artefacts.resolve() / "changed_job.sql"
    copy.write_text(job.replace(text, by))
    return ["-v", f"{copy}:/changed_job.sql:ro", "-e", "JOB_FILE=/changed_job.sql"]


def catalog_down(platform):
    """A processor that starts while the catalog is down waits, says so, and goes on when it is back."""
    platform.compose("stop", "iceberg-catalog-svc")
    platform.compose("restart", "stream-processor")
    until("the processor says what it waits for", 60, lambda: "iceberg-catalog-svc" in platform.logs("stream-processor", 20),
          "stream-processor")
    if platform.is_healthy("stream-processor"):
        raise Failed("the processor is healthy without its catalog", "stream-processor")
    platform.compose("start", "iceberg-catalog-svc")
    platform.await_healthy("stream-processor")
    print("catalog down at start: waits, and goes on when it is back", flush=True)


def trino_down(platform):
    """The dashboard can't be imported without Trino: the one-shot says so and ends with an error."""
    platform.compose("stop", "query-engine")
    # Another address of the same server: the dashboard has to be imported again.
    outcome = platform.compose("run", "--rm", "--no-deps", "-T", "-e", "SETUP_WAIT_SECONDS=5",
                               "-e", "TRINO_URI=trino://someone_else@query-engine:8080/iceberg_data_lake", "dashboard-setup",
                               check=False, seconds=180)
    said = outcome.stdout + outcome.stderr
    platform.compose("start", "query-engine")
    platform.await_healthy("query-engine")
    if outcome.returncode == 0 or "query-engine" not in said:
        raise Failed(f"dashboard-setup without Trino ended with {outcome.returncode}:\n{said[-2000:]}")
    print(f"Trino down at import: {outcome.returncode}, {said.strip().splitlines()[-1]}", flush=True)


def recreated_topic(platform):
    """A topic of the same name that is not the one which the tables were filled from. Last: nothing reads on after it."""
    platform.compose("stop", "data-emitter", "stream-processor")
    before = trino.number("SELECT count(*) FROM processed_conversions")
    topics = ["exec", "-T", "streaming-server", "/opt/kafka/bin/kafka-topics.sh", "--bootstrap-server", "localhost:19092"]
    platform.compose(*topics, "--delete", "--topic", TOPIC)
    until("the topic is gone", 30, lambda: TOPIC not in platform.compose(*topics, "--list").stdout.split(), "streaming-server")
    platform.compose(*topics, "--create", "--topic", TOPIC, "--partitions", "6")
    refused(platform, "topic with another id, at provision", [], "topic", service="platform-setup")
    refused(platform, "topic with another id, at the processor", [], "topic")
    held = trino.number("SELECT count(*) FROM processed_conversions")
    if held != before:
        raise Failed(f"{before} rows before the topic was made anew, {held} after")
