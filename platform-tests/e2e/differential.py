"""One topic, every job file, both engines: equal rows, or a known difference.

The job files run as they are, in copies that differ in the namespace of their sinks only. Flink reads each source through a
temporary table that hides the job file's own: it ends at the topic's present end, and goes over broken records as
`json.ignore-parse-errors` does, where a column that may be NULL becomes NULL.
"""

import concurrent.futures
import re

from . import trino
from .compose import ROOT, Failed, run, until
from .faults import end_offsets

JOBS = ROOT / "platform-tests/flink-jobs"
SHIPPED = ROOT / "stream-processor/sql-jobs/transform_pipeline.sql"
MALFORMED = 0.01
# Reasons of rejects for whose records Flink writes a row when it is told to go over what it can't read: docs/sql.md says which.
KNOWN = {"wrong_type", "missing_field", "out_of_range", "duplicate_key", "nesting_too_deep", "invalid_utf8"}
# All of them are met where no column and no condition leaves them out: a required value that is missing drops the row.
MET = KNOWN - {"missing_field"}
AT_ONCE = 4
READ_SECONDS_MAX = 120
FLINK_SECONDS_MAX = 540
SOURCE = re.compile(r"CREATE TABLE (\w+) \((.*?)\n\) WITH \((.*?)\n\);", re.DOTALL)
SINK = re.compile(r"INSERT INTO iceberg_data_lake\.(\w+)\.(\w+)")
POSITION = "SELECT value FROM iceberg_data_lake.{}.\"{}$properties\" WHERE key = 'streamforge.position'"
SETTINGS = {
    "table.dml-sync": "true",
    # No checkpoint while a job comes to its end: with one every 5 s, Iceberg's sink (1.11) was seen to leave out the last rows of
    # one of two writers. A job that goes on for ever has no such end.
    "execution.checkpointing.interval": "1 h",
    # A row without a value for a column that needs one is dropped, and not the end of the job.
    "table.exec.sink.not-null-enforcer": "DROP",
}


class Job:
    """A job file, and what is made of it for both engines."""

    def __init__(self, path, folder):
        self.name = path.stem
        ours = path.read_text().replace("iceberg_data_lake.marketing_events.", f"iceberg_data_lake.ours_{self.name}.")
        self.flink = ours.replace("iceberg_data_lake.ours_", "iceberg_data_lake.flink_")
        self.tables = [table for _, table in SINK.findall(ours)]
        if {namespace for namespace, _ in SINK.findall(ours)} != {f"ours_{self.name}"}:
            raise SystemExit(f"{path}: its sinks are not all in iceberg_data_lake.ours_{self.name}")
        for engine, text in (("ours", ours), ("flink", self.flink)):
            (folder / engine / f"{self.name}.sql").write_text(text)

    def bounded_source(self):
        found = SOURCE.search(self.flink)
        if not found:
            raise SystemExit(f"{self.name}: no CREATE TABLE as it is written here")
        name, columns, options = found.groups()
        more = ",\n  'scan.bounded.mode' = 'latest-offset',\n  'json.ignore-parse-errors' = 'true'"
        columns = columns.replace(" NOT NULL", "")
        return f"CREATE TEMPORARY TABLE {name} ({columns}\n) WITH ({options}{more}\n);\n"


def both_engines(context):
    folder = context.artefacts / "flink-jobs"
    for part in ("ours", "flink"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    jobs = [Job(path, folder) for path in [SHIPPED, *sorted(JOBS.glob("*.sql"))]]
    context.ours.compose("run", "--rm", "--no-deps", "-T", "-e", f"EMITTER_EVENTS={context.events}", "-e", "EMITTER_RATE=max",
                         "-e", f"EMITTER_MALFORMED={MALFORMED}", "data-emitter")
    records = end_offsets(context.ours)
    by_us(context, jobs, folder)
    by_flink(context, jobs, folder)
    for job in jobs:
        compare(context, job)
    print(f"{len(jobs)} job files, {sum(len(job.tables) for job in jobs)} tables, {records} records through both engines")
    context.figures["differential_records"] = records


def by_us(context, jobs, folder):
    """A processor for each job until all of them have read to the end."""
    context.ours.compose("stop", "stream-processor")
    ends = listed_offsets(context)
    started = []
    try:
        for job in jobs:
            name = f"sql-check-{job.name}"
            started.append(name)
            context.ours.compose("run", "--detach", "--rm", "--no-deps", "--name", name,
                                 "-v", f"{folder / 'ours'}:/jobs:ro", "-e", f"JOB_FILE=/jobs/{job.name}.sql",
                                 "-e", f"KAFKA_GROUP={name}", "-e", "HEARTBEAT_INTERVAL=1s", "stream-processor")
        for job in jobs:
            for table in [*job.tables, "rejected_events"]:
                until(f"our engine has read everything for {job.name}.{table}", READ_SECONDS_MAX,
                      lambda job=job, table=table: position(f"ours_{job.name}", table) == ends)
    except Failed:
        for name in started:
            print(run("docker", "logs", "--tail", "20", name, check=False).stdout)
        raise
    finally:
        run("docker", "rm", "--force", *started, check=False)
    print(f"our engine: {len(jobs)} jobs have read everything", flush=True)


def position(namespace, table):
    rows = trino.ask(POSITION.format(namespace, table)).rows
    found = re.search(r'"topics":\{"[^"]*":\{([^}]*)\}', rows[0][0]) if rows else None
    return found and sorted((int(p), int(o)) for p, o in re.findall(r'"(\d+)":(\d+)', found.group(1)))


def listed_offsets(context):
    listed = context.ours.compose("exec", "-T", "streaming-server", "/opt/kafka/bin/kafka-get-offsets.sh",
                                  "--bootstrap-server", "localhost:19092", "--topic", "user-activity-stream").stdout
    return sorted((int(line.split(":")[1]), int(line.split(":")[2])) for line in listed.split() if line.count(":") == 2)


def by_flink(context, jobs, folder):
    """The tables as our engine would make them, and then all jobs, one after the other, by one client."""
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        for outcome in pool.map(lambda job: make_tables(context, job, folder), jobs):
            outcome.check_returncode()
    settings = "".join(f"SET '{key}' = '{value}';\n" for key, value in SETTINGS.items())
    init = (ROOT / "stream-processor/sql-client/init.sql").read_text() + settings
    (folder / "init.sql").write_text(init + "".join(job.bounded_source() for job in jobs))
    (folder / "jobs.sql").write_text("\n".join(f"SET 'pipeline.name' = '{job.name}';\n{job.flink}" for job in jobs))
    context.ours.compose("rm", "--stop", "--force", "stream-processor")
    context.flink.compose("up", "-d", "--no-deps", "flink-job-master", "flink-worker")
    for service in ("flink-job-master", "flink-worker"):
        context.flink.await_healthy(service)
    outcome = context.flink.compose("run", "--rm", "--no-deps", "-T", "-v", f"{folder}:/jobs:ro", "flink-submit",
                                    "sql-client.sh", "-i", "/jobs/init.sql", "-f", "/jobs/jobs.sql", seconds=FLINK_SECONDS_MAX)
    submitted = outcome.stdout.count("Job ID:")
    if submitted != len(jobs):
        raise Failed(f"Flink ran {submitted} jobs of {len(jobs)}:\n{outcome.stdout[-3000:]}", "flink-job-master", "flink-worker")
    print(f"Flink: {submitted} jobs have read everything", flush=True)


def make_tables(context, job, folder):
    return context.ours.compose("run", "--rm", "--no-deps", "-T", "-v", f"{folder / 'flink'}:/jobs:ro",
                                "-e", f"JOB_FILE=/jobs/{job.name}.sql", "platform-setup", "provision")


def compare(context, job):
    for table in job.tables:
        ours, flink = f"iceberg_data_lake.ours_{job.name}.{table}", f"iceberg_data_lake.flink_{job.name}.{table}"
        rejects = f"iceberg_data_lake.ours_{job.name}.rejected_events"
        rows = trino.number(f"SELECT count(*) FROM {ours}")
        if not rows:
            raise Failed(f"{job.name}.{table} has no row: it compares nothing")
        missing = trino.ask(f"SELECT * FROM {ours} EXCEPT ALL SELECT * FROM {flink}").rows
        if missing:
            raise Failed(f"{job.name}.{table}: {len(missing)} rows of ours are not Flink's:\n{pair(flink, missing[0])}")
        more = f"(SELECT * FROM {flink} EXCEPT ALL SELECT * FROM {ours}) f LEFT JOIN {rejects} r USING (kafka_partition, kafka_offset)"
        reasons = dict(trino.ask(f"SELECT coalesce(r.reason, '-'), count(*) FROM {more} GROUP BY 1").rows)
        if set(reasons) - KNOWN:
            sample = trino.ask(f"SELECT * FROM {more} WHERE coalesce(r.reason, '-') NOT IN "
                               f"({', '.join(repr(reason) for reason in sorted(KNOWN))}) LIMIT 5").rows
            raise Failed(f"{job.name}.{table}: Flink has other rows, {reasons}:\n" + "\n".join(map(str, sample)))
        if job.name == "everything" and set(reasons) != MET:
            raise Failed(f"{job.name}.{table}: Flink has rows of rejected records for {sorted(reasons)}, not for {sorted(MET)}")
        context.figures.setdefault("differences", {})[f"{job.name}.{table}"] = reasons
        print(f"{job.name}.{table}: {rows} rows equal; Flink's of rejected records: {reasons or 'none'}", flush=True)


def pair(flink, row):
    """A row of ours, and Flink's of the same record."""
    partition, offset = row[-2:]
    theirs = trino.ask(f"SELECT * FROM {flink} WHERE kafka_partition = {partition} AND kafka_offset = {offset}").rows
    return f"ours:  {row}\nFlink: {theirs[0] if theirs else 'none'}"
