"""*Machine*: what is the truth about this one?"""

from hashwerk.web.board import Board
from hashwerk.web.pages.shell import page_shell


async def machine_page(board: Board, title: str, machine: str) -> None:
    """Build the page for one browser."""
    with page_shell(board, title, "Machine"):
        pass
