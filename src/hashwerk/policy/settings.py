"""What an operator may set about the place of his site."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from hashwerk.policy.answer import SiteFacts


class PlaceSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the site stands, as far as rules ask for it."""

    jurisdictions: Annotated[
        tuple[str, ...],
        Meta(
            description="ISO 3166 codes from wide to narrow: CN, CN-SC; EU where it belongs to it. Empty: no rules."
        ),
    ] = ()
    connected: Annotated[
        date | None,
        Meta(description="Day on which the site was connected or last expanded; none: not known."),
    ] = None
    connection: Annotated[
        Literal["grid", "private line"] | None,
        Meta(description="How the site is connected; none: not known."),
    ] = None
    circumstances: Annotated[
        tuple[str, ...], Meta(description="What a tax asks for: 'own power', 'own renewables', 'no meter'.")
    ] = ()
    rules: Annotated[
        str | None,
        Meta(description="A TOML file with rules of your own, beside those that come with Hashwerk."),
    ] = None
    readings: Annotated[
        dict[str, str], Meta(description="Which reading of an ambiguous rule is taken, by the rule's id.")
    ] = {}

    def facts(
        self, power_kw: Decimal, fuels: frozenset[str], price_paid_per_kwh: Decimal | None = None
    ) -> SiteFacts:
        """Return what rules ask about the site; power and fuels are known elsewhere."""
        return SiteFacts(
            places=self.jurisdictions,
            power_kw=power_kw,
            connected=self.connected,
            fuels=fuels,
            connection=self.connection,
            circumstances=frozenset(self.circumstances),
            price_paid_per_kwh=price_paid_per_kwh,
        )
