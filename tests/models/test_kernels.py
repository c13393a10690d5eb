"""The compiled kernels against torch's layers in float64, and how they are compiled."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rnnpipe.config import VariantConfig
from rnnpipe.errors import TrainingError
from rnnpipe.models.classifier import SequenceClassifier, build_classifier
from rnnpipe.models.kernels import choice, library, passes
from rnnpipe.models.kernels.choice import use_kernels
from rnnpipe.models.kernels.passes import ROWS, final_state
from rnnpipe.models.kernels.plain import plain_state
from rnnpipe.models.kernels.slices import sliced_state
from rnnpipe.runtime import give_threads_to_kernels, set_threads

pytestmark = pytest.mark.usefixtures("threads_as_before")

CPU = torch.device("cpu")
LAYERS: dict[str, Any] = {
    "tanh": nn.RNN,
    "relu": lambda *sizes, **options: nn.RNN(*sizes, nonlinearity="relu", **options),
    "gru": nn.GRU,
    "lstm": nn.LSTM,
}
# batch, steps, inputs, hidden, layers: of MNIST; odd ones; one of each; more rows than a slice; one input a step
SHAPES = [(100, 28, 28, 128, 2), (7, 5, 3, 17, 3), (1, 1, 1, 1, 1), (2 * ROWS + 3, 3, 9, 33, 2), (5, 40, 1, 32, 1)]
every_kind = pytest.mark.parametrize("kind", LAYERS)
WITHOUT_COMPILER = {"tanh": plain_state, "relu": plain_state, "gru": sliced_state, "lstm": sliced_state}


def torch_state(layers: nn.RNNBase, x_BTI: Tensor) -> Tensor:
    _, last = layers(x_BTI)
    return (last[0] if isinstance(last, tuple) else last)[-1]


def outputs_and_gradients(compute: Any, layers: nn.RNNBase, x_BTI: Tensor) -> list[Tensor]:
    """Return the states, and the gradients of a sum of them in which each counts differently."""
    state_BH = compute(layers, x_BTI)
    weighted = (state_BH * torch.linspace(-1, 2, state_BH.numel(), dtype=x_BTI.dtype).view_as(state_BH)).sum()
    return [state_BH.detach(), *torch.autograd.grad(weighted, list(layers.parameters()))]


def make(kind: str, *sizes: int, bias: bool = True) -> nn.RNNBase:
    torch.manual_seed(0)
    layers: nn.RNNBase = LAYERS[kind](*sizes, batch_first=True, bias=bias)
    return layers


@every_kind
@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_outputs_and_gradients_are_those_of_torch_in_float64(
    kind: str, compiled: bool, threads: int, shape: tuple[int, ...]
) -> None:
    batch, steps, inputs, hidden, num_layers = shape
    compute = final_state if compiled else WITHOUT_COMPILER[kind]
    for bias in (True, False):
        layers, exact = (make(kind, inputs, hidden, num_layers, bias=bias) for _ in range(2))
        x_BTI = torch.rand(batch, steps, inputs)
        set_threads(threads)
        found = outputs_and_gradients(compute, layers, x_BTI)
        expected = outputs_and_gradients(torch_state, exact.double(), x_BTI.double())
        for ours, theirs in zip(found, expected, strict=True):
            assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()


@every_kind
def test_bits_don_t_depend_on_the_run_and_outputs_not_on_threads_or_batch(kind: str) -> None:
    layers, x_BTI = make(kind, 28, 128, 2), torch.rand(100, 28, 28)
    states = []
    for threads in (1, 2, 3):
        set_threads(threads)
        first, second = (outputs_and_gradients(final_state, layers, x_BTI) for _ in range(2))
        assert all(map(torch.equal, first, second))
        states.append(first[0])
    assert torch.equal(states[0], states[1]) and torch.equal(states[0], states[2])
    with torch.inference_mode():
        assert torch.equal(final_state(layers, x_BTI), states[0])
        assert torch.equal(final_state(layers, x_BTI[37:38]), states[0][37:38])


@every_kind
def test_any_strides_of_inputs_do(kind: str) -> None:
    layers = make(kind, 28, 16, 2)
    x_BTI = torch.rand(28, 9, 5).permute(2, 1, 0)
    found, expected = (outputs_and_gradients(each, layers, x_BTI) for each in (final_state, torch_state))
    assert all(torch.allclose(ours, theirs, atol=1e-5) for ours, theirs in zip(found, expected, strict=True))


@every_kind
def test_what_is_not_a_number_stays_none(kind: str) -> None:
    layers, x_BTI = make(kind, 4, 8, 2), torch.rand(3, 5, 4)
    x_BTI[1, 2, 3] = torch.nan
    state_BH = final_state(layers, x_BTI)
    assert state_BH[1].isnan().all()
    assert state_BH[[0, 2]].isfinite().all()


def test_memory_is_used_again_and_predictions_need_less_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    free: dict[int, list[Tensor]] = {}
    monkeypatch.setattr(passes, "_free", free)
    layers, x_BTI = make("gru", 28, 16, 2), torch.rand(3 * ROWS, 28, 28)

    def held() -> int:
        return sum(len(memory) for memories in free.values() for memory in memories)

    with torch.inference_mode():
        final_state(layers, x_BTI)
        predicted = held()
        final_state(layers, x_BTI)
    assert held() == predicted > 0
    for _ in range(2):
        outputs_and_gradients(final_state, layers, x_BTI)
        trained = held()
    assert trained > 4 * predicted
    outputs_and_gradients(final_state, layers, x_BTI)
    assert held() == trained


def test_two_batches_may_be_under_way_at_once_and_each_goes_back_once() -> None:
    layers, first, second = make("lstm", 4, 8, 2), torch.rand(6, 5, 4), torch.rand(6, 5, 4)
    expected = [outputs_and_gradients(final_state, layers, x_BTI)[1] for x_BTI in (first, second)]
    states = [final_state(layers, x_BTI) for x_BTI in (first, second)]
    weights = torch.linspace(-1, 2, 48).view(6, 8)
    for state_BH, gradient in zip(states, expected, strict=True):
        found = torch.autograd.grad((state_BH * weights).sum(), list(layers.parameters()), retain_graph=True)
        assert torch.equal(found[0], gradient)
    with pytest.raises(RuntimeError, match="computed before"):
        torch.autograd.grad((states[0] * weights).sum(), list(layers.parameters()))


def build(name: str, **options: Any) -> SequenceClassifier:
    return build_classifier(VariantConfig(name=name, **options), input_size=28, num_classes=10, seed=0)


@pytest.mark.parametrize("name", ["image-rnn", "rnn", "gru", "lstm"])
def test_a_net_keeps_its_weights_names_and_answers(name: str) -> None:
    net, x_BTI = build(name), torch.rand(9, 28, 28)
    names, expected = list(net.state_dict()), net(x_BTI)
    assert use_kernels(net, CPU, "fp32", "auto")[0] == "compiled"
    assert list(net.state_dict()) == names
    found = net(x_BTI)
    assert torch.allclose(found, expected, atol=1e-6) and not torch.equal(found, expected)
    assert use_kernels(net, CPU, "fp32", "torch") == ("torch", "torch: asked for")
    assert torch.allclose(net(x_BTI), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("net", "device", "precision", "reason"),
    [
        (build("basic"), CPU, "fp32", "written in torch, step by step"),
        (build("gru", bidirectional=True), CPU, "fp32", "no bidirectional layers"),
        (build("gru", dropout=0.1), CPU, "fp32", "no dropout"),
        (build("gru"), CPU, "bf16", "not for bf16"),
        (build("gru"), torch.device("cuda:0"), "fp32", "cuda has its own"),
    ],
)
def test_torch_computes_what_the_kernels_don_t(
    net: SequenceClassifier, device: torch.device, precision: Any, reason: str
) -> None:
    name, why = use_kernels(net, device, precision, "auto")
    assert name == "torch" and reason in why
    with pytest.raises(TrainingError, match=r"execution\.kernels=compiled was asked for") as caught:
        use_kernels(net, device, precision, "compiled")
    assert reason in caught.value.message and "only speed is lost" in caught.value.fix


@pytest.mark.parametrize(("variant", "hidden_size"), [("rnn", 513), ("gru", 1025), ("lstm", 257)])
def test_torch_computes_wide_layers_if_nobody_asks_for_the_kernels(variant: str, hidden_size: int) -> None:
    net = build(variant, hidden_size=hidden_size)
    name, why = use_kernels(net, CPU, "fp32", "auto")
    assert (name, why) == ("torch", f"torch: it is faster with {hidden_size} neurons a layer")
    assert use_kernels(net, CPU, "fp32", "compiled")[0] == "compiled"
    assert use_kernels(build(variant, hidden_size=hidden_size - 1), CPU, "fp32", "auto")[0] == "compiled"


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache of kernels."""
    monkeypatch.setenv("RNNPIPE_CACHE", str(tmp_path))
    caches = (library.library_path, library.load_library, choice._check_kernels)
    for each in caches:
        each.cache_clear()
    yield tmp_path / "kernels"
    for each in caches:
        each.cache_clear()


def test_they_are_compiled_once_by_whoever_comes_first(fresh: Path) -> None:
    code = (
        "import torch; from rnnpipe.models.kernels.choice import kernels_here, _check_kernels;"
        "_check_kernels(); print(kernels_here())"
    )
    command = [sys.executable, "-c", code]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = {process.communicate()[0] for process in running}
    assert len(said) == 1 and said.pop().startswith("compiled: ")
    (made,) = fresh.iterdir()
    before = made.stat().st_mtime_ns
    assert library.library_path() == made and made.stat().st_mtime_ns == before


def compiler(folder: Path, script: str) -> str:
    folder.mkdir()
    (folder / "cc").write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    (folder / "cc").chmod(0o755)
    return str(folder)


def test_a_generous_umask_does_not_make_them_untrusted(fresh: Path) -> None:
    before = os.umask(0o002)
    try:
        assert use_kernels(build("rnn"), CPU, "fp32", "auto")[0] == "compiled"
    finally:
        os.umask(before)


@pytest.mark.parametrize("x_BTI", [torch.rand(2, 3, 5), torch.rand(2, 3, 4).double(), torch.rand(0, 3, 4)])
def test_what_the_kernels_can_t_read_is_refused(x_BTI: Tensor) -> None:
    with pytest.raises(ValueError, match="can't be read by"):
        final_state(make("gru", 4, 8, 1), x_BTI)


@pytest.mark.parametrize("kind", ["tanh", "gru", "lstm"])
def test_saturated_neurons_stay_within_one(kind: str) -> None:
    layers = make(kind, 4, 8, 2)
    for scale in (8.0, 1e3, 1e30, torch.inf):
        state_BH = final_state(layers, torch.full((3, 5, 4), scale))
        expected = torch_state(layers, torch.full((3, 5, 4), scale))
        assert torch.allclose(state_BH, expected, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (None, "no compiler is there"),
        ("echo 'cc: unknown flag' >&2; exit 1", "failed: cc: unknown flag"),
        ("exit 1", "failed: it gave no reason"),
        ('for last; do :; done; echo rubbish > "$last"', "can't be loaded"),
    ],
)
def test_without_a_working_compiler_only_speed_is_lost(
    fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, reason: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "none") if script is None else compiler(tmp_path / "bin", script))
    if script and "last" in script:
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin")
    net = build("rnn")
    name, why = use_kernels(net, CPU, "fp32", "auto")
    assert name == "torch" and reason in why
    assert net(torch.rand(2, 28, 28)).shape == (2, 10)


def test_a_cache_that_can_t_be_written_or_trusted_is_not_used(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh.write_text("a file, not a folder", encoding="utf-8")
    assert use_kernels(build("rnn"), CPU, "fp32", "auto")[0] == "torch"
    fresh.unlink()
    library.library_path.cache_clear()
    library.library_path().chmod(0o666)
    library.library_path.cache_clear()
    name, why = use_kernels(build("rnn"), CPU, "fp32", "auto")
    assert name == "torch" and "somebody else" in why


def test_kernels_that_compute_something_else_are_not_used(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "final_state", lambda layers, x_BTI: 1.01 * final_state(layers, x_BTI))
    name, why = use_kernels(build("rnn"), CPU, "fp32", "auto")
    assert name == "torch" and "differs from torch's RNN" in why


def test_all_threads_of_the_pool_compute_alike() -> None:
    passes._pool.cache_clear()
    set_threads(3)
    found: dict[int, tuple[int, float]] = {}
    together = threading.Barrier(3)

    def look(number: int) -> None:
        together.wait()  # else one thread might do it all
        found[number] = (torch.get_num_threads(), float(torch.tensor(1e-39) * 1))

    torch.set_flush_denormal(False)
    passes.in_threads(look, 3)
    assert found == {0: (3, pytest.approx(1e-39)), 1: (1, 0.0), 2: (1, 0.0)}
    assert torch.get_num_threads() == 3


@every_kind
def test_without_a_compiler_bits_are_the_same_in_each_run_and_gradients_are_there_once(kind: str) -> None:
    layers, x_BTI, compute = make(kind, 28, 32, 2), torch.rand(50, 28, 28), WITHOUT_COMPILER[kind]
    set_threads(3)
    give_threads_to_kernels(compute in choice.IN_THREADS)
    first, second = (outputs_and_gradients(compute, layers, x_BTI) for _ in range(2))
    assert all(map(torch.equal, first, second))
    with torch.inference_mode():
        assert torch.allclose(compute(layers, x_BTI), first[0], atol=1e-6)  # oneDNN's LSTM has other bits here
    state_BH = compute(layers, x_BTI)
    torch.autograd.grad(state_BH.sum(), list(layers.parameters()), retain_graph=True)
    with pytest.raises(RuntimeError, match="computed before"):
        torch.autograd.grad(state_BH.sum(), list(layers.parameters()))


@pytest.mark.parametrize(
    ("name", "options", "compute"),
    [
        ("rnn", {}, plain_state),
        ("rnn", {"nonlinearity": "relu"}, plain_state),
        ("gru", {}, sliced_state),
        ("lstm", {}, sliced_state),
        ("lstm", {"bidirectional": True}, None),
        ("gru", {"dropout": 0.1}, None),
        ("basic", {}, None),
    ],
)  # fmt: skip
def test_torch_works_another_way_where_that_is_faster(name: str, options: dict[str, Any], compute: Any) -> None:
    net = build(name, **options)
    use_kernels(net, CPU, "fp32", "torch")
    assert getattr(net.encoder, "compute", None) is compute
