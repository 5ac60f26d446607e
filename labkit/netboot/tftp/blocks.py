"""Files cut into ready DATA packets, made once and shared by the transfers that send them.

A chunk of a file at a time, in a cache of bounded size: thirty blades that load one image in step cost one reading, and
an image of any size costs no more memory than a small one.
"""

from __future__ import annotations

import os
import stat
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from pathlib import Path

from labkit.netboot.tftp import PAIR, Opcode
from labkit.netboot.tftp.session import Chunk

CHUNK_B = 128 << 10
CACHE_B = 64 << 20


class PacketCache:
    """Chunks of ready packets, the least recently used dropped above ``limit_b``. For one thread."""

    def __init__(self, limit_b: int = CACHE_B) -> None:
        self._limit_b, self.held_b = limit_b, 0
        self._chunks: OrderedDict[Hashable, Chunk] = OrderedDict()

    def get(self, key: Hashable) -> Chunk | None:
        """A chunk, which becomes the most recently used."""
        chunk = self._chunks.get(key)
        if chunk is not None:
            self._chunks.move_to_end(key)
        return chunk

    def put(self, key: Hashable, chunk: Chunk) -> None:
        """Keep a chunk."""
        self._chunks[key] = chunk
        self.held_b += chunk.held_b
        while self.held_b > self._limit_b and len(self._chunks) > 1:
            _, dropped = self._chunks.popitem(last=False)
            self.held_b -= dropped.held_b


def _cut(data: bytes, first: int, count: int, blksize_b: int) -> Chunk:
    """DATA packets of ``count`` blocks from block ``first`` on; on the wire 0 follows 65,535."""
    packets = tuple(
        PAIR.pack(Opcode.DATA, (first + index) & 0xFFFF) + data[index * blksize_b : (index + 1) * blksize_b]
        for index in range(count)
    )
    return Chunk(first, packets, tuple(PAIR.pack(Opcode.ACK, (first + index) & 0xFFFF) for index in range(count)))


class ContentBlocks:
    """The packets of bytes in memory."""

    def __init__(self, content: bytes, blksize_b: int) -> None:
        self.size_b = len(content)
        self._chunk = _cut(content, 1, self.size_b // blksize_b + 1, blksize_b)

    def chunk(self, block: int) -> Chunk:
        """See `labkit.netboot.tftp.session.Blocks`."""
        return self._chunk

    def packets(self, first: int, count: int) -> Sequence[bytes]:
        """See `labkit.netboot.tftp.session.Blocks`."""
        return self._chunk.packets[first - 1 : first - 1 + count]

    def close(self) -> None:
        """Nothing is held open."""


class FileBlocks:
    """The packets of a file on disk. Whoever replaces the file by renaming does not disturb a transfer that has begun.

    Raises OSError when the file cannot be opened or is not a regular one.
    """

    def __init__(self, path: Path, cache: PacketCache) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        status = os.fstat(self._fd)
        if not stat.S_ISREG(status.st_mode):
            os.close(self._fd)
            raise OSError(f"{path.name} is not a regular file")
        os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        os.posix_fadvise(self._fd, 0, 8 * CHUNK_B, os.POSIX_FADV_WILLNEED)
        self.size_b = status.st_size
        self._identity = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
        self._cache = cache
        self.cut(512)

    def cut(self, blksize_b: int) -> None:
        """Set the block size, before the first packet is asked for."""
        self._blksize_b = blksize_b
        self._per_chunk = max(CHUNK_B // blksize_b, 1)
        self._last = self.size_b // blksize_b + 1
        self._chunk = Chunk(1, (), ())

    def chunk(self, block: int) -> Chunk:
        """See `labkit.netboot.tftp.session.Blocks`. Raises OSError when the file cannot be read or became shorter."""
        if not 0 <= block - self._chunk.first < len(self._chunk.packets):
            self._load((block - 1) // self._per_chunk)
        return self._chunk

    def packets(self, first: int, count: int) -> Sequence[bytes]:
        """See `labkit.netboot.tftp.session.Blocks`. Raises OSError as `chunk`."""
        at = first - self._chunk.first
        if at < 0 or at + count > len(self._chunk.packets):
            return self._gather(first, count)
        return self._chunk.packets[at : at + count]

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def _gather(self, first: int, count: int) -> Sequence[bytes]:
        """Packets that are not all in the chunk at hand."""
        packets: list[bytes] = []
        end = min(first + count, self._last + 1)
        while first + len(packets) < end:
            block = first + len(packets)
            chunk = self.chunk(block)
            packets += chunk.packets[block - chunk.first : end - chunk.first]
        return packets

    def _load(self, index: int) -> None:
        """Make a chunk the one at hand, from the cache or from the file."""
        first = index * self._per_chunk + 1
        key = (self._identity, self._blksize_b, index)
        chunk = self._cache.get(key)
        if chunk is None:
            count = min(self._per_chunk, self._last - first + 1)
            wanted_b = min(count * self._blksize_b, self.size_b - (first - 1) * self._blksize_b)
            data = os.pread(self._fd, wanted_b, (first - 1) * self._blksize_b)
            if len(data) != wanted_b:
                raise OSError("it became shorter while it was sent")
            chunk = _cut(data, first, count, self._blksize_b)
            self._cache.put(key, chunk)
        self._chunk = chunk
