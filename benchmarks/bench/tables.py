"""The tables of a measurement, seen from outside of both engines: by the catalog and by Trino.

Owns what a finished run has written: rows, their hash, files, bytes, and when commits came. It asks neither engine.
"""

from e2e import trino
from e2e.compose import Failed

from .jobs import TABLE
from .servers import fetched, say

PROVISION_SECONDS_MAX = 150


def provision(servers, job, partitions):
    """The topic, if it is not there, and the empty tables of a job, as `platform-setup` makes them for both engines."""
    servers.compose("run", "--rm", "--no-deps", "-T", "-e", f"JOB_FILE=/jobs/{job.name}.sql",
                    "-e", f"KAFKA_PARTITIONS={partitions}", "platform-setup", "provision", seconds=PROVISION_SECONDS_MAX)


class Commits:
    """The snapshots with rows that a table still has, in their order: when, how many rows were in the table then."""

    def __init__(self, snapshots):
        def number(snapshot, key):
            return int(snapshot["summary"].get(key, 0))

        with_rows = [snapshot for snapshot in snapshots if number(snapshot, "added-records")]
        with_rows.sort(key=lambda snapshot: snapshot["sequence-number"])
        self.times = [snapshot["timestamp-ms"] / 1000 for snapshot in with_rows]
        self.ids = [snapshot["snapshot-id"] for snapshot in with_rows]
        self.rows = number(with_rows[-1], "total-records") if with_rows else 0


def commits(servers, job):
    """What the catalog says; it costs the catalog a read of one metadata file."""
    address = f"http://{servers.address('iceberg-catalog-svc')}:8181/v1/namespaces/{job.name}/tables/{TABLE}"
    table = fetched(address)
    if not table:
        raise Failed(f"the catalog does not show {job.table}", "iceberg-catalog-svc")
    return Commits(table["metadata"].get("snapshots", []))


def reached(servers, job, rows):
    """Whether so many rows are committed; to be asked again, so that no answer is no failure."""
    try:
        return commits(servers, job).rows >= rows
    except Failed:
        return False


def contents(job):
    """Rows, a hash of them that does not depend on their order, files and bytes, as Trino reads the table."""
    columns = ", ".join(row[0] for row in trino.ask(f"DESCRIBE {job.table}").rows)
    rows, digest = trino.ask(f"SELECT count(*), to_hex(checksum(ROW({columns}))) FROM {job.table}").rows[0]
    files, size = trino.ask(f"SELECT count(*), coalesce(sum(file_size_in_bytes), 0) "
                            f"FROM iceberg_data_lake.{job.name}.\"{TABLE}$files\"").rows[0]
    return {"rows": rows, "hash": digest, "files": files, "bytes_written": size}


def drop(job):
    """Tables and files go, so that the disk lasts."""
    for statement in (f"DROP TABLE IF EXISTS {job.table}", f"DROP TABLE IF EXISTS iceberg_data_lake.{job.name}.rejected_events",
                      f"DROP SCHEMA IF EXISTS iceberg_data_lake.{job.name}"):
        try:
            trino.ask(statement)
        except Failed as failed:
            say(f"left behind: {failed}")


def drop_topic(servers, topic):
    servers.compose("exec", "-T", "streaming-server", "/opt/kafka/bin/kafka-topics.sh", "--bootstrap-server", "localhost:19092",
                    "--delete", "--if-exists", "--topic", topic, check=False)


class Wrong(Failed):
    """Somebody's rows differ: nothing that was measured is worth anything."""


class Answers:
    """What the first run of a question wrote; every later one has to write the same, whoever asks it."""

    def __init__(self):
        self.known = {}

    def check(self, question, who, contents, rows=None):
        answer = {"rows": contents["rows"], "hash": contents["hash"]}
        if rows is not None and answer["rows"] != rows:
            raise Wrong(f"{who} wrote {answer['rows']:,} rows, not {rows:,}")
        first, by = self.known.setdefault(question, (answer, who))
        if answer != first:
            raise Wrong(f"{who} wrote other rows than {by}: {answer}, not {first}")

    def as_json(self):
        return {question: answer for question, (answer, _) in self.known.items()}

