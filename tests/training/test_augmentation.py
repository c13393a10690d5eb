"""Shifts against numpy, turns and zooms against scipy, in every transform; what is drawn; label smoothing."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from comparing import unvalidated
from scipy import ndimage
from torch import nn
from torch.nn import functional

from rnnpipe.catalogue import SEQUENCES, SequenceSpec
from rnnpipe.config import SequenceConfig
from rnnpipe.data import sequences
from rnnpipe.data.sequences import SequenceTransform, build_transform
from rnnpipe.errors import ConfigError
from rnnpipe.evaluation.deploy import build_network, scale_pixels
from rnnpipe.training import augmentation
from rnnpipe.training.augmentation import Augmentation, pixel_order, shifted, turned
from rnnpipe.training.journal import epochs_of, step_losses
from rnnpipe.training.optimization import build_optimizer, learning_rate_at, set_learning_rate
from rnnpipe.training.preflight import check_before_training
from rnnpipe.training.setting import epoch_order, mix_seed

SIZE = (6, 8)
ALL = {"shift_pixels": 2, "rotation_degrees": 20, "zoom_fraction": 0.2}
DROPOUT = {"num_layers": 2, "dropout": 0.5}


def noise(count, size=SIZE):
    return torch.from_numpy(np.random.default_rng(0).integers(1, 256, (count, *size), dtype=np.uint8))


def moved(image_HW, down, right):
    """The image so many pixels down and right, in plain numpy."""
    height, width = image_HW.shape
    answer_HW = np.zeros_like(image_HW)
    for y in range(height):
        for x in range(width):
            if 0 <= y - down < height and 0 <= x - right < width:
                answer_HW[y, x] = image_HW[y - down, x - right]
    return answer_HW


@pytest.fixture(name="make")
def make_(make_setting):
    """Return a maker of an augmentation and its transform: make("patches", (4, 8), shift_pixels=1)."""

    def make(name="rows", size=SIZE, seed=0, channels=1, **training):
        config = SequenceConfig(name=name, patch_size=2)
        transform = build_transform(size, config, channels)
        sizes = {"steps": transform.steps, "features": transform.features, "channels": channels}
        setting = make_setting(training=training, seed=seed)
        spec = setting.spec.model_copy(update={"sequence": config, "image_size": size, **sizes})
        return transform, Augmentation.of(replace(setting, spec=spec))

    return make


@pytest.mark.parametrize("size", [(6, 8), (7, 5)])
def test_every_shift_is_exact_and_lets_in_zeros(size):
    most = 3
    offsets = [(down, right) for down in range(-most, most + 1) for right in range(-most, most + 1)]
    images_BHW = noise(len(offsets), size)
    found_BHW = shifted(images_BHW, torch.tensor(offsets), most)
    assert found_BHW.dtype == torch.uint8
    pairs = zip(images_BHW.numpy(), offsets, strict=True)
    np.testing.assert_array_equal(found_BHW, np.stack([moved(image_HW, *offset) for image_HW, offset in pairs]))


@pytest.mark.parametrize("size", [(28, 28), (12, 20), (9, 6)])
def test_a_turn_is_that_of_scipy(size):
    degrees = [-45.0, -10.0, -0.5, 0.0, 3.0, 30.0]
    images_BHW = noise(len(degrees), size)
    found_BHW = turned(images_BHW, torch.tensor(degrees).deg2rad(), torch.ones(len(degrees)))
    assert found_BHW.dtype == torch.float32
    for image_HW, angle, found_HW in zip(images_BHW.numpy(), degrees, found_BHW, strict=True):
        expected_HW = ndimage.rotate(
            image_HW.astype(np.float64), angle, reshape=False, order=1, mode="grid-constant"
        )
        np.testing.assert_allclose(found_HW, expected_HW, atol=0.01)  # of 255


@pytest.mark.parametrize("size", [(28, 28), (9, 6)])
def test_a_zoom_is_that_of_scipy(size):
    factors = [0.5, 0.9, 1.0, 1.2, 1.5]
    images_BHW, middle = noise(len(factors), size), (np.array(size) - 1) / 2
    found_BHW = turned(images_BHW, torch.zeros(len(factors)), torch.tensor(factors))
    for image_HW, factor, found_HW in zip(images_BHW.numpy(), factors, found_BHW, strict=True):
        shrink = np.array([1 / factor, 1 / factor])
        expected_HW = ndimage.affine_transform(
            image_HW.astype(np.float64), shrink, middle - shrink * middle, order=1, mode="grid-constant"
        )
        np.testing.assert_allclose(found_HW, expected_HW, atol=0.01)


@pytest.mark.parametrize("changes", [{"shift_pixels": 2}, {"rotation_degrees": 20}, {"zoom_fraction": 0.3}, ALL])
@pytest.mark.parametrize("name", SEQUENCES)
def test_in_any_transform_it_is_the_image_that_changes(make, name, changes):
    rows, augment_rows = make("rows", **changes)
    transform, augment = make(name, **changes)
    images_BHW = noise(16)
    expected_BHW = augment_rows(rows(images_BHW), 1, 5)
    assert not torch.equal(expected_BHW, images_BHW.to(expected_BHW.dtype))
    found_BTI = augment(transform(images_BHW).contiguous(), 1, 5)
    assert found_BTI.dtype == (torch.uint8 if changes.keys() == {"shift_pixels"} else torch.float32)
    torch.testing.assert_close(found_BTI, transform(expected_BHW), rtol=0, atol=0)


@pytest.mark.parametrize("changes", [{"shift_pixels": 2}, ALL])
@pytest.mark.parametrize("name", ["rows", "columns", "permuted", "patches"])
def test_in_colour_the_planes_of_an_image_change_alike(make, name, changes):
    _, augment_rows = make("rows", **changes)
    transform, augment = make(name, channels=3, **changes)
    planes = [noise(16), 255 - noise(16), noise(16) // 2]
    expected = torch.stack([augment_rows(plane_BHW, 1, 5) for plane_BHW in planes], dim=3)
    found_BTI = augment(transform(torch.stack(planes, dim=3)).contiguous(), 1, 5)
    torch.testing.assert_close(found_BTI, transform(expected), rtol=0, atol=0)


@pytest.mark.parametrize("name", SEQUENCES)
def test_the_order_of_a_transform_is_found(make_setting, name):
    config = SequenceConfig(name=name, patch_size=2)
    spec = make_setting().spec.model_copy(update={"sequence": config, "image_size": SIZE})
    images_BHW = noise(3)
    expected_BP = build_transform(SIZE, config)(images_BHW).flatten(1)
    assert torch.equal(images_BHW.flatten(1)[:, pixel_order(spec)], expected_BP)


def test_every_offset_is_drawn(make):
    _, augment = make(size=(7, 7), shift_pixels=2)
    points_BHW = torch.zeros(1000, 7, 7, dtype=torch.uint8)
    points_BHW[:, 3, 3] = 255
    places = {tuple(place) for place in augment(points_BHW, 1, 0).nonzero()[:, 1:].tolist()}
    assert places == {(y, x) for y in range(1, 6) for x in range(1, 6)}


def test_angles_and_factors_fill_their_ranges(make, monkeypatch):
    drawn = []
    monkeypatch.setattr(augmentation, "turned", lambda images_BHW, *what: drawn.append(what) or images_BHW)
    _, augment = make(**ALL)
    augment(noise(1000), 1, 0)
    ((angles_B, factors_B),) = drawn
    for values_B, middle, most in ((angles_B, 0, math.radians(20)), (factors_B, 1, 0.2)):
        scaled_B = (values_B - middle) / most
        assert -1.0001 < scaled_B.min() < -0.97 and 0.97 < scaled_B.max() < 1.0001
        assert abs(scaled_B.mean()) < 0.1 and scaled_B.std() == pytest.approx(math.sqrt(1 / 3), abs=0.05)
    assert abs(torch.corrcoef(torch.stack((angles_B, factors_B)))[0, 1]) < 0.15


def test_what_is_drawn_depends_on_seed_epoch_and_step_alone(make):
    images_BHW = noise(16)
    _, augment = make(**ALL)
    first_BTI = augment(images_BHW, 1, 5)
    torch.manual_seed(99)
    state = torch.get_rng_state()
    assert torch.equal(make(**ALL)[1](images_BHW, 1, 5), first_BTI)
    assert torch.equal(torch.get_rng_state(), state)
    for other_BTI in (
        augment(images_BHW, 2, 5),
        augment(images_BHW, 1, 6),
        make(seed=1, **ALL)[1](images_BHW, 1, 5),
    ):
        assert not torch.equal(other_BTI, first_BTI)


class RowsFromBelow(SequenceTransform):
    def forward(self, images_NHW):
        return images_NHW.flip(1)


class Negative(SequenceTransform):
    """Of 16 x 16 pixels: on their numbers 0 to 255 it looks like an order from the last to the first."""

    def forward(self, images_NHW):
        return 255 - images_NHW


class EverySecond(SequenceTransform):
    def forward(self, images_NHW):
        return images_NHW[:, ::2]


class RowTwice(SequenceTransform):
    def forward(self, images_NHW):
        return torch.cat((images_NHW[:, :1], images_NHW[:, :-1]), dim=1)


class Scaled(SequenceTransform):
    def forward(self, images_NHW):
        return images_NHW / 1.0


@pytest.fixture(name="plug_in")
def plug_in_(monkeypatch):
    """Return what puts a transform into the catalogue as "own"."""

    def plug_in(transform):
        build = staticmethod(lambda size, config: transform(*size))
        monkeypatch.setattr(sequences, "Own", build, raising=False)
        monkeypatch.setitem(SEQUENCES, "own", SequenceSpec("one of the user's", "rnnpipe.data.sequences:Own"))

    return plug_in


@pytest.mark.parametrize("transform", [Negative, EverySecond, RowTwice, Scaled])
def test_a_transform_that_does_more_than_order_pixels_is_refused(make, plug_in, transform):
    plug_in(transform)
    with pytest.raises(ConfigError, match=r"sequence\.name own: puts pixels not just in another order") as caught:
        make("own", (16, 16), shift_pixels=1)
    assert all(f"training.{field}" in caught.value.fix for field in ALL)
    assert make("own", (16, 16))[1] is None


def test_a_new_transform_that_orders_pixels_is_augmented(make, plug_in):
    plug_in(RowsFromBelow)
    images_BHW = noise(4)
    found_BTI = make("own", **ALL)[1](images_BHW.flip(1), 1, 0)
    assert torch.equal(found_BTI, make(**ALL)[1](images_BHW, 1, 0).flip(1))


def test_a_shift_that_leaves_nothing_is_refused(make):
    assert make(size=(6, 8), shift_pixels=5)[1] is not None
    with pytest.raises(ConfigError, match=r"training\.shift_pixels 6: .*6 x 8 pixels out of sight") as caught:
        make(size=(6, 8), shift_pixels=6)
    assert caught.value.fix == "set training.shift_pixels to 5 or less"


class Watched(nn.Module):
    """A net that keeps what it was given, its copies too."""

    given: list[tuple[bool, torch.Tensor]]

    def __init__(self, network):
        super().__init__()
        self.network = network
        type(self).given = []

    def forward(self, x_BTI):
        self.given.append((self.training, x_BTI))
        return self.network(x_BTI)


@pytest.mark.parametrize("changes", [{"shift_pixels": 1}, ALL])
def test_training_sees_changed_images_and_nothing_else_does(train, make_setting, data, changes):
    setting = make_setting(training={"epochs": 1, **changes})
    network = Watched(build_network(setting.spec, 0))
    train(setting, data, network)
    seen = [x_BTI for is_training, x_BTI in network.given if is_training]
    order = epoch_order(setting.seed, 1, len(data.train_y_N))
    augment = Augmentation(setting)
    for step, (chosen, x_BTI) in enumerate(zip(order.split(16), seen, strict=True)):
        assert torch.equal(x_BTI, scale_pixels(augment(data.train_x_NTI[chosen], 1, step), setting.spec))
        assert not torch.equal(x_BTI, scale_pixels(data.train_x_NTI[chosen], setting.spec))
    read_whole = [x for is_training, x in network.given if not is_training and len(x) == len(data.validation_y_N)]
    assert len(read_whole) == 1 and torch.equal(read_whole[0], scale_pixels(data.validation_x_NTI, setting.spec))


def test_preflight_sees_the_images_as_they_are(make_setting, data):
    given = []
    for changes in ({}, {**ALL, "label_smoothing": 0.5}):
        setting = make_setting(training=changes)
        network = Watched(build_network(setting.spec, 0))
        check_before_training(network, data, setting)
        given.append([x_BTI for _, x_BTI in network.given])
    assert len(given[0]) > 2
    assert all(torch.equal(plain_BTI, other_BTI) for plain_BTI, other_BTI in zip(*given, strict=True))


def test_where_nothing_is_asked_for_the_loop_is_the_same_bit_by_bit(train, make_setting, data):
    setting = make_setting("gru", **DROPOUT, training={"epochs": 2})
    outcome, events = train(setting, unvalidated(data))
    network, losses, step, total = build_network(setting.spec, setting.seed), [], 0, 12
    optimizer = build_optimizer(network.parameters(), setting.config)
    for epoch in (1, 2):
        for chosen in epoch_order(setting.seed, epoch, len(data.train_y_N)).split(16):
            torch.manual_seed(mix_seed(setting.seed, epoch, step))
            logits_BK = network(scale_pixels(data.train_x_NTI[chosen], setting.spec))
            loss = functional.cross_entropy(logits_BK, data.train_y_N[chosen])
            set_learning_rate(optimizer, learning_rate_at(step, total, setting.config))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            losses.append((step, loss.item()))
            step += 1
    assert step_losses(events) == losses
    for name, value in network.state_dict().items():
        assert torch.equal(outcome.weights[name], value), name


def test_dropouts_noise_is_the_same_with_augmentation(train, make_setting, data, monkeypatch):
    _, expected = train(make_setting("gru", **DROPOUT), data)
    monkeypatch.setattr(augmentation, "shifted", lambda images_BHW, *_: images_BHW)
    monkeypatch.setattr(augmentation, "turned", lambda images_BHW, *_: images_BHW)
    _, events = train(make_setting("gru", **DROPOUT, training=ALL), data)
    assert step_losses(events) == step_losses(expected)


def test_the_training_loss_is_smoothed_as_torch_does_it(train, make_setting, data):
    setting = make_setting(training={"epochs": 1, "label_smoothing": 0.2})
    network = build_network(setting.spec, 0)
    chosen = epoch_order(setting.seed, 1, len(data.train_y_N))[:16]
    with torch.no_grad():
        logits_BK = network(scale_pixels(data.train_x_NTI[chosen], setting.spec))
    _, events = train(setting, data, network)
    y_B, first = data.train_y_N[chosen], step_losses(events)[0][1]
    assert first == nn.CrossEntropyLoss(label_smoothing=0.2)(logits_BK, y_B).item()
    spread = 0.8 * functional.cross_entropy(logits_BK, y_B) - 0.2 * logits_BK.log_softmax(1).mean()
    assert first == pytest.approx(spread.item(), rel=1e-6) and first != functional.cross_entropy(logits_BK, y_B)
    with torch.no_grad():
        validation = functional.cross_entropy(
            network(scale_pixels(data.validation_x_NTI, setting.spec)), data.validation_y_N
        )
    assert epochs_of(events)[0]["validation_loss"] == pytest.approx(validation.item(), rel=1e-5)
