"""Fields of a JSON answer by a path: ``data.prices.0.value``; ``*`` is the only member there is."""

from __future__ import annotations

from hashwerk.errors import FeedError


def field_of(name: str, document: object, path: str) -> object:
    """Return what stands at a path; an empty path is the document itself.

    Raises:
        FeedError: If there is nothing of this name; the message says what there is instead.
    """
    at = document
    for step in path.split(".") if path else ():
        if isinstance(at, dict):
            key = next(iter(at)) if step == "*" and len(at) == 1 else step
            if key not in at:
                raise FeedError(
                    f"{name} has no {step!r} of {path!r}; there is {', '.join(map(str, at))[:200]}"
                )
            at = at[key]
        elif isinstance(at, list):
            if not step.lstrip("-").isdigit() or not -len(at) <= int(step) < len(at):
                raise FeedError(f"{name} has no {step!r} of {path!r}; there are {len(at)} rows")
            at = at[int(step)]
        else:
            raise FeedError(f"{name} has no {step!r} of {path!r} but {str(at)[:100]!r}")
    return at


def number_of(name: str, document: object, path: str) -> float | None:
    """Return the number at a path; None for null, an empty text, or a field that a row lacks.

    Raises:
        FeedError: If something else stands there.
    """
    if isinstance(document, dict) and "." not in path and path not in document:
        return None
    value = field_of(name, document, path)
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise FeedError(f"{name} says {str(value)[:100]!r} where a number should be")
    try:
        return float(value)
    except ValueError as error:
        raise FeedError(f"{name} says {value!r} where a number should be") from error
