"""SQL through Trino's own HTTP protocol, for the many small questions of a test."""

import json
import time
import urllib.error
import urllib.request

from .compose import Failed

ADDRESS = "http://127.0.0.1:8889"
QUERY_SECONDS_MAX = 120


class Answer:
    """Columns, rows and what the query cost."""

    def __init__(self, columns, rows, stats):
        self.columns, self.rows, self.stats = columns, rows, stats

    def one(self):
        return self.rows[0][0]


def ask(sql, session=None):
    """The answer to one statement in marketing_events."""
    headers = {"X-Trino-User": "platform_test", "X-Trino-Catalog": "iceberg_data_lake",
               "X-Trino-Schema": "marketing_events"}
    if session:
        headers["X-Trino-Session"] = session
    deadline = time.monotonic() + QUERY_SECONDS_MAX
    page = send(urllib.request.Request(f"{ADDRESS}/v1/statement", sql.encode(), headers))
    columns, rows = None, []
    while True:
        if "error" in page:
            raise Failed(f"Trino refuses `{sql}`: {page['error']['message']}", "query-engine")
        columns = page.get("columns", columns)
        rows += page.get("data", [])
        if "nextUri" not in page:
            return Answer(columns, rows, page["stats"])
        if time.monotonic() > deadline:
            raise Failed(f"Trino did not answer `{sql}` within {QUERY_SECONDS_MAX} s", "query-engine")
        page = send(urllib.request.Request(page["nextUri"], headers=headers))


def send(request):
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)
    except (OSError, ValueError) as err:
        raise Failed(f"Trino does not answer at {ADDRESS}: {err}", "query-engine") from err


def number(sql):
    return int(ask(sql).one())
