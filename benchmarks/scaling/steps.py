"""Today, and ten, a thousand and a hundred thousand times as much: plain arithmetic on the measured figures."""

from typing import Any

from benchmarks.scaling.tables import size_text, table, time_text

TRAININGS, IMAGES, USERS = 100, 70_000, 1
FACTORS = (1, 10, 1_000, 100_000)
IMAGE_BYTES = 28 * 28  # of MNIST, as the store keeps it
LOOKS_PER_S = 1 / 60  # a page a minute and user, while all of them are at work


def steps_table(result: dict[str, Any]) -> str:
    """Return what each step means for databases, files and servers."""
    bytes_a_run, hashed_s = _bytes_a_run(result), _hashing_s(result)
    most, written = _best(result, "comparison"), _best(result, "log 6 points")
    heads = ["", *("today" if factor == 1 else f"{factor:,} times" for factor in FACTORS)]
    rows = [
        ["trainings in MLflow", *(f"{TRAININGS * factor:,}" for factor in FACTORS)],
        ["its database", *(size_text(bytes_a_run * TRAININGS * factor) for factor in FACTORS)],
        ["images of 28 x 28", *(f"{IMAGES * factor:,}" for factor in FACTORS)],
        ["their file in the store", *(size_text(IMAGE_BYTES * IMAGES * factor) for factor in FACTORS)],
        ["verified by each run in", *(time_text(hashed_s * IMAGES * factor) for factor in FACTORS)],
        ["users", *(f"{USERS * factor:,}" for factor in FACTORS)],
        ["pages a second, one a minute and user", *(f"{USERS * factor * LOOKS_PER_S:,.3g}" for factor in FACTORS)],
        [
            "machines like this one for MLflow's pages alone",
            *(_machines(USERS * factor * LOOKS_PER_S / most["per_s"]) for factor in FACTORS),
        ],
    ]
    note = (
        f"Machines: the best that was measured for the comparison with {most['size']:,} runs in one experiment is"
        f" {most['per_s']:.1f} a second ({most['backend']}). Epochs of trainings: at most {written['per_s']:.0f} a"
        f" second ({written['backend']}). The last column is nothing that was measured; images are read in"
        f" batches from a file that is mapped, not loaded, so that memory doesn't grow with them."
    )
    return f"{table(heads, rows)}\n\n{note}"


def _best(result: dict[str, Any], asked: str) -> dict[str, Any]:
    """Return what the quickest of MLflow's servers gave many clients, if possible without an error."""
    known = [each for each in result["crowds"] if each["asked"] == asked]
    found = [each for each in known if not each["errors"]] or known
    return dict(max(found, key=lambda each: float(each["per_s"])))


def _bytes_a_run(result: dict[str, Any]) -> float:
    """Return what one more training takes in the largest database."""
    cases = [case for case in result["cases"] if case["part"] == "mlflow"]
    largest = max(cases, key=lambda case: (case["size"], case["backend"] == "Postgres"))
    same = [case for case in cases if case["backend"] == largest["backend"]]
    smallest = min(same, key=lambda case: int(case["size"]))
    return float((largest["bytes"] - smallest["bytes"]) / (largest["size"] - smallest["size"]))


def _hashing_s(result: dict[str, Any]) -> float:
    """Return the seconds for an image."""
    (case,) = (case for case in result["cases"] if case["backend"] == "file")
    (each,) = case["summary"].values()
    return float(each["median"] / case["size"] * IMAGE_BYTES)


def _machines(share: float) -> str:
    return "less than one" if share < 1 else f"{share:,.0f}"
