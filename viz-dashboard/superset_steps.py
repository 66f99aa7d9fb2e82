"""What the setup does inside Superset: `superset_steps.py STEP…`, in the order in which they are given.

One process for all of them, because starting Superset takes longer than most steps. Each is one of Superset's
own commands, noted by setup_state.py when it is done.

    secret-key      superset re-encrypt-secrets
    tables          superset db upgrade, superset init
    account-new     superset fab create-admin
    account-reset   superset fab reset-password
    dashboard       imports bundle/ and overwrites what an earlier one brought
"""

import os
import sys
import time
from pathlib import Path

import yaml
from flask import g
from superset.app import create_app

import setup_state

BUNDLE = Path(__file__).with_name("bundle")


class Failed(Exception):
    """A step that Superset did not take, without an exception of its own."""


def secret_key() -> None:
    from superset.cli.update import re_encrypt_secrets

    re_encrypt_secrets.main(args=[], standalone_mode=False)


def tables() -> None:
    from flask_migrate import upgrade
    from superset import appbuilder, security_manager

    # Without the wrapper that turns an exception into an exit.
    upgrade.__wrapped__()
    appbuilder.add_permissions(update_perms=True)
    security_manager.sync_role_definitions()


def account_new() -> None:
    from superset import security_manager

    name = os.environ["SUPERSET_ADMIN_USER"]
    added = security_manager.add_user(
        username=name,
        first_name="StreamForge",
        last_name="Admin",
        email=f"{name}@localhost",
        role=security_manager.find_role("Admin"),
        password=os.environ["SUPERSET_ADMIN_PASSWORD"],
    )
    if not added:
        raise Failed(f"Superset did not take the account {name}")


def account_reset() -> None:
    from superset import security_manager

    user = security_manager.find_user(username=os.environ["SUPERSET_ADMIN_USER"])
    security_manager.reset_password(user.id, os.environ["SUPERSET_ADMIN_PASSWORD"])


def dashboard() -> None:
    # `superset import-dashboards` would leave charts and datasets that exist as they are, so that a changed
    # bundle had no effect. The import of assets takes all of it over, in one transaction.
    from superset import security_manager
    from superset.commands.importers.v1.assets import ImportAssetsCommand

    g.user = security_manager.find_user(username=os.environ["SUPERSET_ADMIN_USER"])
    ImportAssetsCommand(contents()).run()


def contents() -> dict[str, str]:
    """The bundle's files by name, with the address of Trino that the environment names."""
    files = {str(file.relative_to(BUNDLE)): file.read_text(encoding="utf-8") for file in BUNDLE.rglob("*.yaml")}
    for name in files:
        if name.startswith("databases/"):
            database = yaml.safe_load(files[name])
            database["sqlalchemy_uri"] = os.environ["TRINO_URI"]
            files[name] = yaml.safe_dump(database)
    return files


STEPS = {
    "secret-key": ("re-encrypting stored passwords", secret_key, ["secret-key"]),
    "tables": ("making the tables and roles", tables, ["tables", "secret-key"]),
    "account-new": ("creating the account", account_new, ["account"]),
    "account-reset": ("setting the account's password", account_reset, ["account"]),
    "dashboard": ("importing the dashboard", dashboard, ["dashboard"]),
}


def main(steps: list[str]) -> int:
    # Superset says much, and in several places: only our own lines go to standard output.
    report = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    what = "starting Superset"
    try:
        with create_app().app_context():
            for step in steps:
                what, act, done = STEPS[step]
                started = time.monotonic()
                act()
                for subject in done:
                    setup_state.remember(subject)
                print(f"dashboard-setup: {what}: done in {time.monotonic() - started:.0f} s", file=report)
    except SystemExit:
        print(f"{what} failed: Superset ended itself, for the reason above", file=sys.stderr)
        return 1
    except Exception as err:
        print(f"{what} failed: {cause(err)}", file=sys.stderr)
        return 1
    return 0


def cause(err: BaseException) -> str:
    """What the innermost exception says; for an invalid bundle, file by file."""
    while err.__cause__ is not None:
        err = err.__cause__
    if hasattr(err, "normalized_messages"):
        return f"the bundle is not valid: {err.normalized_messages()}"
    return setup_state.one_line(err) or type(err).__name__


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
