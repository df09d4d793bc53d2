"""The rule by which rewards are shared, as the site file sets it and as it is declared."""

from __future__ import annotations

from hashwerk.config.site import EvidenceSettings
from hashwerk.evidence.payout import PPM, TIDES_WINDOW_PPM, Scheme
from hashwerk.evidence.records import PayoutRule


def payout_rule(settings: EvidenceSettings) -> PayoutRule | None:
    """Return the rule; None: none is set, and no reward is shared."""
    payout = settings.payout
    if payout is None:
        return None
    windows = {Scheme.TIDES: TIDES_WINDOW_PPM, Scheme.PPLNS: round(payout.window * PPM)}
    return PayoutRule(
        scheme=payout.scheme,
        fee_ppm=round(payout.fee_percent * 10_000),
        window_ppm=windows.get(Scheme(payout.scheme), 0),
        threshold_sat=payout.threshold_sat,
    )
