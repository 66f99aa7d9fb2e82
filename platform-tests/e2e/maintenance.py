"""What people do in Trino to the tables while the job runs."""

from . import trino
from .compose import Failed, until
from .faults import verify

# Bounds stand under their columns' ids, in the order of the job file; 7 is the event's time, 11 the revenue, 13 the offset.
BOUNDED = " AND ".join(f'{bounds}_bounds."{column}" IS NOT NULL' for bounds in ("lower", "upper") for column in (1, 7, 11, 13))
NO_RETENTION = "iceberg_data_lake.expire_snapshots_min_retention=0s"


def beside_the_job(context):
    time_travel()
    bounds()
    for statement in ["ALTER TABLE processed_conversions ADD COLUMN campaign varchar",
                      "ALTER TABLE processed_conversions EXECUTE optimize_manifests",
                      "ALTER TABLE processed_conversions EXECUTE expire_snapshots(retention_threshold => '0s')",
                      "ALTER TABLE rejected_events EXECUTE optimize_manifests"]:
        goes_on(context, statement)
    # A start reads the table's new schema too.
    context.platform.compose("restart", "stream-processor")
    context.platform.await_healthy("stream-processor")
    verify(context)


def time_travel():
    listed = trino.ask('SELECT snapshot_id FROM "processed_conversions$snapshots" ORDER BY committed_at').rows
    if len(listed) < 3:
        raise Failed(f"only {len(listed)} snapshots to travel to")
    middle, last = listed[len(listed) // 2][0], listed[-1][0]
    then = trino.number(f"SELECT count(*) FROM processed_conversions FOR VERSION AS OF {middle}")
    now = trino.number(f"SELECT count(*) FROM processed_conversions FOR VERSION AS OF {last}")
    if not then < now:
        raise Failed(f"an earlier version has {then} rows, a later one {now}")
    print(f"FOR VERSION AS OF: {then} rows then, {now} now; {len(listed)} snapshots")


def bounds():
    """Every file says what it holds, and so a query for the newest offsets leaves the older files out."""
    files, bounded = trino.ask(f'SELECT count(*), count_if({BOUNDED}) FROM "processed_conversions$files"').rows[0]
    if files != bounded:
        raise Failed(f"{files - bounded} of {files} files have no bounds")
    newest = trino.number("SELECT max(kafka_offset) FROM processed_conversions")
    full = trino.ask("SELECT count(*) FROM processed_conversions WHERE kafka_offset >= 0")
    chosen = trino.ask(f"SELECT count(*) FROM processed_conversions WHERE kafka_offset >= {newest}")
    read, of = chosen.stats["completedSplits"], full.stats["completedSplits"]
    if not read < of:
        raise Failed(f"a selective query reads {read} splits of {of}")
    print(f"bounds: all {files} files have them; a selective query reads {read} of {of} splits")


def goes_on(context, statement):
    """The statement succeeds, and the job commits on top of it."""
    trino.ask(statement, session=NO_RETENTION)
    after = trino.ask('SELECT max(committed_at) FROM "processed_conversions$snapshots"').one()
    until(f"the job commits after `{statement}`", 60,
          lambda: trino.ask('SELECT max(committed_at) FROM "processed_conversions$snapshots"').one() > after,
          "stream-processor")
    print(f"the job goes on after: {statement}", flush=True)
