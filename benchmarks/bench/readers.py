"""Programs that run once and end: the emitter, and consumers that read the topic and do nothing with it."""

import json

from e2e.compose import Failed, run, tail

from .meter import TICKS, Meter, fields, status_kib, ticks
from .servers import inspected, poll

RUN_SECONDS_MAX = 900
# The CPU of a process that has ended can't be asked: its last figures are kept, this often.
LOOK_EVERY = 0.02
# The same bytes in every run, on every machine.
SEED = 1
START = "2025-06-01T12:00:00Z"


def begin(servers, service, *words, environment=()):
    """Starts a container of its own for one service."""
    name = f"benchmark-once-{service}"
    run("docker", "rm", "--force", name, check=False)
    settings = [word for pair in environment for word in ("-e", pair)]
    servers.compose("run", "--detach", "--no-deps", "--name", name, *settings, service, *words)
    return name


def finish(name, service):
    """What it said, once it has ended with 0."""
    container = poll(f"{service} is over", 30, 0.1, lambda: next((one for one in inspected(name) if not one.running), None))
    outcome = run("docker", "logs", name, check=False)
    said = outcome.stdout + outcome.stderr
    run("docker", "rm", "--force", name, check=False)
    if container.exit_code:
        raise Failed(f"{service} ended with {container.exit_code}:\n{tail(said, 40)}")
    return said


def watched(servers, events, service, *words, environment=(), brief=False):
    """Runs it to its end; its words, and the figures of the run. A brief one tells its own CPU and memory."""
    meter = Meter(servers).begin()
    name = begin(servers, service, *words, environment=environment)
    pid = inspected(name)[0].pid
    last = {"cpu": 0.0, "peak": 0.0}

    def ended():
        # Not its descendants, for whom all of /proc would be read: these programs have none.
        if fields(pid) is None:
            return True
        last["cpu"] = max(last["cpu"], ticks(pid) / TICKS)
        last["peak"] = max(last["peak"], status_kib(pid, "VmHWM:") / 1024)
        return False

    poll(f"{service} ends", RUN_SECONDS_MAX, LOOK_EVERY, ended, service)
    used = meter.end(events)
    said = finish(name, service)
    if not last["cpu"] and not brief:
        raise Failed(f"{service} ended before it could be looked at: more events are needed")
    own = last["cpu"] / events * 1e6
    elsewhere = max(0.0, used["elsewhere_cpu_seconds_per_million"] - own)
    return said, used | {"cpu_seconds_per_million": own, "peak_rss_mib": last["peak"], "elsewhere_cpu_seconds_per_million": elsewhere}


def emit(servers, topic, events, rate="max", start=START, seed=SEED):
    """Publishes so many events and waits for the broker to have them all."""
    said, used = watched(servers, events, "data-emitter", environment=settings(topic, events, rate, start, seed))
    done = emitted(said)
    return {"seconds": done["seconds"], "events_per_second": done["events_per_second"], "bytes": done["bytes"]} | used


def settings(topic, events, rate, start=None, seed=SEED):
    """The emitter's environment; without a start its events happen now."""
    chosen = [f"KAFKA_TOPIC={topic}", f"EMITTER_EVENTS={events}", f"EMITTER_RATE={rate}", f"EMITTER_SEED={seed}"]
    return chosen + ([f"EMITTER_START={start}"] if start else [])


def emitted(said):
    """The balance in the emitter's log."""
    for line in said.splitlines():
        if '"emitted"' in line:
            return json.loads(line)["fields"]
    raise Failed(f"the emitter says nothing of what it emitted:\n{tail(said, 20)}")


def consumer_performance(servers, topic, events, group):
    """Kafka's own consumer in Java. The rate is its own, from the first fetch on."""
    said, used = watched(servers, events, "consumer-performance", "/opt/kafka/bin/kafka-consumer-perf-test.sh",
                         "--bootstrap-server", "streaming-server:19092", "--topic", topic, "--num-records", events,
                         "--group", group, "--timeout", "60000")
    # start.time, end.time, MB, MB.sec, records, records.sec, rebalance.time.ms, fetch.time.ms, fetch.MB.sec, fetch.records.sec
    figures = [line.split(",") for line in said.splitlines() if line.count(",") == 9 and line[:1].isdigit()]
    if not figures or int(figures[-1][4]) < events:
        raise Failed(f"ConsumerPerformance has not read {events} records:\n{tail(said, 20)}")
    rate = float(figures[-1][9])
    return {"seconds": events / rate, "events_per_second": rate} | used


def librdkafka(servers, topic, events):
    """librdkafka without anything of ours. The rate is from the first fetch on."""
    said, used = watched(servers, events, "librdkafka-reader", "streaming-server:19092", topic, brief=True)
    read = json.loads(said.strip().splitlines()[-1])
    if read["records"] != events:
        raise Failed(f"librdkafka has read {read['records']} records, not {events}")
    own = {"cpu_seconds_per_million": read["cpu_seconds"] / events * 1e6, "peak_rss_mib": read["peak_rss_kib"] / 1024}
    return {"seconds": read["seconds"], "events_per_second": events / read["seconds"], "version": read["version"]} | used | own
