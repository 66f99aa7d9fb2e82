"""CPU seconds and memory of processes, read from /proc the same way for every engine.

A process counts with its descendants, those that have ended included. Time is counted in hundredths of a second.
"""

import contextlib
import os
import pathlib
import platform

PROC = pathlib.Path("/proc")
TICKS = os.sysconf("SC_CLK_TCK")
# The servers whose CPU is told apart from the engine's.
ROLES = {"broker": "streaming-server", "store": "minio-storage-service", "catalog": "iceberg-catalog-svc"}


def fields(pid):
    """The numbers of /proc/PID/stat from the third on; None when the process is gone."""
    try:
        return (PROC / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None


def tree(pid):
    """A process and its descendants."""
    children = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            seen = fields(entry.name)
            if seen:
                children.setdefault(int(seen[1]), []).append(int(entry.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def ticks(pid):
    """Of the process itself and of children it has waited for."""
    seen = fields(pid)
    return sum(map(int, seen[11:15])) if seen else 0


def cpu_seconds(pids):
    return sum(ticks(one) for pid in pids for one in tree(pid)) / TICKS


def status_kib(pid, name):
    try:
        for line in (PROC / str(pid) / "status").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1])
    except OSError:
        pass
    return 0


def peak_rss_mib(pids):
    """Each process's highest, added up."""
    return sum(status_kib(one, "VmHWM:") for pid in pids for one in tree(pid)) / 1024


def forget_peak(pids):
    """Lets the highest memory be counted anew for processes that have run before; only root may."""
    for pid in pids:
        for one in tree(pid):
            with contextlib.suppress(OSError):
                (PROC / str(one) / "clear_refs").write_text("5")


def machine_seconds():
    """CPU seconds that this machine was busy, and those that its host took away."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, (PROC / "stat").read_text().split("\n", 1)[0].split()[1:9])
    return (user + nice + system + irq + softirq) / TICKS, steal / TICKS


def machine():
    """What the figures are of."""
    model = [line.split(":", 1)[1].strip() for line in (PROC / "cpuinfo").read_text().splitlines() if line.startswith("model name")]
    memory = int((PROC / "meminfo").read_text().split(None, 2)[1])
    return {"cpu": model[0] if model else platform.machine(), "cores": os.cpu_count(), "memory_gib": round(memory / 2**20, 1),
            "kernel": platform.release()}


class Meter:
    """CPU between `begin` and `end`, by role; the engine's own under `cpu_seconds`."""

    def __init__(self, servers, engine=()):
        self.roles = {role: [servers.container(service).pid] for role, service in ROLES.items()}
        self.engine = list(engine)

    def begin(self):
        self.before = self.read()
        return self

    def read(self):
        busy, steal = machine_seconds()
        return {role: cpu_seconds(pids) for role, pids in self.roles.items()} | {
            "engine": cpu_seconds(self.engine), "busy": busy, "steal": steal}

    def end(self, events, account=None):
        """The figures of one run over so many events. Processes that came after `begin` started at nothing; of an engine that has
        ended since, `account` tells its CPU seconds and its highest memory in MiB.
        """
        after = self.read()
        used = {key: after[key] - self.before[key] for key in after}
        if account:
            used["engine"] = account[0]
        known = used["engine"] + sum(used[role] for role in self.roles)
        per_million = {f"{role}_cpu_seconds_per_million": used[role] / events * 1e6 for role in self.roles}
        return per_million | {
            "cpu_seconds_per_million": used["engine"] / events * 1e6,
            "elsewhere_cpu_seconds_per_million": max(0.0, used["busy"] - known) / events * 1e6,
            "stolen_seconds": used["steal"],
            "peak_rss_mib": account[1] if account else peak_rss_mib(self.engine),
        }
