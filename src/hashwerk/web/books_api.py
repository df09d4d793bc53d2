"""The API's part about pools' accounts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from pydantic import Field

from hashwerk.economics.reconcile import as_builtins
from hashwerk.web.models import Model

if TYPE_CHECKING:
    from hashwerk.site.pool_books import PoolBooks


class AccountBooksModel(Model):
    """An account's books beside the ledger's."""

    upstream: str
    pool: str
    at: float | None = Field(description="When they were compared; null: never.")
    problem: str = Field(description="Why they could not be compared, or not again.")
    result: dict[str, Any] | None = Field(
        description="Days, workers, the whole, findings and verdict, as `hashwerk pools reconcile --json` prints them."
    )


class PoolBooksModel(Model):
    """All configured accounts."""

    accounts: list[AccountBooksModel]


def books_router(books: PoolBooks) -> APIRouter:
    """Return the routes."""
    router = APIRouter()

    @router.get(
        "/api/v1/upstreams/books", tags=["mine"], summary="What pools credited, beside what was proved here"
    )
    async def pool_books() -> PoolBooksModel:
        return PoolBooksModel(
            accounts=[
                AccountBooksModel(
                    upstream=one.upstream,
                    pool=one.pool,
                    at=one.at,
                    problem=one.problem,
                    result=None if one.result is None else as_builtins(one.result),
                )
                for one in books.view()
            ]
        )

    return router
