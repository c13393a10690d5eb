"""How accurate the recipe for long trainings gets: half an hour and more for each of its six nets."""

from matplotlib.figure import Figure

from benchmarks.accuracy import Case, figures_under, measure_cases, section_under
from benchmarks.suite import Plan, Result

NAME, HEADING = "patience", "Accuracy with patience"
PLACE = 9
ON_REQUEST = True
CASE = Case("`mnist-long.yaml`, 28 epochs", "mnist-long.yaml", ("gru", "lstm"), seeds=3)


def measure(plan: Plan) -> Result:
    """Return for each variant the test accuracy of each seed."""
    return measure_cases([CASE], plan)


def section(result: Result) -> str:
    """Return the section: a table of the variants."""
    return section_under(HEADING, result)


def figures(result: Result) -> dict[str, Figure]:
    """Return one figure: a row for each variant, a dot for each seed."""
    return figures_under(HEADING, result)
