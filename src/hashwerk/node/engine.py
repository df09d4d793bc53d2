"""Bitcoin Core's consensus engine, as one synchronous object: libbitcoinkernel through ``pbk``.

What the engine does not say is added here: why a block was refused (only its log knows), that bytes follow
the end of a block (it ignores them), that a folder is in use (it says no more than "failed"). Every method is
to be called from one and the same thread.
"""

from __future__ import annotations

import ctypes
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import pbk
from pbk.capi import bindings
from pbk.notifications import NotificationInterfaceCallbacks

from hashwerk.chain.header import BlockHeader, hash_to_hex
from hashwerk.chain.network import Network
from hashwerk.errors import ConfigError, NodeError, NodeLockedError
from hashwerk.stratum.ports import SubmitOutcome

#: Networks on which a private chain makes sense, by the engine's name for their rules.
PRIVATE_NETWORKS: Final = {"testnet4": pbk.ChainType.TESTNET_4, "regtest": pbk.ChainType.REGTEST}

# Core's words where its log should say nothing: what the validation result alone tells.
_REASONS_BY_RESULT: Final = {
    pbk.BlockValidationResult.CACHED_INVALID: "duplicate-invalid",
    pbk.BlockValidationResult.MISSING_PREV: "prev-blk-not-found",
    pbk.BlockValidationResult.INVALID_PREV: "bad-prevblk",
    pbk.BlockValidationResult.TIME_FUTURE: "time-too-new",
}
_BLOCK_CHECKED: Final = re.compile(r"BlockChecked: block hash=([0-9a-f]{64}) state=(.+)")
_KEPT_HEADERS: Final = 8_192  # two retarget periods of 2,016 and the walks between them
_LOG: Final = logging.getLogger(__name__)


class Verdict(msgspec.Struct, frozen=True):
    """What the engine found when it checked one block in full."""

    valid: bool
    reason: str | None  # Core's reject reason (BIP-0022), None when valid


def block_problem(block: bytes) -> str | None:
    """Return what keeps these bytes from being one whole block, or None: decoded by Core's own code.

    ``"block-decode-failed"``, or ``"trailing-bytes"``, which Core itself would overlook.
    """
    if decode_block(block) is None:
        return "block-decode-failed"
    # No whole block is still one without its last byte; one with something behind it is.
    return None if decode_block(block[:-1]) is None else "trailing-bytes"


def decode_block(block: bytes) -> pbk.Block | None:
    """Return the engine's own form of a block; None when it cannot be decoded.

    ``pbk.Block(…)`` does the same through a list of Python integers, which takes 50 ms for a full block.
    """
    buffer = (ctypes.c_ubyte * len(block)).from_buffer_copy(block)
    handle = bindings.btck_block_create(buffer, len(block))
    return pbk.Block._from_handle(handle) if handle else None


class Engine:
    """A chainstate in a folder."""

    def __init__(self, folder: Path, network: Network, on_failure: Callable[[str], None]) -> None:
        """Open the chainstate, made new where there is none.

        Args:
            folder: Its own folder; nothing else may be in it.
            network: `PRIVATE_NETWORKS` only.
            on_failure: Called with the engine's words when it cannot go on, for example on a full disk.

        Raises:
            ConfigError: If no private chain can be kept under this network's rules.
            NodeLockedError: If another process has the folder open.
            NodeError: If it cannot be opened for another reason.
        """
        if network.name not in PRIVATE_NETWORKS:
            raise ConfigError(refusal(network.name))
        self.folder = folder
        self._headers: dict[int, tuple[bytes, BlockHeader]] = {}
        self._verdicts: dict[bytes, Verdict] = {}
        self._log_lines: list[str] = []
        self._log = _connect_log(self._on_log)
        # The callbacks are owned by the context, which the manager keeps alive.
        self._parameters = pbk.ChainParameters(PRIVATE_NETWORKS[network.name])
        options = pbk.ContextOptions()
        options.set_chainparams(self._parameters)
        options.set_validation_interface(
            pbk.ValidationInterfaceCallbacks(block_checked=self._on_block_checked)
        )
        options.set_notifications(_failure_callbacks(on_failure))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._manager = pbk.ChainstateManager(
                pbk.ChainstateManagerOptions(pbk.Context(options), str(folder), str(folder / "blocks"))
            )
        except (RuntimeError, OSError) as error:
            self._log.__exit__(None, None, None)
            raise self._opening_error(error) from error
        self._chain = self._manager.get_active_chain()
        self._log_lines.clear()

    @property
    def height(self) -> int:
        """Height of the active chain's tip; the genesis block has 0."""
        return int(self._chain.height)

    @property
    def tip(self) -> bytes:
        """Hash of the active chain's tip, internal order."""
        return self.hash_at(self.height)

    def hash_at(self, height: int) -> bytes:
        """Return the hash of the active chain's block at this height, internal order.

        Raises:
            IndexError: If the chain is not that high.
        """
        return self._entry_at(height)[0]

    def header_at(self, height: int) -> BlockHeader:
        """Return the header of the active chain's block at this height.

        Raises:
            IndexError: If the chain is not that high.
        """
        return self._entry_at(height)[1]

    def height_of(self, block_hash: bytes) -> int | None:
        """Return the height of a block of the active chain; None when it is not in it."""
        entry = self._find(block_hash)
        if entry is None:
            return None
        height = int(entry.height)
        return height if height <= self.height and self.hash_at(height) == block_hash else None

    def header(self, block_hash: bytes) -> tuple[int, BlockHeader] | None:
        """Return height and header of any block the engine knows, in the active chain or beside it."""
        entry = self._find(block_hash)
        return None if entry is None else (int(entry.height), BlockHeader.parse(bytes(entry.block_header)))

    def check(self, block: bytes) -> bool:
        """Return whether a block is sound in itself: proof of work, merkle root, size, coinbase."""
        decoded = decode_block(block)
        if decoded is None:
            return False
        state = decoded.check(self._parameters.consensus_params, pbk.BlockCheckFlags.ALL)
        return bool(state.validation_mode == pbk.ValidationMode.VALID)

    def process(self, block: bytes) -> SubmitOutcome:
        """Hand a whole block to the engine (see `block_problem`) and say what became of it.

        Accepted means checked in full, valid, and in the active chain. Reasons are the words of Bitcoin
        Core's ``submitblock``; a block that is valid so far but not in the best chain is ``"inconclusive"``.
        """
        decoded = decode_block(block)
        if decoded is None:
            return SubmitOutcome(accepted=False, reason="block-decode-failed")
        block_hash = bytes(decoded.block_hash)
        tip_before = self.tip
        self._verdicts.clear()
        self._log_lines.clear()
        try:
            is_new = self._manager.process_block(decoded)
        except pbk.ProcessBlockException:
            is_new = True  # a refusal; why is in the verdict
        self._follow(tip_before)
        verdict = self._verdict(block_hash)
        if verdict is not None and not verdict.valid:
            return SubmitOutcome(accepted=False, reason=verdict.reason)
        is_active = self.height_of(block_hash) is not None
        if not is_new:
            return SubmitOutcome(accepted=is_active, reason="duplicate")
        return (
            SubmitOutcome(accepted=True)
            if is_active
            else SubmitOutcome(accepted=False, reason="inconclusive")
        )

    def close(self) -> None:
        """Write everything to disk and give the folder free."""
        # Destroyed by hand: only then does the engine flush, and a reference kept anywhere would put it off.
        self._manager.__exit__(None, None, None)
        self._log.__exit__(None, None, None)

    def _find(self, block_hash: bytes) -> Any | None:
        try:
            return self._manager.block_tree_entries[pbk.BlockHash(block_hash)]
        except KeyError:
            return None

    def _entry_at(self, height: int) -> tuple[bytes, BlockHeader]:
        known = self._headers.get(height)
        if known is None:
            if not 0 <= height <= self.height:
                raise IndexError(f"the chain has heights 0 to {self.height}, not {height}")
            entry = self._chain.block_tree_entries[height]
            known = (bytes(entry.block_hash), BlockHeader.parse(bytes(entry.block_header)))
            if len(self._headers) >= _KEPT_HEADERS:
                self._headers.clear()
            self._headers[height] = known
        return known

    def _follow(self, tip_before: bytes) -> None:
        """Forget the kept headers when the chain did not simply grow."""
        entry = self._chain.block_tree_entries[self.height]
        if bytes(entry.block_hash) == tip_before:
            return
        if BlockHeader.parse(bytes(entry.block_header)).prev_hash != tip_before:
            self._headers.clear()

    def _verdict(self, block_hash: bytes) -> Verdict | None:
        checked = self._verdicts.get(block_hash)
        if checked is None or checked.valid:
            return checked
        wanted = hash_to_hex(block_hash)
        for line in self._log_lines:
            match = _BLOCK_CHECKED.search(line)
            if match and match[1] == wanted:
                # "bad-cb-amount, coinbase pays too much (…)": the reason ends at the comma.
                return Verdict(valid=False, reason=match[2].strip().split(", ", 1)[0])
        return checked

    def _on_block_checked(self, _user_data: Any, block: Any, state: Any) -> None:
        valid = state.validation_mode == pbk.ValidationMode.VALID
        reason = None if valid else _REASONS_BY_RESULT.get(state.block_validation_result, "rejected")
        self._verdicts[bytes(block.block_hash)] = Verdict(valid=valid, reason=reason)

    def _on_log(self, line: str) -> None:
        # Every engine of this process hears every line; the block hash tells whose it is.
        if "BlockChecked" in line or ":error]" in line:
            self._log_lines.append(line)

    def _opening_error(self, error: Exception) -> NodeError:
        words = " ".join(line.strip() for line in self._log_lines if ":error]" in line) or str(error)
        if "LOCK" in words or "lock on" in words:
            return NodeLockedError(f"the chain's folder is in use by another process: {self.folder}")
        return NodeError(f"the chain in {self.folder} cannot be opened: {words}")


def _connect_log(callback: Callable[[str], None]) -> Any:
    with pbk.log.LOGGING_LOCK:
        pbk.logging_set_options(
            pbk.LoggingOptions(
                log_timestamps=False,
                log_threadnames=False,
                log_sourcelocations=False,
                always_print_category_levels=True,
            )
        )
        # Reasons for a refusal are debug messages of this one category.
        pbk.set_log_level_category(pbk.LogCategory.VALIDATION, pbk.LogLevel.DEBUG)
        pbk.enable_log_category(pbk.LogCategory.VALIDATION)
        return pbk.LoggingConnection(callback)


def _failure_callbacks(on_failure: Callable[[str], None]) -> NotificationInterfaceCallbacks:
    def report(_user_data: Any, message: Any, length: int) -> None:
        words = ctypes.string_at(message, length).decode("utf-8", "replace")
        _LOG.error("the consensus engine failed: %s", words)
        on_failure(words)

    return NotificationInterfaceCallbacks(flush_error=report, fatal_error=report)


def refusal(network: str) -> str:
    """Return in plain words why no private chain is kept under this network's rules."""
    if network == "main":
        return (
            "the embedded node does not mine on the main network: it has no peers, "
            "so its chain would be worth nothing; "
            "point the mine at a Bitcoin Core node instead"
        )
    known = " or ".join(PRIVATE_NETWORKS)
    return f"the embedded node keeps a private chain under the rules of {known}, not of {network}"
