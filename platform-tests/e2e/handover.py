"""The tables on their way to Flink and back while records flow; nothing may be lost or doubled, and no rival may write."""

import json
import time
import urllib.request

from . import trino
from .compose import Failed, run, until
from .faults import VERIFIED

JOB_MASTER = "http://127.0.0.1:8084"
SERVICES = ["streaming-server", "minio-storage-service", "metadata-db", "iceberg-catalog-svc", "query-engine"]
FLINK = ["flink-job-master", "flink-worker", "flink-start", "flink-submit"]
VERIFY_SECONDS_MAX = 200
ROWS = "SELECT count(*) FROM processed_conversions"


def up(context):
    """The override file from nothing: servers, cluster, tables, job."""
    begun = time.monotonic()
    context.flink.compose("up", "-d", "flink-submit", "query-engine")
    for service in [*SERVICES, "flink-job-master", "flink-worker"]:
        context.flink.await_healthy(service)
    runs(context, begun)


def runs(context, begun):
    until("the one-shots of Flink's start end", 120,
          lambda: all(over(context, service) for service in ("flink-start", "flink-submit")), "flink-start", "flink-submit")
    until("the job runs", 60, lambda: "RUNNING" in states(), "flink-submit", "flink-job-master", "flink-worker")
    print(f"Flink runs the job {time.monotonic() - begun:.0f} s after `up`", flush=True)


def over(context, service):
    state = context.flink.container(service)["State"]
    if state["Status"] == "exited" and state["ExitCode"]:
        raise SystemExit(f"{service} ended with {state['ExitCode']}:\n{context.flink.logs(service)}")
    return state["Status"] == "exited"


def states():
    """The state of each job that the cluster knows."""
    try:
        with urllib.request.urlopen(f"{JOB_MASTER}/jobs/overview", timeout=10) as answer:
            return [job["state"] for job in json.load(answer)["jobs"]]
    except (OSError, ValueError) as err:
        raise Failed(f"Flink does not answer: {err}", "flink-job-master") from err


def flowing(context):
    """Records without end, and none that is broken: Flink stops at those, as docs/flink.md says."""
    context.flink.compose("up", "-d", "--no-deps", "data-emitter")
    context.flink.await_healthy("data-emitter")


def rows_beyond(count, *services):
    return until(f"the table has more than {count} rows", 90, lambda: max(0, trino.number(ROWS) - count), *services) + count


def streamforge(context, *command, check=True):
    """A command of ours, with the cluster's address."""
    outcome = context.flink.compose("run", "--rm", "--no-deps", "-T", "flink-start", *command, check=False)
    said = (outcome.stdout + outcome.stderr).strip()
    if check and outcome.returncode:
        raise Failed(f"`streamforge {' '.join(command)}` ended with {outcome.returncode}:\n{said}")
    return outcome.returncode, said


def refused(context, words, *command):
    code, said = streamforge(context, *command, check=False)
    if code == 0 or words not in said:
        raise Failed(f"`streamforge {' '.join(command)}` must be refused because `{words}`, but ended with {code}:\n{said}")
    print(f"refused: {said.splitlines()[-1]}", flush=True)


def from_flink_to_us(context):
    """Flink loses its job manager under load and goes on by the rows; then a processor takes over, still under load."""
    flowing(context)
    rows = rows_beyond(0, "flink-submit", "flink-job-master", "flink-worker")
    context.flink.kill("flink-job-master")
    context.flink.start("flink-job-master")
    context.flink.await_healthy("flink-job-master")
    begun = time.monotonic()
    context.flink.compose("up", "-d", "flink-submit")
    runs(context, begun)
    rows = rows_beyond(rows, "flink-submit", "flink-job-master", "flink-worker")
    print(f"{rows} rows: Flink went on after its job manager was killed", flush=True)
    refused(context, "Flink still runs", "adopt")
    give_back(context)
    rows_beyond(rows, "stream-processor")
    verify(context)


def from_us_to_flink_and_back(context):
    """Flink takes over from processors of which one keeps running, and gives the tables back."""
    flowing(context)
    rows = rows_beyond(trino.number(ROWS), "stream-processor")
    context.ours.compose("--profile", "scale", "up", "-d", "--no-recreate", "--no-deps", "stream-worker")
    context.ours.await_healthy("stream-worker")
    context.ours.compose("rm", "--stop", "--force", "stream-processor")
    begun = time.monotonic()
    context.flink.compose("up", "-d", "flink-submit")
    runs(context, begun)
    until("the rival that still ran is refused by the lent table", 60, lambda: "is lent to another engine" in
          context.ours.logs("stream-worker", 200), "stream-worker")
    context.ours.compose("--profile", "scale", "rm", "--stop", "--force", "stream-worker")
    rows = rows_beyond(max(rows, trino.number(ROWS)), "flink-submit", "flink-job-master", "flink-worker")
    print(f"{rows} rows: Flink went on where the tables stood, and kept a rival out", flush=True)
    stop(context)
    refused(context, "would be written twice", "adopt", "--position", ",".join(f"{partition}:0" for partition in range(6)))
    give_back(context)
    rows_beyond(rows, "stream-processor")
    verify(context)


def stop(context):
    print(context.flink.compose("exec", "-T", "flink-job-master", "/opt/streamforge/stop.sh").stdout.strip().splitlines()[-1])
    if not set(states()) <= {"FINISHED", "CANCELED", "FAILED"}:
        raise Failed(f"after stop.sh jobs are {states()}", "flink-job-master")


def give_back(context):
    """The second procedure of docs/flink.md."""
    stop(context)
    _, said = streamforge(context, "adopt")
    print(said.splitlines()[-1], flush=True)
    context.flink.compose("rm", "--stop", "--force", *FLINK)
    context.ours.compose("up", "-d", "--no-deps", "stream-processor")
    context.ours.await_healthy("stream-processor")


def verify(context):
    context.flink.compose("stop", "data-emitter")
    outcome = context.ours.compose("run", "--rm", "--no-deps", "-T", "platform-setup", "verify", check=False,
                                   seconds=VERIFY_SECONDS_MAX)
    found = VERIFIED.search(outcome.stdout)
    if outcome.returncode or not found:
        raise Failed(f"verify ended with {outcome.returncode}:\n{outcome.stdout}{outcome.stderr}", "stream-processor")
    print(found.group(0), flush=True)
    context.figures["verified"] = found.group(0)
    snapshots = trino.ask("SELECT count(*), count(DISTINCT summary['flink.job-id']) FROM \"processed_conversions$snapshots\" "
                          "WHERE element_at(summary, 'flink.job-id') IS NOT NULL").rows[0]
    print(f"{snapshots[0]} snapshots are Flink's, of {snapshots[1]} jobs", flush=True)


def remove(context):
    context.flink.compose("--profile", "*", "down", "--volumes", "--remove-orphans", "--timeout", "10")
    left = {kind: names for kind, names in context.ours.leftovers().items() if names}
    if left:
        raise Failed(f"`down --volumes` leaves {left}")
    run("docker", "ps")
