"""The page at `/`: the dashboard, or Superset's own start page while there is none.

Named by FAB_INDEX_VIEW in web_config.py.
"""

from flask import current_app, redirect, url_for
from flask_appbuilder import expose
from superset import db
from superset.initialization import SupersetIndexView


class DashboardFirst(SupersetIndexView):
    """Sends everyone to the dashboard; whoever has not logged in is asked to on the way."""

    @expose("/")
    def index(self):
        # Not at the top: Superset's models can be imported only once the application exists.
        from superset.models.dashboard import Dashboard

        slug = current_app.config["START_DASHBOARD"]
        if db.session.query(Dashboard.id).filter_by(slug=slug).scalar() is None:
            return super().index()
        return redirect(url_for("Superset.dashboard", dashboard_id_or_slug=slug))
