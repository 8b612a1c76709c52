"""What people do with the bot, step by step, and what has to come of it.

After each step the bot reports what its framework made of the server's answers; that is compared with what the server
knows itself.
"""

import asyncio
import hashlib
import json
import struct
import zlib
from pathlib import Path
from typing import Any, Final

from telegram.fake import Call, FakeServer, Fault
from tests.judges.bots.told import COMMANDS, NO_MESSAGE, POLL_OPTIONS
from tests.judges.verdict import Facts, Wrong, differences, refused, told

ANN: Final = 42
"""A person, and her chat with the bot."""

DOCUMENT: Final = b"Twelve chairs\n" * 5000
FLOOD_S: Final = 3
_UP_WITHIN_S: Final = 60.0  # importing a framework can take long on a busy machine
_STEP_WITHIN_S: Final = 10.0


def picture(side: int) -> bytes:
    """A white square as PNG."""
    rows = (b"\0" + b"\xff" * side) * side
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


PICTURES: Final = {"one.png": picture(40), "two.png": picture(600)}


def draw(folder: Path) -> None:
    """Put the PICTURES there."""
    for name, content in PICTURES.items():
        (folder / name).write_bytes(content)


class Visit:
    """Ann visits the bot at `server`: each step raises Wrong when something is not as it should be."""

    def __init__(self, server: FakeServer) -> None:
        self._server = server
        self._world = server.world
        self._calls_before = 0
        self.steps = {
            step.__name__: step
            for step in (
                *(self.start, self.press, self.keyboard, self.echo, self.photo, self.album),
                *(self.file, self.poll, self.vote, self.refusal, self.flood),
            )
        }

    async def start(self) -> None:
        """The bot is up, has said its commands, and shows an inline keyboard."""
        self._say("/start")
        facts = await self._told("start", within_s=_UP_WITHIN_S)
        hello = self._sent("reply_markup")
        button = hello["reply_markup"]["inline_keyboard"][0][0]
        _same("the button", button, {"text": "Press me", "callback_data": "pressed"})
        expected = {
            "username": self._world.bot["username"],
            "commands": COMMANDS,
            "message_id": hello["message_id"],
            "button": button["callback_data"],
        }
        self._compare(expected, facts)
        self._called("getMe", "setMyCommands", "getMyCommands")

    async def press(self) -> None:
        """A press is answered, and the message edited."""
        hello = self._sent("reply_markup")
        self._world.press(ANN, ANN, hello["message_id"], "pressed")
        facts = await self._told("press")
        edited = self._sent("edit_date")
        _same("the edited text", edited["text"], "Pressed")
        expected = {"answered": True, "message_id": hello["message_id"], "text": "Pressed", "edited": True}
        self._compare(expected, facts)
        (answer,) = self._called("answerCallbackQuery")
        _same("the note", answer.text, "Done")

    async def keyboard(self) -> None:
        """A keyboard below the chat."""
        self._say("/keyboard")
        facts = await self._told("keyboard")
        self._compare({"message_id": self._with_text("Choose")["message_id"]}, facts)
        (call,) = (call for call in self._called("sendMessage") if call.text == "Choose")
        markup = _parsed(call.params["reply_markup"])
        labels = [[key if isinstance(key, str) else key["text"] for key in row] for row in markup["keyboard"]]
        _same("the keyboard", labels, [["Red", "Blue"]])

    async def echo(self) -> None:
        """A text comes back as a reply."""
        self._say("Red & <blue> \N{RED APPLE}")
        asked = self._world.messages(ANN)[-1]
        facts = await self._told("echo")
        reply = self._sent("reply_to_message")
        _same("the reply", reply["text"], asked["text"])
        _same("replied to", reply["reply_to_message"]["message_id"], asked["message_id"])
        expected = {
            "message_id": reply["message_id"],
            "text": asked["text"],
            "reply_to": asked["message_id"],
        }
        self._compare(expected, facts)

    async def photo(self) -> None:
        """A picture is uploaded, byte for byte."""
        self._say("/photo")
        facts = await self._told("photo")
        shown = self._sent("photo")
        largest = shown["photo"][-1]
        _same("the upload", self._fingerprint(largest), fingerprint(PICTURES["one.png"]))
        expected = {
            "message_id": shown["message_id"],
            "file_size": len(PICTURES["one.png"]),
            "width": largest["width"],
            "caption": "One <picture>",
        }
        self._compare(expected, facts)

    async def album(self) -> None:
        """Two pictures are uploaded in one call."""
        self._say("/album")
        facts = await self._told("album")
        shown = [message for message in self._world.messages(ANN) if "media_group_id" in message]
        uploads = [self._fingerprint(message["photo"][-1]) for message in shown]
        _same("the uploads", uploads, [fingerprint(content) for content in PICTURES.values()])
        expected = {
            "message_ids": [message["message_id"] for message in shown],
            "groups": 1,
            "file_sizes": [len(content) for content in PICTURES.values()],
            "captions": ["Two pictures", None],
        }
        self._compare(expected, facts)

    async def file(self) -> None:
        """What Ann sends is downloaded, byte for byte."""
        file = self._world.files.add("document", DOCUMENT, name="chairs.txt")
        document = file.identity() | {"file_name": file.name, "mime_type": file.mime_type}
        self._world.send_message(ANN, ANN, "", document=document)
        facts = await self._told("file")
        expected = {
            "file_name": "chairs.txt",
            "file_size": len(DOCUMENT),
            "sha256": hashlib.sha256(DOCUMENT).hexdigest(),
        }
        self._compare(expected, facts)

    async def poll(self) -> None:
        """A poll that is not anonymous."""
        self._say("/poll")
        facts = await self._told("poll")
        shown = self._sent("poll")
        expected = {
            "message_id": shown["message_id"],
            "poll_id": shown["poll"]["id"],
            "options": list(POLL_OPTIONS),
            "anonymous": False,
        }
        self._compare(expected, facts)

    async def vote(self) -> None:
        """Ann votes in it."""
        poll_id = self._sent("poll")["poll"]["id"]
        self._world.vote(ANN, poll_id, [1])
        facts = await self._told("vote")
        self._compare({"poll_id": poll_id, "user_id": ANN, "option_ids": [1]}, facts)

    async def refusal(self) -> None:
        """There is no message NO_MESSAGE to edit: the framework's own error for this."""
        self._say("/refusal")
        facts = await self._told("refusal")
        words = facts["description"].casefold().removeprefix("bad request: ")
        self._compare(
            {"description": "message to edit not found"}, {"description": words}, "editMessageText 400"
        )
        (call,) = self._called("editMessageText")
        _same("the message", int(call.params["message_id"]), NO_MESSAGE)

    async def flood(self) -> None:
        """The server says 429 once: the framework's own error for this."""
        fault = Fault("status", code=429, retry_after=FLOOD_S, method="sendMessage", times=1)
        self._server.faults.add(fault)
        self._say("/flood")
        facts = await self._told("flood")
        self._compare({"retry_after": FLOOD_S}, facts, "sendMessage 429")

    # -- what steps are made of ---------------------------------------------------------------------------

    def begin(self, step: str) -> None:
        """From here on calls belong to this step; the first has what the bot did before it, too."""
        self._calls_before = 0 if step == "start" else len(self._server.calls)

    def refusals(self) -> list[str]:
        """The calls of the step that were refused."""
        return refused(self._calls())

    def _say(self, text: str) -> None:
        entity = {"type": "bot_command", "offset": 0, "length": len(text)}
        self._world.send_message(ANN, ANN, text, **({"entities": [entity]} if text.startswith("/") else {}))

    async def _told(self, step: str, *, within_s: float = _STEP_WITHIN_S) -> Facts:
        """What the bot reports of the step, as soon as it does."""
        seen = self._calls_before
        async with asyncio.timeout(within_s):
            while True:
                await self._server.wait_for_calls(seen + 1, timeout_s=2 * within_s)
                seen += 1
                call = self._server.calls[seen - 1]
                facts = told(step, call.text) if call.method == "sendMessage" else None
                if facts is not None:
                    return facts

    def _sent(self, field: str) -> dict[str, Any]:
        """The latest message of the chat that has this field."""
        found = [message for message in self._world.messages(ANN) if field in message]
        if not found:
            raise Wrong(f"no message in the chat has {field}")
        return found[-1]

    def _with_text(self, text: str) -> dict[str, Any]:
        found = [message for message in self._world.messages(ANN) if message.get("text") == text]
        if not found:
            raise Wrong(f"no message in the chat says {text!r}")
        return found[-1]

    def _fingerprint(self, part: dict[str, Any]) -> str:
        """The fingerprint of the file that a part of a message names."""
        file = self._world.files.find(part["file_id"])
        there = self._world.files.download(file.path) if file else None
        return fingerprint(there[1]) if there else "nothing"

    def _calls(self) -> list[Call]:
        return self._server.calls[self._calls_before :]

    def _called(self, *methods: str) -> list[Call]:
        """The step's calls of these methods, each of which there has to be."""
        calls = [call for call in self._calls() if call.method in methods]
        if missing := set(methods) - {call.method for call in calls}:
            raise Wrong(f"never called: {', '.join(sorted(missing))}")
        return calls

    def _compare(self, expected: Facts, found: Facts, *refusals: str) -> None:
        """The facts are as expected, and nothing was refused but this."""
        if problems := differences(expected, found):
            raise Wrong("; ".join(problems))
        _same("refused calls", self.refusals(), list(refusals))


def fingerprint(content: bytes) -> str:
    """Short, for people, and different for different contents."""
    return f"{len(content)} bytes {hashlib.sha256(content).hexdigest()[:8]}"


def _same(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise Wrong(f"{what}: {found!r} instead of {expected!r}")


def _parsed(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value
