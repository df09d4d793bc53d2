"""Who is in the fleet: machines by MAC address or serial number, wherever they answer today.

The registry is told what answered where, and says which machine that is. What does not fit together (a MAC address twice,
another control board, a board exchanged) becomes a finding: machines are never merged on a guess.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

import msgspec

from hashwerk.fleet.identity import MachineKey, keys_of, normal_mac, normal_serial
from hashwerk.fleet.machine import Identity, Reading
from hashwerk.fleet.place import Place, Placement, merge
from hashwerk.fleet.ports import Address

#: Two addresses with the same identity that both answered within this time are two machines.
BOTH_ANSWER_S: Final = 90.0


class FindingKind(enum.Enum):
    """What is odd about who a machine is."""

    NEW = "new"
    MOVED = "moved"  # the same machine at another address
    CLONED = "cloned"  # one MAC address, two machines
    CONTROL_BOARD = (
        "control-board"  # the machine kept its serial number and got another MAC address, or the reverse
    )
    BOARDS = "boards"  # its hash boards are not those of yesterday
    NAMELESS = "nameless"  # neither MAC address nor serial number: it cannot be told from others
    RENAMED = "renamed"  # another make, model or firmware than before


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something odd about an identity, in words."""

    kind: FindingKind
    key: MachineKey | None
    address: Address
    text: str
    at: float = 0.0


#: What makes a machine another one than it was. Chips that are fewer may only be dead.
CHANGED: Final = (FindingKind.CONTROL_BOARD, FindingKind.RENAMED)


@dataclass(slots=True)
class Member:
    """A machine of the fleet. Owned by the registry's task."""

    key: MachineKey
    identity: Identity
    address: Address | None
    first_seen_at: float
    seen_at: float | None = None
    driver: str | None = None
    place: Place = field(default_factory=Place)
    owner: str | None = None
    group: str | None = None
    chips_by_slot: dict[int, int] = field(default_factory=dict)
    answers_at: dict[Address, float] = field(default_factory=dict)  # where it answered lately, and when
    is_ambiguous: bool = False  # another machine claims to be this one


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """Which machine answered, and what is odd about it. Without a key it cannot be told from others."""

    key: MachineKey | None
    findings: tuple[Finding, ...] = ()


class Registry:
    """All machines of a site. Owned by one task; time is an argument."""

    def __init__(self, members: Iterable[Member] = ()) -> None:
        self._members: dict[MachineKey, Member] = {}
        self._alias: dict[MachineKey, MachineKey] = {}  # any key of an identity → the member's
        self._at: dict[Address, MachineKey] = {}
        self._waiting: dict[tuple[str | None, ...], Placement] = {}  # places of machines not met yet
        self._waits: dict[str, list[tuple[str | None, ...]]] = {}  # the same, by each key and address
        for member in members:
            self._add(member)

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Member]:
        return iter(self._members.values())

    def __contains__(self, key: MachineKey) -> bool:
        return key in self._members

    def __getitem__(self, key: MachineKey) -> Member:
        return self._members[key]

    def adopt(self, member: Member) -> None:
        """Take in a machine as it was kept."""
        self._add(member)

    def get(self, key: MachineKey) -> Member | None:
        """Return a machine, None if it is not known."""
        return self._members.get(key)

    def find(self, text: str) -> Member | None:
        """Return the machine that a person means: by key, MAC address, serial number or present IP address."""
        candidates = [text, f"mac:{normal_mac(text)}", f"serial:{normal_serial(text)}"]
        for key in candidates:
            if (known := self._alias.get(key)) is not None:
                return self._members[known]
        return next(
            (self._members[key] for address, key in self._at.items() if address.host == text.strip()), None
        )

    def observe(self, address: Address, reading: Reading, now: float, driver: str | None = None) -> Sighting:
        """Take in what answered at an address; return which machine that is."""
        keys = keys_of(reading.identity)
        if not keys:
            text = f"what answers at {address.host} tells neither MAC address nor serial number"
            return Sighting(
                key=None,
                findings=(Finding(kind=FindingKind.NAMELESS, key=None, address=address, text=text),),
            )
        member, findings = self._whose(keys, reading.identity, address, now)
        if findings and findings[0].kind is FindingKind.NEW:
            findings += self._in_place_of(member, reading.identity, address)
        findings += self._settle(member, address, now)
        findings += _differences(member, reading, address)
        member.identity = reading.identity
        member.seen_at = now
        member.driver = driver or member.driver
        for board in reading.boards:
            if board.chips:
                member.chips_by_slot[board.slot] = board.chips
        for key in keys:
            self._alias.setdefault(key, member.key)
        self._take_place(member)
        found = tuple(msgspec.structs.replace(finding, at=now) for finding in findings)
        return Sighting(key=member.key, findings=found)

    def place(self, placements: Iterable[Placement]) -> tuple[int, int]:
        """Take in a list of places; return how many machines were placed, and how many are not known yet.

        The latter are placed when they are met.
        """
        placed = 0
        for entry in placements:
            member = self._meant(entry)
            if member is None:
                self._wait(entry)
            else:
                _lay(member, entry)
                placed += 1
        return placed, len(self._waiting)

    @property
    def waiting(self) -> tuple[Placement, ...]:
        """Places of machines that were not met yet."""
        return tuple(self._waiting.values())

    def placements(self) -> list[Placement]:
        """Return the list of places of all machines."""
        return [
            Placement(
                address=member.address.host if member.address else None,
                mac=normal_mac(member.identity.mac),
                serial=normal_serial(member.identity.serial),
                place=member.place,
                owner=member.owner,
                group=member.group,
            )
            for member in self
        ]

    def forget(self, key: MachineKey) -> None:
        """Let go of a machine that was sold or scrapped."""
        member = self._members.pop(key)
        self._alias = {alias: known for alias, known in self._alias.items() if known != key}
        self._at = {address: known for address, known in self._at.items() if known != key}
        member.address = None

    # Inside

    def _add(self, member: Member) -> None:
        self._members[member.key] = member
        for key in (member.key, *keys_of(member.identity)):
            self._alias.setdefault(key, member.key)
        if member.address is not None:
            self._at[member.address] = member.key

    def _whose(
        self, keys: tuple[MachineKey, ...], identity: Identity, address: Address, now: float
    ) -> tuple[Member, list[Finding]]:
        """Return the machine that these keys belong to, made if it is new."""
        owners = [self._members[known] for key in keys if (known := self._alias.get(key)) is not None]
        if not owners:
            member = Member(key=keys[0], identity=identity, address=None, first_seen_at=now, chips_by_slot={})
            self._add(member)
            text = f"new at {address.host}: {identity.make} {identity.model}"
            return member, [Finding(kind=FindingKind.NEW, key=member.key, address=address, text=text)]
        member = owners[0]
        if owners[-1] is not member:
            return self._with_another_mac(owners[-1], member, identity, address, now)
        old = (normal_mac(member.identity.mac), normal_serial(member.identity.serial))
        new = (normal_mac(identity.mac), normal_serial(identity.serial))
        mac_differs = None not in (old[0], new[0]) and old[0] != new[0]
        serial_differs = None not in (old[1], new[1]) and old[1] != new[1]
        if serial_differs and self._both_answer(member, address, now):
            return self._clone(keys, identity, member, address, now)
        if mac_differs or serial_differs:
            what = f"MAC {old[0]} → {new[0]}" if mac_differs else f"serial {old[1]} → {new[1]}"
            text = f"its control board was exchanged, or moved from another machine: {what}"
            return member, [
                Finding(kind=FindingKind.CONTROL_BOARD, key=member.key, address=address, text=text)
            ]
        return member, []

    def _with_another_mac(
        self, member: Member, named: Member, identity: Identity, address: Address, now: float
    ) -> tuple[Member, list[Finding]]:
        """The MAC address is that of one known machine, the serial number that of another: it is the latter."""
        if self._both_answer(named, address, now):
            where = named.address.host if named.address else "nowhere"
            text = f"one MAC address, two machines: {where} and {address.host} both say {identity.mac}"
            return member, [Finding(kind=FindingKind.CLONED, key=member.key, address=address, text=text)]
        text = (
            f"by its serial number {identity.serial} it is this machine, but it says {identity.mac}, the MAC address of"
            " another one: its control board was moved from there, or the address is a copy"
        )
        return member, [Finding(kind=FindingKind.CONTROL_BOARD, key=member.key, address=address, text=text)]

    def _clone(
        self, keys: tuple[MachineKey, ...], identity: Identity, member: Member, address: Address, now: float
    ) -> tuple[Member, list[Finding]]:
        """Two machines answer with one MAC address: the second is known by its serial number."""
        serial = next(key for key in keys if key.startswith("serial:"))
        known = self._alias.get(serial)
        if known is None or known == member.key:
            other = Member(key=serial, identity=identity, address=None, first_seen_at=now)
            self._members[serial] = other
            self._alias[serial] = serial
        else:
            other = self._members[known]
        where = member.address.host if member.address else "nowhere"
        text = f"one MAC address, two machines: {where} and {address.host} both say {identity.mac}"
        return other, [Finding(kind=FindingKind.CLONED, key=other.key, address=address, text=text)]

    def _in_place_of(self, member: Member, identity: Identity, address: Address) -> list[Finding]:
        """Say of a new machine that one of the same model answered at its address until now."""
        before = self._members.get(self._at.get(address, ""))
        if before is None or (before.identity.make, before.identity.model) != (identity.make, identity.model):
            return []
        text = f"it answers at {address.host}, where {before.key} did: another machine, or that one got another control board"
        return [Finding(kind=FindingKind.CONTROL_BOARD, key=member.key, address=address, text=text)]

    @staticmethod
    def _both_answer(member: Member, address: Address, now: float) -> bool:
        return any(other != address and now - at <= BOTH_ANSWER_S for other, at in member.answers_at.items())

    def _settle(self, member: Member, address: Address, now: float) -> list[Finding]:
        """Note where the machine answers now; say so if it moved, or if it seems to be in two places."""
        findings: list[Finding] = []
        member.answers_at = {
            other: at for other, at in member.answers_at.items() if now - at <= BOTH_ANSWER_S
        }
        was_elsewhere = [other for other in member.answers_at if other != address]
        came_back = address in member.answers_at
        member.answers_at[address] = now
        if member.address == address:
            member.is_ambiguous = member.is_ambiguous and bool(was_elsewhere)
        elif member.address is None:
            self._move(member, address)
        elif came_back and was_elsewhere:  # there, elsewhere, and there again: nobody moves that fast
            member.is_ambiguous = True
            text = f"two machines say they are this one: at {member.address.host} and at {address.host}"
            findings.append(Finding(kind=FindingKind.CLONED, key=member.key, address=address, text=text))
        else:
            text = f"moved from {member.address.host} to {address.host}"
            findings.append(Finding(kind=FindingKind.MOVED, key=member.key, address=address, text=text))
            self._move(member, address)
        return findings

    def _move(self, member: Member, address: Address) -> None:
        if member.address is not None and self._at.get(member.address) == member.key:
            del self._at[member.address]
        displaced = self._at.get(address)
        if displaced is not None and displaced != member.key:
            self._members[displaced].address = None  # it answers elsewhere, or not at all
        member.address = address
        self._at[address] = member.key

    def _meant(self, entry: Placement) -> Member | None:
        if (
            entry.mac is not None and entry.serial is not None
        ):  # of two with one MAC address that with this serial number
            one = self._members.get(self._alias.get(f"serial:{entry.serial}", ""))
            if one is not None and normal_mac(one.identity.mac) == entry.mac:
                return one
        for key in (f"mac:{entry.mac}", f"serial:{entry.serial}"):
            if (known := self._alias.get(key)) is not None:
                return self._members[known]
        if entry.mac is None and entry.serial is None and entry.address is not None:
            return self.find(entry.address)
        return None

    def _take_place(self, member: Member) -> None:
        """Lay over a machine what waits for it: looked up, for thousands may wait and every answer asks."""
        if not self._waiting:
            return
        at = () if member.address is None else (member.address.host,)
        for name in (member.key, *keys_of(member.identity), *at):
            for names in self._waits.get(name, ()):
                entry = self._waiting.get(names)
                if entry is not None and self._meant(entry) is member:
                    _lay(member, entry)
                    del self._waiting[names]

    def _wait(self, entry: Placement) -> None:
        """Keep a place until its machine is met; what was said of the same machine before is laid under it."""
        names = entry.names
        before = self._waiting.get(names)
        if before is None:
            for name in _keys_meant(entry):
                self._waits.setdefault(name, []).append(names)
        else:
            entry = msgspec.structs.replace(
                entry,
                place=merge(before.place, entry.place),
                owner=entry.owner or before.owner,
                group=entry.group or before.group,
            )
        self._waiting[names] = entry


def _keys_meant(entry: Placement) -> list[str]:
    mac, serial, address = entry.names
    keys = [] if mac is None else [f"mac:{mac}"]
    keys += [] if serial is None else [f"serial:{serial}"]
    return keys if address is None else [address]


def _lay(member: Member, entry: Placement) -> None:
    member.place = merge(member.place, entry.place)
    member.owner = entry.owner or member.owner
    member.group = entry.group or member.group


def _differences(member: Member, reading: Reading, address: Address) -> list[Finding]:
    """Return what is not as it was: the model, and the chips on each board."""
    findings: list[Finding] = []
    was, now = member.identity, reading.identity
    if (was.make, was.model, was.firmware) != (now.make, now.model, now.firmware):
        text = f"was {was.make} {was.model} ({was.firmware}), is {now.make} {now.model} ({now.firmware})"
        findings.append(Finding(kind=FindingKind.RENAMED, key=member.key, address=address, text=text))
    for board in reading.boards:
        chips = member.chips_by_slot.get(board.slot)
        if board.chips and chips and board.chips != chips:
            text = f"board {board.slot} had {chips} chips and has {board.chips}: exchanged, or partly dead"
            findings.append(Finding(kind=FindingKind.BOARDS, key=member.key, address=address, text=text))
    return findings
