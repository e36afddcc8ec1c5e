"""A disk as a crash finds it: what was synced is there, of everything else any part, in any order, torn or not at all.

It promises what POSIX does, and no more:

    a file       A page (4 KiB) that was written reaches the disk at any time or never, whatever became of others, and
                 each version of it may have been the last to get there. The last one may have been on its way: then the
                 page is torn, each of its sectors (512 bytes) is that of one version or of another. The size is one
                 that the file has had. `sync` makes durable what was written before it, the size included.
    a directory  A name that was made, removed or moved is durable once the directory was synced; until then it is or is
                 not, whatever became of others. Changes of one name keep their order, and a rename is atomic.

ext4 as it is mounted by default (data=ordered) promises more: names come in the order of their changes, syncing a file
brings its name along, a file never has a size before it has the data. What survives this disk needs none of that.

Two things are assumed, as by whatever is stored anywhere: a sector is written whole or not at all, and what a sync
reported as done is done.
"""

from __future__ import annotations

from random import Random
from typing import Generic, NamedTuple, TypeVar

PAGE_BYTES = 4096
SECTOR_BYTES = 512

# By path; None is a directory.
Image = dict[str, bytes | None]

T = TypeVar("T")


class Draw:
    """Decides what of everything that was not synced a crash leaves.

    `share`: the chance of each thing to have reached the disk: 0 nothing, 1 everything, whole; in between also torn.
    """

    def __init__(self, random: Random, share: float | None = None) -> None:
        self.random = random
        # One file may be lucky and another not, and data otherwise than names: so each asks for its own.
        self._share = share

    def share(self) -> float:
        if self._share is not None:
            return self._share
        return self.random.choice((0.0, 0.1, 0.5, 0.9, 1.0))

    def torn(self) -> bool:
        return self._share is None and self.random.random() < 0.3

    def one_of(self, versions: list[T], share: float) -> T:
        if self.random.random() >= share:
            return versions[0]
        return versions[-1] if share == 1 else self.random.choice(versions[1:] or versions)

    def rubbish(self, count: int) -> bytes:
        """What lies where nothing of the file was ever written."""
        if self._share is not None or self.random.random() < 0.7:
            return bytes(count)
        return self.random.randbytes(count)


class _Versions(Generic[T]):
    """What something has been since it was last synced: the first of `all` is on the disk, unless a later one is."""

    def __init__(self, first: T) -> None:
        self.all = [first]
        self._synced = 0

    @property
    def newest(self) -> T:
        return self.all[-1]

    @property
    def number(self) -> int:
        """Of the newest."""
        return self._synced + len(self.all) - 1

    def sync(self, number: int) -> None:
        """That one is on the disk, none before it any more."""
        if number > self._synced:
            del self.all[: number - self._synced]
            self._synced = number


class Mark(NamedTuple):
    """What a sync that begins now will make durable."""

    pages: dict[int, int]
    size: int


class File:
    """What was written, page by page."""

    def __init__(self) -> None:
        # None: nothing has been written there.
        self._pages: dict[int, _Versions[bytes | None]] = {}
        self._size = _Versions(0)
        # Written to through a map of memory, which nobody can trace: it may hold anything.
        self.unknown = False

    @property
    def size(self) -> int:
        return self._size.newest

    def write(self, offset: int, data: bytes) -> None:
        for page in range(offset // PAGE_BYTES, -(-(offset + len(data)) // PAGE_BYTES)):
            versions = self._pages.setdefault(page, _Versions(None))
            content = bytearray(versions.newest or bytes(PAGE_BYTES))
            start = max(offset - page * PAGE_BYTES, 0)
            end = min(offset + len(data) - page * PAGE_BYTES, PAGE_BYTES)
            content[start:end] = data[start + page * PAGE_BYTES - offset :][: end - start]
            versions.all.append(bytes(content))
        if offset + len(data) > self.size:
            self._size.all.append(offset + len(data))

    def resize(self, size: int) -> None:
        """What is cut off is zero should the file grow again."""
        for page, versions in self._pages.items():
            kept = size - page * PAGE_BYTES
            if versions.newest is not None and kept < PAGE_BYTES:
                versions.all.append(versions.newest[: max(kept, 0)].ljust(PAGE_BYTES, b"\0"))
        self._size.all.append(size)

    def mark(self) -> Mark:
        return Mark({page: versions.number for page, versions in self._pages.items()}, self._size.number)

    def mark_written(self, offset: int, length: int) -> Mark:
        """For a descriptor that syncs what is written through it: these pages, and the size."""
        pages = range(offset // PAGE_BYTES, -(-(offset + length) // PAGE_BYTES))
        return Mark({page: self._pages[page].number for page in pages}, self._size.number)

    def sync(self, mark: Mark) -> None:
        for page, number in mark.pages.items():
            self._pages[page].sync(number)
        self._size.sync(mark.size)

    def content(self) -> bytes:
        """As the process reads it."""
        content = bytearray(-(-self.size // PAGE_BYTES) * PAGE_BYTES)
        for page, versions in self._pages.items():
            if page * PAGE_BYTES < self.size and versions.newest is not None:
                content[page * PAGE_BYTES : (page + 1) * PAGE_BYTES] = versions.newest
        return bytes(content[: self.size])

    def after_crash(self, draw: Draw) -> bytes:
        share = draw.share()
        size = draw.one_of(self._size.all, draw.share())
        if self.unknown:
            return draw.random.randbytes(size)
        pieces = [self._page_after_crash(self._pages.get(page), share, draw) for page in range(-(-size // PAGE_BYTES))]
        return b"".join(pieces)[:size]

    def _page_after_crash(self, versions: _Versions[bytes | None] | None, share: float, draw: Draw) -> bytes:
        if versions is None:
            return bytes(PAGE_BYTES)  # A hole.
        if len(versions.all) == 1:
            assert versions.newest is not None
            return versions.newest
        one = draw.one_of(versions.all, share)
        if not draw.torn():
            return one if one is not None else draw.rubbish(PAGE_BYTES)
        other = draw.random.choice(versions.all)
        sectors = []
        for start in range(0, PAGE_BYTES, SECTOR_BYTES):
            chosen = draw.random.choice((one, other))
            sectors.append(
                draw.rubbish(SECTOR_BYTES) if chosen is None else chosen[start : start + SECTOR_BYTES],
            )
        return b"".join(sectors)


class Directory:
    """Names: those the process sees, and those that are durable."""

    def __init__(self) -> None:
        self.names: dict[str, Node] = {}
        self.durable: dict[str, Node] = {}


Node = File | Directory
# Of which directory, which name, what it now stands for; all of one change together, or none.
_NameChange = list[tuple[Directory, str, Node | None]]


class Disk:
    """A tree of files. Paths are relative, the parts of them separated by "/"; "" is the root, which is durable."""

    def __init__(self) -> None:
        self._root = Directory()
        self._pending: list[_NameChange] = []

    def find(self, path: str) -> Node | None:
        node: Node = self._root
        for name in filter(None, path.split("/")):
            if not isinstance(node, Directory) or name not in node.names:
                return None
            node = node.names[name]
        return node

    def load(self, image: Image) -> None:
        """Begin with this, all of it durable. The directories come before what is in them."""
        for path, content in image.items():
            if content is None:
                self.make_directory(path)
            else:
                self.create(path).write(0, content)
        for change in self._pending:
            for directory, name, node in change:
                directory.durable[name] = node
                if isinstance(node, File):
                    node.sync(node.mark())
        self._pending.clear()

    def create(self, path: str) -> File:
        file = File()
        self._change((path, file))
        return file

    def make_directory(self, path: str) -> None:
        self._change((path, Directory()))

    def remove(self, path: str) -> None:
        self._change((path, None))

    def rename(self, old: str, new: str) -> None:
        node = self.find(old)
        assert isinstance(node, File), "only files are moved"
        self._change((old, None), (new, node))

    def _change(self, *changes: tuple[str, Node | None]) -> None:
        change: _NameChange = []
        for path, node in changes:
            folder, _, name = path.rpartition("/")
            directory = self.find(folder)
            assert isinstance(directory, Directory), f"there is no directory {folder}"
            if node is None:
                del directory.names[name]
            else:
                directory.names[name] = node
            change.append((directory, name, node))
        self._pending.append(change)

    def sync_names(self, directory: Directory) -> None:
        """Make every change of names in a directory durable, and those that came before it with the same names."""
        wanted = {index for index, change in enumerate(self._pending) if any(one[0] is directory for one in change)}
        for index in range(len(self._pending) - 1, -1, -1):
            if any(later > index and self._share_name(index, later) for later in wanted):
                wanted.add(index)
        for index in sorted(wanted):
            for where, name, node in self._pending[index]:
                _set(where.durable, name, node)
        self._pending = [change for index, change in enumerate(self._pending) if index not in wanted]

    def _share_name(self, earlier: int, later: int) -> bool:
        return any(
            one[0] is other[0] and one[1] == other[1]
            for one in self._pending[earlier]
            for other in self._pending[later]
        )

    def crash(self, draw: Draw) -> Image:
        """What is found after a crash at this moment."""
        share = draw.share()
        names: dict[Directory, dict[str, Node]] = {}
        left_out: list[int] = []
        for index, change in enumerate(self._pending):
            if draw.random.random() >= share or any(self._share_name(earlier, index) for earlier in left_out):
                left_out.append(index)
                continue
            for directory, name, node in change:
                _set(names.setdefault(directory, dict(directory.durable)), name, node)
        image: Image = {}
        self._walk(self._root, "", names, draw, image)
        return image

    def _walk(
        self, directory: Directory, path: str, names: dict[Directory, dict[str, Node]], draw: Draw, image: Image
    ) -> None:
        for name, node in names.get(directory, directory.durable).items():
            below = f"{path}/{name}" if path else name
            if isinstance(node, Directory):
                image[below] = None
                self._walk(node, below, names, draw, image)
            else:
                image[below] = node.after_crash(draw)


def _set(names: dict[str, Node], name: str, node: Node | None) -> None:
    if node is None:
        names.pop(name, None)
    else:
        names[name] = node
