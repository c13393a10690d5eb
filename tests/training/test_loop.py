import math
from dataclasses import replace

import numpy as np
import psutil
import pytest
import torch
from comparing import unvalidated
from torch import Tensor, nn
from torch.nn import functional

from rnnpipe.catalogue import VARIANTS
from rnnpipe.errors import DeviceError
from rnnpipe.evaluation.deploy import build_network, scale_pixels
from rnnpipe.training import loop
from rnnpipe.training.checkpoint import Tensors
from rnnpipe.training.journal import epochs_of, step_losses
from rnnpipe.training.loop import Fit
from rnnpipe.training.optimization import learning_rate_at
from rnnpipe.training.setting import Setting, TrainingData, epoch_order

CLASSES = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}


def same(first: Tensors, second: Tensors) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_learns_the_same_bytes_again(train, make_setting, data, name):
    setting = make_setting(name, training={"epochs": 2})
    torch.manual_seed(1)
    first, events = train(setting, data)
    torch.manual_seed(2)
    second, again = train(setting, data)
    assert same(first.weights, second.weights) and step_losses(events) == step_losses(again)
    reached = [event["train_loss"] for event in epochs_of(events)]
    assert len(reached) == 2 and reached[1] < reached[0]


def test_another_seed_gives_other_weights_and_losses(train, make_setting, data):
    network = build_network(make_setting().spec, 0)
    start = {name: value.clone() for name, value in network.state_dict().items()}
    first, events = train(make_setting(seed=1), data, network)
    network.load_state_dict(start)
    second, others = train(make_setting(seed=2), data, network)
    assert not same(first.weights, second.weights) and step_losses(events) != step_losses(others)


def plain_loop(setting: Setting, data: TrainingData) -> dict[str, Tensor]:
    """The same training in plain torch, as one would write it by hand."""
    config = setting.config
    network = build_network(setting.spec, setting.seed)
    options = {"weight_decay": config.weight_decay}
    options |= {"momentum": config.momentum} if config.optimizer == "sgd" else {}
    optimizer = CLASSES[config.optimizer](network.parameters(), lr=config.learning_rate, foreach=False, **options)
    step, total = 0, math.ceil(len(data.train_y_N) / config.batch_size) * config.epochs
    for epoch in range(1, config.epochs + 1):
        order = epoch_order(setting.seed, epoch, len(data.train_y_N))
        for start in range(0, len(order), config.batch_size):
            chosen = order[start : start + config.batch_size]
            x_BTI = (data.train_x_NTI[chosen].float() / 255 - setting.spec.mean) / setting.spec.deviation
            loss = functional.cross_entropy(network(x_BTI), data.train_y_N[chosen])
            optimizer.zero_grad()
            loss.backward()
            if config.gradient_clip_norm:
                nn.utils.clip_grad_norm_(network.parameters(), config.gradient_clip_norm)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate_at(step, total, config)
            optimizer.step()
            step += 1
    return network.state_dict()


@pytest.mark.parametrize(
    "training",
    [
        {"optimizer": "adam", "gradient_clip_norm": 0.5},
        {"optimizer": "adamw", "schedule": "one-cycle", "gradient_clip_norm": None, "weight_decay": 0.1},
        {"optimizer": "sgd", "schedule": "cosine", "momentum": 0.5},
    ],
)
def test_it_is_the_loop_one_writes_by_hand(train, make_setting, data, training):
    setting = make_setting("lstm", training=training)
    outcome, _ = train(setting, unvalidated(data))
    torch.testing.assert_close(outcome.weights, dict(plain_loop(setting, data)), rtol=1e-5, atol=1e-6)


def test_the_journal_tells_every_update_once_and_every_epoch(train, make_setting, data, monkeypatch):
    monkeypatch.setattr(loop, "REPORT_EVERY_S", 0)  # a report an update
    setting = make_setting(training={"schedule": "one-cycle"})
    _, slow = train(setting, data)
    monkeypatch.setattr(loop, "REPORT_EVERY_S", 1e9)  # a report an epoch
    _, fast = train(setting, data)
    assert step_losses(slow) == step_losses(fast)
    assert [step for step, _ in step_losses(slow)] == list(range(18))
    assert [event["train_loss"] for event in epochs_of(slow)] == [event["train_loss"] for event in epochs_of(fast)]
    for event in epochs_of(fast):
        assert event["step"] == 6 * event["epoch"]
        assert event["learning_rate"] == learning_rate_at(event["step"] - 1, 18, setting.config)
    first = [loss for step, loss in step_losses(fast) if step < 6]
    sizes = [16, 16, 16, 16, 16, 10]
    expected = sum(loss * size for loss, size in zip(first, sizes, strict=True)) / 90
    assert epochs_of(fast)[0]["train_loss"] == pytest.approx(expected)


def test_the_best_epoch_is_kept_by_accuracy_then_loss(train, make_setting, data):
    data = replace(data, validation_y_N=torch.roll(data.validation_y_N, 1))  # what it learns is wrong there
    outcome, events = train(make_setting(training={"epochs": 6}), data)
    ranked = sorted(epochs_of(events), key=lambda e: (-e["validation_accuracy"], e["validation_loss"], e["epoch"]))
    best = ranked[0]
    assert outcome.progress.best_epoch == best["epoch"] < 6
    assert (outcome.progress.best_accuracy, outcome.progress.best_loss) == (
        best["validation_accuracy"],
        best["validation_loss"],
    )
    until_then, _ = train(make_setting(training={"epochs": best["epoch"]}), unvalidated(data))
    assert same(outcome.weights, until_then.weights)


def test_without_validation_the_last_epoch_is_kept(train, make_setting, data):
    network = build_network(make_setting().spec, 0)
    outcome, events = train(make_setting(), unvalidated(data), network)
    assert outcome.progress.best_epoch == 3 and same(outcome.weights, dict(network.state_dict()))
    assert {(e["validation_loss"], e["validation_accuracy"]) for e in epochs_of(events)} == {(None, None)}


@pytest.mark.parametrize(("epochs", "is_early"), [(10, True), (3, False)])
def test_it_stops_when_validation_no_longer_improves(train, make_setting, data, epochs, is_early):
    training = {"epochs": epochs, "early_stopping_patience": 2, "learning_rate": 1e-30}
    outcome, events = train(make_setting(training=training), data)
    assert len(epochs_of(events)) == 3 and outcome.stopped_early is is_early
    assert outcome.progress.best_epoch == 1


def test_gradients_are_clipped(train, make_setting, data):
    training = {"epochs": 1, "batch_size": 90, "optimizer": "sgd", "momentum": 0, "learning_rate": 1.0}
    moved = []
    for clip_norm in (1e-3, None):
        setting = make_setting(training={**training, "gradient_clip_norm": clip_norm})
        before = nn.utils.parameters_to_vector(build_network(setting.spec, 0).parameters())
        outcome, _ = train(setting, unvalidated(data))
        after = torch.cat([value.flatten() for value in outcome.weights.values()])
        moved.append((after - before).norm().item())
    assert moved[0] == pytest.approx(1e-3, rel=1e-3) and moved[1] > 0.01


class SmallMemory(nn.Module):
    """A net for which memory runs out with more than `fits` validation images."""

    def __init__(self, network: nn.Module, fits: int) -> None:
        super().__init__()
        self.network, self.fits = network, fits

    def forward(self, x_BTI: Tensor) -> Tensor:
        if not self.training and len(x_BTI) > self.fits:
            raise torch.OutOfMemoryError("out of memory")
        return self.network(x_BTI)


def test_validation_halves_its_batch_when_memory_runs_out(train, make_setting, data):
    setting = make_setting()
    _, whole = train(setting, data)
    _, halved = train(setting, data, SmallMemory(build_network(setting.spec, 0), fits=8))
    for first, second in zip(epochs_of(whole), epochs_of(halved), strict=True):
        assert first["validation_accuracy"] == second["validation_accuracy"]
        assert first["validation_loss"] == pytest.approx(second["validation_loss"], rel=1e-5)
    with pytest.raises(DeviceError, match="a single image"):
        train(setting, data, SmallMemory(build_network(setting.spec, 0), fits=0))


@pytest.mark.skipif(not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="this CPU has no bf16")
def test_bf16_trains_on_float32_weights_with_a_float32_softmax(train, make_setting, data):
    setting = make_setting("lstm", precision="bf16")
    outcome, events = train(setting, data)
    _, exact = train(make_setting("lstm"), data)
    assert {value.dtype for value in outcome.weights.values()} == {torch.float32}
    assert step_losses(events) != step_losses(exact)
    assert epochs_of(events)[-1]["validation_loss"] == pytest.approx(
        epochs_of(exact)[-1]["validation_loss"], abs=0.1
    )


def test_an_update_reads_its_own_images_only(make_setting, tmp_path):
    total = 1024
    x_NTI = np.lib.format.open_memmap(
        tmp_path / "x.npy", "w+", np.uint8, (total, 1024, 1024)
    )  # a sparse file, 1 GiB
    x_NTI.flush()
    x_NTI = np.load(tmp_path / "x.npy", mmap_mode="c", allow_pickle=False)
    setting = make_setting()
    spec = setting.spec.model_copy(update={"steps": 1024, "features": 1024})
    data = TrainingData(torch.from_numpy(x_NTI), torch.zeros(total, dtype=torch.int64))
    before = psutil.Process().memory_info().rss
    chosen = torch.tensor([3, 1000])
    assert scale_pixels(data.train_x_NTI[chosen], spec).shape == (2, 1024, 1024)
    Fit(build_network(spec, 0), data, replace(setting, spec=spec))._update(chosen, 1)
    assert psutil.Process().memory_info().rss - before < 256 * 2**20
