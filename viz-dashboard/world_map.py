"""Map tiles drawn here, so that a map of the world asks no foreign server.

world.svg holds the world in Web Mercator, 256 units wide. A tile is the same drawing seen through a smaller
window: sharp at every zoom, and nothing to store.
"""

from pathlib import Path

from flask import Blueprint, Response, abort

WORLD = Path(__file__).with_name("world.svg").read_text(encoding="utf-8")
WINDOW = 'viewBox="0 0 256 256"'
WORLD_WIDTH = 256
ZOOM_MAX = 19

tiles = Blueprint("world_map", __name__)


# Superset's chart editor takes a tile address only when it begins with `http`. Ours begins so and is still
# relative: a browser looks for it below the page it is on, and each page's tiles are answered here.
@tiles.route("/http-world/<int:z>/<int:x>/<int:y>.svg")
@tiles.route("/<path:page>/http-world/<int:z>/<int:x>/<int:y>.svg")
def tile(z: int, x: int, y: int, page: str = "") -> Response:
    """One tile of the usual scheme: at zoom z the world is 2^z tiles wide, counted from the north-west."""
    if z > ZOOM_MAX or x >= 2**z or y >= 2**z:
        abort(404)
    width = WORLD_WIDTH / 2**z
    window = f'viewBox="{x * width} {y * width} {width} {width}"'
    answer = Response(WORLD.replace(WINDOW, window, 1), mimetype="image/svg+xml")
    answer.cache_control.max_age = 24 * 3600
    answer.cache_control.public = True
    return answer
