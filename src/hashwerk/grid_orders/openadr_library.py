"""What is used of `openleadr`: its messages, which it makes, signs, sends and reads.

Its own loop is not used, since that starts a scheduler and tasks which outlive it, forgets why a request failed, and refuses
every event of a VTN whose id is a number.
"""

from __future__ import annotations

import datetime
import logging
import ssl
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import aiohttp

from hashwerk.errors import ConfigError, DispatchError
from hashwerk.grid_orders.openadr_event import Document
from hashwerk.grid_orders.settings import OpenAdrOrders

log = logging.getLogger(__name__)

_REPORT, _POINT = "hashwerk-power", "import"
#: What the library tells its log during a request: it forgets why one failed, and so this is the only place to learn it.
_said: ContextVar[list[str] | None] = ContextVar("_said", default=None)


class _Hearing(logging.Handler):
    """Keeps what the library tells its log for whoever made the request."""

    def emit(self, record: logging.LogRecord) -> None:
        text, said = record.getMessage().partition(" with data ")[0][:300], _said.get()
        if said is None:
            log.warning("openleadr: %s", text)
        else:
            said.append(text)


def hear_library() -> None:
    """Take the library's warnings: each failed request would be written to the log besides, with the whole message."""
    library = logging.getLogger("openleadr")
    library.setLevel(logging.WARNING)
    library.propagate = False
    if not any(isinstance(handler, _Hearing) for handler in library.handlers):
        library.addHandler(_Hearing())


class LostError(DispatchError):
    """The VTN does not answer, or knows us no more: it is registered with again."""


class Jobs:
    """Stands in for the library's scheduler: reports are made by our own loop, which ends with its task."""

    def __init__(self) -> None:
        self.once: list[tuple[datetime.datetime, Callable[[], Any]]] = []

    def add_job(self, func: Callable[[], Any], trigger: str, **when: Any) -> Jobs:
        if trigger == "date":
            self.once.append((when["run_date"], func))
        return self

    def remove(self) -> None:
        """A job ends with its request, which the library removes itself."""

    def remove_all_jobs(self) -> None:
        self.once.clear()


def open_ven(
    settings: OpenAdrOrders,
    passphrase: str | None,
    session: aiohttp.ClientSession,
    measured: Callable[[], list[tuple[datetime.datetime, float]]],
) -> Any:
    """Return a VEN of the library that speaks through a session and offers what is measured as a report in W."""
    from openleadr import OpenADRClient, objects

    ven = OpenADRClient(
        ven_name=settings.ven_name,
        vtn_url=settings.url,
        ven_id=settings.ven_id,
        cert=settings.certificate,
        key=settings.key,
        passphrase=passphrase,
        ca_file=settings.ca_file,
        vtn_fingerprint=settings.vtn_fingerprint,
        show_fingerprint=False,
    )
    ven.client_session, ven.scheduler = session, Jobs()
    ven.add_report(
        measured,
        resource_id=settings.ven_name,
        measurement="REAL_POWER",
        unit="W",
        report_specifier_id=_REPORT,
        r_id=_POINT,
        report_duration=datetime.timedelta(hours=1),
        sampling_rate=objects.SamplingRate(
            min_period=datetime.timedelta(seconds=1),
            max_period=datetime.timedelta(hours=1),
            on_change=False,
        ),
    )
    return ven


async def ask(url: str, request: Any, what: str, *, needs_answer: bool = True) -> tuple[str | None, Document]:
    """Return an answer of the VTN.

    Raises:
        LostError: If there is none.
    """
    said = list[str]()
    token = _said.set(said)
    try:
        answer = await request
    except (
        TypeError,
        KeyError,
        AttributeError,
        ValueError,
    ) as error:  # the library takes its answers for granted
        raise LostError(f"{url} answers about {what} with what cannot be read") from error
    finally:
        _said.reset(token)
    if needs_answer and (answer is None or answer[0] is None):
        why = f": {' '.join(said)}" if said else ", or not in OpenADR 2.0b"
        raise LostError(f"{url} does not answer about {what}{why}")
    for text in said:
        log.debug("%s about %s: %s", url, what, text)
    return answer if answer is not None else (None, {})


def tls_context(settings: OpenAdrOrders, passphrase: str | None) -> ssl.SSLContext | None:
    """Return how the VTN is spoken to; None where that is without TLS.

    Raises:
        ConfigError: If a certificate cannot be used.
    """
    if not settings.url.startswith("https"):
        return None
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
        if settings.certificate is not None:
            context.load_cert_chain(settings.certificate, settings.key, passphrase)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"{settings.name}: its certificates cannot be used: {error}") from error
    return context


def request_id() -> str:
    """Return a new id of a request."""
    from openleadr import utils

    return str(utils.generate_id())
