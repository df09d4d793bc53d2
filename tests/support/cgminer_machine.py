"""A machine that speaks the cgminer API from a script: one command per connection, JSON and text, joined commands.

What it answers is written by each test; what it was asked is kept in `asked`, so that a test can check the wire.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Section = dict[str, Any]


@dataclass
class Answer:
    """What one command is answered with. ``entries`` is the section's content."""

    section: str | None = None
    entries: list[Section] = field(default_factory=list)
    letter: str = "S"
    code: int = 11
    message: str = "OK"


@dataclass
class CgminerMachine:
    """Answers by command: ``version``, ``estats`` …; commands with a parameter by ``ascset 0,workmode,get``."""

    answers: dict[str, Answer | bytes | None]
    when: int = 1_753_432_244
    knows_joined: bool = True
    asked: list[str] = field(default_factory=list)
    connections: int = 0
    is_busy: bool = False
    overlaps: int = 0

    def reply(self, request: bytes) -> bytes | None:
        """Return the bytes that answer a request; None: close without a reply."""
        command, parameter, is_json = _parse(request)
        if is_json and "+" in command:
            return self._joined(command.split("+"))
        name = command if parameter is None else f"{command} {parameter}"
        self.asked.append(request.decode("latin-1"))
        if name not in self.answers:
            text = "Invalid command" if parameter is None else "ASC 0 set failed: Unknown option"
            answer: Answer | bytes | None = Answer(
                letter="E", code=14 if parameter is None else 120, message=text
            )
        else:
            answer = self.answers[name]
        if not isinstance(answer, Answer):
            return answer
        return (_json(self._object(answer)) if is_json else self._text(answer)) + b"\x00"

    def _joined(self, commands: list[str]) -> bytes | None:
        self.asked.append("+".join(commands))
        if not self.knows_joined:
            return _json(self._object(Answer(letter="E", code=14, message="Invalid command"))) + b"\x00"
        parts: dict[str, Any] = {}
        for command in commands:
            answer = self.answers.get(command, Answer(letter="E", code=14, message="Invalid command"))
            if not isinstance(answer, Answer):
                return answer
            parts[command] = [self._object(answer)]
        return _json({**parts, "id": 1}) + b"\x00"

    def _status(self, answer: Answer) -> Section:
        return {
            "STATUS": answer.letter,
            "When": self.when,
            "Code": answer.code,
            "Msg": answer.message,
            "Description": "cgminer 4.11.1",
        }

    def _object(self, answer: Answer) -> Section:
        content = {answer.section: answer.entries} if answer.section else {}
        return {"STATUS": [self._status(answer)], **content, "id": 1}

    def _text(self, answer: Answer) -> bytes:
        sections = [self._status(answer), *answer.entries]
        return "".join(",".join(f"{k}={v}" for k, v in part.items()) + "|" for part in sections).encode()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.connections += 1
        self.overlaps += self.is_busy
        self.is_busy = True
        try:
            request = await reader.read(4096)
            if request and (data := self.reply(request)) is not None:
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            self.is_busy = False
            writer.close()


def _parse(request: bytes) -> tuple[str, str | None, bool]:
    text = request.decode("latin-1").strip("\x00\r\n ")
    if text.startswith("{"):
        fields = json.loads(text)
        return fields["command"], fields.get("parameter"), True
    command, is_pair, parameter = text.partition("|")
    return command, parameter if is_pair else None, False


def _json(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()


@contextlib.asynccontextmanager
async def serving(machine: CgminerMachine, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[int]:
    """Serve ``machine`` until left; yield the port."""
    server = await asyncio.start_server(machine.handle, host, port)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()
