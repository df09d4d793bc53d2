"""Shelly devices over HTTP: JSON-RPC at ``/rpc`` from the second generation on, ``/status`` of the first."""

from __future__ import annotations

from decimal import Decimal
from typing import Final, TypeVar

import httpx
import msgspec

from hashwerk.energy.ports import RegisterReading
from hashwerk.errors import DeviceError
from hashwerk.meters.modbus import reading
from hashwerk.meters.secret import read_secret
from hashwerk.meters.settings import ShellyMeter

#: Component → methods that are asked, and where power and registers stand in the answers. Energy is in Wh.
METHODS: Final = {
    "em": ("EM.GetStatus", "EMData.GetStatus"),
    "em1": ("EM1.GetStatus", "EM1Data.GetStatus"),
    "switch": ("Switch.GetStatus",),
    "pm1": ("PM1.GetStatus",),
}
_FIELDS: Final = {
    "em": {"power_w": "total_act_power", "import_wh": "total_act", "export_wh": "total_act_ret"},
    "em1": {"power_w": "act_power", "import_wh": "total_act_energy", "export_wh": "total_act_ret_energy"},
    "switch": {"power_w": "apower", "import_wh": "aenergy.total", "export_wh": "ret_aenergy.total"},
    "pm1": {"power_w": "apower", "import_wh": "aenergy.total", "export_wh": "ret_aenergy.total"},
}
#: Components of the first generation: all clamps together, one clamp, the meter of a relay.
_FIRST_GENERATION: Final = ("emeters", "emeter", "meter")
_MAX_BYTES: Final = 64 * 1024

Answer = TypeVar("Answer")


class _Failure(msgspec.Struct):
    code: int
    message: str = ""


class _Reply(msgspec.Struct):
    src: str = ""
    result: dict[str, object] | None = None
    error: _Failure | None = None


class _Clamp(msgspec.Struct):
    """One entry of ``emeters`` (total in Wh) or ``meters`` (total in watt-minutes)."""

    power: Decimal
    total: Decimal
    total_returned: Decimal | None = None
    is_valid: bool = True


class _OldStatus(msgspec.Struct):
    mac: str | None = None
    emeters: list[_Clamp] = []
    meters: list[_Clamp] = []


class Shelly:
    """One component of a device.

    Resource handling:
        One connection is kept open; a device bears few. An answer longer than 64 KiB is refused.
    """

    def __init__(self, settings: ShellyMeter) -> None:
        self.name = settings.name
        self._settings = settings
        self._kind, _, number = settings.component.partition(":")
        self._id = int(number or 0)
        self._is_old = self._kind in _FIRST_GENERATION
        self._client = httpx.AsyncClient(
            base_url=f"http://{settings.host}",
            timeout=settings.timeout_s,
            auth=self._auth(),
            trust_env=False,
        )

    async def read(self, now_s: float) -> RegisterReading:
        """Return power and registers.

        Raises:
            DeviceError: If it does not answer, refuses, or lacks the component.
        """
        if self._is_old:
            return await self._read_old(now_s)
        document: dict[str, object] = {}
        doubts: tuple[str, ...] = ()
        serial = ""
        for method in METHODS[self._kind]:
            reply = await self._call(method)
            document.update(reply.result or {})
            doubts += shelly_doubts(reply.result or {})
            serial = reply.src or serial
        values = shelly_values(self._kind, document)
        if "import_wh" not in values:
            raise DeviceError(f"{self.name} has no register of energy at {self._settings.component}")
        return reading(
            self.name, now_s, values, serial=serial or None, invert=self._settings.invert, doubts=doubts
        )

    async def close(self) -> None:
        """Close the connection."""
        await self._client.aclose()

    def _auth(self) -> httpx.Auth | None:
        settings = self._settings
        if settings.password_file is None:
            return None
        secret = read_secret(settings.name, settings.password_file)
        # From the second generation on the only user is called admin, and digests are SHA-256.
        return httpx.BasicAuth(settings.user, secret) if self._is_old else httpx.DigestAuth("admin", secret)

    async def _read_old(self, now_s: float) -> RegisterReading:
        status = await self._send("GET", "/status", None, _OldStatus)
        clamps = status.meters if self._kind == "meter" else status.emeters
        if self._kind != "emeters":
            clamps = clamps[self._id : self._id + 1]
        if not clamps:
            raise DeviceError(f"{self.name} has no {self._settings.component}")
        if not all(clamp.is_valid for clamp in clamps):
            raise DeviceError(f"{self.name} says that its {self._settings.component} does not work")
        # A relay's meter counts watt-minutes and begins again at every restart.
        divisor = 60 if self._kind == "meter" else 1
        values = {
            "power_w": sum((clamp.power for clamp in clamps), Decimal(0)),
            "import_wh": sum((clamp.total for clamp in clamps), Decimal(0)) / divisor,
        }
        returned = [clamp.total_returned for clamp in clamps if clamp.total_returned is not None]
        if len(returned) == len(clamps):
            values["export_wh"] = sum(returned, Decimal(0))
        return reading(self.name, now_s, values, serial=status.mac, invert=self._settings.invert)

    async def _call(self, method: str) -> _Reply:
        frame = {"id": 1, "method": method, "params": {"id": self._id}}
        reply = await self._send("POST", "/rpc", frame, _Reply)
        if reply.error is not None or reply.result is None:
            what = (
                "nothing" if reply.error is None else f"error {reply.error.code}: {reply.error.message[:200]}"
            )
            raise DeviceError(f"{self.name} answers {method} with {what}")
        return reply

    async def _send(self, verb: str, path: str, frame: object, kind: type[Answer]) -> Answer:
        try:
            response = await self._client.request(verb, path, json=frame)
        except httpx.HTTPError as error:
            raise DeviceError(f"{self.name} cannot be asked: {str(error) or type(error).__name__}") from error
        if response.status_code == 401:
            raise DeviceError(f"{self.name} refuses the password, or asks for one")
        if response.status_code != 200 or len(response.content) > _MAX_BYTES:
            raise DeviceError(f"{self.name} answers {path} with HTTP {response.status_code}")
        try:
            return msgspec.json.decode(response.content, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise DeviceError(f"{self.name} answers {path} with {response.content[:60]!r}") from error


def shelly_values(kind: str, document: dict[str, object]) -> dict[str, Decimal]:
    """Return power and registers of a component's status, as HTTP and MQTT give it; what is null or absent is left out."""
    values = {}
    for name, path in _FIELDS[kind].items():
        at: object = document
        for step in path.split("."):
            at = at.get(step) if isinstance(at, dict) else None
        if isinstance(at, int | float) and not isinstance(at, bool):
            values[name] = Decimal(repr(at))
    return values


def shelly_doubts(document: dict[str, object]) -> tuple[str, ...]:
    """Return what a component says is wrong with it: its ``errors``, and those of its phases."""
    doubts = []
    for key in ("errors", "a_errors", "b_errors", "c_errors", "n_errors"):
        listed = document.get(key)
        if isinstance(listed, list):
            where = "" if key == "errors" else f"phase {key[0]}: "
            doubts += [f"{where}{one}"[:80] for one in listed]
    return tuple(doubts)
