"""One `mining.submit` as the session core reads it. `submits` reads whole runs of them, to the same effect."""

from __future__ import annotations

import re
from typing import Any, Final

from hashwerk.stratum.v1.codec import Request
from hashwerk.stratum.v1.events import SubmitReceived, SubmitRefused
from hashwerk.work.share import Verdict

_JOB_ID: Final = re.compile(r"[0-9a-fA-F]{1,8}")
_EXTRANONCE2: Final = re.compile(r"(?:[0-9a-fA-F]{2}){1,8}")
_UINT32: Final = re.compile(r"[0-9a-fA-F]{8}")


def read_submit(request: Request) -> SubmitReceived | SubmitRefused:
    """Return the share of a request, or why it is none.

    Hex fields are taken at their exact length: a padded or cut spelling would be a second name for the same
    share. A sixth parameter of null is none (sent by some proxies).
    """
    params = request.params
    if len(params) not in (5, 6) or not isinstance(params[0], str):
        return SubmitRefused(request.id, Verdict.MALFORMED)
    user, job_id, extranonce2, ntime, nonce, *rest = params
    version_bits = rest[0] if rest else None
    if not (_is(_EXTRANONCE2, extranonce2) and _is(_UINT32, ntime) and _is(_UINT32, nonce)):
        return SubmitRefused(request.id, Verdict.MALFORMED)
    if version_bits is not None and not _is(_UINT32, version_bits):
        return SubmitRefused(request.id, Verdict.MALFORMED)
    if not _is(_JOB_ID, job_id):  # ours are all of this form
        return SubmitRefused(request.id, Verdict.UNKNOWN_JOB)
    return SubmitReceived(
        id=request.id,
        user=user,
        job_id=int(job_id, 16),
        extranonce2=int(extranonce2, 16),
        extranonce2_size=len(extranonce2) // 2,
        ntime=int(ntime, 16),
        nonce=int(nonce, 16),
        version_bits=None if version_bits is None else int(version_bits, 16),
    )


def _is(pattern: re.Pattern[str], value: Any) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None
