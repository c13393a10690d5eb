"""The page on which one draws, and what it asks: who reads, and what they believe of a drawing, step by step."""

from importlib import resources
from typing import Annotated, Any, Self

import numpy as np
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rnnpipe.data.raw import WHITE, Pixels
from rnnpipe.errors import DataError
from rnnpipe.serving.drawing import DRAWING_SIDE, frame_drawing, framing_of
from rnnpipe.serving.loopback import Refused, json_body, new_app
from rnnpipe.serving.readers import Reader, same_images, steps_by_pixel
from rnnpipe.serving.samples import Sample

PAGE = "demo.html"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline';"
    " connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
BYTES_A_PIXEL = 5  # "255, "
NO_SAMPLES = "The images that these nets were trained on are not in this workspace, so there are no samples."


class Question(BaseModel):
    """What is to be read: a drawing of 112 x 112 pixels, which is framed, or an image as the nets take it."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    drawing: list[Annotated[int, Field(ge=0, le=WHITE)]] | None = None
    image: list[Annotated[int, Field(ge=0, le=WHITE)]] | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.drawing is None) == (self.image is None):
            raise ValueError("give either drawing or image")
        return self


class Demo:
    """The nets of a demo, and what it takes to answer for them."""

    def __init__(self, readers: list[Reader], samples: list[Sample]) -> None:
        assert same_images(readers)
        self.readers, self.samples, self.spec = readers, samples, readers[0].spec
        self.framing = framing_of(self.spec.dataset.get("name", ""))
        height, width = self.image_size = self.spec.shape[0], self.spec.shape[1]
        self.most_bytes = BYTES_A_PIXEL * max(height * width, DRAWING_SIDE**2) + 1000

    def facts(self) -> dict[str, Any]:
        """Return what the page has to know before anything is drawn."""
        return {
            "classes": self.spec.classes,
            "image_size": self.image_size,
            "drawing_side": DRAWING_SIDE,
            "steps": self.spec.steps,
            "sequence": self.spec.sequence.name,
            "step_of_pixel": steps_by_pixel(self.spec),
            "framing": self.framing.words,
            "readers": [{"title": each.title, "what": each.what} for each in self.readers],
            "samples": [
                {"label": each.label, "place": each.place, "image": each.image_HW.ravel().tolist()}
                for each in self.samples
            ],
            "samples_note": "" if self.samples else NO_SAMPLES,
        }

    def answer(self, body: bytes) -> dict[str, Any]:
        """Return the image that was read, and what each net believes of it; Refused for anything else."""
        image_HW = self._image_of(body)
        return {"image": image_HW.ravel().tolist(), "readers": [each.read(image_HW) for each in self.readers]}

    def _image_of(self, body: bytes) -> Pixels:
        try:
            question = Question.model_validate_json(body)
        except ValidationError as error:
            raise Refused(_mistake(error)) from None
        if question.image is not None:
            return _pixels("image", question.image, self.image_size)
        assert question.drawing is not None
        drawing = _pixels("drawing", question.drawing, (DRAWING_SIDE, DRAWING_SIDE))
        try:
            return frame_drawing(drawing, self.image_size, self.framing)
        except DataError as error:
            raise Refused(error.message) from None


def demo_app(demo: Demo) -> FastAPI:
    """Return the app: the page, /api/facts and /api/read."""
    app, facts = new_app(), demo.facts()
    page = resources.files(__package__).joinpath(PAGE).read_text(encoding="utf-8")

    @app.get("/")
    async def show() -> HTMLResponse:
        return HTMLResponse(page, headers=HEADERS)

    @app.get("/api/facts")
    async def tell() -> JSONResponse:
        return JSONResponse(facts, headers=HEADERS)

    @app.post("/api/read")
    async def read(request: Request) -> JSONResponse:
        body = await json_body(request, demo.most_bytes)
        return JSONResponse(await run_in_threadpool(demo.answer, body), headers=HEADERS)

    return app


def _pixels(name: str, values: list[int], size: tuple[int, int]) -> Pixels:
    height, width = size
    if len(values) != height * width:
        raise Refused(f"{name}: {len(values)} pixels, not {height} x {width} = {height * width}")
    return np.array(values, np.uint8).reshape(size)


def _mistake(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {first['msg']}" if place else first["msg"]
