"""Images of any format and size become grey arrays; whatever can't is named."""

import numpy as np
import pytest
from PIL import Image

from rnnpipe.catalogue import DATASETS
from rnnpipe.config.data import DataConfig
from rnnpipe.data.decoding import decode_image
from rnnpipe.data.folder import SUFFIXES, folder_digest, list_images, load_folder
from rnnpipe.data.growing import write_lazily
from rnnpipe.data.stages import build_dataset
from rnnpipe.errors import DataError


def config_of(root, **fields):
    return DataConfig(name="folder", folder=str(root), **fields)


def load(root, tmp_path, **fields):
    """Return a folder's dataset, and its images as they are written."""
    raw = load_folder(DATASETS["folder"], config_of(root, **fields), tmp_path / "downloads")
    images, target = raw.train_images_NHW, tmp_path / "images.npy"
    target.unlink(missing_ok=True)
    write_lazily(target, images, np.arange(images.shape[0]), lambda sentence: None)
    return raw, np.load(target, allow_pickle=False)


def blocks(size=(40, 20)):
    """Return a grey image whose left half is dark and whose right half is bright."""
    pixels = np.full((size[1], size[0]), 40, dtype=np.uint8)
    pixels[:, size[0] // 2 :] = 200
    return Image.fromarray(pixels)


def check_blocks(pixels):
    assert abs(int(pixels[:, :4].mean()) - 40) < 8
    assert abs(int(pixels[:, -4:].mean()) - 200) < 8


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_every_format_is_read(suffix, tmp_path):
    path = tmp_path / f"image{suffix.upper()}"
    blocks().save(path)
    pixels = decode_image(path, (28, 30))
    assert (pixels.shape, pixels.dtype) == ((28, 30), np.uint8)
    check_blocks(pixels)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "I;16"])
def test_every_mode_becomes_grey(mode, tmp_path):
    if mode == "I;16":
        image = Image.fromarray(np.asarray(blocks()).astype(np.uint16) * 257)
    else:
        image = blocks().convert("RGB").convert(mode)
    path = tmp_path / ("image.tif" if mode == "CMYK" else "image.png")
    image.save(path)
    pixels = decode_image(path, (8, 16))
    if mode == "1":
        assert pixels[:, :4].mean() < pixels[:, -4:].mean()
    else:
        check_blocks(pixels)


@pytest.mark.parametrize("mode", ["L", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_every_mode_becomes_red_green_and_blue(mode, tmp_path):
    path, colour = tmp_path / ("image.tif" if mode == "CMYK" else "image.png"), (200, 100, 40)
    if mode == "I;16":
        Image.fromarray(np.full((20, 300), 100 * 257, np.uint16)).save(path)
        colour = (100, 100, 100)
    else:
        Image.new("RGB", (300, 20), colour).convert(mode).save(path)
    pixels = decode_image(path, (8, 16), "rgb")
    assert (pixels.shape, pixels.dtype) == ((8, 16, 3), np.uint8)
    expected = (123, 123, 123) if mode == "L" else colour
    assert np.abs(pixels.astype(int) - expected).max() < (30 if mode == "P" else 4)


def test_transparency_lies_on_white(tmp_path):
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert (decode_image(tmp_path / "clear.png", (4, 4)) == 255).all()
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, 10, 10, 10])
    palette.save(tmp_path / "palette.png", transparency=bytes((255, 0)))
    assert (decode_image(tmp_path / "palette.png", (4, 4)) == 255).all()


def test_the_exif_orientation_is_honoured(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3  # turned by 180 degrees
    blocks().rotate(180).save(tmp_path / "turned.png", exif=exif)
    check_blocks(decode_image(tmp_path / "turned.png", (8, 16)))


def test_a_folder_becomes_a_dataset(make_folder, tmp_path):
    root = make_folder({"dog": 3, "cat": {"b.PNG": blocks(), "a.jpg": blocks((5, 90))}, ".git": 1})
    (root / "README.txt").write_text("not a class")
    (root / "cat" / "notes.txt").write_text("not an image")
    (root / "cat" / ".hidden.png").write_text("not an image")
    raw, images_NHW = load(root, tmp_path, image_size=(16, 12))
    assert raw.classes == ("cat", "dog")
    assert raw.train_labels_N.tolist() == [0, 0, 1, 1, 1]
    assert raw.train_images_NHW.shape == images_NHW.shape == (5, 16, 12)
    np.testing.assert_array_equal(images_NHW[1], decode_image(root / "cat" / "b.PNG", (16, 12)))
    assert not (tmp_path / "downloads").exists()
    assert load(root, tmp_path)[1].shape == (5, 28, 28)
    coloured = load(root, tmp_path, colour="rgb")[1]
    assert coloured.shape == (5, 28, 28, 3)
    np.testing.assert_array_equal(coloured[1], decode_image(root / "cat" / "b.PNG", (28, 28), "rgb"))


def test_the_digest_is_of_names_and_contents_alone(make_folder, tmp_path):
    root = make_folder({"a": 2, "b": 2})
    first = folder_digest(config_of(root))
    moved = root.rename(tmp_path / "elsewhere")
    assert folder_digest(config_of(moved)) == first
    blocks().save(moved / "a" / "0.png")
    second = folder_digest(config_of(moved))
    (moved / "a" / "0.png").rename(moved / "a" / "9.png")
    assert len({first, second, folder_digest(config_of(moved))}) == 3


def change_nothing(root):
    pass


def link_out(root):
    outside = root.parent / "outside.png"
    blocks().save(outside)
    (root / "a" / "link.png").symlink_to(outside)


def link_class_out(root):
    (root.parent / "class").mkdir()
    (root / "c").symlink_to(root.parent / "class")


LAYOUTS = {
    "one class": ({"a": 2}, change_nothing, "1 sub-folder"),
    "no class": ({"a": 2}, lambda root: (root / "a").rename(root / ".a"), "0 sub-folder"),
    "missing": ({"a": 2}, lambda root: root.rename(root.parent / "x"), "pictures: can't be read"),
    "empty class": ({"a": 2, "b": 0}, change_nothing, "/b: no images"),
    "nested": ({"train": 0, "test": 1}, lambda root: (root / "train" / "a").mkdir(), "folder inside the class"),
    "link out": ({"a": 2, "b": 2}, link_out, "link.png: a link that leads out"),
    "class link out": ({"a": 2, "b": 2}, link_class_out, "/c: a link that leads out"),
    "dangling": ({"a": 2, "b": 2}, lambda root: (root / "a/l.png").symlink_to(root / "none"), "neither"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_that_does_not_fit_is_named(layout, make_folder):
    classes, change, words = LAYOUTS[layout]
    root = make_folder(classes)
    change(root)
    with pytest.raises(DataError, match=words) as caught:
        list_images(config_of(root))
    assert caught.value.fix


def truncate(path):
    path.write_bytes(path.read_bytes()[:-30])


DAMAGES = {
    "truncated png": ("x.png", truncate),
    "truncated jpg": ("x.jpg", truncate),
    "truncated gif": ("x.gif", truncate),
    "empty": ("x.png", lambda path: path.write_bytes(b"")),
    "text": ("x.png", lambda path: path.write_text("hello")),
    "float pixels": ("x.tif", lambda path: Image.new("F", (4, 4)).save(path)),
    "32-bit pixels": ("x.tif", lambda path: Image.new("I", (4, 4), 70_000).save(path)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_image_that_cannot_be_read_is_named(damage, make_folder, tmp_path):
    name, change = DAMAGES[damage]
    random = np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)
    root = make_folder({"a": 2, "b": {name: Image.fromarray(random)}})
    change(root / "b" / name)
    with pytest.raises(DataError, match=f"b/{name}: not an image"):
        load(root, tmp_path)


def test_images_that_cannot_be_read_are_named_whichever_part_they_fall_into(make_folder, tmp_path):
    root = make_folder({"a": 10, "b": 10})
    for path in (root / "b").iterdir():
        path.write_text("hello")
    with pytest.raises(DataError) as caught:
        build_dataset(config_of(root), tmp_path / "downloads", tmp_path)
    assert all(f"b/{path.name}: not an image" in caught.value.message for path in (root / "b").iterdir())


def test_a_decompression_bomb_is_refused(make_folder, tmp_path, monkeypatch):
    root = make_folder({"a": 2, "b": {"bomb.png": blocks((200, 100))}})
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 15_000)
    with pytest.raises(DataError, match=r"bomb\.png.*bomb"):
        load(root, tmp_path)
