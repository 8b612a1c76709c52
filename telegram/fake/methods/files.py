"""The method getFile."""

from telegram.fake.protocol.answers import Json, bad_request
from telegram.fake.protocol.params import Params, text
from telegram.fake.world import World
from telegram.fake.world.files import DOWNLOAD_BYTES_MAX


def get_file(world: World, params: Params) -> Json:
    """Return a `File`; its path is for /file/bot<token>/<path>, or on the disk of a local server. At most 20 MB unless local."""
    file = world.files.find(text(params, "file_id"))
    if file is None:
        raise bad_request("invalid file_id")
    if not world.files.local and file.size > DOWNLOAD_BYTES_MAX:
        raise bad_request("file is too big")
    if not world.files.has_content(file):
        raise bad_request("wrong file_id or the file is temporarily unavailable")
    return file.identity() | {"file_path": file.path}
