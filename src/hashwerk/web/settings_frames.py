"""The configuration as it runs, setting by setting: its value, whether it was set, and what it means. No secret is shown."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from hashwerk.config.decode import describe

if TYPE_CHECKING:
    from hashwerk.config.origin import Origins
    from hashwerk.config.site import SiteConfig
    from hashwerk.site.key_lines import KeyLine

Frame = dict[str, Any]
Row = dict[str, Any]

#: Settings whose names hold one of these are never shown, whatever they are.
_SECRET_WORDS: Final = ("password", "passphrase", "token", "secret", "private", "webhook", "api_key")
#: Whole sections of which nothing but the first setting, what they are for, is shown.
_SECRET_PLACES: Final = ("fleet.credentials[",)
_HIDDEN: Final = "set, not shown"


def settings_frame(config: SiteConfig | None, origins: Origins | None = None) -> Frame:
    """Return one table a section, and in words who may come in; ``origins`` says who set what."""
    if config is None:
        return {"settings.sections": [], "settings.set": "The configuration is not known to this page."}
    rows = {
        section: [_with_origin(row, origins) for row in _rows(getattr(config, section), section)]
        for section in config.__struct_fields__
    }
    settings = [row for section in rows.values() for row in section]
    own = sum(1 for row in settings if row["c"][2]["s"])
    return {
        "settings.sections": [section for section in rows if rows[section]],
        "settings.set": f"{len(settings):,} settings run; {own:,} were set, the others are defaults.",
        "settings.read": _read_words(origins),
        "rows.settings": [_beside_default(row) for row in settings if row["c"][2]["s"]],
        **{f"settings.count.{section}": _count_words(found) for section, found in rows.items()},
        **{f"rows.settings.{section}": found for section, found in rows.items()},
        **_door_frame(config),
    }


def _rows(value: Any, path: str) -> Iterator[Row]:
    if value is None:
        yield _row(path, None, None, "There is no such section.")
        return
    if isinstance(value, tuple):
        if not value:
            yield _row(path, (), (), "None is configured; each stands in a section of its own.")
        for number, entry in enumerate(value, 1):
            yield from _rows(entry, f"{path}[{number}]")
        return
    if not isinstance(value, msgspec.Struct):  # a section that nobody set
        yield _row(path, value, None, "Not configured.")
        return
    for field in msgspec.structs.fields(value):
        inner, here = getattr(value, field.name), f"{path}.{field.name}"
        if isinstance(inner, msgspec.Struct) or _is_structs(field.type):
            if inner:
                yield from _rows(inner, here)
            else:
                yield _row(here, inner, _default(field), describe(field))
        else:
            yield _row(here, inner, _default(field), describe(field))


def _row(path: str, value: Any, default: Any, description: str | None) -> Row:
    is_own = value != default
    shown = _HIDDEN if is_secret(path) and value not in (None, (), "") else setting_text(value)
    return {
        "k": path,
        "d": _default_text(path, default),
        "c": [
            {"t": path, "c": "mono"},
            {"t": shown, "c": "mono"},
            {
                "t": "● set" if is_own else "default",
                "s": int(is_own),
                "c": "violet" if is_own else "muted",
                "h": "in the site's file or on the command line"
                if is_own
                else "nobody set it, or to what it is anyway",
            },
            {"t": description or ""},
        ],
    }


def _default_text(path: str, default: Any) -> str:
    if default is msgspec.NODEFAULT or default in (None, (), ""):
        return "–"
    return _HIDDEN if is_secret(path) else setting_text(default)


def _with_origin(row: Row, origins: Origins | None) -> Row:
    """Say of a setting that was set who did it."""
    from_cell = row["c"][2]
    if origins is None or not from_cell["s"]:
        return row
    who = origins.laid_over.get(row["k"], origins.file or "set")
    cells = [*row["c"][:2], from_cell | {"t": f"● {who}", "h": None}, row["c"][3]]
    return row | {"c": cells}


def _beside_default(row: Row) -> Row:
    """Put what it would be otherwise beside a setting that was set."""
    path, value, origin, meaning = row["c"]
    default = {"t": row["d"], "c": "mono muted"}
    return {"k": row["k"], "c": [path, value, default, origin, meaning]}


def _read_words(origins: Origins | None) -> str:
    if origins is None:
        lead = "Set in the site's file or on the command line, read once at the start."
    else:
        others = " and ".join(f"by the {who}" for who in sorted(set(origins.laid_over.values())))
        if origins.file is not None:
            lead = f"Set in {origins.file}{' and ' * bool(others)}{others}, read once at the start."
        else:
            lead = f"There is no site file{': set ' * bool(others)}{others}."
    return f"{lead} Passwords, tokens and what machines ask for are never shown."


def _count_words(rows: list[Row]) -> str:
    own = sum(1 for row in rows if row["c"][2]["s"])
    settings = f"{len(rows):,} setting" + ("" if len(rows) == 1 else "s")
    return settings + (f", {own:,} set" if own else "")


def key_rows(keys: Sequence[KeyLine]) -> list[Row]:
    """Return the site's keys as rows: what each is for, its fingerprint, since when, and what to do about it."""
    return [
        {
            "k": f"{line.role} {line.fingerprint}",
            "c": [
                _KEY_ROLES[line.role],
                {"t": f"{line.fingerprint[:16]}…", "y": line.fingerprint, "h": line.fingerprint, "c": "mono"},
                {"e": line.since} if line.since is not None else "–",
                "–" if line.from_epoch is None else f"{line.from_epoch:,}",
                {"t": _key_words(line), "c": "attention" if line.is_here else ""},
            ],
        }
        for line in keys
    ]


_KEY_ROLES: Final = {
    "signs": {"t": "● signs now", "c": "violet"},
    "next": "○ signs next",
    "recovery": "◇ recovery",
    "before": {"t": "– signed before", "c": "muted"},
    "revoked": {"t": "✕ revoked", "c": "attention"},
}


def _key_words(line: KeyLine) -> str:
    match line.role:
        case "signs":
            return "Whoever checks your evidence pins this one."
        case "next":
            return "Committed to; hashwerk key rotate lets it begin."
        case "recovery" if line.is_here:
            return "Its file still lies in the data folder: take it off this machine."
        case "recovery":
            return "Its file is not on this machine, as it should be. It revokes a stolen key."
        case "revoked":
            return "What it signed afterwards counts for nothing."
        case _:
            return ""


def is_secret(path: str) -> bool:
    """Say whether what stands under a dotted path must not be shown."""
    name = path.rpartition(".")[2].lower()
    if path.startswith(_SECRET_PLACES) and name != "make":
        return True
    return any(word in name for word in _SECRET_WORDS)


def setting_text(value: Any) -> str:
    """Return a value as it would stand in the file; user and password within a URL are left out."""
    if value is None:
        return "none"
    if isinstance(value, str):
        return _without_login(value) or '""'
    if isinstance(value, tuple | list):
        return ", ".join(setting_text(item) for item in value) or "none"
    return msgspec.json.encode(value).decode()


def _without_login(text: str) -> str:
    scheme, separator, rest = text.partition("://")
    if not separator or "@" not in rest.partition("/")[0]:
        return text
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def _default(field: msgspec.structs.FieldInfo) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return field.default


def _is_structs(kind: Any) -> bool:
    """Say whether a field holds a list of structs."""
    while typing.get_origin(kind) is typing.Annotated:
        kind = typing.get_args(kind)[0]
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return any(_is_structs(part) for part in typing.get_args(kind))
    if typing.get_origin(kind) is not tuple:
        return False
    inner = typing.get_args(kind)[0]
    return isinstance(inner, type) and issubclass(inner, msgspec.Struct)


def _door_frame(config: SiteConfig) -> Frame:
    web, tokens = config.web, len(config.web.tokens)
    asked = config.listen.beyond_loopback or web.password_hash is not None or bool(tokens)
    return {
        "door.where": f"{web.host}, port {web.port or 'any free one'}",
        "door.reach": "others may connect"
        if config.listen.beyond_loopback
        else "only programs on this computer",
        "door.asks": "for the password or a token" if asked else "for nothing on this computer",
        "door.password": "set" if web.password_hash is not None else "none; hashwerk passwd makes one",
        "door.tokens": f"{tokens:,}" if tokens else "none; hashwerk passwd --token makes one",
        "door.commands": "a signed-in session or a token"
        if asked
        else "the token in fleet.token in the data folder, always",
        "door.control": "allowed" if config.fleet.control else "dry runs only: control is not set in [fleet]",
        "door.users": "There is one role: whoever is let in. The record names who gave each command.",
    }
