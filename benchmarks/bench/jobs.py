"""The job files of a measurement: the shipped one, in copies that differ in as little as can be.

A copy has a namespace of its own for its sink, which is also its name. `every-row` lacks the WHERE clause; a bounded one ends where
the topic ends. Both engines run the same file.
"""

from e2e.compose import ROOT

SHIPPED = ROOT / "stream-processor/sql-jobs/transform_pipeline.sql"
SHAPES = ("filter", "every-row")
SINK = "iceberg_data_lake.marketing_events."
TABLE = "processed_conversions"
TOPIC = "user-activity-stream"
NAMED_TOPIC = f"'topic' = '{TOPIC}'"
WHERE = "\nWHERE "
STARTUP = "'scan.startup.mode' = 'earliest-offset'"


class Job:
    """One job file, written where both engines find it."""

    def __init__(self, folder, name, shape="filter", topic=TOPIC, bounded=False):
        self.name, self.shape, self.topic, self.bounded = name, shape, topic, bounded
        text = SHIPPED.read_text()
        for part in (SINK, NAMED_TOPIC, WHERE, STARTUP):
            if text.count(part) != 1:
                raise SystemExit(f"{SHIPPED.name} holds `{part.strip()}` {text.count(part)} times: this benchmark no longer knows it")
        text = text.replace(SINK, f"iceberg_data_lake.{name}.").replace(NAMED_TOPIC, f"'topic' = '{topic}'")
        if shape == "every-row":
            text = text[:text.index(WHERE)] + ";\n"
        if bounded:
            text = text.replace(STARTUP, f"{STARTUP},\n  'scan.bounded.mode' = 'latest-offset'")
        self.table = f"iceberg_data_lake.{name}.{TABLE}"
        (folder / f"{name}.sql").write_text(text)
