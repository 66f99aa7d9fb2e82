"""Superset's settings: what stands here differs from Superset's own defaults.

Named by SUPERSET_CONFIG_PATH. Secrets and addresses come from the environment; a missing one stops the start.
"""

import os

from sqlalchemy.engine import URL

# Superset reads this file at the end of its own: its defaults are there by then.
from superset.config import THEME_DARK, THEME_DEFAULT

import login_events
import world_map

SECRET_KEY = os.environ["SUPERSET_SECRET_KEY"]
# Only while a changed key is taken over: see init_superuser.sh.
PREVIOUS_SECRET_KEY = os.environ.get("SUPERSET_PREVIOUS_SECRET_KEY")

SQLALCHEMY_DATABASE_URI = os.environ.get("SUPERSET_DB_URI") or URL.create(
    "postgresql+psycopg2",
    username=os.environ.get("SUPERSET_DB_USER", "superset"),
    password=os.environ.get("SUPERSET_DB_PASSWORD"),
    host=os.environ.get("SUPERSET_DB_HOST", "metadata-db"),
    port=int(os.environ.get("SUPERSET_DB_PORT", "5432")),
    database=os.environ.get("SUPERSET_DB_NAME", "superset"),
).render_as_string(hide_password=False)
# The database may be restarted under us: a dead connection is replaced before it is used. A connection for each
# of the server's threads: one is held for as long as Trino works on a query.
SQLALCHEMY_ENGINE_OPTIONS = {"pool_pre_ping": True, "pool_size": 8, "max_overflow": 8}

# The page at `/`, where a login ends: the dashboard. `/superset/welcome/` stays what it was.
FAB_INDEX_VIEW = "start_page.DashboardFirst"
START_DASHBOARD = "streamforge"

# "Last hour" and its like end now, not at the last midnight.
DEFAULT_RELATIVE_START_TIME = "now"
DEFAULT_RELATIVE_END_TIME = "now"

# Viewers share a query's answer for less than the ten seconds between two refreshes, so that every refresh of
# one viewer asks anew. The cache is in the process; there is one, with threads.
DATA_CACHE_CONFIG = {
    "CACHE_TYPE": "SimpleCache",
    "CACHE_DEFAULT_TIMEOUT": 9,
    "CACHE_THRESHOLD": 500,
}
CACHE_CONFIG = {**DATA_CACHE_CONFIG, "CACHE_DEFAULT_TIMEOUT": 60}
# An automatic refresh takes an answer from that cache too, where a click on "refresh" does not.
DASHBOARD_AUTO_REFRESH_MODE = "fetch"

BLUEPRINTS = [login_events.events, world_map.tiles]

# Legends without the buttons "all" and "inverse": on a chart of five series they are in the way.
_LEGEND = {"echartsOptionsOverrides": {"legend": {"selector": False}}}
THEME_DEFAULT = {**THEME_DEFAULT, **_LEGEND}
THEME_DARK = {**THEME_DARK, **_LEGEND}

# Maps need no foreign server: the tiles are ours (world_map.py).
MAP_TILES = "tile://http-world/{z}/{x}/{y}.svg"
DECKGL_BASE_MAP = [[MAP_TILES, "World, built in"]]

# Superset's own policy, less the map and font servers: a page loads nothing from elsewhere.
TALISMAN_CONFIG = {
    "content_security_policy": {
        "base-uri": ["'self'"],
        "default-src": ["'self'"],
        "img-src": ["'self'", "blob:", "data:"],
        "worker-src": ["'self'", "blob:"],
        "connect-src": ["'self'"],
        "object-src": "'none'",
        "style-src": ["'self'", "'unsafe-inline'"],
        "font-src": ["'self'"],
        "script-src": ["'self'", "'strict-dynamic'"],
    },
    "content_security_policy_nonce_in": ["script-src"],
    "force_https": False,
    "session_cookie_secure": False,
}
THEME_FONT_URL_ALLOWED_DOMAINS: list[str] = []
