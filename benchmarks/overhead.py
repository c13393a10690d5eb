"""What the pipeline costs beside the bare training loop: in seconds a run, and in percent of the training.

A whole `rnnpipe run` in a fresh workspace and the bare loop take turns, with a short training and a long one: the
straight line through both tells the fixed seconds from what grows with the training. Then the same command runs
again, when nothing has changed.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml
from matplotlib.figure import Figure

from benchmarks import starts
from benchmarks.conditions import closing, conditions
from benchmarks.page import cell
from benchmarks.rounds import Contender, Spread, load_of, spread, summarize, take_turns
from benchmarks.runs import EXPORT, LOOP, READ_BACK, START, Workspace, adopt_orphans
from benchmarks.style import draw_bars, figure_with_axes
from benchmarks.suite import ROOT, Plan, Result
from rnnpipe.config import load_config
from rnnpipe.files import read_json, write_json

NAME = "overhead"
PLACE = 8
CONFIG = ROOT / "configs/mnist.yaml"
VARIANT = "gru"
EPOCHS = {"short": 1, "long": 6}
QUICK = {"data.name": "digits", "registry.minimum_accuracy": "0"}
SHARE_LIMIT, FIXED_LIMIT_S, UNCHANGED_LIMIT_S = 0.05, 15.0, 8.0


def measure(plan: Plan) -> Result:
    """Return the seconds of bare loop and whole run for both lengths, by round, and the parts of each run."""
    adopt_orphans()
    runs: list[dict[str, Any]] = []
    overrides = _overrides(plan)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        first = Workspace(_folder_in(folder))
        first.run(CONFIG, _with_epochs(overrides, "short"))  # brings the images, and the files into memory
        contenders: dict[str, Contender] = {}
        for length in EPOCHS:
            asked = _with_epochs(overrides, length)
            contenders[f"bare {length}"] = _bare(folder, first.entry("sequences"), asked)
            contenders[f"run {length}"] = _whole(folder, first.home / "downloads", asked, runs)
        rounds = take_turns(contenders, plan.rounds, NAME)
        starting = take_turns(starts.contenders(folder), plan.rounds, f"{NAME}, what a run starts")
    alone_s = {name: spread(each["wall_s"][name] for each in starting) for name in starting[0]["wall_s"]}
    return {
        "conditions": conditions(plan.threads or 1, variant=VARIANT, epochs=EPOCHS, overrides=overrides),
        "load": load_of([*rounds, *starting]),
        "rounds": rounds,
        "runs": runs,
        "starts": starting,
        "summary": {**summarize(rounds, "bare long"), **solve(rounds), **_of_runs(runs), "starts_s": alone_s},
    }


def solve(rounds: Sequence[dict[str, Any]]) -> dict[str, Spread]:
    """Return the fixed seconds and the share of the bare loop's time that grows, each solved round by round.

    With bare loop b and run r (seconds) of both lengths, r = b + share * b + fixed.
    """
    share, fixed_s, added_s = [], [], []
    for each in rounds:
        bare_s, run_s = ([each["wall_s"][f"{kind} {length}"] for length in EPOCHS] for kind in ("bare", "run"))
        share.append((run_s[1] - run_s[0]) / (bare_s[1] - bare_s[0]) - 1)
        fixed_s.append(run_s[0] - (1 + share[-1]) * bare_s[0])
        added_s.append(run_s[1] - bare_s[1])
    return {"share": spread(share), "fixed_s": spread(fixed_s), "added_s": spread(added_s)}


def _of_runs(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the parts of the short runs (seconds), fresh and unchanged, and the seconds of all unchanged ones."""
    short = [run for run in runs if run["epochs"] == EPOCHS["short"]]
    parts = {
        kind: {name: spread(run[kind][name] for run in short) for name in short[0][kind]}
        for kind in ("parts_s", "unchanged_parts_s")
    }
    return {**parts, "unchanged_s": spread(run["unchanged_s"] for run in runs)}


def _overrides(plan: Plan) -> dict[str, str]:
    """Return what differs from the shipped config: one variant, the threads, and quick ones' small images."""
    shipped = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    chosen = [each for each in shipped["variants"] if each["name"] == VARIANT]
    return {
        "variants": yaml.safe_dump(chosen, default_flow_style=True).strip(),
        "execution.threads": str(plan.threads or 1),
        **(QUICK if plan.quick else {}),
    }


def _with_epochs(overrides: dict[str, str], length: str) -> dict[str, str]:
    return {**overrides, "training.epochs": str(EPOCHS[length])}


def _folder_in(folder: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=folder))


def _bare(folder: Path, sequences: Path, overrides: dict[str, str]) -> Callable[[], float]:
    """Return what trains in a fresh process, and returns the seconds of the loop without that process' imports."""
    config, result = _folder_in(folder) / "config.json", _folder_in(folder) / "result.json"
    asked = [f"{name}={value}" for name, value in overrides.items()]
    write_json(config, load_config(CONFIG, asked).model_dump(mode="json"))

    def train() -> float:
        command = [sys.executable, "-m", "benchmarks.bare", str(sequences), str(config), str(result)]
        subprocess.run(command, check=True, cwd=ROOT)
        return float(read_json(result)["train_s"])

    return train


def _whole(
    folder: Path, downloads: Path, overrides: dict[str, str], runs: list[dict[str, Any]]
) -> Callable[[], float]:
    """Return what runs the pipeline in a fresh workspace, and again; `runs` gets the parts of both."""

    def run() -> float:
        with tempfile.TemporaryDirectory(dir=folder) as name:
            workspace = Workspace(Path(name), downloads)
            wall_s, parts_s = workspace.run(CONFIG, overrides)
            unchanged_s, unchanged_parts_s = workspace.run(CONFIG, overrides)
        epochs = int(overrides["training.epochs"])
        runs.append({
            "epochs": epochs, "wall_s": wall_s, "parts_s": parts_s,
            "unchanged_s": unchanged_s, "unchanged_parts_s": unchanged_parts_s,
        })  # fmt: skip
        return wall_s

    return run


def section(result: Result) -> str:
    """Return the section: fixed seconds and share beside their goals, and where the fixed seconds go."""
    known, summary = result["conditions"], result["summary"]
    fresh, again = summary["parts_s"], summary["unchanged_parts_s"]
    rows = [
        f"| {name} | {cell(fresh[name], 2)} | {cell(again[name], 2) if name in again else '-'} |"
        for name in sorted(fresh, key=lambda name: -fresh[name]["median"])
        if name != LOOP
    ]
    in_all = f"with {known['epochs']['long']} epochs, s (goal: {FIXED_LIMIT_S:g} s and {100 * SHARE_LIMIT:g} %)"
    goal_s = FIXED_LIMIT_S + SHARE_LIMIT * summary["wall_s"]["bare long"]["median"]
    return f"""## What the pipeline costs

`rnnpipe run configs/mnist.yaml` with `{known["variant"]}` alone, in a fresh workspace, beside the bare loop: the
same net, images, epochs and validation, without Prefect, MLflow, journal, checkpoints and test. Both trained
{known["epochs"]["short"]} and {known["epochs"]["long"]} epochs with {known["threads"]} thread in each of the
{len(result["rounds"])} rounds; the images were downloaded before.{_quickly(known["overrides"])}

| | measured | goal |
|---|---|---|
| fixed, s a run | {cell(summary["fixed_s"], 1)} | {FIXED_LIMIT_S:g} |
| growing, % of the training | {cell(summary["share"], 1, 100)} | {100 * SHARE_LIMIT:g} |
| {in_all} | {cell(summary["added_s"], 1)} | {goal_s:.1f} |
| a run where nothing changed, s | {cell(summary["unchanged_s"], 1)} | {UNCHANGED_LIMIT_S:g} |

Where the seconds of runs with {known["epochs"]["short"]} epoch go, from Prefect's records. "{START}" is
imports and the start of Prefect's server, one beside the other. "train" is what surrounds the updates: pre-flight,
validation, journal. "{EXPORT}" and "{READ_BACK}" are from MLflow's records.

| part | first run, s | nothing changed, s |
|---|---|---|
{chr(10).join(rows)}

![Seconds of each part](overhead_parts.png)

{_alone(summary.get("starts_s"))}{closing(result)}
"""


def _quickly(overrides: dict[str, str]) -> str:
    """Return what a reader of a quick measurement has to know."""
    images = overrides.get("data.name")
    return f" Here they are {images}: far too few to tell what is fixed from what grows." if images else ""


def _alone(starts_s: dict[str, Spread] | None) -> str:
    """Return the table of what a run starts."""
    if starts_s is None:  # measured before they were
        return ""
    rows = [f"| {name} | {cell(starts_s[name], 2)} |" for name in starts.NAMES if name in starts_s]
    return f"""What a run starts, each in a fresh process and alone. "{START}" has the first three beside each
other; the migration comes once on a machine, the imports for the export half a minute before a training's end.

| alone | s |
|---|---|
{chr(10).join(rows)}

"""


def figures(result: Result) -> dict[str, Figure]:
    """Return one figure: the seconds of each part, of a first run and of one where nothing changed."""
    figure, (axes,) = figure_with_axes(title="What a run costs beside its training, s: median and range")
    series = {
        label: result["summary"][kind]
        for label, kind in (("first run", "parts_s"), ("nothing changed", "unchanged_parts_s"))
    }
    parts = sorted(series["first run"], key=lambda name: -series["first run"][name]["median"])
    parts.remove(LOOP)
    draw_bars(axes, parts, {label: [found.get(name) for name in parts] for label, found in series.items()})
    axes.set_xticks(range(len(parts)), parts, rotation=30, ha="right")
    axes.set_ylabel("s")
    axes.legend(frameon=False, fontsize=8)
    return {"overhead_parts": figure}


def ratios(result: Result) -> dict[str, Spread]:
    """Return the speed of a whole run with the long training beside the bare loop's."""
    return {"whole run": result["summary"]["ratio"]["run long"]}
