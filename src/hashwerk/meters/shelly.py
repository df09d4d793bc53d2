"""Shelly devices of the second generation and later, over HTTP: JSON-RPC at ``/rpc``, with digest authentication."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import httpx
import msgspec

from hashwerk.energy.ports import RegisterReading
from hashwerk.errors import DeviceError
from hashwerk.meters.modbus import reading
from hashwerk.meters.secret import read_secret
from hashwerk.meters.settings import ShellyMeter

#: Component → methods that are asked, and where power and registers stand in the answers. Energy is in Wh.
_METHODS: Final = {
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
_MAX_BYTES: Final = 64 * 1024


class _Failure(msgspec.Struct):
    code: int
    message: str = ""


class _Reply(msgspec.Struct):
    src: str = ""
    result: dict[str, object] | None = None
    error: _Failure | None = None


class Shelly:
    """One component of a device.

    Resource handling:
        One connection is kept open; a device bears few. An answer longer than 64 KiB is refused.
    """

    def __init__(self, settings: ShellyMeter) -> None:
        self.name = settings.name
        self._settings = settings
        self._kind, _, number = settings.component.partition(":")
        self._id = int(number)
        auth = None
        if settings.password_file is not None:
            # The device's only user is called admin; it asks for SHA-256.
            auth = httpx.DigestAuth("admin", read_secret(settings.name, settings.password_file))
        self._client = httpx.AsyncClient(
            base_url=f"http://{settings.host}", timeout=settings.timeout_s, auth=auth, trust_env=False
        )

    async def read(self, now_s: float) -> RegisterReading:
        """Return power and registers.

        Raises:
            DeviceError: If it does not answer, refuses, or lacks the component.
        """
        document: dict[str, object] = {}
        serial = ""
        for method in _METHODS[self._kind]:
            reply = await self._call(method)
            document.update(reply.result or {})
            serial = reply.src or serial
        values = shelly_values(self._kind, document)
        if "import_wh" not in values:
            raise DeviceError(f"{self.name} has no register of energy at {self._settings.component}")
        return reading(self.name, now_s, values, serial=serial or None, invert=self._settings.invert)

    async def close(self) -> None:
        """Close the connection."""
        await self._client.aclose()

    async def _call(self, method: str) -> _Reply:
        frame = {"id": 1, "method": method, "params": {"id": self._id}}
        try:
            response = await self._client.post("/rpc", json=frame)
        except httpx.HTTPError as error:
            raise DeviceError(f"{self.name} cannot be asked: {str(error) or type(error).__name__}") from error
        if response.status_code == 401:
            raise DeviceError(f"{self.name} refuses the password, or asks for one")
        if response.status_code != 200 or len(response.content) > _MAX_BYTES:
            raise DeviceError(f"{self.name} answers {method} with HTTP {response.status_code}")
        try:
            reply = msgspec.json.decode(response.content, type=_Reply)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise DeviceError(f"{self.name} answers {method} with {response.content[:60]!r}") from error
        if reply.error is not None or reply.result is None:
            what = (
                "nothing" if reply.error is None else f"error {reply.error.code}: {reply.error.message[:200]}"
            )
            raise DeviceError(f"{self.name} answers {method} with {what}")
        return reply


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
