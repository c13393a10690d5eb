"""docs/PERFORMANCE.md and its figures, made from the results alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.goals import is_verdict
from benchmarks.style import DPI
from benchmarks.suite import Benchmark, Result
from rnnpipe.files import atomic_path, write_bytes

PAGE = "PERFORMANCE.md"
HEAD = """# Performance

<!-- made by `python -m benchmarks` from benchmarks/results/; change those, not this page -->

Comparisons are measured side by side: the contenders take turns within each round, in one tree of processes, and
ratios are taken round by round. Figures are the median [smallest to largest] of the rounds. Read the ratios:
milliseconds differ from machine to machine and from hour to hour. A round in which other processes, or the host of
a virtual machine, took more than 0.15 cores is called disturbed; where most are, measure again.

`make bench` measures again all but "patience" and "scale": for some hours on two cores, a section for minutes or
up to an hour. It needs MNIST (the network, or `RNNPIPE_MIRRORS`) and, for the compiled kernels, a C compiler. At
the end it prints a line for each ratio that fell by more than 5 % and out of the range of the last committed ones
of the same kind of machine. Every round stands in `benchmarks/results/`, a folder for each kind. Text and figures
below are of the newest results; tables of other machines stand beneath.
"""


def page_text(found: Mapping[str, Benchmark], results: Mapping[str, Sequence[Result]]) -> str:
    """Return the page: a section for each benchmark; one without a result is said to be missing."""
    sections = [
        _section(benchmark, results[name]) if name in results else _missing(name)
        for name, benchmark in found.items()
    ]
    return "\n\n".join([HEAD.strip(), *sections]) + "\n"


def write_page(found: Mapping[str, Benchmark], results: Mapping[str, Sequence[Result]], folder: Path) -> list[str]:
    """Write the page, the figures and the pages that benchmarks have of their own; return the files' names."""
    written = [PAGE]
    for name, (newest, *_) in results.items():
        draw = getattr(found[name], "figures", None)
        for stem, figure in (draw(newest) if draw else {}).items():
            with atomic_path(folder / f"{stem}.png") as temporary:
                figure.savefig(temporary, format="png", dpi=DPI)
            written.append(f"{stem}.png")
        make = getattr(found[name], "pages", None)
        for file, text in (make(newest) if make else {}).items():
            write_bytes(folder / file, text.encode())
            written.append(file)
    write_bytes(folder / PAGE, page_text(found, results).encode())
    return written


def _section(benchmark: Benchmark, results: Sequence[Result]) -> str:
    """Return the newest result's section, and of other machines' the tables and the conditions."""
    newest, *others = results
    heading, *paragraphs = _paragraphs(benchmark.section(newest))
    return "\n\n".join(
        [heading, *paragraphs, again(benchmark.NAME), *(_tables(benchmark.section(each)) for each in others)]
    )


def _tables(section: str) -> str:
    *paragraphs, conditions = _paragraphs(section)
    told = (each for each in paragraphs if each.startswith("|") or "Not measured" in each or is_verdict(each))
    return "\n\n".join([*told, conditions])


def _paragraphs(section: str) -> list[str]:
    return [each.strip("\n") for each in section.split("\n\n") if each.strip("\n")]


def _missing(name: str) -> str:
    return f"## {name.capitalize()}\n\nNot measured yet: `make bench ONLY={name}`."


def again(name: str) -> str:
    """Return the line that says how a section is measured again."""
    return f"Again: `make bench ONLY={name}`."


def cell(values: Mapping[str, float], digits: int = 2, factor: float = 1.0) -> str:
    """Return median and range for a table, in units of 1 / factor; the median alone where all look like it."""
    median, low, high = (f"{factor * values[key]:,.{digits}f}" for key in ("median", "min", "max"))
    return median if low == high else f"{median} [{low} to {high}]"
