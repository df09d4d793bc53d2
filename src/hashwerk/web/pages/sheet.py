"""One open page: which of its elements show which value of the shared frame."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement

from hashwerk.web.board import Board, Frame

Setter = Callable[[Any], object]


class Sheet:
    """Binds elements of one client to keys of the frame; only what changes is sent to the browser."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self._setters: dict[str, list[Setter]] = {}
        board.join(self.apply)
        ui.context.client.on_delete(lambda: board.leave(self.apply))

    def apply(self, changes: Frame) -> None:
        """Show what changed."""
        for key, value in changes.items():
            for setter in self._setters.get(key, ()):
                setter(value)

    def bind(self, key: str, setter: Setter) -> None:
        """Call ``setter`` with the value of a key now, if there is one, and whenever it changes."""
        self._setters.setdefault(key, []).append(setter)
        if key in self.board.frame:
            setter(self.board.frame[key])

    def release(self, key: str, setter: Setter) -> None:
        """Undo `bind`."""
        self._setters[key].remove(setter)

    def text(self, tag: str, key: str, classes: str = "") -> TextElement:
        """Make an element that shows the text of a key."""
        element = TextElement(tag=tag, text="")
        element.classes(classes)
        self.bind(key, element.set_text)
        return element

    def state(self, element: ui.element, key: str, classes: str = "") -> None:
        """Give an element the class that a key names, beside its own."""
        self.bind(key, lambda value: element.classes(replace=f"{classes} {value}".strip()))


def fixed(tag: str, text: str = "", classes: str = "") -> TextElement:
    """Make an element whose text stays."""
    element = TextElement(tag=tag, text=text)
    element.classes(classes)
    return element


def box(tag: str = "div", classes: str = "") -> ui.element:
    """Make an element that holds others."""
    return ui.element(tag).classes(classes)
