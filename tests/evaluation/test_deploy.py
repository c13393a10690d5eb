import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from torch import nn

from rnnpipe.catalogue import SEQUENCES, VARIANTS
from rnnpipe.errors import DataError
from rnnpipe.evaluation.deploy import (
    Deploy,
    build_network,
    classify_files,
    load_model,
    save_model,
    scale_pixels,
)
from rnnpipe.evaluation.spec import SPEC_FILE, WEIGHTS_FILE

SHAPES = {
    "rows": (8, 8),
    "columns": (8, 8),
    "pixels": (64, 1),
    "permuted": (64, 1),
    "patches": (4, 16),
    "as-is": (8, 8),
}


def test_pixels_are_scaled_as_the_spec_says(make_spec):
    spec = make_spec()
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8)
    expected = torch.tensor([(0 - 0.25) / 0.5, (0.2 - 0.25) / 0.5, (1 - 0.25) / 0.5])
    torch.testing.assert_close(scale_pixels(pixels, spec), expected)
    assert torch.equal(scale_pixels(pixels, spec), scale_pixels(pixels.float(), spec))


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_deploy_is_transform_scaling_net_and_softmax(sequence, make_spec):
    spec = make_spec(sequence=sequence, **dict(zip(("steps", "features"), SHAPES[sequence], strict=True)))
    deploy = Deploy(spec, build_network(spec, seed=1)).eval()
    images_NHW = torch.randint(0, 256, (5, 8, 8)).float()
    logits_NK = deploy.network(scale_pixels(deploy.transform(images_NHW), spec))
    torch.testing.assert_close(deploy(images_NHW), logits_NK.softmax(1))
    torch.testing.assert_close(deploy(images_NHW).sum(1), torch.ones(5))


def test_image_files_are_classified_in_colour_and_by_the_names_of_their_classes(make_spec, tmp_path):
    spec = make_spec(features=24, channels=3)
    network = build_network(spec, seed=1).eval()
    save_model(tmp_path, spec, network)
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    (_, found), (_, other) = classify_files(tmp_path, [tmp_path / "image.png", tmp_path / "none.png"])
    expected_K = Deploy(spec, network)(torch.from_numpy(pixels)[None].float())[0]
    assert list(found) == ["circle", "square", "cross"] and isinstance(other, DataError)
    assert list(found.values()) == pytest.approx(expected_K.tolist(), abs=1e-6)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_saved_model_comes_back_the_same(variant, make_spec, tmp_path):
    spec = make_spec(variant)
    network = build_network(spec, seed=1).eval()
    save_model(tmp_path, spec, network)
    loaded_spec, loaded = load_model(tmp_path)
    x_NTI = torch.rand(3, 8, 8)
    assert loaded_spec == spec and not loaded.training
    assert torch.equal(loaded(x_NTI), network(x_NTI))
    loaded.train()(x_NTI).sum().backward()
    assert all(parameter.grad is not None for parameter in loaded.parameters())


def test_equal_weights_give_equal_bytes(make_spec, tmp_path):
    spec = make_spec()
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        save_model(tmp_path / name, spec, build_network(spec, seed))

    def read(name: str, file: str) -> bytes:
        return (tmp_path / name / file).read_bytes()

    assert read("a", WEIGHTS_FILE) == read("b", WEIGHTS_FILE) != read("c", WEIGHTS_FILE)
    assert read("a", SPEC_FILE) == read("b", SPEC_FILE)


def test_weights_that_are_views_of_one_buffer_are_saved(make_spec, tmp_path):
    spec = make_spec()
    network = build_network(spec, seed=1)
    save_model(tmp_path / "plain", spec, network)
    buffer = nn.utils.parameters_to_vector(network.parameters())
    nn.utils.vector_to_parameters(buffer, network.parameters())
    save_model(tmp_path / "views", spec, network)
    assert (tmp_path / "plain" / WEIGHTS_FILE).read_bytes() == (tmp_path / "views" / WEIGHTS_FILE).read_bytes()


@pytest.fixture
def model_folder(make_spec, tmp_path) -> Path:
    spec = make_spec()
    save_model(tmp_path, spec, build_network(spec, seed=1))
    return tmp_path


def edit_spec(folder: Path, **changes: object) -> None:
    path = folder / SPEC_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_weights(folder: Path, **changes: torch.Tensor | None) -> None:
    tensors = safetensors.torch.load_file(folder / WEIGHTS_FILE) | {
        name.replace("__", "."): tensor for name, tensor in changes.items()
    }
    kept = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    safetensors.torch.save_file(kept, folder / WEIGHTS_FILE)


@pytest.mark.parametrize(
    ("tamper", "words"),
    [
        (lambda folder: (folder / SPEC_FILE).unlink(), "model.json: can't be read"),
        (lambda folder: (folder / SPEC_FILE).write_text("{"), "model.json: not valid JSON"),
        (lambda folder: (folder / SPEC_FILE).write_bytes(b"\xff\xfe"), "model.json: not valid JSON"),
        (lambda folder: (folder / SPEC_FILE).write_text("[" * 100_000), "model.json: not valid JSON"),
        (lambda folder: (folder / SPEC_FILE).write_text(" " * (2 << 20)), "model.json: larger than 1 MiB"),
        (lambda folder: edit_spec(folder, format="other-2"), "model.json: format"),
        (lambda folder: edit_spec(folder, surprise=1), "model.json: surprise"),
        (lambda folder: edit_spec(folder, deviation=0), "model.json: deviation"),
        (lambda folder: edit_spec(folder, steps=9), "rows of .* gives 8 steps of 8 features, not 9 of 8"),
        (lambda folder: edit_spec(folder, sequence={"name": "patches", "patch_size": 3}), "json: .*patch_size 3"),
        (lambda folder: edit_spec(folder, variant={"name": "gru", "hidden_size": 8192, "num_layers": 16}),
         "weights.safetensors: doesn't fit model.json: .*weight_ih_l15 is missing"),
        (lambda folder: edit_spec(folder, classes=["a"]), r"head.bias is float32 \(3,\), not float32 \(1,\)"),
        (lambda folder: (folder / WEIGHTS_FILE).unlink(), "weights.safetensors: can't be read"),
        (lambda folder: (folder / WEIGHTS_FILE).write_bytes(b""), "weights.safetensors: not a safetensors file"),
        (lambda folder: (folder / WEIGHTS_FILE).write_bytes(b"\xff" * 100), "not a safetensors file"),
        (lambda folder: edit_weights(folder, head__bias=None), "head.bias is missing"),
        (lambda folder: edit_weights(folder, more=torch.zeros(1)), "more is unknown"),
        (lambda folder: edit_weights(folder, head__bias=torch.zeros(4)), r"head.bias is float32 \(4,\)"),
        (lambda folder: edit_weights(folder, head__bias=torch.zeros(3).double()), "head.bias is float64"),
    ],
)  # fmt: skip
def test_a_damaged_folder_is_refused_with_the_file_and_the_reason(tamper, words, model_folder):
    tamper(model_folder)
    with pytest.raises(DataError, match=words) as caught:
        load_model(model_folder)
    assert caught.value.fix


def test_pickled_weights_are_not_opened(model_folder):
    torch.save({"head.bias": torch.zeros(3)}, model_folder / WEIGHTS_FILE)
    with pytest.raises(DataError, match="not a safetensors file"):
        load_model(model_folder)
