"""Python imports this by itself at its start: it has every process of a command write down what costs time.

One line each, to the file that WATCHED names: the modules a command's own process imports, the programs that any
of its processes start.
"""

import os
import sys
from pathlib import Path

HEAVY = {"torch", "torchvision", "matplotlib", "sklearn", "scipy", "mlflow", "prefect"}


def watch(event: str, arguments: tuple[object, ...]) -> None:
    """Take an audit event."""
    is_command = sys.orig_argv[1:3] == ["-m", "rnnpipe"]
    if event == "import" and is_command and arguments[0] in HEAVY:
        line = f"imports {arguments[0]}"
    elif event == "subprocess.Popen":
        line = f"starts {arguments[1]!r}".replace("\n", " ")
    else:
        return
    with Path(os.environ["WATCHED"]).open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")


if "WATCHED" in os.environ:
    sys.addaudithook(watch)
