"""Kills under load, and workers that come and go; every time the tables must hold each record once."""

import re
import threading

from . import trino
from .compose import Failed, Platform, run, until

# Who is killed while records flow, in this order.
VICTIMS = ["stream-processor", "stream-processor", "streaming-server", "stream-processor", "iceberg-catalog-svc",
           "stream-processor", "minio-storage-service", "metadata-db", "stream-processor"]
SLICE_RATE = 5_000
MALFORMED = 0.001
LOAD_SECONDS_MAX = 240
VERIFY_SECONDS_MAX = 300
MEMORY_MIB_MAX = 6 * 1024
PROCESSOR_MIB_MAX = 150
VERIFIED = re.compile(r"verified: read=(\d+) written=(\d+) filtered=(\d+) rejected=(\d+) lost=(\d+) duplicated=(\d+) altered=(\d+)")
COUNTS = "SELECT count(*), count(DISTINCT unique_event_id), count(DISTINCT (kafka_partition, kafka_offset)) FROM processed_conversions"


def load(platform: Platform, events, rate, seed):
    """Begins a finite, seeded load in a container of its own."""
    return platform.begin("run", "--rm", "--no-deps", "-T",
                          "-e", f"EMITTER_EVENTS={events}", "-e", f"EMITTER_RATE={rate}", "-e", f"EMITTER_SEED={seed}",
                          "-e", f"EMITTER_MALFORMED={MALFORMED}", "-e", "EMITTER_FLUSH_TIMEOUT=120s", "data-emitter")


def finish(loading, events):
    output, _ = loading.communicate(timeout=LOAD_SECONDS_MAX)
    if loading.returncode:
        raise Failed(f"a load of {events} events was not delivered:\n{output[-3000:]}", "streaming-server")


def kills(context):
    """The load goes out in slices, and in the midst of each somebody is killed; then the whole is compared."""
    platform = context.platform
    meter = Meter()
    slice_events = context.events // (3 * len(VICTIMS))
    burst = context.events - slice_events * len(VICTIMS)
    for seed, victim in enumerate(VICTIMS, start=100):
        before = end_offsets(platform)
        loading = load(platform, slice_events, SLICE_RATE, seed)
        until("the load reaches Kafka", 60, lambda: end_offsets(platform) > before + slice_events // 10, "streaming-server")
        platform.kill(victim)
        platform.start(victim)
        finish(loading, slice_events)
        platform.await_healthy(victim)
        print(f"killed {victim} under load: back and healthy", flush=True)
    # At full rate, with a crash that nobody but the restart policy mends.
    loading = load(platform, burst, "max", 99)
    platform.crash("stream-processor")
    finish(loading, burst)
    platform.await_healthy("stream-processor")
    print(f"crashed stream-processor under {burst} events at full rate: restarted and healthy", flush=True)
    verify(context)
    context.figures["memory_mib"] = meter.stop()
    total, processor = (context.figures["memory_mib"][key] for key in ("all", "stream-job-master"))
    print(f"memory at its highest: all containers {total:.0f} MiB, the processor {processor:.0f} MiB")
    if total > MEMORY_MIB_MAX or processor > PROCESSOR_MIB_MAX:
        raise Failed(f"more memory than {MEMORY_MIB_MAX} MiB in all or {PROCESSOR_MIB_MAX} MiB for the processor")


def workers(context):
    """Two more processors join in the midst of a load and leave before it ends."""
    platform = context.platform
    events = context.events // 3
    loading = load(platform, events, SLICE_RATE, 200)
    platform.compose("--profile", "scale", "up", "-d", "--no-recreate", "--scale", "stream-worker=2", "stream-worker")
    until("both workers are healthy", 90,
          lambda: sum(one["State"].get("Health", {}).get("Status") == "healthy"
                      for one in platform.states().get("stream-worker", [])) == 2, "stream-worker")
    shares = until("the group shares the partitions", 60, lambda: sharing(platform), "stream-worker", "stream-processor")
    print(f"three members share the topic: {shares}", flush=True)
    platform.compose("--profile", "scale", "rm", "--stop", "--force", "stream-worker")
    finish(loading, events)
    verify(context)


def sharing(platform):
    """Partitions of each member, when there are three."""
    listed = platform.compose("exec", "-T", "streaming-server", "/opt/kafka/bin/kafka-consumer-groups.sh",
                              "--bootstrap-server", "localhost:19092", "--describe", "--group", "streamforge",
                              "--members").stdout
    # GROUP CONSUMER-ID HOST CLIENT-ID #PARTITIONS
    held = [int(line.split()[-1]) for line in listed.splitlines() if line.startswith("streamforge ")]
    return held if len(held) == 3 and all(held) else None


def verify(context):
    """The topic is read again and compared; Trino must count the same rows."""
    platform = context.platform
    platform.compose("stop", "data-emitter")
    try:
        outcome = platform.compose("run", "--rm", "--no-deps", "-T", "platform-setup", "verify",
                                   check=False, seconds=VERIFY_SECONDS_MAX)
        found = VERIFIED.search(outcome.stdout)
        if outcome.returncode or not found:
            raise Failed(f"verify ended with {outcome.returncode}:\n{outcome.stdout}{outcome.stderr}", "stream-processor")
        print(found.group(0), flush=True)
        read, written, filtered, rejected, lost, duplicated, altered = map(int, found.groups())
        if (lost, duplicated, altered) != (0, 0, 0) or written + filtered + rejected != read:
            raise Failed("the balance is wrong", "stream-processor")
        rows, events, places = trino.ask(COUNTS).rows[0]
        if (rows, events, places) != (written, written, written):
            raise Failed(f"Trino counts {rows} rows, {events} events, {places} places; verify says {written}")
        held = trino.number("SELECT count(*) FROM rejected_events")
        if held != rejected:
            raise Failed(f"Trino counts {held} rejected events; verify says {rejected}")
        context.figures["verified"] = found.group(0)
    finally:
        platform.compose("start", "data-emitter")
        platform.await_healthy("data-emitter")


def end_offsets(platform):
    """Records in the topic, all partitions; 0 while Kafka can't be asked."""
    listed = platform.compose("exec", "-T", "streaming-server", "/opt/kafka/bin/kafka-get-offsets.sh",
                              "--bootstrap-server", "localhost:19092", "--topic", "user-activity-stream", check=False).stdout
    return sum(int(line.rsplit(":", 1)[1]) for line in listed.split() if line.count(":") == 2)


class Meter:
    """Samples the memory of all containers until stopped; keeps the highest."""

    def __init__(self):
        self.highest = {"all": 0.0}
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.sample, daemon=True)
        self.thread.start()

    def sample(self):
        while not self.ended.is_set():
            listed = run("docker", "stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}", check=False).stdout
            now = {name: mebibytes(used) for name, used in
                   (line.split(" / ")[0].rsplit(" ", 1) for line in listed.splitlines() if " / " in line)}
            now["all"] = sum(now.values())
            for name, used in now.items():
                self.highest[name] = max(self.highest.get(name, 0.0), used)

    def stop(self):
        self.ended.set()
        self.thread.join()
        return {name: round(used, 1) for name, used in sorted(self.highest.items())}


def mebibytes(text):
    number, unit = re.fullmatch(r"([\d.]+)([A-Za-z]+)", text).groups()
    return float(number) * {"B": 1 / 2**20, "KiB": 1 / 1024, "MiB": 1, "GiB": 1024}[unit]
