"""A trained net as files and as one graph from raw images to class probabilities."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from rnnpipe.data.decoding import Colour, decode_image
from rnnpipe.errors import ConfigError, DataError
from rnnpipe.evaluation.order import transform_of
from rnnpipe.evaluation.spec import SPEC_FILE, WEIGHTS_FILE, ModelSpec
from rnnpipe.files import read_json, write_bytes, write_json
from rnnpipe.models.classifier import SequenceClassifier, build_classifier

MAX_SPEC_BYTES = MAX_HEADER_BYTES = 1 << 20
MAX_MISTAKES = 100  # told of a damaged file
COLOURS: dict[int, Colour] = {1: "grey", 3: "rgb"}
FIX = "the folder is damaged or not from this version of rnnpipe: train the model again"


def build_network(spec: ModelSpec, seed: int) -> SequenceClassifier:
    """Return the untrained net of a spec, its weights drawn with `seed`."""
    return build_classifier(
        spec.variant,
        input_size=spec.features,
        num_classes=len(spec.classes),
        seed=seed,
        has_lengths=spec.has_lengths,
    )


def scale_pixels(pixels: Tensor, spec: ModelSpec) -> Tensor:
    """Return pixel values 0..255 (uint8 or float, any shape), or series x_NTI, as the float32 a net sees."""
    if spec.series is not None:
        means_I, deviations_I = (
            torch.tensor(values, dtype=torch.float32, device=pixels.device)
            for values in (spec.series.means, spec.series.deviations)
        )
        return (pixels.to(torch.float32) - means_I) / deviations_I
    unit = pixels.to(torch.float32) / 255
    return unit if (spec.mean, spec.deviation) == (0, 1) else (unit - spec.mean) / spec.deviation


class Deploy(nn.Module):
    """Raw images to class probabilities: sequence transform, scaling, net and softmax in one graph."""

    def __init__(self, spec: ModelSpec, network: nn.Module) -> None:
        super().__init__()
        self.spec = spec
        self.transform = transform_of(spec)
        self.network = network

    def forward(self, images_NHW: Tensor) -> Tensor:
        """Return probabilities_NK (float32) for images (N, H, W) or (N, H, W, 3) of 0..255, or for series."""
        logits_NK: Tensor = self.network(scale_pixels(self.transform(images_NHW), self.spec))
        return logits_NK.softmax(dim=1, dtype=torch.float32)


def save_model(folder: Path, spec: ModelSpec, network: nn.Module) -> None:
    """Write weights.safetensors and model.json; equal weights and specs give equal bytes."""
    # Weights on a GPU can be views of one buffer, which safetensors refuses: each gets its own memory.
    tensors = {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}
    write_bytes(folder / WEIGHTS_FILE, safetensors.torch.save(tensors))
    write_json(folder / SPEC_FILE, spec.model_dump(mode="json"))


def classify_files(
    model_folder: Path, paths: Sequence[Path], *, invert: bool = False
) -> Iterator[tuple[Path, dict[str, float] | DataError]]:
    """Yield each image file with its probability by class name, or with the error where it can't be read."""
    spec, network = load_model(model_folder)
    deploy, colour, (height, width) = Deploy(spec, network), COLOURS[spec.channels], spec.shape[:2]
    for path in paths:
        try:
            image_HW = torch.from_numpy(decode_image(path, (height, width), colour)).to(torch.float32)
        except DataError as error:
            yield path, error
            continue
        image_1HW = (255 - image_HW if invert else image_HW).unsqueeze(0)
        with torch.inference_mode():
            probabilities_K = deploy(image_1HW)[0].tolist()
        yield path, dict(zip(spec.classes, probabilities_K, strict=True))


def load_model(folder: Path) -> tuple[ModelSpec, SequenceClassifier]:
    """Return spec and net (on the CPU, in eval mode) of a model folder.

    Raises DataError, naming the file, where a file is missing, isn't what save_model writes, or doesn't fit
    the other.
    """
    spec = _read_spec(folder / SPEC_FILE)
    tensors = _read_weights(folder / WEIGHTS_FILE)
    # Without memory of its own the net costs nothing, whatever sizes stand in a damaged model.json.
    with torch.device("meta"):
        network = build_network(spec, seed=0)
    _check_tensors(folder / WEIGHTS_FILE, network.state_dict(), tensors)
    network.load_state_dict(tensors, assign=True)
    return spec, network.eval()


def _read_spec(path: Path) -> ModelSpec:
    try:
        if path.stat().st_size > MAX_SPEC_BYTES:
            raise DataError(f"{path}: larger than 1 MiB, so it describes no model", FIX)
        spec = ModelSpec.model_validate(read_json(path))
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror}", FIX) from None
    except ValidationError as error:
        mistakes = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise DataError(f"{path}: {_listed(mistakes)}", FIX) from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON: {error}", FIX) from None
    _check_sequence(path, spec)
    return spec


def _check_sequence(path: Path, spec: ModelSpec) -> None:
    """Raise DataError where the transform doesn't give the steps and features that the spec states."""
    try:
        transform = transform_of(spec)
    except ConfigError as error:
        raise DataError(f"{path}: {error.message}", FIX) from None
    if (transform.steps, transform.features) != (spec.steps, spec.features):
        raise DataError(
            f"{path}: {spec.sequence.name} of {spec.shape} gives {transform.steps} steps of"
            f" {transform.features} features, not {spec.steps} of {spec.features}",
            FIX,
        )


def _read_weights(path: Path) -> dict[str, Tensor]:
    try:
        with path.open("rb") as file:  # the header alone could name millions of tensors
            if int.from_bytes(file.read(8), "little") > MAX_HEADER_BYTES:
                raise DataError(f"{path}: not a safetensors file of a model: its header is larger than 1 MiB", FIX)
        return safetensors.torch.load_file(path)
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror or error}", FIX) from None
    except safetensors.SafetensorError as error:
        raise DataError(f"{path}: not a safetensors file: {error}", FIX) from None


def _check_tensors(path: Path, expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """Raise DataError with every tensor that is missing, unknown, or of another shape or type."""
    mistakes = [f"{name} is missing" for name in sorted(expected.keys() - found.keys())]
    mistakes += [f"{name} is unknown" for name in sorted(found.keys() - expected.keys())]
    mistakes += [
        f"{name} is {_describe(found[name])}, not {_describe(expected[name])}"
        for name in sorted(expected.keys() & found.keys())
        if _describe(found[name]) != _describe(expected[name])
    ]
    if mistakes:
        raise DataError(f"{path}: doesn't fit {SPEC_FILE}: {_listed(mistakes)}", FIX)


def _listed(mistakes: Sequence[str]) -> str:
    more = len(mistakes) - MAX_MISTAKES
    return "; ".join([*mistakes[:MAX_MISTAKES], *([f"and {more} more"] if more > 0 else [])])


def _describe(tensor: Tensor) -> str:
    return f"{tensor.dtype} {tuple(tensor.shape)}".removeprefix("torch.")
