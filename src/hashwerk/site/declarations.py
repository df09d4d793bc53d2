"""What a mine declares of itself when it begins to serve: it holds before the first share is counted."""

from __future__ import annotations

from collections.abc import Callable

from hashwerk.config.site import SiteConfig
from hashwerk.evidence.records import AccountScale, PrefixTable, Record, Scale, Site
from hashwerk.site.configuration_record import configuration_record
from hashwerk.site.logbook.rewards import payout_rule
from hashwerk.site.logbook.sources import rule_record


def declarations(
    config: SiteConfig, *, private: bool, commitment: Callable[[str], bytes]
) -> tuple[Record, ...]:
    """Return the declarations of a configuration.

    Args:
        config: The site's.
        private: Whether its chain is one of its own.
        commitment: Gives the public name of an account, which is made on first sight.
    """
    found: list[Record] = [
        Site(name=config.site.name, network=config.node.network, private=int(private)),
        Scale(factor=1, basis="one hash is one hash"),
        configuration_record(config),
        rule_record(config.energy),
    ]
    if config.twin is not None:
        account = config.twin.user.partition(".")[0]
        basis = f"a simulated hall: each hash stands for {config.twin.scale:g} of full-size machines"
        factor = max(1, round(config.twin.scale))
        found.append(AccountScale(account=commitment(account), factor=factor, basis=basis))
    # Whose work is unbound stands before the first share of it; which machines make it is nobody's word yet.
    found += [PrefixTable(upstream=pool.name, work_log2=0, prefixes=()) for pool in config.upstream]
    rule = payout_rule(config.evidence)
    if rule is not None:
        found.append(rule)
    return tuple(found)
