"""A page as plain HTML, shown until its framework has started: what it says stands on the screen half a second earlier."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Final

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement

#: Taken away by the page's own component as soon as it shows the same.
FIRST_ID: Final = "first"
_NO_END_TAG: Final = frozenset({"br", "hr", "img", "input"})
#: What the picture may carry over; identifiers stay with the page itself.
_ATTRIBUTES: Final = frozenset({"href", "title", "type", "aria-current", "aria-hidden", "data-zone"})


def add_first_picture(components: Mapping[type[ui.element], str]) -> None:
    """Put the page that was just built into its HTML, as it stands.

    Args:
        components: Component → what stands in its place; others leave theirs empty.
    """
    content = "".join(_html(child, components) for child in ui.context.client.content)
    ui.add_body_html(
        f'<div id="{FIRST_ID}" class="first-picture" aria-hidden="true" inert><div class="nicegui-content">{content}</div></div>'
    )


def _html(element: ui.element, components: Mapping[type[ui.element], str]) -> str:
    if element.component is not None:
        return components.get(type(element), "")
    text = escape(element.text) if isinstance(element, TextElement) else ""
    inner = text + "".join(_html(child, components) for child in element)
    start = f"<{element.tag}{''.join(_attributes(element))}>"
    return start if element.tag in _NO_END_TAG else f"{start}{inner}</{element.tag}>"


def _attributes(element: ui.element) -> Iterator[str]:
    if element.classes:
        yield f' class="{escape(" ".join(element.classes))}"'
    for name, value in element.props.items():
        if name in _ATTRIBUTES:
            yield f' {name}="{escape(str(value))}"'
