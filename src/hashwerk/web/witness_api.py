"""The API's part by which this mine serves other Hashwerks as a witness."""

from __future__ import annotations

from typing import Final

import msgspec
from fastapi import APIRouter, HTTPException, Request, Response

from hashwerk.errors import DecodeError, EvidenceError, StoreError
from hashwerk.evidence.witness import EquivocationError
from hashwerk.site.witness_desk import UnknownSiteError, WitnessDesk

#: A thousand key events, and a header.
_MAX_BYTES: Final = 1 << 20


class WitnessRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a site shows: its key events from genesis on and a signed header, as hexadecimal digits."""

    keys: tuple[str, ...]
    header: str


def witness_router(desk: WitnessDesk) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/api/v1/witness", tags=["evidence"])

    @router.get("", summary="Key of this witness, for whom it signs, and proofs of equivocation")
    async def witness() -> Response:
        try:
            return _json(await desk.view())
        except StoreError as error:
            raise HTTPException(503, str(error)) from error

    @router.post("", summary="Countersign an epoch of a site that is named in the settings")
    async def sign(request: Request) -> Response:
        try:
            asked = msgspec.json.decode(await _body(request), type=WitnessRequest)
            events, header = [bytes.fromhex(event) for event in asked.keys], bytes.fromhex(asked.header)
        except (msgspec.DecodeError, ValueError) as error:
            raise HTTPException(422, f"not a request to a witness: {error}") from error
        try:
            return _json({"statement": (await desk.sign(events, header)).hex()})
        except UnknownSiteError as error:
            raise HTTPException(403, str(error)) from error
        except EquivocationError as error:
            raise HTTPException(409, f"equivocation: {error}") from error
        except StoreError as error:
            raise HTTPException(503, str(error)) from error
        except (EvidenceError, DecodeError) as error:
            raise HTTPException(422, str(error)) from error

    return router


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_BYTES:
            raise HTTPException(413, f"more than {_MAX_BYTES} bytes")
    return bytes(body)


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
