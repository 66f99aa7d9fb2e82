"""The platform under test: `docker compose`, as a user types it, with bounded waits.

Owns how commands are run and how long is waited. Knows nothing of what is tested.
"""

import json
import pathlib
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
FILE = "orchestrator.yml"
PROJECT = "streamforge"
COMMAND_SECONDS_MAX = 540


class Failed(Exception):
    """A check that did not hold, with the services whose logs tell more."""

    def __init__(self, message, *services):
        super().__init__(message)
        self.services = services


def run(*command, seconds=COMMAND_SECONDS_MAX, check=True, stdin=None, env=None):
    """Runs a command and returns its outcome; a failure carries its last words."""
    try:
        outcome = subprocess.run([str(part) for part in command], cwd=ROOT, input=stdin, text=True,
                                 capture_output=True, timeout=seconds, env=env)
    except subprocess.TimeoutExpired as late:
        raise Failed(f"`{shown(command)}` took longer than {seconds} s") from late
    if check and outcome.returncode:
        raise Failed(f"`{shown(command)}` ended with {outcome.returncode}:\n"
                     f"{tail(outcome.stdout + outcome.stderr, 40)}")
    return outcome


def shown(command):
    return " ".join(str(part) for part in command)


def tail(text, lines):
    return "\n".join(text.strip().splitlines()[-lines:])


def until(what, seconds, probe, *services):
    """Asks `probe` again and again until it gives something; what it gave."""
    deadline = time.monotonic() + seconds
    last = None
    while time.monotonic() < deadline:
        try:
            found = probe()
            if found:
                return found
        except Failed as failed:
            last = failed
        # Between two questions, not for an answer: the loop ends by the answer or the deadline.
        time.sleep(0.3)
    raise Failed(f"{what}: not within {seconds} s" + (f"; last: {last}" if last else ""), *services)


class Platform:
    """One Compose project of this repository's file, as it is, or with its override."""

    def __init__(self, env_file=None, *files):
        self.base = ["docker", "compose"]
        for file in files or [FILE]:
            self.base += ["-f", file]
        if env_file:
            self.base += ["--env-file", str(env_file)]

    def compose(self, *args, **options):
        return run(*self.base, *args, **options)

    def begin(self, *args):
        """Starts a command and does not wait for it."""
        return subprocess.Popen([*self.base, *map(str, args)], cwd=ROOT, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def states(self):
        """service → its containers, as Docker describes them."""
        ids = run("docker", "ps", "--all", "--quiet",
                  "--filter", f"label=com.docker.compose.project={PROJECT}",
                  "--filter", "label=com.docker.compose.oneoff=False").stdout.split()
        if not ids:
            return {}
        found = {}
        for container in json.loads(run("docker", "inspect", *ids).stdout):
            service = container["Config"]["Labels"]["com.docker.compose.service"]
            found.setdefault(service, []).append(container)
        return found

    def container(self, service):
        containers = self.states().get(service)
        if not containers:
            raise Failed(f"{service} has no container")
        return containers[0]

    def is_healthy(self, service):
        state = self.container(service)["State"]
        return state["Status"] == "running" and state.get("Health", {}).get("Status") == "healthy"

    def await_healthy(self, service, seconds=120):
        until(f"{service} is healthy", seconds, lambda: self.is_healthy(service), service)

    def kill(self, service):
        """SIGKILL from outside; Docker takes it for a wish and does not start it again by itself."""
        run("docker", "kill", "--signal", "KILL", self.container(service)["Name"].lstrip("/"))

    def start(self, service):
        run("docker", "start", self.container(service)["Name"].lstrip("/"))

    def crash(self, service):
        """Kills the container's first process as a crash would: the restart policy has to bring it back."""
        before = self.container(service)
        run("kill", "-KILL", before["State"]["Pid"])
        until(f"{service} is started again by its restart policy", 60,
              lambda: self.container(service)["State"]["StartedAt"] != before["State"]["StartedAt"]
              and self.container(service)["State"]["Running"], service)

    def logs(self, service, lines=60):
        return self.compose("logs", "--no-color", "--tail", lines, service, check=False).stdout

    def leftovers(self):
        """Containers, volumes and networks of the project."""
        label = ["--filter", f"label=com.docker.compose.project={PROJECT}"]
        # Images carry the project's label as well, and give it to whatever is made of them by hand. Compose tells its own by this.
        made_by_compose = ["--filter", "label=com.docker.compose.config-hash"]
        return {
            "containers": run("docker", "ps", "--all", "--quiet", *label, *made_by_compose).stdout.split(),
            "volumes": run("docker", "volume", "ls", "--quiet", *label).stdout.split(),
            "networks": run("docker", "network", "ls", "--quiet", *label).stdout.split(),
        }
