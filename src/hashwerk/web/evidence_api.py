"""The API's part about evidence: epochs, the statement of the last hour, bundles, and files that are handed in to check.

Everybody who may see the page may do all of it: nothing here changes the mine. What costs is limited: bytes, seconds, how
many at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final

import msgspec
from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.responses import StreamingResponse

from hashwerk.clock import Clock
from hashwerk.errors import EvidenceError, StoreError
from hashwerk.evidence.proof_file import write_proof
from hashwerk.site.evidence_desk import STATEMENT_SPAN_S, BusyError, EvidenceDesk
from hashwerk.web.evidence_frames import CHECK_WORDS

#: Beyond this `hashwerk verify` does it, which needs no page.
MAX_FILE_BYTES: Final = 512 * 1024 * 1024
UPLOAD_LIMIT_S: Final = 300.0
#: Files that are checked together.
MAX_FILES: Final = 16
_CHUNK: Final = 1 << 20
#: The last second that a date can be written for.
_LATEST: Final = 253_402_300_799.0
_BODY: Final = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


def evidence_router(desk: EvidenceDesk, clock: Clock) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/api/v1/evidence", tags=["evidence"])
    _add_reads(router, desk)

    @router.get("/bundle", summary="The evidence of a period, in one file that anybody can verify")
    async def bundle(
        start: Annotated[float | None, Query(ge=0, le=_LATEST, allow_inf_nan=False, alias="from")] = None,
        end: Annotated[float | None, Query(ge=0, le=_LATEST, allow_inf_nan=False, alias="to")] = None,
    ) -> StreamingResponse:
        last = clock.time() if end is None else end
        first = last - STATEMENT_SPAN_S if start is None else start
        if first >= last:
            raise HTTPException(422, "the period ends before it starts")
        try:
            file, size = await desk.bundle(first, last)
        except EvidenceError as error:
            raise _refused(error) from error
        name = f"evidence-{_stamp(first)}-{_stamp(last)}.hwe"
        headers = {
            "content-disposition": f'attachment; filename="{name}"',
            "content-length": str(size),
            "cache-control": "no-store",
        }
        return StreamingResponse(_read(file), media_type="application/octet-stream", headers=headers)

    @router.get(
        "/openings", summary="Shares that your own randomness draws from a closed epoch, each with its proof"
    )
    async def openings(
        epoch: Annotated[int, Query(ge=1, le=2**62)],
        randomness: Annotated[
            str, Query(pattern="^[0-9a-f]{64}$", description="Drawn after the epoch was closed.")
        ],
        count: Annotated[int, Query(ge=1, le=1_000)] = 300,
    ) -> Response:
        try:
            proof = await desk.openings(epoch, bytes.fromhex(randomness), count)
        except EvidenceError as error:
            raise _refused(error) from error
        except StoreError as error:
            raise HTTPException(503, str(error)) from error
        return Response(write_proof(proof), media_type="application/octet-stream")

    @router.post(
        "/verify",
        summary="Check a bundle, whoever made it; the body is the file",
        openapi_extra=_BODY,
    )
    async def verify(
        request: Request, key: Annotated[str | None, Query(pattern="^[0-9a-fA-F]{64}$")] = None
    ) -> Response:
        try:
            async with desk.check_slot() as file:
                await _take(request, file)
                report = await desk.check(file, key)
        except EvidenceError as error:
            raise _refused(error) from error
        return _json(_in_words(report))

    @router.post(
        "/verify/together",
        summary="Check several files together: bundles, receipts, proofs, block headers, roots; the body is all of them in a row",
        openapi_extra=_BODY,
    )
    async def together(
        request: Request,
        size: Annotated[list[int], Query(min_length=1, max_length=MAX_FILES, description="Bytes of each.")],
        name: Annotated[
            list[str], Query(min_length=1, max_length=MAX_FILES, description="What to call each.")
        ],
        key: Annotated[str | None, Query(pattern="^[0-9a-fA-F]{64}$")] = None,
    ) -> Response:
        if min(size) < 1:
            raise HTTPException(422, "one of the files is empty")
        if len(size) != len(name) or sum(size) > MAX_FILE_BYTES or max(map(len, name)) > 200:
            raise HTTPException(422, "one size and one name for each file, together within the limit")
        try:
            async with desk.check_slot() as file:
                await _take(request, file)
                await asyncio.to_thread(_split, file, size)
                found = await desk.check_together(file, name, key)
        except EvidenceError as error:
            raise _refused(error) from error
        return _json(
            [one | {"report": _in_words(one["report"])} if "report" in one else one for one in found]
        )

    return router


def _split(file: Path, sizes: list[int]) -> None:
    """Cut one file into its parts, named 0, 1 … beside it.

    Raises:
        EvidenceError: If the sizes are not the file's.
    """
    if file.stat().st_size != sum(sizes):
        raise EvidenceError(f"{file.stat().st_size} bytes came, {sum(sizes)} were announced")
    with file.open("rb") as whole:
        for number, size in enumerate(sizes):
            with file.with_name(str(number)).open("wb") as part:
                for start in range(0, size, _CHUNK):
                    part.write(whole.read(min(_CHUNK, size - start)))
    file.unlink()


def _add_reads(router: APIRouter, desk: EvidenceDesk) -> None:
    @router.get("", summary="Key, newest epochs, and the statement of the last hour once it is made")
    async def evidence() -> Response:
        desk.look()
        try:
            view = await desk.read()
        except (StoreError, EvidenceError) as error:
            raise HTTPException(503, str(error)) from error
        return _json(view)

    @router.get("/epochs", summary="Closed epochs, the newest first")
    async def epochs(
        limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
        before: Annotated[int | None, Query(ge=0, le=2**62)] = None,
    ) -> Response:
        try:
            found = await desk.epochs(limit, before)
        except (StoreError, EvidenceError) as error:
            raise HTTPException(503, str(error)) from error
        more = found[-1].number if found and found[-1].number > 0 else None
        return _json({"epochs": found, "next_before": more})


async def _take(request: Request, file: Path) -> None:
    """Write a request's body to a file.

    Raises:
        HTTPException: If it is too large, empty, or does not arrive.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > MAX_FILE_BYTES:
        raise _too_large()
    size, waiting = 0, bytearray()
    with file.open("wb") as out:
        try:
            async with asyncio.timeout(UPLOAD_LIMIT_S):
                async for chunk in request.stream():
                    size += len(chunk)
                    if size > MAX_FILE_BYTES:
                        raise _too_large()
                    waiting += chunk
                    if len(waiting) >= _CHUNK:
                        await asyncio.to_thread(out.write, bytes(waiting))
                        waiting.clear()
                await asyncio.to_thread(out.write, bytes(waiting))
        except TimeoutError as error:
            raise HTTPException(408, f"the file did not arrive within {UPLOAD_LIMIT_S:.0f} s") from error
    if not size:
        raise HTTPException(422, "the request has no body; send the file as it is")


def _too_large() -> HTTPException:
    words = f"the file is larger than {MAX_FILE_BYTES >> 20} MiB; check it with: hashwerk verify FILE"
    return HTTPException(413, words)


async def _read(file: BinaryIO) -> AsyncIterator[bytes]:
    try:
        while chunk := await asyncio.to_thread(file.read, _CHUNK):
            yield chunk
    finally:
        file.close()


def _in_words(report: dict[str, Any]) -> dict[str, Any]:
    """Return a report with what each check is about in plain words."""
    checks = [{**check, "about": CHECK_WORDS.get(check["name"], check["name"])} for check in report["checks"]]
    return {**report, "checks": checks}


def _refused(error: EvidenceError) -> HTTPException:
    if isinstance(error, BusyError):
        return HTTPException(429, str(error), {"retry-after": "10"})
    return HTTPException(422, str(error))


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y%m%dT%H%M%SZ")


def _json(value: Any) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
