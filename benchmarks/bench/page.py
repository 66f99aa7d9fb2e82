"""docs/benchmarks.md and its plots, made from the JSON of the runs: between its markers no figure is typed.

Each block begins with `<!-- benchmarks: NAME -->` and ends with `<!-- end -->`. What stands around the blocks is written by hand.
"""

import json
import re

from e2e.compose import ROOT

from . import plot

PAGE = ROOT / "docs/benchmarks.md"
IMAGES = ROOT / "docs/images"
RESULTS = ROOT / "benchmarks/results.json"
BLOCK = re.compile(r"(<!-- benchmarks: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
RATIO_WORDS = {
    "filter_rate": "filter job, rate", "filter_cpu": "filter job, CPU", "filter_rss": "filter job, memory",
    "all_rate": "every row, each engine's default codec, rate", "all_cpu": "every row, each engine's default codec, CPU",
    "all_rss": "every row, each engine's default codec, memory",
    "all_rate_deflate": "every row, deflate in both, rate", "all_cpu_deflate": "every row, deflate in both, CPU",
    "all_rate_uncompressed": "every row, uncompressed in both, rate", "all_cpu_uncompressed": "every row, uncompressed in both, CPU",
    "all_rate_zstandard": "every row, zstandard in both, rate", "all_cpu_zstandard": "every row, zstandard in both, CPU",
}


def refresh(results_file, check):
    """Writes the page and its plots; with `check`, only tells what would change, as a list of files."""
    results = json.loads(results_file.read_text()) if results_file.exists() else {}
    wanted = {PAGE: filled(PAGE.read_text(), results)}
    if "throughput" in results:
        wanted[IMAGES / "benchmarks.svg"] = throughput_plot(results["throughput"])
    if "commits" in results:
        wanted[IMAGES / "benchmark-commits.svg"] = commits_plot(results["commits"])
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    for path in () if check else stale:
        path.write_text(wanted[path])
    return [str(path.relative_to(ROOT)) for path in stale]


def filled(page, results):
    names = [name for _, name, _ in BLOCK.findall(page)]
    if names != list(BLOCKS):
        raise SystemExit(f"{PAGE.name} has blocks for {names}, not for {list(BLOCKS)}")

    def block(found):
        begin, name, end = found.groups()
        section = results.get(name)
        return begin + (BLOCKS[name](section) if section else f"Not measured yet: `benchmarks/run {name} --json benchmarks/results.json`.") + f"\n{end}"
    return BLOCK.sub(block, page)


def table(head, rows, align=None):
    align = align or ["---"] + ["---:"] * (len(head) - 1)
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, align, *rows])


def origin(section):
    """On what, and when: figures of different machines are not to be compared."""
    machine = section["machine"]
    words = f"{section['when'][:10]}, revision {section['revision']}: {machine['cores']} cores of {machine['cpu']}, {machine['memory_gib']:.0f} GiB, " \
            f"Linux {machine['kernel']}; images: {section['images']}."
    others = section.get("others")
    return words + (f" **Other containers ran beside it: {', '.join(others)}.**" if others else "")


def throughput(section):
    rows = []
    for name, case in section["cases"].items():
        median = case["median"]
        rows.append([name, f"{median['events_per_second']:,.0f}", f"{case['spread']:.0%}", f"{median['cpu_seconds_per_million']:.2f}",
                     f"{median['broker_cpu_seconds_per_million']:.2f}", f"{median['store_cpu_seconds_per_million']:.2f}",
                     f"{median['peak_rss_mib']:,.0f}",
                     f"{median['first_row_seconds']:.2f}" if "first_row_seconds" in median else "–",
                     f"{median['bytes_written'] / 1e6:,.1f}" if "bytes_written" in median else "–",
                     f"{median['commits']:.0f}" if "commits" in median else "–"])
    figures = table(["", "events/s", "spread", "CPU s/M", "broker's", "store's", "RSS MiB", "first row, s", "MB written", "commits"], rows)
    ratios = table(["ours ÷ Flink's best", "", "of any round"],
                   [[RATIO_WORDS[name], f"**{value:.2f}**", "{:.2f} … {:.2f}".format(*section["ratio_ranges"][name])]
                    for name, value in section["ratios"].items()])
    answers = "; ".join(f"{shape}: {answer['rows']:,} rows, hash `{answer['hash']}`" for shape, answer in section["answers"].items())
    size = section["load"]["bytes"] / section["events"]
    left_out = "".join(f"\n\nLeft out: {name}: {reason}" for name, reason in section["left_out"].items())
    return f"""{origin(section)}

{section['events']:,} events of {size:.0f} bytes with their key, {section['partitions']} partitions, median of {section['runs']} runs.

![events per second and CPU seconds per million events](images/benchmarks.svg)

{ratios}

{figures}

Every run of either engine wrote the same rows ({answers}). Flink's first row, cluster and job from nothing: {section['first_row_cold']:.1f} s.
The emitter loaded the topic with {section['load']['events_per_second']:,.0f} events/s at {section['load']['cpu_seconds_per_million']:.2f} CPU s/M.{left_out}"""


def throughput_plot(section):
    def range_of(case, figure, scale=1.0):
        values = [run[figure] / scale for run in case["runs"]]
        return min(values), case["median"][figure] / scale, max(values)
    rows = [(case["engine"], case["title"], [range_of(case, "events_per_second", 1e6), range_of(case, "cpu_seconds_per_million")])
            for engine in ("ours", "Flink", "read only") for case in section["cases"].values() if case["engine"] == engine]
    return plot.bars(rows, [("million events a second: more is better", "{:.2f}"), ("CPU seconds per million: less is better", "{:.2f}")])


def freshness(section):
    rows = [[name, *(f"{case[key]:.2f}" for key in ("visible_p50", "visible_p99", "visible_max", "answered_p50", "answered_p99", "query_p50")),
             f"{case['rows']:,}"] for name, case in section["cases"].items()]
    head = ["engine, commit interval", "visible p50, s", "p99", "max", "answered p50", "p99", "a query takes", "rows"]
    return f"""{origin(section)}

{section['rate']:,} events a second for {section['seconds']} s.

{table(head, rows)}"""


def commits(section):
    rows = [[name.replace("_", " "), *(str(section[name][key]) for key in ("p50_ms", "p99_ms", "max_ms"))]
            for name in ("first_hundred", "last_hundred", "all")]
    return f"""{origin(section)}

{section['commits']:,} commits one after the other, {section['rows']:,} rows, {section['files']:,} files. p99 of the last hundred ÷ that of the
first: **{section['p99_last_to_first']:.2f}**.

{table(["commits", "p50 ms", "p99 ms", "max ms"], rows)}

![commit latency over the number of commits](images/benchmark-commits.svg)"""


def commits_plot(section):
    return plot.course(section["course"], [("p50_ms", "median", "#8b949e"), ("p99_ms", "p99", "#2563eb")], "milliseconds a commit", "commits")


def workers(section):
    rows = [[count, f"{case['events_per_second']:,.0f}", str(case["commits"]), str(case["conflicts"]), f"{case['conflicts_per_commit']:.3f}",
             str(case["commit_p50_ms"]), str(case["commit_p99_ms"])] for count, case in section["cases"].items()]
    head = ["workers", "backlog, events/s", "commits", "conflicts", "a commit", "p50 ms", "p99 ms"]
    return f"""{origin(section)}

A backlog of {section['backlog']:,} events or more in {section['partitions']} partitions, then {section['rate']:,} events a second for {section['seconds']} s.

{table(head, rows)}"""


def connect(section):
    rows = [[name, f"{case['median']['events_per_second']:,.0f}", f"{case['spread']:.0%}", f"{case['median']['cpu_seconds_per_million']:.2f}",
             f"{case['median']['peak_rss_mib']:,.0f}", f"{case['median']['bytes_written'] / 1e6:,.1f}"] for name, case in section["cases"].items()]
    ratios = ", ".join(f"{name} **{value:.2f}**" for name, value in section["ratios"].items())
    return f"""{origin(section)}

{section['events']:,} events. Ours ÷ Kafka Connect: {ratios}.

{table(["every row", "events/s", "spread", "CPU s/M", "RSS MiB", "MB written"], rows)}"""


def emitter(section):
    median = section["median"]
    return f"""{origin(section)}

{median['events_per_second']:,.0f} events/s of {section['event_bytes']:.0f} bytes with their key (spread {section['spread']:.0%} over {len(section['runs'])} runs),
**{section['events_per_core_second']:,.0f} events for each second of CPU**, {median['peak_rss_mib']:.0f} MiB. The broker beside it took
{median['broker_cpu_seconds_per_million']:.2f} CPU s per million events."""


def queries(section):
    rows = [[title if engine == "ours" else "", engine, f"{cost['milliseconds']:,.0f}", f"{cost['cpu_milliseconds']:,.0f}", f"{cost['splits']:,}",
             f"{cost['rows_read']:,}", f"{cost['bytes_read'] / 1e6:,.1f}"]
            for title, costs in section["queries"].items() for engine, cost in costs.items()]
    sizes = "; ".join(f"{engine}: {one['files']:,} files, {one['bytes_written'] / 1e6:,.0f} MB" for engine, one in section["tables"].items())
    return f"""{origin(section)}

{section['events']:,} rows in each table ({sizes}). Median of {section['repeats']}.

{table(["query", "table of", "ms", "CPU ms", "splits", "rows read", "MB read"], rows, ["---", "---", *["---:"] * 5])}"""


# In the order of the page.
BLOCKS = {"throughput": throughput, "freshness": freshness, "commits": commits, "workers": workers, "queries": queries, "connect": connect,
          "emitter": emitter}
