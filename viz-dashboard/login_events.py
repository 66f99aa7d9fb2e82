"""Drops the usage events of a page that nobody has logged in to.

The login page posts some. Superset refuses them with a redirect and with the message "Access is Denied" in a new
session cookie; where that cookie arrives after the login's, the login is undone, and where it arrives before,
the message greets whoever has just logged in.
"""

from flask import Blueprint, Response, request, session
from flask_login import current_user

events = Blueprint("login_events", __name__)


@events.before_app_request
def drop_anonymous_events() -> Response | None:
    if request.path == "/superset/log/" and not current_user.is_authenticated:
        # Reading the session has touched it; the answer must not carry a cookie at all.
        session.modified = False
        return Response(status=204)
    return None
