"""Keeps the token out of the addresses of pages."""

from urllib.parse import parse_qsl, urlencode

from jupyter_server.auth.identity import PasswordIdentityProvider, User
from jupyter_server.base.handlers import JupyterHandler
from tornado.web import Finish


class Login(PasswordIdentityProvider):
    """Redirects a browser from an address with the token to the same address without it.

    Otherwise, a script in the page could read the token, because the browser keeps the address of the first request.
    """

    async def get_user(self, handler: JupyterHandler) -> User | None:
        user = await super().get_user(handler)  # also sets the cookie
        request = handler.request
        page = request.method == "GET" and "text/html" in request.headers.get("Accept", "")
        if user and page and "token" in request.query_arguments:
            rest = [part for part in parse_qsl(request.query, keep_blank_values=True) if part[0] != "token"]
            # Two slashes at the start would be the name of another host.
            handler.redirect(f"/{request.path.lstrip('/')}{'?' if rest else ''}{urlencode(rest)}")
            raise Finish
        return user
