"""Several variants at once: side by side with one thread each, beside one after the other with all cores' threads.

Each variant has a process of its own that waits for orders, so that starting it is in no figure. As in a run, no
more of them work at once than there are cores.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from matplotlib.figure import Figure

from benchmarks.conditions import closing, conditions, not_measured
from benchmarks.loops import BATCH, PipelineLoop, network_with, spec_of, synthetic_images, with_threads_for
from benchmarks.page import cell
from benchmarks.rounds import Contender, load_of, summarize, take_turns
from benchmarks.style import draw_bars, figure_with_axes
from benchmarks.suite import ROOT, Plan, Result
from rnnpipe.processes.slots import cpu_cores
from rnnpipe.runtime import set_threads

NAME = "parallel"
PLACE = 7
JOBS: tuple[tuple[str, ...], ...] = (("gru", "lstm"), ("rnn", "gru", "lstm"), ("gru",) * 4)
QUICK_JOBS = (("rnn", "gru"),)
KERNELS = {"torch": "torch's kernels", "compiled": "compiled kernels"}
REFERENCE, OTHER = "one after the other", "side by side"
UPDATES, QUICK_UPDATES = 40, 3


class Worker:
    """The process of a variant; `absent` says by kernels why it can't train with them."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.absent: dict[str, str] = json.loads(self._answer())

    def train(self, kernels: str, threads: int) -> None:
        """Have it make its updates."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{kernels} {threads}\n")
        self._process.stdin.flush()
        self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        assert answer, "the process of a variant has ended"
        return answer


@contextmanager
def working(variant: str, updates: int) -> Iterator[Worker]:
    """Yield the process of a variant that makes so many updates at each order; it ends with the block."""
    command = [sys.executable, "-m", "benchmarks.parallel", variant, str(updates)]
    with subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield Worker(process)


def work(variant: str, updates: int) -> None:
    """Train as each line of the input says, "KERNELS THREADS", and answer with a line."""
    torch.set_flush_denormal(True)  # as in rnnpipe's trainings
    images, loops, absent = synthetic_images(updates * BATCH), dict[str, PipelineLoop](), dict[str, str]()
    for kernels in KERNELS:
        network, reason = network_with(spec_of(variant), kernels)
        if network is None:
            absent[kernels] = reason
        else:
            loops[kernels] = PipelineLoop(network, variant, images)
    print(json.dumps(absent), flush=True)
    for line in sys.stdin:
        kernels, threads = line.split()
        set_threads(int(threads))
        with_threads_for(loops[kernels].network, loops[kernels].train)()
        print("done", flush=True)


def measure(plan: Plan) -> Result:
    """Return for each job (some variants) and kernels the seconds of both ways, round by round."""
    total, updates = plan.threads or cpu_cores(), QUICK_UPDATES if plan.quick else UPDATES
    cases: list[dict[str, Any]] = []
    absent: dict[str, str] = {}
    for job in QUICK_JOBS if plan.quick else JOBS:
        with ExitStack() as stack:
            workers = [stack.enter_context(working(name, updates)) for name in job]
            absent |= {kernels: why for worker in workers for kernels, why in worker.absent.items()}
            cases += [
                measure_case(workers, {"job": " + ".join(job), "kernels": kernels}, total, plan)
                for kernels in KERNELS
                if kernels not in absent
            ]
    return {
        "conditions": conditions([total, 1], batch_size=BATCH, updates=updates, precision="fp32"),
        "load": load_of(each for case in cases for each in case["rounds"]),
        "absent": absent,
        "cases": cases,
        "summary": {f"{case['job']}, {case['kernels']}": case["summary"] for case in cases},
    }


def measure_case(workers: list[Worker], case: dict[str, str], total: int, plan: Plan) -> dict[str, Any]:
    """Return the rounds of a job on so many cores, and their summary."""

    def contender(at_once: int, threads: int) -> Contender:
        def train() -> None:
            with ThreadPoolExecutor(at_once) as pool:
                list(pool.map(lambda worker: worker.train(case["kernels"], threads), workers))

        return train

    contenders = {REFERENCE: contender(1, total), OTHER: contender(total, 1)}
    for warm_up in contenders.values():
        warm_up()
    rounds = take_turns(contenders, plan.rounds, f"{case['job']}, {case['kernels']}")
    return {**case, "rounds": rounds, "summary": summarize(rounds, REFERENCE)}


def ratios(result: Result) -> dict[str, dict[str, float]]:
    """Return how many times as fast as one after the other it is side by side."""
    return {f"{case['job']} {case['kernels']}": case["summary"]["ratio"][OTHER] for case in result["cases"]}


def section(result: Result) -> str:
    """Return the section: what was compared, a table, what was absent, and the load."""
    known = result["conditions"]
    rows = [
        f"| {case['job']} | {KERNELS[case['kernels']]} | {' | '.join(_cells(case['summary']))} |"
        for case in result["cases"]
    ]
    absent = [(KERNELS[kernels], why) for kernels, why in result["absent"].items()]
    return f"""## Several variants at once

Seconds until all variants of a job are trained: one after the other with {known["threads"][0]} threads, and side
by side with one thread each, at most as many at once as there are threads in the other case. Each makes
{known["updates"]} updates of {known["batch_size"]} images, in the tutorial's size; processes have started before.

| job | computed by | {REFERENCE} | {OTHER} | times as fast |
|---|---|---|---|---|
{chr(10).join(rows)}

{not_measured(absent)}

![Times the speed of one after the other](parallel_speed.png)

{closing(result)}
"""


def figures(result: Result) -> dict[str, Figure]:
    """Return one figure: ratios to one after the other, a group of bars for each job."""
    figure, (axes,) = figure_with_axes(title="Side by side beside one after the other: median and range")
    found = {(case["job"], case["kernels"]): case["summary"]["ratio"][OTHER] for case in result["cases"]}
    jobs = list(dict.fromkeys(job for job, _ in found))
    series = {text: [found.get((job, kernels)) for job in jobs] for kernels, text in KERNELS.items()}
    draw_bars(axes, jobs, {text: spreads for text, spreads in series.items() if any(spreads)})
    axes.axhline(1, color="#666666", linewidth=0.8)
    axes.set_ylabel("times the speed")
    axes.legend(frameon=False, fontsize=8)
    return {"parallel_speed": figure}


def _cells(summary: dict[str, Any]) -> list[str]:
    return [
        *(cell(summary["wall_s"][name]) for name in (REFERENCE, OTHER)),
        f"**{cell(summary['ratio'][OTHER])}**",
    ]


if __name__ == "__main__":
    work(sys.argv[1], int(sys.argv[2]))
