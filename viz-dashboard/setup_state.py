"""What init_superuser.sh has to know: is a server there, and what is still to do.

    setup_state.py wait database|trino
    setup_state.py ask      a word each about the secret key, the tables, the account and the dashboard

Reads Superset's database directly, because starting Superset to ask takes ten times as long. Writes one table
of its own, `streamforge_setup`, and nothing else.
"""

import hashlib
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path

import psycopg2
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from werkzeug.security import check_password_hash, generate_password_hash

EX_USAGE = 64
WAIT_SECONDS = float(os.environ.get("SETUP_WAIT_SECONDS", "180"))
PAUSE_SECONDS = 1.0
BUNDLE = Path(__file__).with_name("bundle")
SLUG = "streamforge"
TRINO_ANSWER_SECONDS = 10


class Refused(Exception):
    """Waiting longer would not help. Holds the cause and the next step."""


def database():
    """A connection to Superset's database, as web_config.py names it."""
    if uri := os.environ.get("SUPERSET_DB_URI"):
        return psycopg2.connect(uri.replace("postgresql+psycopg2:", "postgresql:", 1), connect_timeout=5)
    return psycopg2.connect(
        host=os.environ.get("SUPERSET_DB_HOST", "metadata-db"),
        port=os.environ.get("SUPERSET_DB_PORT", "5432"),
        dbname=os.environ.get("SUPERSET_DB_NAME", "superset"),
        user=os.environ.get("SUPERSET_DB_USER", "superset"),
        password=os.environ.get("SUPERSET_DB_PASSWORD"),
        connect_timeout=5,
    )


def wait(what: str, probe, next_step: str) -> None:
    """Calls `probe` until it passes; says at the first failure what is waited for."""
    deadline = time.monotonic() + WAIT_SECONDS
    told = False
    while True:
        try:
            return probe()
        except (psycopg2.OperationalError, DBAPIError) as err:
            cause = one_line(err)
        if time.monotonic() > deadline:
            raise Refused(f"{what} did not answer within {WAIT_SECONDS:.0f} s: {cause}", next_step)
        if not told:
            print(f"dashboard-setup: waiting up to {WAIT_SECONDS:.0f} s for {what}: {cause}", flush=True)
            told = True
        time.sleep(PAUSE_SECONDS)


def one_line(err: Exception) -> str:
    cause = getattr(err, "orig", None) or err
    return " ".join(str(cause).split())[:300]


def wait_database() -> None:
    def probe() -> None:
        try:
            connection = database()
        except psycopg2.OperationalError as err:
            if "authentication failed" in str(err):
                raise Refused(
                    f"Postgres refuses Superset's account: {one_line(err)}",
                    "set SUPERSET_DB_PASSWORD to the password that the database volume was made with",
                ) from err
            raise
        with connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE IF NOT EXISTS streamforge_setup (step text PRIMARY KEY, done text NOT NULL)")
        connection.close()

    wait("Superset's database in Postgres", probe, "look at `docker compose logs metadata-db`")


def wait_trino() -> None:
    uri = make_url(os.environ["TRINO_URI"])
    engine = create_engine(uri, connect_args={"request_timeout": TRINO_ANSWER_SECONDS, "max_attempts": 1})

    def probe() -> None:
        try:
            with engine.connect() as connection:
                connection.execute(text("SHOW SCHEMAS")).fetchall()
        except DBAPIError as err:
            if "CATALOG_NOT_FOUND" in str(err):
                raise Refused(
                    f"Trino at {uri.host}:{uri.port} has no catalog {uri.database}",
                    "check that query-engine/iceberg_catalog.properties is mounted under that name",
                ) from err
            raise

    wait(f"Trino at {uri.host}:{uri.port}", probe, "look at `docker compose logs query-engine`")


def one_value(query: str, *values: str):
    """The one value that `query` finds; nothing where its table is not there yet either."""
    with database() as connection, connection.cursor() as cursor:
        try:
            cursor.execute(query, values)
        except psycopg2.errors.UndefinedTable:
            return None
        row = cursor.fetchone()
    return row[0] if row else None


def done(step: str) -> str | None:
    return one_value("SELECT done FROM streamforge_setup WHERE step = %s", step)


def secret_key() -> str:
    """`new`, `same`, `announced` (the former key is given too), or `changed`."""
    written_with = done("secret-key")
    if written_with is None:
        return "new"
    if check_password_hash(written_with, os.environ["SUPERSET_SECRET_KEY"]):
        return "same"
    former = os.environ.get("SUPERSET_PREVIOUS_SECRET_KEY", "")
    return "announced" if check_password_hash(written_with, former) else "changed"


def tables() -> str:
    """`current` or `outdated`: whether this Superset has made its tables and roles."""
    return "current" if done("tables") == version("apache-superset") else "outdated"


def account() -> str:
    """`missing`, `current`, `outdated` (the environment has another password than it had), or
    `changed-in-superset` (the account has)."""
    stored = one_value("SELECT password FROM ab_user WHERE username = %s", os.environ["SUPERSET_ADMIN_USER"])
    if stored is None:
        return "missing"
    wanted = os.environ["SUPERSET_ADMIN_PASSWORD"]
    if check_password_hash(stored, wanted):
        return "current"
    given_before = done("account")
    unchanged = given_before is not None and check_password_hash(given_before, wanted)
    return "changed-in-superset" if unchanged else "outdated"


def dashboard() -> str:
    """`current` or `outdated`: whether what the bundle holds has been imported, and is still there."""
    there = one_value("SELECT id FROM dashboards WHERE slug = %s", SLUG) is not None
    return "current" if there and done("dashboard") == fingerprint() else "outdated"


def fingerprint() -> str:
    """Changes when an import would bring something else."""
    digest = hashlib.sha256(os.environ["TRINO_URI"].encode())
    for file in sorted(BUNDLE.rglob("*.yaml")):
        digest.update(str(file.relative_to(BUNDLE)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def remember(step: str) -> None:
    """Notes that `step` was done with what is asked for now. A secret is noted as its salted hash."""
    now = {
        "tables": lambda: version("apache-superset"),
        "secret-key": lambda: generate_password_hash(os.environ["SUPERSET_SECRET_KEY"]),
        "account": lambda: generate_password_hash(os.environ["SUPERSET_ADMIN_PASSWORD"]),
        "dashboard": fingerprint,
    }
    with database() as connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO streamforge_setup VALUES (%s, %s) ON CONFLICT (step) DO UPDATE SET done = excluded.done",
            (step, now[step]()),
        )


def main(verb: str, *subject: str) -> int:
    try:
        match verb, *subject:
            case ["wait", "database"]:
                wait_database()
            case ["wait", "trino"]:
                wait_trino()
            case ["ask"]:
                print(secret_key(), tables(), account(), dashboard())
            case _:
                print(__doc__, file=sys.stderr)
                return EX_USAGE
    except Refused as refused:
        cause, next_step = refused.args
    except (OSError, psycopg2.Error) as err:
        cause, next_step = one_line(err), "put right what it names, and run this again"
    else:
        return 0
    print(f"dashboard-setup: error: {cause}; next: {next_step}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:] or ["help"]))
