"""The emitter alone: as many events as the broker takes."""

from . import readers, tables
from .jobs import Job
from .servers import say
from .throughput import medians, spread, told


def measure(servers, args):
    runs = []
    for run in range(args.runs):
        # A new topic each time: a broker appends to an old one differently.
        job = Job(servers.folder, f"emitter_{run}", topic=f"emitter_{run}")
        tables.provision(servers, job, args.partitions)
        runs.append(readers.emit(servers, job.topic, args.events))
        say(f"{told('emitter', runs[-1])}   (run {run + 1} of {args.runs})")
        tables.drop(job)
        tables.drop_topic(servers, job.topic)
    median = medians(runs)
    return {"events": args.events, "partitions": args.partitions, "runs": runs, "median": median, "spread": spread(runs),
            "events_per_core_second": 1e6 / median["cpu_seconds_per_million"], "event_bytes": median["bytes"] / args.events}


def show(section):
    median = section["median"]
    print(f"emitter: {median['events_per_second']:,.0f} events/s (spread {section['spread']:.0%}) of {section['event_bytes']:.0f} bytes with their "
          f"key, {section['events_per_core_second']:,.0f} events per second of CPU, {median['peak_rss_mib']:.0f} MiB; the broker's CPU "
          f"{median['broker_cpu_seconds_per_million']:.2f} s/M")
