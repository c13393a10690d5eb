"""The front of MLflow's model server: checks what is asked, and passes it on to the server that answers now."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response

from rnnpipe.serving.images import checked
from rnnpipe.serving.instances import DRAIN_TIMEOUT_S, Current, Instance
from rnnpipe.serving.loopback import JSON, Refused, json_body, new_app

MAX_BYTES = 32 << 20  # some ten thousand of MNIST's images
ATTEMPTS = 2  # the other side may close a kept connection just when it is used; asking again changes nothing
LIMITS = httpx.Limits(max_connections=100, keepalive_expiry=2.0)  # MLflow's server closes kept ones after five
MODEL_HEADER = "X-Model"
TOO_LONG = f"no answer within {DRAIN_TIMEOUT_S:.0f} s; ask for fewer images at once"
AGAIN = "the model's server is not there; ask again in some seconds"


def front_app(current: Current) -> FastAPI:
    """Return the app: /invocations as MLflow has it, /ping and /health, and /model, which says who answers."""

    @asynccontextmanager
    async def connected(app: FastAPI) -> AsyncIterator[None]:
        async with httpx.AsyncClient(timeout=DRAIN_TIMEOUT_S, trust_env=False, limits=LIMITS) as client:
            app.state.client = client
            yield

    app = new_app(connected)

    @app.post("/invocations")
    async def invoke(request: Request) -> Response:
        body = await json_body(request, MAX_BYTES)
        for _ in range(ATTEMPTS):
            with current.held() as instance:
                passed = await run_in_threadpool(checked, body, instance.spec)
                try:
                    return await _pass_on(app.state.client, instance, passed)
                except httpx.TimeoutException:
                    raise Refused(TOO_LONG, 504) from None
                except httpx.TransportError:
                    continue
        raise Refused(AGAIN, 503)

    @app.get("/ping")
    @app.get("/health")
    async def ping() -> Response:
        if not await run_in_threadpool(lambda: current.instance.is_alive):
            raise Refused(AGAIN, 503)
        return Response("\n", media_type=JSON)

    @app.get("/model")
    async def model() -> JSONResponse:
        version, spec = current.instance.version, current.instance.spec
        return JSONResponse(
            {
                "uri": version.uri, "variant": spec.variant.label, "image_size": spec.image_size,
                "shape": spec.shape, "classes": spec.classes,
            }
        )  # fmt: skip

    return app


async def _pass_on(client: httpx.AsyncClient, instance: Instance, body: bytes) -> Response:
    """Return MLflow's answer; where it refuses, only the first line of why."""
    answer = await client.post(f"{instance.address}/invocations", content=body, headers={"Content-Type": JSON})
    if not answer.is_success:
        raise Refused(_reason(answer), answer.status_code if answer.is_client_error else 502)
    return Response(answer.content, media_type=JSON, headers={MODEL_HEADER: instance.version.uri})


def _reason(answer: httpx.Response) -> str:
    try:
        text = str(json.loads(answer.content)["message"])
    except (ValueError, KeyError, TypeError):
        text = answer.text
    return f"MLflow: {text.strip().partition(chr(10))[0] or answer.reason_phrase}"
