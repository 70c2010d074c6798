"""Answers Panel's front-end extension, which asks for layouts. Only Panel's server extension has layouts."""

from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.utils import url_path_join
from tornado import web


class NoLayout(JupyterHandler):
    """Gives an empty answer at each save. A 404 would cause a warning in the log and in the browser."""

    @web.authenticated
    def get(self, path):
        self.set_status(204)


def _jupyter_server_extension_points():
    return [{"module": "panel_layout"}]


def _load_jupyter_server_extension(app):
    app.web_app.add_handlers(".*$", [(url_path_join(app.base_url, r"/panel-preview/layout/(.*)"), NoLayout)])
