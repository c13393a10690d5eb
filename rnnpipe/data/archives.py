"""Unpacking what strangers serve: gzip and zip, bounded by the size that the IDX header states.

IDX is MNIST's format: two zero bytes, the element type, the number of dimensions, each dimension as a
big-endian 32-bit integer, then the elements (Y. LeCun, C. Cortes, C. J. C. Burges, “The MNIST database”).
"""

import errno
import gzip
import hashlib
import math
import shutil
import zipfile
import zlib
from pathlib import Path

from rnnpipe.data.download import SourceError
from rnnpipe.files import CHUNK_BYTES

IDX_UNSIGNED_BYTE = 8
MAX_DECODED_BYTES = 512 << 20
ENCRYPTED = 1  # among a zip member's flags
COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def idx_length(head: bytes) -> int:
    """Return the bytes of an IDX file of unsigned bytes, header included; SourceError if `head` begins none."""
    if len(head) < 4 or head[:3] != bytes((0, 0, IDX_UNSIGNED_BYTE)) or head[3] not in (1, 3):
        raise SourceError(f"not an IDX file of images or labels (begins with {head[:4]!r})")
    header_bytes = 4 + 4 * head[3]
    shape = [int.from_bytes(head[start : start + 4], "big") for start in range(4, header_bytes, 4)]
    return header_bytes + math.prod(shape)


def gunzip_idx(archive: Path, target: Path) -> str:
    """Unpack a gzipped IDX file and return the SHA-256 (hex) of its content.

    SourceError for anything else than one whole gzip file of the length its IDX header states.
    """
    try:
        return _gunzip_idx(archive, target)
    except EOFError:
        raise SourceError("truncated gzip file") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise SourceError(f"{_describe(archive)}: {error}") from None


def _gunzip_idx(archive: Path, target: Path) -> str:
    digest, length = hashlib.sha256(), 0
    with gzip.open(archive, "rb") as source, target.open("wb") as file:
        chunk = source.read(CHUNK_BYTES)
        stated = idx_length(chunk)
        if stated > MAX_DECODED_BYTES:
            raise SourceError(f"its header states {stated:,} bytes, more than any dataset here has")
        while chunk and length <= stated:
            length += len(chunk)
            digest.update(chunk)
            file.write(chunk)
            chunk = source.read(CHUNK_BYTES)
    if length != stated:
        raise SourceError(f"unpacks to {length:,} bytes or more, where its header states {stated:,}")
    return digest.hexdigest()


def _describe(archive: Path) -> str:
    with archive.open("rb") as file:
        head = file.read(1024).lstrip().lower()
    if head.startswith((b"<!doctype html", b"<html")):
        return "an HTML page, not the file"
    return "damaged gzip file" if head.startswith(b"\x1f\x8b") else "not a gzip file"


def extract_member(archive: Path, name: str, target: Path) -> None:
    """Copy the member called `name`, in whatever folder of the zip file it is; SourceError if it can't be had."""
    try:
        with zipfile.ZipFile(archive) as source:
            members = [item for item in source.infolist() if Path(item.filename).name == name]
            if not members or members[0].file_size > MAX_DECODED_BYTES:
                raise SourceError(f"no {name} of a sensible size in it")
            if members[0].flag_bits & ENCRYPTED or members[0].compress_type not in COMPRESSIONS:
                raise SourceError(f"{name} in it is encrypted, or compressed in an unusual way")
            with source.open(members[0]) as member, target.open("wb") as file:
                shutil.copyfileobj(member, file, CHUNK_BYTES)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError) as error:
        raise SourceError(f"damaged zip file: {error}") from None
    except OSError as error:
        if error.errno != errno.EINVAL:  # such as a full disk
            raise
        raise SourceError("damaged zip file: it points to places outside of it") from None
