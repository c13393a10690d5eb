"""What a net believes while it reads, what it bears, how far its gradients reach; and the figures of all that."""

import dataclasses
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from rnnpipe.catalogue import SEQUENCES, VARIANTS
from rnnpipe.config import SequenceConfig
from rnnpipe.data.sequences import build_transform
from rnnpipe.evaluation.belief import Beliefs, ReadImages, read_along, reading_steps, telling_places
from rnnpipe.evaluation.deploy import build_network, scale_pixels
from rnnpipe.evaluation.drawing import watched_images
from rnnpipe.evaluation.figures import pictures, style
from rnnpipe.evaluation.figures.strip import belief_strip
from rnnpipe.evaluation.insight import gradient_norms, robustness
from rnnpipe.evaluation.leaderboard import LeaderboardRow, TrainingSummary
from rnnpipe.evaluation.metrics import calibration_bins, expected_calibration_error, surest_mistakes
from rnnpipe.evaluation.order import images_of
from rnnpipe.evaluation.overview import Model, draw_overview

CPU = torch.device("cpu")
# after readings 1, 2, 3: decided at once; in the end; after the second, and wrong if the label is 0
ANSWERS = [[1, 1, 1], [0, 1, 2], [0, 2, 2]]


@pytest.fixture
def beliefs() -> Beliefs:
    probabilities_NRK = np.full((3, 3, 3), 0.1, dtype=np.float32)
    for image, answers in enumerate(ANSWERS):
        for reading, answer in enumerate(answers):
            probabilities_NRK[image, reading, answer] = 0.8
    return Beliefs(np.array([2, 4, 6]), probabilities_NRK)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [(1, (1,)), (5, (1, 2, 3, 4, 5)), (28, tuple(range(1, 29))), (784, tuple(range(28, 785, 28)))],
)
def test_a_net_is_asked_after_each_step_or_28_times(steps: int, expected: tuple[int, ...]) -> None:
    assert reading_steps(steps) == expected
    for odd in (29, 55, 100, 1001):
        found = reading_steps(odd)
        assert len(found) <= 28 and found[-1] == odd and list(found) == sorted(set(found))


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_last_belief_is_the_answer_and_each_is_that_of_the_sequence_so_far(make_spec, variant) -> None:
    spec = make_spec(variant)
    network = build_network(spec, seed=1).eval()
    x_NTI = torch.randint(0, 256, (5, 8, 8), dtype=torch.uint8)
    found = read_along(network, x_NTI, spec, CPU, batch_size=2)
    assert found.steps_R.tolist() == list(range(1, 9)) and found.probabilities_NRK.shape == (5, 8, 3)
    with torch.inference_mode():
        for reading, steps in enumerate(found.steps_R):
            expected_NK = network(scale_pixels(x_NTI[:, :steps], spec)).softmax(dim=1)
            np.testing.assert_allclose(found.probabilities_NRK[:, reading], expected_NK, atol=1e-6)


def test_an_answer_is_decided_where_it_stays(beliefs: Beliefs, tmp_path: Path) -> None:
    assert beliefs.decided_at().tolist() == [2, 6, 4]
    labels_N = np.array([1, 2, 0])
    reading = beliefs.reading(labels_N)
    assert (reading.images, reading.steps, reading.median_decision_step) == (3, (2, 4, 6), 4.0)
    assert reading.correct == (2, 1, 2)
    read = ReadImages(np.array([0, 5, 9]), labels_N, beliefs)
    read.write(tmp_path)
    again = ReadImages.read(tmp_path)
    np.testing.assert_array_equal(again.places_N, read.places_N)
    np.testing.assert_array_equal(again.beliefs.probabilities_NRK, beliefs.probabilities_NRK)
    assert telling_places(beliefs, labels_N) == [2, 1, 0]  # the mistake, then the latest decided
    assert telling_places(beliefs, labels_N, count=1) == [1]


@pytest.mark.parametrize("name", SEQUENCES)
def test_images_are_had_back_from_the_sequences_of_any_transform(make_spec, name) -> None:
    spec = make_spec().model_copy(update={"sequence": SequenceConfig(name=name, patch_size=4)})
    images_NHW = torch.randint(0, 256, (3, 8, 8), dtype=torch.uint8)
    assert torch.equal(images_of(build_transform((8, 8), spec.sequence)(images_NHW), spec), images_NHW)


def test_unchanged_images_count_as_they_are_and_changed_ones_are_changed(make_spec) -> None:
    spec = make_spec()
    x_NTI = torch.zeros(40, 8, 8, dtype=torch.uint8)
    labels_N = np.arange(40) % 3
    for place, label in enumerate(labels_N):  # a band of rows
        x_NTI[place, 2 * int(label) : 2 * int(label) + 2] = 200

    class ByBand(torch.nn.Module):
        def forward(self, x_BTI: torch.Tensor) -> torch.Tensor:
            return torch.stack([x_BTI[:, 2 * band : 2 * band + 2].sum(dim=(1, 2)) for band in range(3)], dim=1)

    found = {each.kind.partition(",")[0]: each for each in robustness(ByBand(), x_NTI, labels_N, spec, CPU)}
    assert set(found) == {"shift", "rotation", "noise", "missing rows"}
    for each in found.values():
        assert each.levels[0] == 0 and each.correct[0] == each.images == 40
    assert found["missing rows"].correct[-1] < 40 and found["rotation"].correct[-1] <= 40
    again = robustness(ByBand(), x_NTI, labels_N, spec, CPU)
    assert [each.correct for each in again] == [each.correct for each in found.values()]


@pytest.mark.parametrize("variant", ["rnn", "gru", "basic"])
def test_gradients_are_those_of_each_step(make_spec, variant) -> None:
    spec = make_spec(variant)
    network = build_network(spec, seed=0).eval()
    x_NTI, labels_N = torch.randint(0, 256, (4, 8, 8), dtype=torch.uint8), np.array([0, 1, 2, 0])
    norms = gradient_norms(network, x_NTI, labels_N, spec)
    assert len(norms) == 8 and min(norms) > 0
    x = scale_pixels(x_NTI[:1], spec).requires_grad_()
    functional.cross_entropy(network(x), torch.tensor([0])).backward()
    single = gradient_norms(network, x_NTI[:1], labels_N[:1], spec)
    np.testing.assert_allclose(single, x.grad[0].norm(dim=1), rtol=1e-5)


def test_gradients_that_don_t_fit_or_aren_t_numbers_cost_no_evaluation(make_spec) -> None:
    spec, x_NTI, labels_N = make_spec(), torch.zeros(4, 8, 8, dtype=torch.uint8), np.zeros(4, dtype=np.int64)

    class Full(torch.nn.Linear):
        def forward(self, x_BTI: torch.Tensor) -> torch.Tensor:
            raise torch.OutOfMemoryError("out of memory")

    class Endless(torch.nn.Linear):
        def forward(self, x_BTI: torch.Tensor) -> torch.Tensor:
            return self.weight.T * x_BTI.sum(dim=(1, 2))[:, None] * torch.inf

    assert gradient_norms(Full(1, 3), x_NTI, labels_N, spec) == ()
    assert gradient_norms(Endless(1, 3).eval(), x_NTI, labels_N, spec) == ()


def test_bins_of_confidence_hold_all_images() -> None:
    random = np.random.default_rng(0)
    probabilities_NK = random.dirichlet(np.ones(4), 500)
    labels_N = random.integers(0, 4, 500)
    bins = calibration_bins(probabilities_NK, labels_N)
    assert bins.images.sum() == 500 and bins.images.min() > 0
    assert bins.correct.sum() == (probabilities_NK.argmax(1) == labels_N).sum()
    gaps = np.abs(bins.correct / bins.images - bins.confidence) * bins.images / 500
    assert expected_calibration_error(probabilities_NK, labels_N) == pytest.approx(gaps.sum())
    wrong = surest_mistakes(probabilities_NK, labels_N)
    assert (probabilities_NK[wrong].argmax(1) != labels_N[wrong]).all()
    assert (np.diff(probabilities_NK[wrong].max(1)) <= 0).all()


def test_a_strip_shows_images_beliefs_decisions_and_true_classes(beliefs: Beliefs) -> None:
    images_NHW = np.full((3, 7, 5), 100, dtype=np.uint8)
    labels_N = np.array([1, 2, 0])
    picture = belief_strip(images_NHW, labels_N, beliefs)
    assert picture.dtype == np.uint8 and picture.shape[2] == 3
    side = 168 + 2 * 12  # of an image with its heat map: 120 + 12 + 3 * 12 + 2 * 12 wide
    assert picture.shape[:2] == (2 * side, 2 * side), "two in a row"
    green, orange = (0, 158, 115), (213, 94, 0)
    first, third = picture[:side, :side], picture[side:, :side]
    assert (first == green).all(axis=2).any() and not (first == orange).all(axis=2).any()
    assert (third == orange).all(axis=2).any() and not (third == green).all(axis=2).any()
    assert (picture[side:, side:] == 255).all(), "no fourth"
    height = (first[:, :120] == 100).all(axis=2).sum(axis=0)
    assert (height == 168).all(), "as high as the heat map"
    np.testing.assert_array_equal(picture, belief_strip(images_NHW, labels_N, beliefs))


def test_the_belief_picture_has_a_row_an_image_and_a_column_a_net(beliefs: Beliefs, tmp_path: Path) -> None:
    read = ReadImages(np.arange(3), np.array([1, 2, 0]), beliefs)
    watched = watched_images(np.zeros((2, 7, 5), dtype=np.uint8), {"rnn": read, "costs $5_": read}, [0, 2])
    figure = pictures.belief_picture(watched, ("a", "b$", "字"))
    titles = [axes.get_title() for axes in figure.axes]
    assert "rnn\nright: b$, 80%" in titles and "wrong: 字, 80%" in titles and titles.count("true: b$") == 1
    style.save_figure(figure, tmp_path / "belief.png")
    width, height = struct.unpack(">II", (tmp_path / "belief.png").read_bytes()[16:24])
    assert width > 500 and height > 400


def test_the_belief_picture_has_room_for_its_title_with_any_number_of_nets(beliefs: Beliefs) -> None:
    for nets in (1, 2, 3):
        image_HW = np.zeros((8, 8), np.uint8)
        watched = [pictures.Watched(image_HW, 1, {f"net {number}": beliefs.of(0) for number in range(nets)})]
        figure = pictures.belief_picture(watched, ("a", "b", "c"))
        figure.draw_without_rendering()
        title = figure._suptitle.get_window_extent()  # type: ignore[attr-defined]
        assert 0 <= title.x0 < title.x1 <= figure.bbox.x1


def test_an_overview_draws_all_models_side_by_side(beliefs: Beliefs, make_report, tmp_path: Path) -> None:
    labels_N = np.array([1, 2, 0])
    models = []
    for number, label in enumerate(("gru", "gru", "rnn")):
        report = make_report().model_copy(
            update={"reading": beliefs.reading(labels_N), "gradient_norms": (1.0, 2.0)}
        )
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "report.json").write_text(report.model_dump_json())
        if number < 2:  # the third is of before it was measured
            ReadImages(np.arange(3), labels_N, beliefs).write(folder)
        summary = TrainingSummary(
            label=label, variant=label, seed=number, validation_accuracy=0.9, validation_loss=0.3,
            train_wall_s=1.0, train_samples_per_s=100.0,
        )  # fmt: skip
        epoch = {"epoch": 1, "train_loss": 1.0, "validation_loss": 1.0, "validation_accuracy": 0.5}
        models.append(Model(LeaderboardRow.of(summary, report), folder, [epoch]))
    np.save(tmp_path / "images.npy", np.zeros((5, 7, 5), dtype=np.uint8))
    (tmp_path / "figures").mkdir()
    paths = draw_overview(tmp_path / "figures", models, tmp_path / "images.npy")
    assert {path.stem for path in paths} == {
        "leaderboard", "learning_curves", "accuracy_against_cost",
        "accuracy_while_reading", "gradient_reach", "belief",
    }  # fmt: skip
    assert all(path.stat().st_size > 1000 for path in paths)
    older = [dataclasses.replace(models[0], evaluation=tmp_path / "older")]
    (tmp_path / "older").mkdir()
    (tmp_path / "older" / "report.json").write_text(make_report().model_dump_json())
    assert len(draw_overview(tmp_path / "figures", older, tmp_path / "images.npy")) == 3
