"""A disk for SQLite, in memory, whose power can fail: an APSW VFS.

What a write changed is durable once its file was synced, and a name in the directory once the directory was. When
the power fails, each sector of 512 bytes that was written since keeps one of its versions, or is torn; each name stands
for what it stood for before or after. That is as bad as SQLite allows a disk to be (sqlite.org/atomiccommit.html,
sqlite.org/psow.html): a write never harms bytes beside it, nor bytes that it
overwrites with themselves, and what was synced stays.

After a failed sync what was to be synced may be tried again; or, if `lossy`, a random part of it is lost and the cache
does not tell, as on Linux ("fsyncgate").
"""

import errno
import random
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, Final, Literal, NoReturn

import apsw

from engine.stores.sqlite.disk import Seen

Operation = Literal["read", "write", "truncate", "sync", "create", "delete"]
Fault = Callable[[Operation, bool], int | None]
"""Asked before each operation, and whether it makes a file longer; the SQLite error that it ends with, if it fails."""

_SECTOR: Final = 512
_TORN: Final = 0.03  # of the sectors that do not keep what was written last
_JOURNALS: Final = apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_SUPER_JOURNAL | apsw.SQLITE_OPEN_WAL
_names = count()
_numbers = count(1)


class _Inode:
    """A file's content: as the cache has it, as the platters have it, and the writes between the two."""

    def __init__(self) -> None:
        self.number = next(_numbers)
        self.cached = bytearray()
        self.durable = bytearray()
        self.unsynced: list[tuple[int, bytes | None]] = []  # offset and data; None: cut off at the offset

    def change(self, offset: int, data: bytes | None) -> None:
        _apply(self.cached, offset, data)
        self.unsynced.append((offset, data))

    def sync(self) -> None:
        for offset, data in self.unsynced:
            _apply(self.durable, offset, data)
        self.unsynced.clear()

    def lose(self, rng: random.Random) -> None:
        """Make some of the unsynced writes durable, and forget the others."""
        versions: dict[int, int] = {}
        for offset, data in self.unsynced:
            for sector, _, _ in _pieces(offset, data):
                versions[sector] = versions.get(sector, 0) + 1
        luck = rng.choice((0.0, 1.0, rng.random()))
        kept = {
            sector: number if rng.random() < luck else rng.randrange(number)
            for sector, number in versions.items()
        }
        torn = {
            sector for sector, number in versions.items() if kept[sector] < number and rng.random() < _TORN
        }
        for offset, data in self.unsynced:
            if data is None and rng.random() < 0.5:
                _apply(self.durable, offset, None)
            for sector, start, piece in _pieces(offset, data):
                if kept[sector] > 0:
                    _apply(self.durable, start, piece)
                elif sector in torn and self.durable[start : start + len(piece)] != piece:
                    _apply(self.durable, start, rng.randbytes(len(piece)))
                kept[sector] -= 1
        self.unsynced.clear()

    def restart(self, rng: random.Random) -> None:
        """The power failed and came back: only what is durable is there."""
        self.lose(rng)
        self.cached = bytearray(self.durable)


class Disk(apsw.VFS):
    """One disk with one directory; `name` is the name of the VFS. Close it when it is not needed any more."""

    def __init__(self, rng: random.Random, *, lossy: bool = False) -> None:
        self.name = f"disk-{next(_names)}"
        super().__init__(self.name, "")
        self.operations = 0
        """That changed something, so far."""
        self.is_off = False
        self.boots = 0
        """How often it was switched on."""
        self.fault: Fault | None = None
        self._rng = rng
        self._lossy = lossy
        self._cut_at = -1
        self._files: dict[str, _Inode] = {}
        self._durable: dict[str, _Inode] = {}
        self._unsynced: dict[
            str, list[_Inode | None]
        ] = {}  # what a name stood for since the directory's last sync

    def cut_after(self, operations: int) -> None:
        """Let the power fail after so many operations from now that change something; at 0 at once."""
        self._cut_at = self.operations + operations
        self.is_off = self.is_off or operations == 0

    def restart(self) -> None:
        """Cut the power, if it is still on, and give it back: what was opened before is lost, and so are unsynced writes."""
        for name, versions in self._unsynced.items():
            inode = self._rng.choice([self._durable.get(name), *versions])
            self._durable.pop(name, None)
            if inode is not None:
                self._durable[name] = inode
        self._unsynced.clear()
        self._files = dict(self._durable)
        for inode in self._files.values():
            inode.restart(self._rng)
        self._cut_at = -1
        self.is_off = False
        self.boots += 1

    def renew(self, path: Path) -> None:
        """As the store does it to its log: write it over itself, and sync it; OSError if that fails."""
        file = _Handle(self, self._files.get(str(path), _Inode()), is_journal=False)
        try:
            for start in range(0, file.xFileSize(), 1 << 16):
                file.xWrite(file.xRead(1 << 16, start), start)
            file.xSync(0)
        except apsw.Error as error:
            raise OSError(errno.EIO, str(error)) from None

    def look(self, path: Path) -> Seen | None:
        """As the store looks at its files from outside; OSError if the power is off."""
        if self.is_off:
            raise OSError(errno.EIO, "no power")
        inode = self._files.get(str(path))
        return None if inode is None else Seen(0, inode.number, len(inode.cached), 0)

    def allocate(self, path: Path, offset: int, size: int) -> None:
        """As the store allocates space for its database file; OSError if that fails."""
        try:
            self.operate("write", apsw.SQLITE_IOERR_WRITE, grows=True)
        except apsw.Error as error:
            raise OSError(
                errno.ENOSPC if isinstance(error, apsw.FullError) else errno.EIO, str(error)
            ) from None
        self._files[str(path)].change(offset, bytes(size))

    def close(self) -> None:
        """Take the VFS from SQLite's list."""
        self.unregister()

    # -- what SQLite calls ------------------------------------------------------------------------------------

    def xOpen(self, name: "str | apsw.URIFilename | None", flags: list[int]) -> Any:  # noqa: N802
        flags[1] = flags[0]
        if name is None:
            return _Handle(self, _Inode(), is_journal=False)
        path = name if isinstance(name, str) else name.filename()
        if path not in self._files:
            if not flags[0] & apsw.SQLITE_OPEN_CREATE:
                fail(apsw.SQLITE_CANTOPEN)
            self.operate("create", apsw.SQLITE_CANTOPEN)
            self._name(path, _Inode())
        is_journal = bool(flags[0] & _JOURNALS and flags[0] & apsw.SQLITE_OPEN_CREATE)
        return _Handle(self, self._files[path], is_journal=is_journal)

    def xDelete(self, name: str, syncdir: bool) -> None:  # noqa: N802
        self.operate("delete", apsw.SQLITE_IOERR_DELETE)
        if name in self._files:
            self._name(name, None)
        if syncdir:
            self.sync_directory()

    def xAccess(self, name: str, flags: int) -> bool:  # noqa: N802
        self.operate("read", apsw.SQLITE_IOERR_ACCESS)
        return bool(
            name in self._files and self._files[name].cached
        )  # as SQLite on Unix: an empty file is none

    # -- what its files call ----------------------------------------------------------------------------------

    def operate(self, operation: Operation, code_if_off: int, *, grows: bool = False) -> None:
        """Count an operation; raise what it fails with."""
        if not self.is_off and operation != "read":
            self.is_off = self.operations == self._cut_at
            self.operations += 1
        if self.is_off:
            fail(code_if_off)
        if self.fault and (code := self.fault(operation, grows)) is not None:
            fail(code)

    def sync_directory(self) -> None:
        """Make names durable."""
        self._durable = dict(self._files)
        self._unsynced.clear()

    def sync_failed(self, inode: _Inode) -> None:
        """Do what a failed sync does."""
        if self._lossy:
            inode.lose(self._rng)

    def _name(self, path: str, inode: _Inode | None) -> None:
        self._unsynced.setdefault(path, []).append(inode)
        if inode is None:
            del self._files[path]
        else:
            self._files[path] = inode


class _Handle:
    """An open file. What is asked of it after a cut fails, also when the power is back."""

    def __init__(self, disk: Disk, inode: _Inode, *, is_journal: bool) -> None:
        self._disk = disk
        self._boot = disk.boots
        self._inode = inode
        self._directory_too = is_journal  # SQLite on Unix syncs the directory with a journal's first sync

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        self._operate("read", apsw.SQLITE_IOERR_READ)
        return bytes(self._inode.cached[offset : offset + amount])

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        grows = offset + len(data) > len(self._inode.cached)
        self._operate("write", apsw.SQLITE_IOERR_WRITE, grows=grows)
        self._inode.change(offset, data)

    def xTruncate(self, size: int) -> None:  # noqa: N802
        self._operate("truncate", apsw.SQLITE_IOERR_TRUNCATE)
        self._inode.change(size, None)

    def xSync(self, flags: int) -> None:  # noqa: N802
        try:
            self._operate("sync", apsw.SQLITE_IOERR_FSYNC)
        except apsw.IOError:
            if self._boot == self._disk.boots:
                self._disk.sync_failed(self._inode)
            raise
        self._inode.sync()
        if self._directory_too:
            self._disk.sync_directory()
            self._directory_too = False

    def xFileSize(self) -> int:  # noqa: N802
        self._operate("read", apsw.SQLITE_IOERR_FSTAT)
        return len(self._inode.cached)

    def xLock(self, level: int) -> None:  # noqa: N802
        """There is one connection at a time."""

    def xUnlock(self, level: int) -> None:  # noqa: N802
        """As above."""

    def xCheckReservedLock(self) -> bool:  # noqa: N802
        return False

    def xFileControl(self, op: int, pointer: int) -> bool:  # noqa: N802
        return False

    def xSectorSize(self) -> int:  # noqa: N802
        return 4096  # as SQLite on Unix says; in truth it is less

    def xDeviceCharacteristics(self) -> int:  # noqa: N802
        return int(apsw.SQLITE_IOCAP_POWERSAFE_OVERWRITE)  # as SQLite on Unix

    def xClose(self) -> None:  # noqa: N802
        """Nothing is cached here."""

    def _operate(self, operation: Operation, code_if_off: int, *, grows: bool = False) -> None:
        if self._boot != self._disk.boots:
            fail(code_if_off)
        self._disk.operate(operation, code_if_off, grows=grows)


def fail(code: int) -> NoReturn:
    """Raise what makes SQLite see this (extended) result."""
    raise apsw.exception_for(code)


def _apply(content: bytearray, offset: int, data: bytes | None) -> None:
    if data is None:
        del content[offset:]
        return
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


def _pieces(offset: int, data: bytes | None) -> Iterator[tuple[int, int, bytes]]:
    """Yield (sector, offset, data) of a write, sector by sector."""
    start = 0
    while data and start < len(data):
        end = min(len(data), start + _SECTOR - (offset + start) % _SECTOR)
        yield (offset + start) // _SECTOR, offset + start, data[start:end]
        start = end
