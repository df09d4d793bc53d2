"""Feeds and meters on pages: how they are, since when, and what plans use in their place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hashwerk.web.energy_words import NO_VALUE, without_errno

if TYPE_CHECKING:
    from hashwerk.site.energy.view import FeedView

Row = dict[str, Any]

#: States of feeds and meters that nobody has to look after.
WELL: Final = frozenset({"good", "waiting"})


def feed_row(feed: FeedView) -> Row:
    """Return a feed or a meter as a row of its table."""
    is_well = feed.state in WELL
    glyph = "●" if feed.state == "good" else "◌" if is_well else "▲"
    return {
        "k": feed.name,
        "c": [
            feed.name,
            {"t": f"{glyph} {feed.state}", "c": "" if is_well else "attention"},
            {"e": feed.since_s} if feed.since_s else NO_VALUE,
            without_errno(feed.text),
            instead_words(feed) or ("" if is_well else "nothing"),
        ],
    }


def feed_words(kind: str, feed: FeedView) -> str:
    """Return what an alert says of a feed or a meter."""
    instead = instead_words(feed)
    says = without_errno(feed.text.removeprefix(f"{feed.name} "))
    if instead:
        says += "; plans do without it" if instead == "nothing" else f"; plans use {instead}"
    return f"{kind} {feed.name} is {feed.state}: {says}"


def instead_words(feed: FeedView) -> str:
    """Return what plans use in place of a feed, by its name alone."""
    return feed.instead.removeprefix("plans use ").removesuffix(" in its place")
