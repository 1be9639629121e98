"""Text that should be gzip, as far as it can be read: AWS's log files may be cut, damaged, empty, or plain text."""

from __future__ import annotations

import codecs
import zlib
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAGIC = b"\x1f\x8b"
_GZIP_FORMAT = 16 + zlib.MAX_WBITS  # zlib's own way to ask for gzip's header and checksum
# Before each piece the state of the decompressor is copied, to read a damaged piece byte by byte.
_PIECE_BYTES = 64 * 1024


class GzipText:
    """
    The lines of a file that should be gzip.

    Several gzip members are one text, and what does not begin like gzip is taken as it is. A byte order mark and
    carriage returns at the ends of lines are dropped.

    :param body: read once, in pieces.
    """

    def __init__(self, body: IO[bytes]) -> None:
        self._body = body
        self.problem: str | None = None
        """Why nothing more could be read; known when the lines have been read."""
        self.cut_line: str | None = None
        """What is left of the line in which a damaged file ends; it is none of the lines."""

    def lines(self) -> Iterator[str]:
        """Yield the whole lines, the last one with or without an end of line."""
        decoder = codecs.getincrementaldecoder("utf-8-sig")(errors="replace")
        rest = ""
        for content in self._decompressed():
            *whole, rest = (rest + decoder.decode(content)).split("\n")
            yield from (line.removesuffix("\r") for line in whole)
        rest = (rest + decoder.decode(b"", final=True)).removesuffix("\r")
        if self.problem is not None:
            self.cut_line = rest or None
        elif rest:
            yield rest

    def _decompressed(self) -> Iterator[bytes]:
        decompressor = None
        pending = self._body.read(_PIECE_BYTES)
        if len(pending) > 1 and not pending.startswith(_MAGIC):
            while pending:
                yield pending
                pending = self._body.read(_PIECE_BYTES)
            return
        while pending:
            decompressor = decompressor or zlib.decompressobj(_GZIP_FORMAT)
            before = decompressor.copy()
            try:
                yield decompressor.decompress(pending)
            except zlib.error as error:
                yield _readable_part(before, pending)
                self.problem = f"it is damaged: {error}"
                return
            pending = b""
            if decompressor.eof:
                # The next member; gzip allows zeros after a member, which fill up a block.
                pending = decompressor.unused_data.lstrip(b"\0")
                decompressor = None
            pending = pending or self._body.read(_PIECE_BYTES)
        if decompressor is not None:
            yield decompressor.flush()
            self.problem = "it is cut: the end of the gzip data is missing"


def _readable_part(decompressor: zlib._Decompress, damaged: bytes) -> bytes:
    """Return what can be decompressed before the first byte that cannot."""
    found = bytearray()
    try:
        for position in range(len(damaged)):
            found += decompressor.decompress(damaged[position : position + 1])
    except zlib.error:
        pass
    return bytes(found)
