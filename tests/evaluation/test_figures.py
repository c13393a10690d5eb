import struct

import numpy as np
import pytest

from rnnpipe.catalogue import VARIANTS
from rnnpipe.evaluation.belief import Beliefs
from rnnpipe.evaluation.changes import draw_changes
from rnnpipe.evaluation.figures import curves, pictures, scores, style
from rnnpipe.evaluation.figures.strip import belief_strip
from rnnpipe.evaluation.figures.style import shorten
from rnnpipe.evaluation.leaderboard import LeaderboardRow, TrainingSummary
from rnnpipe.evaluation.standing import Standing

HISTORY = [
    {
        "epoch": epoch,
        "train_loss": 2 / epoch,
        "validation_loss": 2.1 / epoch,
        "validation_accuracy": 1 - 0.9 / epoch,
    }
    for epoch in (1, 2, 3)
]


def image_size(content: bytes) -> tuple[int, int]:
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    return struct.unpack(">II", content[16:24])


def save_twice(draw, folder) -> bytes:
    contents = []
    for name in ("first.png", "second.png"):
        style.save_figure(draw(), folder / name)
        contents.append((folder / name).read_bytes())
    assert contents[0] == contents[1]
    assert min(image_size(contents[0])) > 200
    assert b"tEXt" not in contents[0] and b"tIME" not in contents[0]
    return contents[0]


@pytest.mark.parametrize("draw", [scores.confusion_matrix, scores.per_class_bars])
@pytest.mark.parametrize(
    "names",
    [("no", "yes"), ("costs $5_", "a^b$", "字", "x" * 200), tuple(f"class {number}" for number in range(65))],
    ids=["two", "odd names", "many"],
)
def test_reports_are_drawn_with_equal_bytes(draw, names, make_report, tmp_path):
    save_twice(lambda: draw(make_report(names)), tmp_path)


def test_a_class_without_test_images_is_drawn_with_the_widest_interval(make_report, tmp_path):
    report = make_report(("a", "b", "c"), total=2)
    assert 0 in [scores.support for scores in report.per_class]
    save_twice(lambda: scores.per_class_bars(report), tmp_path)


def test_pictures_are_drawn_in_colour_as_well(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (3, 6, 9, 3), dtype=np.uint8)
    probabilities_NK = np.full((3, 2), 0.5)
    draw = lambda: pictures.confident_mistakes(images, probabilities_NK, np.ones(3, int), ("a", "b"), 3)  # noqa: E731
    save_twice(draw, tmp_path)
    beliefs = Beliefs(np.arange(1, 7), np.full((3, 6, 2), 0.5, np.float32))
    strip = belief_strip(images, np.zeros(3, int), beliefs)
    assert strip.ndim == 3 and len(np.unique(strip.reshape(-1, 3), axis=0)) > 50


def test_learning_curves_have_a_line_a_label(tmp_path):
    histories = dict.fromkeys(VARIANTS, HISTORY)
    save_twice(lambda: curves.learning_curves(histories), tmp_path)
    loss_axes, accuracy_axes = curves.learning_curves(histories).axes
    assert [line.get_label() for line in accuracy_axes.lines] == list(VARIANTS)
    assert list(loss_axes.lines[0].get_ydata()) == [epoch["validation_loss"] for epoch in HISTORY]
    assert list(loss_axes.lines[1].get_ydata()) == [epoch["train_loss"] for epoch in HISTORY]


def test_learning_curves_without_validation_images_show_the_training_loss(tmp_path):
    history = [{"epoch": 1, "train_loss": 2.0, "validation_loss": None}, {"epoch": 2, "train_loss": 1.0}]
    save_twice(lambda: curves.learning_curves({"gru": history}), tmp_path)
    (axes,) = curves.learning_curves({"gru": history}).axes
    assert list(axes.lines[0].get_ydata()) == [2.0, 1.0]


@pytest.mark.parametrize("size", [(8, 8), (6, 12)])
@pytest.mark.parametrize("names", [("0", "1"), ("costs $5_", "字" * 30)], ids=["digits", "odd names"])
def test_what_changed_is_drawn_with_its_labels(size, names, tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    images_NHW = random.integers(0, 256, (80, *size), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images_NHW)
    labels_N = np.arange(80) % 2
    champion_N, candidate_N = labels_N.copy(), labels_N.copy()
    champion_N[:60] ^= 1  # all of these are fixed
    candidate_N[70:73] ^= 1  # and these broken
    candidate, champion = (
        Standing("1", predicted_N, labels_N, names, 1.0, 1) for predicted_N in (candidate_N, champion_N)
    )

    contents, drawn = [], {}

    def spy(images_NHW, chosen, candidate, champion, *, title, said):
        drawn[title] = chosen.tolist()
        return pictures.changed_images(images_NHW, chosen, candidate, champion, title=title, said=said)

    monkeypatch.setattr("rnnpipe.evaluation.changes.changed_images", spy)
    for _ in range(2):
        paths = draw_changes(tmp_path, tmp_path / "images.npy", candidate, champion)
        assert [path.name for path in paths] == ["fixed.png", "broken.png"]
        contents.append([path.read_bytes() for path in paths])
    assert contents[0] == contents[1]
    assert drawn == {"fixed": list(range(60)), "broken": [70, 71, 72]}

    (axes,) = pictures.changed_images(
        images_NHW, np.arange(70, 73), candidate, champion, title="broken", said="a → b"
    ).axes
    assert axes.get_title(loc="left") == "3 images broken: true class, a → b"
    first, second = (shorten(name, 8) for name in names)
    assert [text.get_text() for text in axes.texts] == [
        f"{first}\n{first} → {second}", f"{second}\n{second} → {first}", f"{first}\n{first} → {second}",
    ]  # fmt: skip
    for place, image in zip(range(70, 73), axes.images, strict=True):
        assert np.array_equal(image.get_array(), images_NHW[place])
    (axes,) = pictures.changed_images(
        images_NHW, np.arange(60), candidate, champion, title="fixed", said="a → b"
    ).axes
    assert axes.get_title(loc="left").startswith("60 images fixed (the first 50)") and len(axes.images) == 50


def test_where_nothing_changed_the_picture_says_so(tmp_path):
    labels_N = np.zeros(3, int)
    same = Standing("1", labels_N, labels_N, ("0",), 1.0, 1)
    nothing = np.array([], int)
    save_twice(
        lambda: pictures.changed_images(
            np.zeros((3, 8, 8), np.uint8), nothing, same, same, title="fixed", said="a → b"
        ),
        tmp_path,
    )


def test_the_leaderboard_shows_every_row_with_its_interval(make_report, tmp_path):
    rows = [
        LeaderboardRow.of(
            TrainingSummary(
                label=label, variant=label, seed=0, validation_accuracy=None, validation_loss=None,
                train_wall_s=1.0, train_samples_per_s=1.0,
            ),
            make_report(),
        )
        for label in VARIANTS
    ]  # fmt: skip
    save_twice(lambda: scores.leaderboard_bars(rows), tmp_path)
    (axes,) = scores.leaderboard_bars(rows).axes
    assert [text.get_text() for text in axes.get_yticklabels()] == [row.name for row in rows]
    assert axes.get_xlim()[0] <= rows[0].accuracy_low and rows[0].accuracy_high <= axes.get_xlim()[1]
