"""What a model's server is asked, checked before it is passed on: MLflow's own refusals carry all the data."""

import json
from typing import Any, NoReturn

import numpy as np

from rnnpipe.data.raw import WHITE
from rnnpipe.serving.loopback import Refused

KEYS = ("inputs", "instances")
HOW = 'send {"inputs": [image, …]}'
MAX_SHOWN_KEYS = 5


def check_images(body: bytes, image_size: tuple[int, int]) -> None:
    """Raise Refused, with the reason, unless a request holds images of numbers 0..255 of this size."""
    images = _images_of(body)
    try:
        images_NHW = np.array(images)
    except (ValueError, OverflowError):
        raise Refused(f"the rows or images differ in length; {_wanted(image_size)}") from None
    if images_NHW.shape[1:] != image_size or not len(images_NHW):
        raise Refused(f"the shape is {list(images_NHW.shape)}; {_wanted(image_size)}")
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


def _wanted(image_size: tuple[int, int]) -> str:
    height, width = image_size
    return f"it has to be [N, {height}, {width}]: N images of {height} rows of {width} pixels"


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
