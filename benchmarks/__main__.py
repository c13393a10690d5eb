"""`python -m benchmarks`: measures one by one, writes results and page, tells what got slower."""

import subprocess
import sys
import tempfile
from pathlib import Path

import click

from benchmarks.page import write_page
from benchmarks.regressions import compare
from benchmarks.rounds import MIN_ROUNDS, load_sentence
from benchmarks.suite import (
    ROOT,
    Plan,
    Result,
    committed_result,
    find_benchmarks,
    machine_of,
    read_results,
    result_path,
)
from rnnpipe.files import read_json, write_json


@click.command()
@click.argument("names", nargs=-1)
@click.option("--only", multiple=True, metavar="NAME", help="Measure just this; may be given several times.")
@click.option("--quick", is_flag=True, help="Smallest sizes; prints what it finds and writes nothing.")
@click.option("--threads", type=click.IntRange(1), help="CPU threads (default: what each benchmark compares).")
@click.option("--rounds", type=click.IntRange(MIN_ROUNDS), default=MIN_ROUNDS, show_default=True, help="Repeats.")
@click.option("--page", "only_page", is_flag=True, help="Measure nothing, write the page from the results.")
@click.option("--here", type=click.Path(path_type=Path), hidden=True)
def main(
    *,
    names: tuple[str, ...],
    only: tuple[str, ...],
    quick: bool,
    threads: int | None,
    rounds: int,
    only_page: bool,
    here: Path | None,
) -> None:
    """Measure the benchmarks NAMES (without one, all but those that take hours), each in a process of its own.

    NAMES are recipes, training, limit, parallel, evaluation, growth, overhead, accuracy, patience (hours), long,
    resuming, scale (an hour). Results and page in docs/ are written anew; with --threads they have these alone.
    """
    found, plan, wanted = find_benchmarks(), Plan(quick, threads, rounds), names + only
    if unknown := [name for name in wanted if name not in found]:
        raise click.UsageError(f"there is no benchmark {unknown[0]!r}; there are {', '.join(found)}")
    if here is not None:
        write_json(here, found[wanted[0]].measure(plan))
        return
    told: list[str] = []
    failed = False
    usual = tuple(name for name, each in found.items() if not getattr(each, "ON_REQUEST", False))
    for name in () if only_page else wanted or usual:
        try:
            result = measure_alone(name, plan)
        except subprocess.CalledProcessError as error:
            told.append(f"{name}: FAILED, see above (exit code {error.returncode})")
            failed = True
            continue
        machine = machine_of(result)
        before = committed_result(name, machine)
        told += [f"{name}: {load_sentence(result['load'])}"] if "load" in result else []
        if quick:
            told.append(f"{name}: quick, and not compared")
            click.echo(found[name].section(result))
        else:
            told += compare(found[name], before, result)
            write_json(result_path(name, machine), result)
    if not quick:
        click.echo(f"wrote docs/{', docs/'.join(write_page(found, read_results(found), ROOT / 'docs'))}")
    click.echo("\n".join(told))
    sys.exit(int(failed))


def measure_alone(name: str, plan: Plan) -> Result:
    """Measure one benchmark in a fresh process, so that none finds what another left warm; return its result."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "result.json"
        command = [sys.executable, "-m", "benchmarks", name, "--here", str(path), "--rounds", str(plan.rounds)]
        command += ["--quick"] * plan.quick + (["--threads", str(plan.threads)] if plan.threads else [])
        subprocess.run(command, cwd=ROOT, check=True)
        result: Result = read_json(path)
        return result


if __name__ == "__main__":
    main()
