"""What stays over `down` and `up`, what `down --volumes` leaves, and who can reach the ports."""

import socket

from . import trino
from .compose import Failed, run, until
from .faults import verify
from .start import services

PORTS = [9092, 8084, 9002, 9003, 8182, 8889, 9099]
POSITION = "SELECT sum(record_count) FROM \"processed_conversions$files\""


def loopback(_context):
    """Each port answers on loopback, and on no other address of this machine."""
    others = [address for address in run("hostname", "-I").stdout.split() if ":" not in address]
    if not others:
        raise Failed("this machine has no address but loopback to try")
    for port in PORTS:
        if not answers("127.0.0.1", port):
            raise Failed(f"port {port} does not answer on loopback")
        for address in others:
            if answers(address, port):
                raise Failed(f"port {port} answers at {address}, which others can reach")
    print(f"{len(PORTS)} ports answer on loopback, and at none of {', '.join(others)}")


def answers(address, port):
    try:
        with socket.create_connection((address, port), timeout=3):
            return True
    except OSError:
        return False


def down_and_up(context):
    """The tables are all there again, and the job reads on from them."""
    platform = context.platform
    platform.compose("stop", "data-emitter")
    before = trino.number("SELECT count(*) FROM processed_conversions")
    platform.compose("down", "--timeout", "30")
    platform.compose("up", "-d")
    services(context)
    held = trino.number("SELECT count(*) FROM processed_conversions")
    if held < before:
        raise Failed(f"{before} rows before `down`, {held} after `up`", "stream-processor")
    until("new rows come after `up`", 60,
          lambda: trino.number("SELECT count(*) FROM processed_conversions") > held, "stream-processor", "data-emitter")
    print(f"{before} rows kept, and new ones come")
    verify(context)


def remove(context):
    context.platform.compose("--profile", "*", "down", "--volumes", "--timeout", "30")
    left = {kind: names for kind, names in context.platform.leftovers().items() if names}
    if left:
        raise Failed(f"`down --volumes` leaves {left}")
    print("`down --volumes` leaves nothing")
