"""What an operator may set about the ways by which orders arrive. One struct a kind; ``kind`` says which."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Silence = Literal["keep", "release", "reduce"]


class GridOrderBase(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """What all of them have."""

    name: Annotated[
        str,
        Meta(
            description="Its name; orders are shown as given by name:operator. Not `api`.",
            pattern=r"^(?!api$)[a-z0-9][a-z0-9-]{0,31}$",
        ),
    ]
    operator: Annotated[
        str, Meta(description="Who orders, as records show it.", pattern=r"^[^:\s][^:]{0,63}$")
    ] = "grid"


class OpenAdrOrders(GridOrderBase, frozen=True, kw_only=True, tag="openadr"):
    """OpenADR 2.0b: the mine is a VEN that asks the operator's VTN (pull)."""

    url: Annotated[
        str,
        Meta(
            description="The VTN: https://…/OpenADR2/Simple/2.0b. Plain http on this computer only.",
            pattern=r"^(https://|http://(127\.0\.0\.1|localhost|\[::1\])(:[0-9]+)?(/|$))",
        ),
    ]
    ven_name: Annotated[str, Meta(description="The name agreed with the operator.", min_length=1)]
    ven_id: Annotated[str | None, Meta(description="The VEN's id, where the operator gave one.")] = None
    certificate: Annotated[str | None, Meta(description="File with the VEN's certificate (PEM).")] = None
    key: Annotated[str | None, Meta(description="File with its key (PEM).")] = None
    passphrase_file: Annotated[str | None, Meta(description="File with the key's passphrase.")] = None
    ca_file: Annotated[
        str | None,
        Meta(description="File with the authorities that the VTN's certificate is checked against."),
    ] = None
    vtn_fingerprint: Annotated[
        str | None,
        Meta(description="Fingerprint of the VTN's signing certificate, where messages are signed."),
    ] = None
    poll_s: Annotated[
        Annotated[float, Meta(ge=0.05, le=3_600)] | None,
        Meta(description="How often it is asked; none: as often as the VTN says."),
    ] = None
    unit: Annotated[
        Literal["kW", "W"], Meta(description="Of a set-point whose signal does not name its unit.")
    ] = "kW"
    levels_kw: Annotated[
        dict[str, float],
        Meta(
            description="What SIMPLE levels reduce to: {1 = 500, 2 = 200}. A level not named: all machines sleep."
        ),
    ] = {}
    site_kw: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="What the whole site draws, for LOAD_CONTROL in shares of the capacity."),
    ] = None

    def __post_init__(self) -> None:
        """Check what types cannot say.

        Raises:
            ValueError: If a certificate has no key, a VTN no authority, or a level is none.
        """
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate: it and key go together")
        if self.certificate is not None and self.ca_file is None:
            raise ValueError("ca_file: is needed besides a certificate")
        if not set(self.levels_kw) <= {"1", "2", "3"} or any(
            not 0 <= kw < 1e9 for kw in self.levels_kw.values()
        ):
            raise ValueError("levels_kw: levels are 1, 2 and 3, each with the kW they reduce to")


class ModbusMapOrders(GridOrderBase, frozen=True, kw_only=True, tag="modbus"):
    """A Modbus TCP server with the registers that a dispatcher's RTU reads and writes."""

    host: Annotated[str, Meta(description="The address it listens on.")] = "127.0.0.1"
    port: Annotated[int, Meta(description="The port; 0: any that is free.", ge=0, le=65_535)] = 1502
    unit: Annotated[int, Meta(description="Its number; others are not answered.", ge=1, le=247)] = 1
    masters: Annotated[
        tuple[str, ...],
        Meta(description="Addresses or networks of those who may connect: 10.0.0.5, 10.0.1.0/24."),
    ] = ("127.0.0.1", "::1")
    setpoint_unit: Annotated[Literal["W", "kW"], Meta(description="Of the written set-point.")] = "kW"
    max_kw: Annotated[float, Meta(description="A higher set-point is refused.", gt=0, le=2_000_000)] = (
        1_000_000.0
    )
    silent_after_s: Annotated[
        float, Meta(description="Without a new heartbeat for so long the master is silent; 0: never.", ge=0)
    ] = 60.0
    on_silence: Annotated[
        Silence,
        Meta(
            description="keep: the order stands. release: it ends. reduce: to `silent_kw`, until the heartbeat is back."
        ),
    ] = "keep"
    silent_kw: Annotated[float, Meta(description="What is left to a site whose master is silent.", ge=0)] = (
        0.0
    )


class DryContactOrders(GridOrderBase, frozen=True, kw_only=True, tag="dry-contact"):
    """A contact of the operator's relay, on an input of a Modbus TCP module."""

    host: Annotated[str, Meta(description="The module's address.")]
    address: Annotated[int, Meta(description="Number of the input, counted from 0.", ge=0, le=65_535)]
    port: Annotated[int, Meta(description="Its port.", ge=1, le=65_535)] = 502
    unit: Annotated[int, Meta(description="Its number on the line.", ge=0, le=247)] = 1
    input: Annotated[Literal["discrete", "coil"], Meta(description="Which table the input stands in.")] = (
        "discrete"
    )
    invert: Annotated[
        bool, Meta(description="An open contact is the order: then a broken wire is one too.")
    ] = False
    debounce_s: Annotated[float, Meta(description="A change must last so long.", ge=0, le=60)] = 0.5
    every_s: Annotated[float, Meta(description="The input is read this often.", gt=0, le=60)] = 0.25
    timeout_s: Annotated[float, Meta(description="Seconds it has for an answer.", gt=0, le=60)] = 2.0
    reduce_to_kw: Annotated[
        Annotated[float, Meta(ge=0, le=2_000_000)] | None,
        Meta(description="What the order reduces to; none: all machines sleep."),
    ] = None
    reduce_by_kw: Annotated[
        Annotated[float, Meta(ge=0, le=2_000_000)] | None,
        Meta(description="What it reduces by, in place of `reduce_to_kw`."),
    ] = None
    silent_after_s: Annotated[
        float, Meta(description="A module that does not answer for so long is silent.", gt=0)
    ] = 30.0
    on_silence: Annotated[
        Silence,
        Meta(description="keep: as it was last read. release: no order. reduce: as if the contact ordered."),
    ] = "keep"
    answer_coil: Annotated[
        Annotated[int, Meta(ge=0, le=65_535)] | None,
        Meta(description="A coil that is switched on while the order is obeyed; none: no answer."),
    ] = None

    def __post_init__(self) -> None:
        """Check what types cannot say.

        Raises:
            ValueError: If it reduces both to and by.
        """
        if self.reduce_to_kw is not None and self.reduce_by_kw is not None:
            raise ValueError("reduce_by_kw: or reduce_to_kw, not both")


class MqttOrders(GridOrderBase, frozen=True, kw_only=True, tag="mqtt"):
    """JSON on an MQTT topic, retained by the broker."""

    host: Annotated[str, Meta(description="The broker.")]
    topic: Annotated[
        str,
        Meta(
            description="Where orders are said; answers go to topic/ack and topic/telemetry.",
            pattern=r"^[^+#]+[^+#/]$",
        ),
    ]
    port: Annotated[int, Meta(description="Its port.", ge=1, le=65_535)] = 1883
    user: Annotated[str | None, Meta(description="The user, where it asks for one.")] = None
    password_file: Annotated[str | None, Meta(description="File with the password.")] = None
    ca_file: Annotated[
        str | None, Meta(description="Authorities its certificate is checked against: then it speaks TLS.")
    ] = None
    certificate: Annotated[
        str | None, Meta(description="File with our certificate (PEM), where it asks.")
    ] = None
    key: Annotated[str | None, Meta(description="File with its key (PEM).")] = None
    retry_s: Annotated[
        float, Meta(description="Pause before a lost broker is tried again.", gt=0, le=600)
    ] = 5.0

    def __repr__(self) -> str:
        """Leave the user out."""
        return f"MqttOrders({self.name!r}, {self.host!r}, {self.topic!r})"


class FileOrders(GridOrderBase, frozen=True, kw_only=True, tag="file"):
    """A TOML or JSON file; it is read again when it changes, and says at any time what is ordered."""

    path: Annotated[str, Meta(description="The file, .toml or .json; answers go to a file beside it.")]
    every_s: Annotated[float, Meta(description="It is looked at this often.", gt=0, le=600)] = 1.0

    def __post_init__(self) -> None:
        """Check what types cannot say.

        Raises:
            ValueError: If the file's name does not say what it is written in.
        """
        if not self.path.endswith((".toml", ".json")):
            raise ValueError("path: a file that ends in .toml or .json")


GridOrderSettings = OpenAdrOrders | ModbusMapOrders | DryContactOrders | MqttOrders | FileOrders
