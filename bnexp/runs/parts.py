"""One part of a table: a Parquet file named by its steps and sealed against damage.

Parquet's page checksums cover the pages but not the footer, where a flipped bit can rename a column
or point at another one's pages. So a part also carries a SHA-256 of all its other bytes, in the gap
between pages and footer that the format allows; other readers of Parquet take no notice of it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bnexp.errors import UserError
from bnexp.runs.files import write_atomic

_NAME = re.compile(r"(\d{9,})-(\d{9,})\.parquet")
_DIGEST = hashlib.sha256().digest_size
_TAIL = 8  # the footer's length in 4 bytes, then "PAR1"


@dataclass(frozen=True, order=True)
class Part:
    """The rows of one table with steps ``first`` .. ``last`` at most, in ``folder``."""

    first: int
    last: int
    folder: Path

    @property
    def path(self) -> Path:
        """``<first>-<last>.parquet``, zero-padded so that names sort as steps do."""
        return self.folder / f"{self.first:09d}-{self.last:09d}.parquet"


def list_parts(folder: Path) -> list[Part]:
    """The parts in ``folder`` by step; other names, temporary ones among them, are passed over."""
    if not folder.is_dir():
        return []
    matches = (_NAME.fullmatch(path.name) for path in folder.iterdir())
    return sorted(Part(int(match[1]), int(match[2]), folder) for match in matches if match)


def write_part(path: Path, table: pa.Table) -> None:
    """Write ``table`` as ``path``, atomically."""
    sink = pa.BufferOutputStream()
    # Doubles hardly repeat, so a dictionary of them only costs; it would also merge kinds of NaN.
    repeating = [
        f.name for f in table.schema if pa.types.is_integer(f.type) or f.type == pa.string()
    ]
    pq.write_table(
        table,
        sink,
        compression="zstd",
        use_dictionary=repeating,
        write_statistics=False,
        write_page_checksum=True,
        store_schema=False,
    )
    write_atomic(path, _seal(sink.getvalue().to_pybytes()))


def read_part(path: Path) -> pa.Table:
    """The rows of ``path`` as they were written; raises what `open_part` does."""
    part = open_part(path)
    with _named(path):
        return part.read()


def open_part(path: Path) -> pq.ParquetFile:
    """The part ``path``, known to be whole, to read some of its columns or batches.

    The file's bytes are in memory for as long as it is open: tens of megabytes (`TableWriter`).

    Raises:
        UserError: the file is damaged or cannot be read; the message names it.
        FileNotFoundError: it is not there (any more).
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    with _named(path):
        if not _is_sealed(data):
            raise ValueError("seal")
        part = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        if not pa.types.is_int64(part.schema_arrow.field("step").type):
            raise ValueError("step")
        return part


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """What the block finds wrong is told of ``path``. A seal can be forged, so it may be much."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{path}: expected a table part as bnexp wrote it; the file is damaged"
        ) from error


def _seal(data: bytes) -> bytes:
    footer = _footer_start(data)
    return data[:footer] + _digest(data, footer, footer) + data[footer:]


def _is_sealed(data: bytes) -> bool:
    if len(data) < _TAIL + _DIGEST:
        return False
    footer = _footer_start(data)
    gap = footer - _DIGEST
    return gap >= 0 and data[gap:footer] == _digest(data, gap, footer)


def _footer_start(data: bytes) -> int:
    return len(data) - _TAIL - int.from_bytes(data[-_TAIL : -_TAIL + 4], "little")


def _digest(data: bytes, stop: int, start: int) -> bytes:
    view = memoryview(data)
    digest = hashlib.sha256(view[:stop])
    digest.update(view[start:])
    return digest.digest()
