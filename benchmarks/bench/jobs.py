"""The job files of a measurement: the shipped one, in copies that differ in as little as can be.

A copy has a namespace of its own for its sink, which is also its name. `every-row` lacks the WHERE clause. Both engines run the
same file.
"""

import re

from e2e.compose import ROOT

SHIPPED = ROOT / "stream-processor/sql-jobs/transform_pipeline.sql"
SHAPES = ("filter", "every-row")
SINK = "iceberg_data_lake.marketing_events."
TABLE = "processed_conversions"
TOPIC = "user-activity-stream"
NAMED_TOPIC = f"'topic' = '{TOPIC}'"
WHERE = "\nWHERE "
SOURCE = re.compile(r"CREATE TABLE (\w+) \((.*?)\n\) WITH \((.*?)\n\);", re.DOTALL)


class Job:
    """One job file, written where both engines find it."""

    def __init__(self, folder, name, shape="filter", topic=TOPIC):
        self.name, self.shape, self.topic = name, shape, topic
        text = SHIPPED.read_text()
        for part in (SINK, NAMED_TOPIC, WHERE):
            if text.count(part) != 1:
                raise SystemExit(f"{SHIPPED.name} holds `{part.strip()}` {text.count(part)} times: this benchmark no longer knows it")
        text = text.replace(SINK, f"iceberg_data_lake.{name}.").replace(NAMED_TOPIC, f"'topic' = '{topic}'")
        if shape == "every-row":
            text = text[:text.index(WHERE)] + ";\n"
        self.text = text
        self.table = f"iceberg_data_lake.{name}.{TABLE}"
        (folder / f"{name}.sql").write_text(text)

    def bounded_source(self):
        """The job's source, ending where the topic ends now; as a temporary table it hides the one of the job file."""
        name, columns, options = SOURCE.search(self.text).groups()
        return f"CREATE TEMPORARY TABLE {name} ({columns}\n) WITH ({options},\n  'scan.bounded.mode' = 'latest-offset'\n);\n"
