"""The one tree of Hashwerk's errors.

Every error says in plain words what happened; ``retry`` says whether trying again can help, and ``exit_code``
is what the command line ends with.
"""

from __future__ import annotations

import asyncio


class HashwerkError(Exception):
    """Base of everything Hashwerk raises on purpose."""

    exit_code = 1
    retry = False


class ConfigError(HashwerkError):
    """The configuration cannot be used; trying again does not help."""

    exit_code = 2


class NodeError(HashwerkError):
    """The node could not do what was asked."""

    exit_code = 3


class NodeUnavailableError(NodeError):
    """The node does not answer, or not yet."""

    retry = True


class NodeLockedError(NodeError):
    """The chain's folder is in use by another process."""

    retry = True


class StoreError(HashwerkError):
    """The ledger could not be read or written; nothing that was not stored has been acknowledged."""

    exit_code = 4


class StoreFullError(StoreError):
    """The disk is full; the ledger resumes by itself when there is room."""

    retry = True


class PoolError(HashwerkError):
    """The Stratum server could not start or go on."""

    exit_code = 5


class ClientError(HashwerkError):
    """No work could be had from the given servers."""

    exit_code = 6
    retry = True


class DecodeError(HashwerkError, ValueError):
    """Bytes are not what they claim to be."""


class TemplateError(HashwerkError):
    """A block template contradicts itself; the next one may be better."""

    exit_code = 3
    retry = True


class CoinbaseSizeError(ConfigError):
    """A coinbase does not fit: too many payouts or too long a pool tag."""


class DeviceError(HashwerkError):
    """A machine or meter does not answer, or with nothing that can be read."""

    exit_code = 7
    retry = True


class FleetError(HashwerkError):
    """A command for the fleet cannot be carried out; the message says which machines and why."""

    exit_code = 7


class FeedError(HashwerkError):
    """A feed is silent, repeats itself or says what cannot be; the last good series and its age are kept."""

    exit_code = 8
    retry = True


class DispatchError(HashwerkError):
    """No schedule can be made: the message names the limits that contradict each other."""

    exit_code = 8


class EvidenceError(HashwerkError):
    """Evidence cannot be made or read."""

    exit_code = 9


def end_if_cancelled() -> None:
    """Let a cancellation end the running task even where something swallowed it: called before the next try or pause.

    A client that loses its connection while it is cancelled may raise its own error instead; and before Python 3.12
    `asyncio.wait_for` forgets a cancellation that arrives together with the result. A task that goes on would run for ever.

    Raises:
        asyncio.CancelledError: If the running task was cancelled.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
