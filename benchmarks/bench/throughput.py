"""From a full topic to committed rows: our engine, Apache Flink with the same job file, and what reading alone costs.

Each run is alone on the machine. It goes in rounds, in each of which everything runs once, and what is compared is of one round, and as
close to each other in it as can be: a machine that changes its speed within the hour favours nobody.
"""

import dataclasses
import statistics

from e2e.compose import Failed

from . import flink, ours, readers, tables
from .jobs import SHAPES, TOPIC, Job
from .servers import say


@dataclasses.dataclass(frozen=True)
class Case:
    """One way to run one engine."""

    engine: str
    shape: str
    title: str
    codec: str | None = None
    workers: int = 1
    endless: bool = False
    optional: bool = False
    settings: dict = dataclasses.field(default_factory=dict)

    @property
    def name(self):
        return f"{self.engine}: {self.title}"


# Of each shape, both engines' first ones are compared: ours is run backwards, for them to meet.
OURS = [
    Case("ours", "filter", "filter"),
    Case("ours", "filter", "filter, endless", endless=True),
    Case("ours", "filter", "filter, 2 workers", workers=2),
    Case("ours", "filter", "filter, without validation", settings={"validate": "off"}),
    Case("ours", "filter", "filter, without raw skip", settings={"raw_skip": "off"}),
    Case("ours", "filter", "filter, librdkafka fetching", settings={"fetcher": "librdkafka"}),
    Case("ours", "every-row", "every row, zstandard (default)", codec="zstandard"),
    Case("ours", "every-row", "every row, deflate", codec="deflate"),
    Case("ours", "every-row", "every row, uncompressed", codec="none"),
    Case("ours", "every-row", "every row, zstandard, 2 workers", codec="zstandard", workers=2),
]
FLINK = [
    Case("Flink", "filter", "filter"),
    Case("Flink", "filter", "filter, endless", endless=True),
    Case("Flink", "every-row", "every row, deflate (default)"),
    Case("Flink", "every-row", "every row, uncompressed", codec="none"),
    Case("Flink", "every-row", "every row, zstandard", codec="zstandard", optional=True),
]
# Ratio → our case, Flink's cases, and whether more is better.
RATIOS = {
    "filter_rate": ("filter", ("filter", "filter, endless"), "events_per_second", max),
    "filter_cpu": ("filter", ("filter", "filter, endless"), "cpu_seconds_per_million", min),
    "filter_rss": ("filter", ("filter", "filter, endless"), "peak_rss_mib", min),
    "all_rate": ("every row, zstandard (default)", ("every row, deflate (default)",), "events_per_second", max),
    "all_cpu": ("every row, zstandard (default)", ("every row, deflate (default)",), "cpu_seconds_per_million", min),
    "all_rss": ("every row, zstandard (default)", ("every row, deflate (default)",), "peak_rss_mib", min),
    "all_rate_deflate": ("every row, deflate", ("every row, deflate (default)",), "events_per_second", max),
    "all_cpu_deflate": ("every row, deflate", ("every row, deflate (default)",), "cpu_seconds_per_million", min),
    "all_rate_uncompressed": ("every row, uncompressed", ("every row, uncompressed",), "events_per_second", max),
    "all_cpu_uncompressed": ("every row, uncompressed", ("every row, uncompressed",), "cpu_seconds_per_million", min),
    "all_rate_zstandard": ("every row, zstandard (default)", ("every row, zstandard",), "events_per_second", max),
    "all_cpu_zstandard": ("every row, zstandard (default)", ("every row, zstandard",), "cpu_seconds_per_million", min),
}


def measure(servers, args):
    return Throughput(servers, args).whole()


class Throughput:
    """One measurement, and what it has found so far."""

    def __init__(self, servers, args):
        self.servers, self.args = servers, args
        self.answers = tables.Answers()
        self.runs = {}
        self.cases = {}
        self.left_out = {}
        self.numbers = 0

    def whole(self):
        args = self.args
        load = self.load()
        # Not counted: it warms the catalog, and tells how many rows there will be.
        self.ours_run(OURS[0])
        say("Flink …")
        cluster = flink.Cluster(self.servers).start()
        try:
            cold = self.flink_run(cluster, FLINK[1])
            first_row_cold = cold["first_commit"] - cluster.started
            rivals = [case for case in FLINK if self.warmed(cluster, case)]
            for run in range(args.runs):
                with cluster.frozen():
                    self.reading(run)
                for shape in SHAPES:
                    with cluster.frozen():
                        for case in reversed(of_shape(OURS, shape)):
                            self.keep(case, self.ours_run(case), run)
                    for case in of_shape(rivals, shape):
                        self.keep(case, self.flink_run(cluster, case), run)
        finally:
            cluster.stop()
        order = [case.name for case in [*OURS, *FLINK]]
        # What only reads stands first.
        cases = {name: {**described(self.cases[name]), "runs": runs, "median": medians(runs), "spread": spread(runs)}
                 for name, runs in sorted(self.runs.items(), key=lambda run: order.index(run[0]) if run[0] in order else -1)}
        found, ranges = ratios(cases)
        return {"events": args.events, "partitions": args.partitions, "runs": args.runs, "load": load, "cases": cases,
                "answers": self.answers.as_json(), "first_row_cold": first_row_cold, "left_out": self.left_out,
                "ratios": found, "ratio_ranges": ranges}

    def load(self):
        events = self.args.events
        say(f"loading {events:,} events …")
        job = Job(self.servers.folder, "setup")
        tables.provision(self.servers, job, self.args.partitions)
        tables.drop(job)
        figures = readers.emit(self.servers, TOPIC, events)
        say(told("emitter", figures))
        return figures

    def keep(self, case, figures, run):
        self.cases[case.name] = case
        figures.pop("first_commit", None)
        self.runs.setdefault(case.name, []).append(figures)
        say(f"{told(case.name, figures)}   (run {run + 1} of {self.args.runs})")

    def job(self, case):
        """Every run has tables of its own."""
        self.numbers += 1
        return Job(self.servers.folder, f"{case.engine.lower()}_{self.numbers}", case.shape, bounded=not case.endless)

    def check(self, case, job, figures):
        self.answers.check(case.shape, case.name, figures, self.args.events if case.shape == "every-row" else None)
        tables.drop(job)

    def reading(self, run):
        """Kafka's and librdkafka's consumers: what an engine on top of them can't beat."""
        group = f"consumer-performance-{run}"
        self.keep(Case("read only", "-", "librdkafka"), readers.librdkafka(self.servers, TOPIC, self.args.events), run)
        self.keep(Case("read only", "-", "Kafka's ConsumerPerformance"),
                  readers.consumer_performance(self.servers, TOPIC, self.args.events, group), run)

    def ours_run(self, case):
        codec = {"codec": case.codec} if case.codec else {}
        job = self.job(case)
        drain = ours.drain if case.endless else ours.drain_bounded
        figures = drain(self.servers, job, ours.Settings(**case.settings, **codec), self.args.events, self.args.partitions,
                        case.workers)
        self.check(case, job, figures)
        return figures

    def warmed(self, cluster, case):
        """Runs a case for its JVM to compile, and discards what that took; whether Flink can do the case at all."""
        try:
            self.flink_run(cluster, case)
            return True
        except tables.Wrong:
            raise
        except Failed as failed:
            if not case.optional:
                raise
            self.left_out[case.name] = str(failed).splitlines()[0][:300]
            say(f"{case.name} is left out: {self.left_out[case.name]}")
            return False

    def flink_run(self, cluster, case):
        job, events, partitions = self.job(case), self.args.events, self.args.partitions
        if case.endless:
            rows = self.answers.known[case.shape][0]["rows"]
            figures = flink.drain_endless(cluster, job, events, partitions, rows, codec=case.codec)
        else:
            figures = flink.drain_bounded(cluster, job, events, partitions, codec=case.codec)
        self.check(case, job, figures)
        return figures


def of_shape(cases, shape):
    return [case for case in cases if case.shape == shape]


def described(case):
    return {"engine": case.engine, "shape": case.shape, "title": case.title, "codec": case.codec, "workers": case.workers}


def medians(runs):
    return {key: statistics.median(run[key] for run in runs) for key, value in runs[0].items() if isinstance(value, (int, float))}


def spread(runs):
    rates = [run["events_per_second"] for run in runs]
    return (max(rates) - min(rates)) / statistics.median(rates)


def ratios(cases):
    """Ours ÷ the best of Flink's cases, round by round: the median, and the least and the greatest."""
    found, ranges = {}, {}
    for name, (mine, theirs, figure, better) in RATIOS.items():
        here = [run[figure] for run in cases[f"ours: {mine}"]["runs"]]
        there = [[run[figure] for run in cases[f"Flink: {title}"]["runs"]] for title in theirs if f"Flink: {title}" in cases]
        if not there:
            continue
        quotients = [one / better(others) for one, *others in zip(here, *there, strict=True)]
        found[name] = statistics.median(quotients)
        ranges[name] = [min(quotients), max(quotients)]
    return found, ranges


def told(name, figures):
    row = f"{name}: {figures['events_per_second'] / 1e6:.3f}M events/s, {figures['cpu_seconds_per_million']:.2f} CPU s/M, " \
          f"{figures['peak_rss_mib']:,.0f} MiB"
    return row + (f", {figures['rows']:,} rows" if "rows" in figures else "")


def show(section):
    print(f"{'case':44} {'events/s':>11} {'spread':>7} {'CPU s/M':>8} {'broker':>7} {'RSS MiB':>8} {'first row':>10} {'MB':>7} {'rows':>12}")
    for name, case in section["cases"].items():
        median = case["median"]
        first = f"{median['first_row_seconds']:9.2f}s" if "first_row_seconds" in median else f"{'':10}"
        size = f"{median['bytes_written'] / 1e6:7,.0f}" if "bytes_written" in median else f"{'':7}"
        rows = f"{median['rows']:12,.0f}" if "rows" in median else ""
        print(f"{name:44} {median['events_per_second']:11,.0f} {case['spread']:7.0%} {median['cpu_seconds_per_million']:8.2f} "
              f"{median['broker_cpu_seconds_per_million']:7.2f} {median['peak_rss_mib']:8,.0f} {first} {size} {rows}")
    print(f"\nFlink's first row, cluster and job from nothing: {section['first_row_cold']:.1f} s")
    print("\nours ÷ Flink's best" + " " * 8 + "lowest and highest of any round")
    for name, value in section["ratios"].items():
        low, high = section["ratio_ranges"][name]
        print(f"  {name:24} {value:6.2f}   {low:6.2f} … {high:.2f}")
    for name, reason in section["left_out"].items():
        print(f"left out: {name}: {reason}")
