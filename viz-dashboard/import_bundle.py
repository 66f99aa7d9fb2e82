"""Imports bundle/ into Superset, and overwrites what an earlier bundle brought.

`superset import-dashboards` would leave charts and datasets that exist as they are, so that a changed bundle
had no effect; Superset's import of assets, used here, takes all of it over, in one transaction.
"""

import os
import sys
from pathlib import Path

import yaml
from flask import g
from superset.app import create_app

BUNDLE = Path(__file__).with_name("bundle")
DATABASES = "databases/"


def contents() -> dict[str, str]:
    """The bundle's files by name, with the address of Trino that the environment names."""
    files = {str(file.relative_to(BUNDLE)): file.read_text(encoding="utf-8") for file in BUNDLE.rglob("*.yaml")}
    for name in files:
        if name.startswith(DATABASES):
            database = yaml.safe_load(files[name])
            database["sqlalchemy_uri"] = os.environ["TRINO_URI"]
            files[name] = yaml.safe_dump(database)
    return files


def main() -> int:
    with create_app().app_context():
        # Superset's modules read the application when they are imported.
        from superset import security_manager
        from superset.commands.exceptions import CommandException, CommandInvalidError
        from superset.commands.importers.v1.assets import ImportAssetsCommand

        g.user = security_manager.find_user(username=os.environ["SUPERSET_ADMIN_USER"])
        try:
            ImportAssetsCommand(contents()).run()
        except CommandInvalidError as err:
            print(f"the bundle is not valid: {err.normalized_messages()}", file=sys.stderr)
            return 1
        except CommandException as err:
            print(f"{err}: {err.__cause__ or err.__context__}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
