"""The command line's way to the running mine: its API, with the token of this computer or one that is given."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import httpx

from hashwerk.errors import ConfigError, FleetError

#: Where a token may stand; on the command line everybody on the machine could read it.
TOKEN_VARIABLE = "HASHWERK_TOKEN"  # noqa: S105 - the name of a variable
_TIMEOUT_S = 30.0

Function = TypeVar("Function", bound=Callable[..., Any])


def api_options(function: Function) -> Function:
    """Add the options that say where the mine runs."""
    for option in (
        click.option("--url", default="http://127.0.0.1:8080", show_default=True, help="The mine's page."),
        click.option(
            "--token-file",
            type=click.Path(path_type=Path, dir_okay=False),
            help=f"A file with an access token.  [default: ${TOKEN_VARIABLE}, then the data folder's]",
        ),
        click.option(
            "--data-dir", type=click.Path(path_type=Path), help="The mine's data folder, for its token."
        ),
        click.option("--network", default="testnet4", show_default=True, help="The mine's network."),
    ):
        function = option(function)
    return function


def who() -> str:
    """Return who sits here, for the record."""
    try:
        return f"{getpass.getuser()} (command line)"
    except (KeyError, OSError):
        return "command line"


class FleetApi:
    """Asks the running mine."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._url = str(options["url"]).rstrip("/")
        self._token = _token(options)

    def get(self, path: str, **parameters: Any) -> Any:
        """Return an answer.

        Raises:
            FleetError: If the mine does not answer, or refuses; the message says why.
        """
        return self._call("GET", path, params={k: v for k, v in parameters.items() if v is not None}).json()

    def text(self, path: str) -> str:
        """Return an answer that is no JSON.

        Raises:
            FleetError: If the mine does not answer, or refuses; the message says why.
        """
        return self._call("GET", path).text

    def post(self, path: str, body: Any, **parameters: str) -> Any:
        """Return the answer to a command; ``body`` is JSON, or text as it is with ``parameters`` beside it.

        Raises:
            FleetError: If the mine does not answer, or refuses; the message says why.
        """
        if isinstance(body, str):
            text = {"content-type": "text/csv"}
            return self._call("POST", path, content=body.encode(), headers=text, params=parameters).json()
        return self._call("POST", path, json=body).json()

    def _call(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        headers = arguments.pop("headers", {})
        if self._token is not None:
            headers["authorization"] = f"Bearer {self._token}"
        try:
            answer = httpx.request(
                method, f"{self._url}/api/v1{path}", headers=headers, timeout=_TIMEOUT_S, **arguments
            )
        except httpx.HTTPError as error:
            raise FleetError(
                f"no mine answers at {self._url} ({type(error).__name__}); start one with hashwerk run, or give --url"
            ) from error
        if answer.is_success:
            return answer
        raise FleetError(_reason(answer))


def _reason(answer: httpx.Response) -> str:
    try:
        detail = answer.json().get("detail")
    except (ValueError, AttributeError):
        detail = None
    if isinstance(detail, list):
        return "; ".join(
            f"{item.get('loc', ['?'])[-1]}: {str(item.get('msg')).removeprefix('Value error, ')}"
            for item in detail
        )
    if answer.status_code == 404 and detail in (None, "Not Found"):
        return "this mine has no fleet: name its addresses in [fleet] ranges of the site file"
    return str(detail or f"the mine answers {answer.status_code}")


def _token(options: dict[str, Any]) -> str | None:
    from hashwerk.site.fleet.token import FILE_NAME, read_token
    from hashwerk.site.folder import DataFolder, default_data_dir

    if (path := options.get("token_file")) is not None:
        try:
            return read_token(path)
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}") from error
    if token := os.environ.get(TOKEN_VARIABLE):
        return token.strip()
    folder = DataFolder(options.get("data_dir") or default_data_dir(), str(options["network"]))
    own = folder.here / FILE_NAME
    return read_token(own) if own.is_file() else None
