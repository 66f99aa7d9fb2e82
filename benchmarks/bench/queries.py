"""Trino on tables that both engines have written from the same events: time, rows and bytes read, splits.

Both engines run at once on a steady stream, every row is kept, and both commit once a second, so both tables have files of a like
size. Files written by Iceberg's Java library carry no bounds for Avro; ours do, so that Trino leaves out files that a query needs not.
"""

import statistics

from e2e import trino

from . import flink, ours, readers, tables
from .jobs import Job
from .servers import poll, say

RATE = 20_000
REPEATS = 5
QUERIES = {
    "full: revenue by platform": "SELECT platform, count(*), sum(revenue_usd) FROM {table} GROUP BY platform",
    "full: customers": "SELECT approx_distinct(customer_id) FROM {table}",
    "selective: one event by its id": "SELECT * FROM {table} WHERE unique_event_id = '{id}'",
    "selective: a second of event time": "SELECT count(*), sum(revenue_usd) FROM {table} "
                                         "WHERE event_ts_utc BETWEEN TIMESTAMP '{time} UTC' AND TIMESTAMP '{time} UTC' + INTERVAL '1' SECOND",
    "selective: a thousand offsets": "SELECT count(*) FROM {table} WHERE kafka_partition = 0 AND kafka_offset BETWEEN {offset} AND {offset} + 999",
}


def measure(servers, args):
    seconds = 20 if args.quick else 60
    events = RATE * seconds
    mine, theirs = (Job(servers.folder, f"queries_{engine}", "every-row", topic="queries") for engine in ("ours", "flink"))
    for job in (mine, theirs):
        tables.provision(servers, job, args.partitions)
    cluster = flink.Cluster(servers).start()
    try:
        with ours.workers(servers, mine, ours.Settings()), flink.endless(cluster, theirs, "1 s") as number:
            poll("Flink runs the job", 60, 0.2, lambda: flink.well(cluster, number, theirs) == "RUNNING", *flink.SERVICES)
            say(f"{events:,} events to both engines, {RATE:,} a second …")
            emitter = readers.begin(servers, "data-emitter", environment=readers.settings("queries", events, RATE))
            for job in (mine, theirs):
                poll(f"every row of {job.name}", seconds + 120, 1, lambda job=job: tables.reached(servers, job, events),
                     "processor", *flink.SERVICES)
        readers.finish(emitter, "data-emitter")
    finally:
        cluster.stop()
    answers = tables.Answers()
    found = {"events": events, "repeats": REPEATS, "tables": {}, "queries": {}}
    for engine, job in (("ours", mine), ("Flink", theirs)):
        contents = tables.contents(job)
        answers.check("every row", engine, contents, events)
        found["tables"][engine] = {key: contents[key] for key in ("rows", "files", "bytes_written")}
    chosen = sample(mine)
    for title, text in QUERIES.items():
        found["queries"][title] = {engine: asked(text.format(table=job.table, **chosen)) for engine, job in (("ours", mine), ("Flink", theirs))}
        say(title + ": " + ", ".join(f"{engine} {cost['milliseconds']:.0f} ms, {cost['rows_read']:,} rows read"
                                     for engine, cost in found["queries"][title].items()))
    same(found["queries"])
    for job in (mine, theirs):
        tables.drop(job)
    tables.drop_topic(servers, "queries")
    return found


def sample(job):
    """An event from the midst of the table, for the selective queries."""
    offset = trino.number(f"SELECT max(kafka_offset) / 2 FROM {job.table} WHERE kafka_partition = 0")
    row = trino.ask(f"SELECT unique_event_id, format_datetime(event_ts_utc, 'yyyy-MM-dd HH:mm:ss') FROM {job.table} "
                    f"WHERE kafka_partition = 0 AND kafka_offset >= {offset} ORDER BY kafka_offset LIMIT 1").rows[0]
    return {"offset": offset, "id": row[0], "time": row[1]}


def asked(sql):
    """Medians over several times; the first, cold one is not counted."""
    answers = [trino.ask(sql) for _ in range(REPEATS + 1)][1:]

    def median(name):
        return statistics.median(answer.stats[name] for answer in answers)
    return {"milliseconds": median("elapsedTimeMillis"), "cpu_milliseconds": median("cpuTimeMillis"),
            "rows_read": int(median("processedRows")), "bytes_read": int(median("physicalInputBytes")),
            "splits": int(median("completedSplits")), "answer": sorted(map(str, answers[-1].rows))}


def same(queries):
    """Both tables must give the same answers; they are not kept."""
    for title, costs in queries.items():
        answers = [cost.pop("answer") for cost in costs.values()]
        if answers[0] != answers[1]:
            raise tables.Wrong(f"`{title}` has different answers: {answers[0][:3]} and {answers[1][:3]}")


def show(section):
    for engine, table in section["tables"].items():
        print(f"{engine}: {table['rows']:,} rows in {table['files']:,} files, {table['bytes_written'] / 1e6:,.0f} MB")
    print(f"{'query':36} {'engine':7} {'ms':>7} {'CPU ms':>7} {'splits':>7} {'rows read':>12} {'MB read':>8}")
    for title, costs in section["queries"].items():
        for engine, cost in costs.items():
            print(f"{title:36} {engine:7} {cost['milliseconds']:7,.0f} {cost['cpu_milliseconds']:7,.0f} {cost['splits']:7,} "
                  f"{cost['rows_read']:12,} {cost['bytes_read'] / 1e6:8,.1f}")
