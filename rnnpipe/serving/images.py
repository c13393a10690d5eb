"""What a model's server is asked, checked before it is passed on: MLflow's own refusals carry all the data."""

import json
import math
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from rnnpipe.data.raw import WHITE
from rnnpipe.evaluation.spec import ModelSpec
from rnnpipe.serving.loopback import Refused

KEYS = ("inputs", "instances")
HOW = 'send {"inputs": [image, …]}'
MAX_SHOWN_KEYS = 5
MAX_VALUES = 16_000_000  # of all series at once, padded


def checked(body: bytes, spec: ModelSpec) -> bytes:
    """Return what a model's server is to be asked; Refused, with the reason, for what doesn't fit the model."""
    if spec.series is not None:
        return padded_series(body, spec)
    check_images(body, spec.shape)
    return body


def padded_series(body: bytes, spec: ModelSpec) -> bytes:
    """Return a request whose series, of up to T steps, are padded to T with NaN; Refused for others."""
    wanted = f"each is a list of {'1 to ' * spec.has_lengths}{spec.steps} steps of {spec.features} numbers"
    given = _images_of(body)
    if len(given) * math.prod(spec.shape) > MAX_VALUES:
        raise Refused(f"{len(given)} series of up to {spec.steps} steps are too many at once; ask for fewer")
    x_NTI = np.full((len(given), *spec.shape), np.nan)
    for place, series in enumerate(given):
        try:
            x_TI = np.array(series)
        except (ValueError, OverflowError):
            raise Refused(f"series {place}: its steps differ in length; {wanted}") from None
        if x_TI.ndim != 2 or x_TI.shape[1] != spec.features or not 1 <= len(x_TI) <= spec.steps:
            raise Refused(f"series {place}: the shape is {list(x_TI.shape)}; {wanted}")
        if len(x_TI) < spec.steps and not spec.has_lengths:
            raise Refused(f"series {place}: it has {len(x_TI)} steps; {wanted}")
        x_NTI[place, : len(x_TI)] = _numbers(x_TI, body)
    if not len(given):
        raise Refused(f"there are no series; {wanted}")
    return json.dumps({"inputs": x_NTI.tolist()}).encode()


def _numbers(values: NDArray[Any], body: bytes) -> NDArray[Any]:
    """Return values if they are numbers: true and false would count as 1 and 0."""
    if values.dtype.kind not in "uif" or b"true" in body or b"false" in body:
        raise Refused("the values are numbers, and something else is among them")
    return values


def check_images(body: bytes, image_shape: tuple[int, ...]) -> None:
    """Raise Refused, with the reason, unless a request holds images of numbers 0..255 of this shape."""
    images = _images_of(body)
    try:
        images_NHW = np.array(images)
    except (ValueError, OverflowError):
        raise Refused(f"the rows or images differ in length; {_wanted(image_shape)}") from None
    if images_NHW.shape[1:] != image_shape or not len(images_NHW):
        raise Refused(f"the shape is {list(images_NHW.shape)}; {_wanted(image_shape)}")
    # true and false would count as 1 and 0; in what is well formed these words stand nowhere
    if images_NHW.dtype.kind not in "uif" or b"true" in body or b"false" in body:
        raise Refused(f"pixels are numbers from 0 to {WHITE}, and something else is among them")
    if not 0 <= images_NHW.min() <= images_NHW.max() <= WHITE:
        raise Refused(
            f"pixels are numbers from 0 to {WHITE}; these reach from {images_NHW.min():g} to {images_NHW.max():g}"
        )


def _images_of(body: bytes) -> Any:
    try:
        document = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise Refused(f"not JSON: {error}; {HOW}") from None
    if not isinstance(document, dict):
        raise Refused(f"the JSON is no object; {HOW}")
    if len(document) != 1 or not document.keys() <= set(KEYS):
        keys = ", ".join(str(key)[:20] for key in list(document)[:MAX_SHOWN_KEYS])
        raise Refused(f"the object has the keys: {keys or '(none)'}; {HOW}, and nothing else")
    (images,) = document.values()
    if not isinstance(images, list):
        raise Refused(f"the images are no list; {HOW}")
    return images


def _wanted(image_shape: tuple[int, ...]) -> str:
    height, width, *channels = image_shape
    of_each = " of red, green and blue" if channels else ""
    shape = ", ".join(map(str, image_shape))
    return f"it has to be [N, {shape}]: N images of {height} rows of {width} pixels{of_each}"


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
