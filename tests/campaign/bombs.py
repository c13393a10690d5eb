"""Hostile files that run nothing but cost: time, memory, or the reader's nerves."""

import gzip
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hostile_files import Case, put, recorded, save_good_model
from PIL import Image

LAUGHS = "\n".join(["a0: &a0 [ha, ha]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30))])
MERGED = "\n".join(
    ["a0: &a0 {ha: 1}", *(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 30))]
)
DEEP = "[" * 200_000


def tensors(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    """Return a safetensors file of any header; `length` overrides the header's true length."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(start: int, end: int, shape: list[int], dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


CONFIGS: dict[str, Callable[[Path], str]] = {
    "YAML tag that calls": lambda canary: f"a: !!python/object/apply:pathlib.Path.touch [{canary}]",
    "YAML tag that calls os.system": lambda canary: f"a: !!python/object/apply:os.system ['touch {canary}']",
    "YAML tag of a new object": lambda canary: f"a: !!python/object/new:os.system ['touch {canary}']",
    "YAML tag of a name": lambda canary: "a: !!python/name:os.system",
    "YAML tag of a module": lambda canary: "a: !!python/module:antigravity",
    "YAML aliases that grow": lambda canary: LAUGHS,
    "YAML merges that grow": lambda canary: MERGED,
    "YAML alias of itself": lambda canary: "a: &a {b: *a}",
    "YAML nested lists": lambda canary: "a: " + "[" * 30_000,
    "YAML nested mappings": lambda canary: "a: " + "{a: " * 15_000,
    "YAML of 64 KiB of keys": lambda canary: "\n".join(f"k{n}: 1" for n in range(6_000)),
    "YAML of 64 KiB of variants": lambda canary: f"variants: [{'{}, ' * 14_000}]",
    "YAML number to the base 60": lambda canary: f"a: 1{':59' * 20_000}",
    "YAML number of 60,000 digits": lambda canary: f"a: {'9' * 60_000}",
    "YAML of 1 MiB": lambda canary: "a: b\n" + "#" * (1 << 20),
}
WEIGHTS: dict[str, Callable[[], bytes]] = {
    "header of 2^63 bytes": lambda: tensors({}, length=1 << 63),
    "header beyond the file": lambda: tensors({}, length=1000),
    "header of 99 MB": lambda: tensors(b"{" + b" " * 99_000_000 + b"}"),
    "200,000 empty tensors": lambda: tensors(b"{%s}" % b",".join(
        b'"%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}' % n for n in range(200_000))),
    "300,000 notes": lambda: tensors({"__metadata__": {str(n): "x" for n in range(300_000)}}),
    "overlapping tensors": lambda: tensors({"a": tensor(0, 8, [2]), "b": tensor(4, 12, [2])}, bytes(12)),
    "one tensor twice": lambda: tensors(
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
        bytes(4)),
    "negative offsets": lambda: tensors({"a": tensor(-4, 0, [1])}, bytes(4)),
    "negative shape": lambda: tensors({"a": tensor(0, 4, [-1])}, bytes(4)),
    "offsets the wrong way round": lambda: tensors({"a": tensor(4, 0, [1])}, bytes(4)),
    "shape of 2^64 bytes": lambda: tensors({"a": tensor(0, 4, [1 << 62, 4])}, bytes(4)),
    "data beyond the file": lambda: tensors({"a": tensor(0, 1 << 40, [1 << 38])}, bytes(4)),
    "nested header": lambda: tensors(b'{"a":' + DEEP.encode()),
    "header that is no text": lambda: tensors(b"\xff" * 100),
    "unknown type": lambda: tensors({"a": tensor(0, 4, [1], "PICKLE")}, bytes(4)),
}  # fmt: skip
SPECS: dict[str, Callable[[dict[str, Any]], str]] = {
    "nested JSON": lambda good: DEEP,
    "300,000 wrong classes": lambda good: json.dumps({**good, "classes": [1] * 300_000}),
    "60,000 unknown keys": lambda good: json.dumps({**good, **{f"k{n}": 1 for n in range(60_000)}}),
    "a net of 8,192 x 16": lambda good: json.dumps(
        {**good, "variant": {"name": "lstm", "hidden_size": 8192, "num_layers": 16, "bidirectional": True}}),
    "number of 100,000 digits": lambda good: json.dumps(good).replace("0.5", "9" * 100_000),
    "infinite deviation": lambda good: json.dumps(good).replace("0.5", "Infinity"),
    "model.json of over 1 MiB": lambda good: json.dumps(good) + " " * (1 << 20),
}  # fmt: skip


def array_file(header: str) -> bytes:
    text = header.encode()
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", len(text)) + text


ARRAYS = {
    "array of 10^12 images": array_file("{'descr':'|u1','fortran_order':False,'shape':(10**12,8,8),}".replace(
        "10**12", str(10**12))),
    "array of 10^12 labels": array_file(f"{{'descr':'<i8','fortran_order':False,'shape':({10**12},),}}"),
    "array of 2^31 labels": array_file(f"{{'descr':'<i8','fortran_order':False,'shape':({2**31},),}}"),
    "array with a nested header": array_file("(" * 9_000),
    "array with a header of 4 GiB": b"\x93NUMPY\x02\x00\xff\xff\xff\xff{",
    "array of structures with objects": array_file("{'descr':[('a','|O')],'fortran_order':False,'shape':(1,),}"),
    "array of negative shape": array_file("{'descr':'<i8','fortran_order':False,'shape':(-1,),}"),
}  # fmt: skip


def png(width: int, height: int, *, color: int = 6, depth: int = 8, interlaced: bool = False) -> bytes:
    """Return a black PNG whose pixels compress a thousandfold."""
    samples = {0: 1, 2: 3, 4: 2, 6: 4}[color] * depth
    rows = zlib.compressobj(1)
    passes = [(8, 8), (8, 8), (4, 8), (4, 4), (2, 4), (2, 2), (1, 2)] if interlaced else [(1, 1)]
    data = b""
    for across, down in passes:
        row = bytes(1 + (width // across * samples + 7) // 8)
        data += b"".join(rows.compress(row) for _ in range(height // down))
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlaced)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data + rows.flush()) + chunk(b"IEND", b"")
    )


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def saved(mode: str, size: tuple[int, int], suffix: str, **options: Any) -> Callable[[Path], None]:
    """Return what saves a picture in a format of Pillow's, under the name of a PNG."""

    def save(path: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = 5  # turned and mirrored: a copy more in memory
        Image.new(mode, size).save(path, suffix, exif=exif, **options)

    return save


def written(content: Callable[[], bytes], size: int = 0) -> Callable[[Path], None]:
    """Return what writes a file, with a hole behind its content up to `size`."""

    def write(path: Path) -> None:
        path.write_bytes(content())
        if size:
            os.truncate(path, size)

    return write


WEBP_HEAD = b"RIFF\xff\xff\xff\x7fWEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\xfe\x3f\0" * 2
PICTURES: dict[str, Callable[[Path], None]] = {
    "PNG of 46,000 x 46,000": written(lambda: png(8, 8).replace(
        png(8, 8)[8:33], chunk(b"IHDR", struct.pack(">IIBBBBB", 46_000, 46_000, 8, 6, 0, 0, 0)))),
    "PNG of 7,000 x 7,000, interlaced": written(lambda: png(7000, 7000, interlaced=True)),
    "PNG of 7,000 x 7,000, 16 bits": written(lambda: png(7000, 7000, depth=16)),
    "PNG of 7,000 x 7,000, 16 bits grey": written(lambda: png(7000, 7000, color=0, depth=16)),
    "PNG of 8,000,000 x 1": written(lambda: png(8_000_000, 1)),
    "PNG of 65,535 x 700": written(lambda: png(65_535, 700)),
    "PNG that promises 2^31 x 2^31": written(lambda: png(8, 8).replace(
        png(8, 8)[8:33], chunk(b"IHDR", struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 6, 0, 0, 0)))),
    "PNG with a text of 128 MiB": written(lambda: png(8, 8)[:33] + chunk(
        b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 27), 1)) + png(8, 8)[33:]),
    "JPEG of 7,000 x 7,000, progressive, turned": saved("RGB", (7000, 7000), "jpeg", progressive=True),
    "TIFF of 7,000 x 7,000, turned": saved("RGBA", (7000, 7000), "tiff", compression="tiff_lzw"),
    "WebP of 4,800 x 4,800, turned": saved("RGBA", (4800, 4800), "webp", lossless=True, method=0),
    "WebP of 16,383 x 16,383": written(lambda: WEBP_HEAD),
    "WebP of 5 GiB": written(lambda: WEBP_HEAD, 5 << 30),
    "GIF of 65,535 x 65,535": written(lambda: b"GIF89a\xff\xff\xff\xff\x80\0\0\0\0\0\xff\xff\xff,"
                                      b"\0\0\0\0\xff\xff\xff\xff\0\x02\x02L\x01\0;"),
    "BMP of 2^31 x 2^31": written(lambda: b"BM" + struct.pack(
        "<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 2**31 - 1, 2**31 - 1, 1, 32, 0, 0, 0, 0, 0, 0)),
    "PPM of numbers": written(lambda: b"P3 4000 4000 255\n" + b"1 " * 12_000_000),
    "PPM of numbers, smaller": written(lambda: b"P3 700 700 255\n" + b"1 " * 1_470_000),
    "PostScript": written(lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(c) (w) file\n"),
    "XML of entities": written(lambda: b'<!DOCTYPE x [<!ENTITY a "aaaa">]><svg>&a;</svg>'),
    "TIFF whose list is itself": written(lambda: b"II*\0\x08\0\0\0\0\0\x08\0\0\0"),
}  # fmt: skip


def zip_of(name: str, content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            archive.writestr(name, content)

    return write


def idx(header: bytes, zeros: int) -> Callable[[Path], None]:
    return written(lambda: gzip.compress(header + bytes(zeros), compresslevel=1))


ARCHIVES: dict[str, tuple[str, Callable[[Path], None]]] = {
    "gzip of more than it states": ("gzip", idx(b"\0\0\x08\x01\0\0\0\x09", 1 << 26)),
    "gzip that states 4 GiB": ("gzip", idx(b"\0\0\x08\x01\xff\xff\xff\xff", 1 << 20)),
    "gzip that states 2^96 bytes": ("gzip", idx(b"\0\0\x08\x03" + b"\xff" * 12, 1 << 20)),
    "zip of 513 MiB": ("zip", zip_of("a/member", bytes(513 << 20))),
    "zip with a path": ("zip", zip_of("../../../member", b"x")),
}


def bomb_cases() -> Iterator[Case]:
    """Yield every hostile file of this module."""
    for name, text in CONFIGS.items():
        yield Case(
            name,
            "config",
            lambda folder, canary, text=text: put("config", folder, "config.yaml", text(canary).encode()),
        )
    for name, content in WEIGHTS.items():
        yield Case(
            f"safetensors: {name}",
            "model",
            lambda folder, canary, content=content: put("model", folder, "weights.safetensors", content()),
        )
    yield Case("safetensors of 8 GiB", "model", sparse_weights)
    for name, change in SPECS.items():
        yield Case(
            name,
            "model",
            lambda folder, canary, change=change: put(
                "model", folder, "model.json", change(good_spec(folder)).encode()
            ),
        )
    for name, content in ARRAYS.items():
        file = "train_x.npy" if "images" in name else "train_y.npy"
        yield Case(
            name, "split", lambda folder, canary, file=file, content=content: put("split", folder, file, content)
        )
    for reader, file in (
        ("store", "manifest.json"),
        ("checkpoint", "json"),
        ("downloads", "train-images-idx3-ubyte.json"),
    ):
        yield Case(
            f"nested JSON as {file} ({reader})",
            reader,
            lambda folder, canary, reader=reader, file=file: put(reader, folder, file, DEEP.encode()),
        )
    for name, write in PICTURES.items():
        yield Case(name, "image", lambda folder, canary, write=write: write(folder / "image.png"))
    for name, (reader, write) in ARCHIVES.items():
        yield Case(name, reader, lambda folder, canary, write=write: write(folder / "archive"))
    yield Case("IDX file of no dimensions", "downloads", recorded(lambda canary: b"\0\0\x08\0" + bytes(8)))
    yield Case("IDX file of 2^96 bytes", "downloads", recorded(lambda canary: b"\0\0\x08\x03" + b"\xff" * 12))
    yield Case("empty IDX file", "downloads", recorded(lambda canary: b""))


def good_spec(folder: Path) -> dict[str, Any]:
    save_good_model(folder)
    spec: dict[str, Any] = json.loads((folder / "model.json").read_text())
    return spec


def sparse_weights(folder: Path, canary: Path) -> None:
    size = 8 << 30
    content = tensors({"head.bias": tensor(0, size, [size // 4])})
    put("model", folder, "weights.safetensors", content)
    os.truncate(folder / "weights.safetensors", len(content) + size)
