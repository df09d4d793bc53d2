"""Meters by the SunSpec standard, through pysunspec2: models 201 to 204 (integers) and 211 to 214 (floats)."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any, Final

import sunspec2.modbus.client as sunspec

from hashwerk.energy.ports import RegisterReading
from hashwerk.errors import DeviceError
from hashwerk.meters.modbus import reading
from hashwerk.meters.settings import SunSpecMeter

MODELS: Final = (201, 202, 203, 204, 211, 212, 213, 214)
_COMMON: Final = 1
_POINTS: Final = {"power_w": "W", "import_wh": "TotWhImp", "export_wh": "TotWhExp"}


class SunSpec:
    """One meter. The library blocks, so it works in a thread; the lock keeps requests apart.

    Cancellation:
        The thread ends by itself with the socket's time-out.
    """

    def __init__(self, settings: SunSpecMeter) -> None:
        self.name = settings.name
        self._settings = settings
        self._device: Any = None
        self._lock = asyncio.Lock()

    async def read(self, now_s: float) -> RegisterReading:
        """Return power and registers.

        Raises:
            DeviceError: If it does not answer, or has no model of a meter.
        """
        async with self._lock:
            try:
                values, serial = await asyncio.to_thread(self._ask)
            except DeviceError:
                raise
            except Exception as error:
                self._drop()
                raise DeviceError(
                    f"{self.name} cannot be read: {str(error)[:300] or type(error).__name__}"
                ) from error
        return reading(self.name, now_s, values, serial=serial, invert=self._settings.invert)

    async def close(self) -> None:
        """Close the connection."""
        async with self._lock:
            self._drop()

    def _ask(self) -> tuple[dict[str, Decimal], str | None]:
        if self._device is None:
            self._device = self._scan()
        model = next(self._device.models[number][0] for number in MODELS if number in self._device.models)
        model.read()
        values = {}
        for name, point in _POINTS.items():
            value = getattr(model, point).cvalue
            if value is not None:
                values[name] = Decimal(repr(value))
        if "import_wh" not in values:
            raise DeviceError(f"{self.name} has no register of imported energy")
        common = self._device.models.get(_COMMON)
        serial = str(common[0].SN.value or "").strip("\0 ") if common else ""
        return values, serial or None

    def _scan(self) -> Any:
        settings = self._settings
        device = sunspec.SunSpecModbusClientDeviceTCP(
            slave_id=settings.unit, ipaddr=settings.host, ipport=settings.port, timeout=settings.timeout_s
        )
        try:
            # A connection that fails leaves its socket open: it is closed below.
            device.connect(settings.timeout_s)
            device.scan(connect=False)
            if not any(number in device.models for number in MODELS):
                found = ", ".join(str(number) for number in device.models if isinstance(number, int))
                raise DeviceError(f"{self.name} is no meter by SunSpec; it has the models {found}")
        except BaseException:
            device.disconnect()
            raise
        return device

    def _drop(self) -> None:
        if self._device is not None:
            self._device.disconnect()
            self._device = None
