"""Samples that the sandbox's users send beside text: a drawn picture, an album, a contact, a location."""

import struct
import zlib
from base64 import b64decode
from collections.abc import Iterator
from typing import Final, Literal

from telegram.fake.protocol.answers import Json
from telegram.fake.world import World
from telegram.fake.world.attachments import described

Sample = Literal["photo", "album", "contact", "location"]
ALBUM_SIZE: Final = 3

_WIDTH, _HEIGHT = 800, 600  # the size that telegram/fake/world/attachments.py gives for every photo
_Colour = tuple[int, int, int]
_SCENES: Final[tuple[tuple[_Colour, _Colour, _Colour], ...]] = (  # the sky above and at the horizon, the hill
    ((86, 150, 214), (210, 232, 246), (74, 128, 82)),
    ((92, 64, 124), (250, 170, 112), (64, 56, 84)),
    ((24, 34, 72), (88, 110, 160), (28, 52, 60)),
)
_JPEG: Final = b"\xff\xd8\xff"
_SUN: Final = (255, 236, 170)


def own_photo(world: World, picture: str, caption: str) -> Json:
    """Return the fields of a message with this JPEG (base64). ValueError if it is not a JPEG."""
    content = b64decode(picture, validate=True)
    if not content.startswith(_JPEG):
        raise ValueError("the picture is not a JPEG")
    file = world.files.add("photo", content, name="photo.jpg", mime_type="image/jpeg")
    return {"photo": described("photo", file, {}), **({"caption": caption} if caption else {})}


def contents(world: World, user_id: int, what: Sample, caption: str) -> Iterator[Json]:
    """Yield the fields of each message; the first one gets the caption."""
    captioned = {"caption": caption} if caption else {}
    match what:
        case "photo":
            number = world.number()
            yield {"photo": _photo(world, number), **captioned}
        case "album":
            group = {"media_group_id": str(14_000_000_000_000_000 + world.number())}
            for number in range(ALBUM_SIZE):
                yield {"photo": _photo(world, number), **group, **(captioned if number == 0 else {})}
        case "contact":
            person = world.known_user(user_id) or {"first_name": "Somebody"}
            yield {
                "contact": {
                    "phone_number": f"+{user_id:011}",
                    "first_name": person["first_name"],
                    "user_id": user_id,
                }
            }
        case "location":
            yield {"location": {"latitude": 52.52, "longitude": 13.405}}


def picture(number: int) -> bytes:
    """Return a drawn landscape as PNG; its colours depend on `number`."""
    above, horizon, hill = _SCENES[number % len(_SCENES)]
    rows = b"".join(b"\0" + _row(y, above, horizon, hill, 200 + 150 * (number % 3)) for y in range(_HEIGHT))
    header = struct.pack(">IIBBBBB", _WIDTH, _HEIGHT, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in parts)


def _photo(world: World, number: int) -> Json:
    file = world.files.add("photo", picture(number), name="photo.png", mime_type="image/png")
    sizes: Json = described("photo", file, {})
    return sizes


def _row(y: int, above: _Colour, horizon: _Colour, hill: _Colour, sun_at: int) -> bytes:
    sky = bytes(a + (b - a) * y // _HEIGHT for a, b in zip(above, horizon, strict=True))
    row = bytearray(sky * _WIDTH)
    if (rest := 70**2 - (y - 180) ** 2) > 0:
        _fill(row, sun_at, int(rest**0.5), _SUN)
    if y > (top := 360):
        _fill(row, 520, int(_WIDTH * ((y - top) / (_HEIGHT - top)) ** 0.5), hill)
    return bytes(row)


def _fill(row: bytearray, middle: int, half: int, colour: _Colour) -> None:
    start, end = max(0, middle - half), min(_WIDTH, middle + half)
    row[start * 3 : end * 3] = bytes(colour) * (end - start)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
