"""The API's part for customers: receipts for their shares, and proofs of what was counted for them.

Whoever knows an account's salt is its owner: the operator hands it out once (`hashwerk prove --salts`), nobody else has it,
and no password of the mine is needed. Nothing here says anything of other accounts.
"""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Header, HTTPException, Path, Query, Response

from hashwerk.errors import EvidenceError, StoreError
from hashwerk.evidence.proof_file import write_proof
from hashwerk.evidence.receipt import write_receipts
from hashwerk.site.evidence_desk import BusyError, EvidenceDesk
from hashwerk.store.own_shares import Owner

PREFIX: Final = "/api/v1/customer/"
_KIND: Final = "application/octet-stream"

Account = Annotated[str, Path(pattern="^[0-9a-f]{64}$", description="The account's commitment.")]
Authorization = Annotated[
    str, Header(pattern="^[Bb]earer [0-9a-f]{64}$", description="Bearer and the account's salt.")
]
Number = Annotated[int, Query(ge=1, le=2**62)]


def customer_router(desk: EvidenceDesk) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix=PREFIX.rstrip("/"), tags=["evidence"])

    @router.get("/{account}/receipts", summary="Signed receipts for the account's shares in an epoch")
    async def receipts(
        account: Account,
        authorization: Authorization,
        epoch: Annotated[int | None, Query(ge=1, le=2**62, description="None: the open one.")] = None,
        after: Annotated[int, Query(ge=-1, le=2**32, description="Only positions above this.")] = -1,
    ) -> Response:
        owner = await _owner(desk, account, authorization)
        try:
            found = await desk.receipts(owner, epoch, after)
        except (EvidenceError, StoreError) as error:
            raise _refused(error) from error
        headers = {"x-hashwerk-epoch": str(found.epoch), "x-hashwerk-whole": str(int(found.is_whole))}
        return Response(write_receipts(found.receipts), media_type=_KIND, headers=headers | _NOT_KEPT)

    @router.get("/{account}/sum", summary="Proof of what the account's work adds up to in a closed epoch")
    async def sums(account: Account, authorization: Authorization, epoch: Number) -> Response:
        owner = await _owner(desk, account, authorization)
        try:
            return _file(write_proof(await desk.sum_proof(owner, epoch)))
        except (EvidenceError, StoreError) as error:
            raise _refused(error) from error

    @router.get("/{account}/share", summary="Proof that a share of the account is in a closed epoch")
    async def share(
        account: Account,
        authorization: Authorization,
        epoch: Number,
        position: Annotated[int, Query(ge=0, le=2**32 - 1)],
    ) -> Response:
        owner = await _owner(desk, account, authorization)
        try:
            return _file(write_proof(await desk.share_proof(owner, epoch, position)))
        except (EvidenceError, StoreError) as error:
            raise _refused(error) from error

    return router


_NOT_KEPT: Final = {"cache-control": "no-store"}


async def _owner(desk: EvidenceDesk, account: str, authorization: str) -> Owner:
    salt = bytes.fromhex(authorization.partition(" ")[2])
    try:
        owner = await desk.owner(bytes.fromhex(account), salt)
    except StoreError as error:
        raise _refused(error) from error
    if owner is None:
        raise HTTPException(403, "there is no account of this commitment and salt")
    return owner


def _file(data: bytes) -> Response:
    return Response(data, media_type=_KIND, headers=_NOT_KEPT)


def _refused(error: EvidenceError | StoreError) -> HTTPException:
    if isinstance(error, BusyError):
        return HTTPException(429, str(error), {"retry-after": "5"})
    return HTTPException(503 if isinstance(error, StoreError) else 422, str(error))
