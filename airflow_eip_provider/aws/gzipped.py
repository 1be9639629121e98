"""Reads gzip text files. Log files from AWS may be truncated, damaged, empty, or plain text."""

from __future__ import annotations

import codecs
import contextlib
import zlib
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAGIC = b"\x1f\x8b"
_GZIP_FORMAT = 16 + zlib.MAX_WBITS  # makes zlib expect the header and checksum of gzip
# The state of the decompressor is copied before each chunk, to read a damaged chunk byte by byte.
_CHUNK_BYTES = 64 * 1024


class GzipText:
    """
    The lines of a gzip or plain text file.

    Several gzip members make one text. A byte order mark, and carriage returns at the ends of lines, are removed.

    :param body: read once, in chunks.
    """

    def __init__(self, body: IO[bytes]) -> None:
        self._body = body
        self.problem: str | None = None
        """Why the rest of the file could not be read; set after the lines have been read."""
        self.cut_line: str | None = None
        """The incomplete last line of a damaged file, which is not one of the lines."""

    def lines(self) -> Iterator[str]:
        """Yield the complete lines."""
        decoder = codecs.getincrementaldecoder("utf-8-sig")(errors="replace")
        rest = ""
        for content in self._decompressed():
            *complete, rest = (rest + decoder.decode(content)).split("\n")
            yield from (line.removesuffix("\r") for line in complete)
        rest = (rest + decoder.decode(b"", final=True)).removesuffix("\r")
        if self.problem is not None:
            self.cut_line = rest or None
        elif rest:
            yield rest

    def _decompressed(self) -> Iterator[bytes]:
        decompressor = None
        pending = self._body.read(_CHUNK_BYTES)
        if len(pending) > 1 and not pending.startswith(_MAGIC):
            while pending:
                yield pending
                pending = self._body.read(_CHUNK_BYTES)
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
                # The next member; gzip allows zeros as padding after a member.
                pending = decompressor.unused_data.lstrip(b"\0")
                decompressor = None
            pending = pending or self._body.read(_CHUNK_BYTES)
        if decompressor is not None:
            yield decompressor.flush()
            self.problem = "it is truncated: the end of the gzip data is missing"


def _readable_part(decompressor: zlib._Decompress, damaged: bytes) -> bytes:
    """Decompress up to the first damaged byte."""
    content = bytearray()
    with contextlib.suppress(zlib.error):
        for position in range(len(damaged)):
            content += decompressor.decompress(damaged[position : position + 1])
    return bytes(content)
