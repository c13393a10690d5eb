"""Whether new training images differ from those that the champion was trained on, and in what.

Compared are profiles: the share of each class, the grey levels of each image row and column (population stability
index), and the brightness of each class' image rows (Cohen's d), which shows images with the wrong labels.

Shapes: N images, K classes, H image rows, B bins.
"""

import math
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnnpipe.data.profile import Profile
from rnnpipe.data.raw import WHITE
from rnnpipe.references import Reference

PSI_LIMITS = (0.1, 0.25)
D_LIMITS = (0.5, 0.8)
FALSE_ALARMS = 0.01  # how often a comparison of images of the same kind may find anything at all
STEADY = 5 / WHITE  # a row's brightness varies by this at least; else a speck in an empty row would count
MAX_SHOWN = 100

Floats = NDArray[np.float64]


class Level(StrEnum):
    """How much has changed."""

    STABLE = "stable"
    MODERATE = "moderate"
    MAJOR = "major"


class Finding(Reference):
    """One comparison: `before` and `after` are a class' share of the images, or a row's brightness (0 to 1)."""

    kind: Literal["labels", "class", "row", "column"]
    subject: str
    before: float | None = None
    after: float | None = None
    measure: Literal["PSI", "d"]
    value: float
    level: Level
    note: str = ""


class DriftReport(Reference):
    """Everything that was compared; `champion` names the version, `before` and `after` count the images."""

    format: Literal["rnnpipe-drift-1"] = "rnnpipe-drift-1"
    champion: str
    before: int
    after: int
    findings: tuple[Finding, ...]

    @classmethod
    def of(cls, new: Profile, old: Profile, champion: str) -> Self:
        """Compare the profiles of new images and of the champion's, which are of the same size."""
        findings = (_labels(new, old), *_classes(new, old), *_lines("row", new, old), *_lines("column", new, old))
        return cls(champion=champion, before=old.total, after=new.total, findings=findings)

    @property
    def drifted(self) -> list[Finding]:
        """What has changed."""
        return [finding for finding in self.findings if finding.level is not Level.STABLE]

    @property
    def level(self) -> Level:
        """The level of what has changed most."""
        return max((finding.level for finding in self.findings), key=list(Level).index)

    @property
    def sentence(self) -> str:
        """The outcome in words."""
        if self.level is Level.STABLE:
            return f"stable: the {self.after:,} images are of the kind that {self.champion} was trained on"
        parts = [part for kind in ("labels", "class", "row", "column") if (part := self._told(kind))]
        return f"{self.level} against the images of {self.champion}: {'; '.join(parts)}"

    def markdown(self) -> str:
        """Return the report as a page: the sentence, and a table of all comparisons, or of what has changed."""
        shown = self.findings if len(self.findings) <= MAX_SHOWN else self.drifted[:MAX_SHOWN]
        rows = [
            f"| {_cell(f.subject)} | {_figure(f.before)} | {_figure(f.after)} | {f.measure} {f.value:.3f}"
            f" | {f.level} | {_cell(f.note)} |"
            for f in shown
        ]
        left_out = len(self.findings) - len(shown)
        about = (
            f"{_cell(self.sentence)}.\n\nChampion's images: {self.before:,}; new images: {self.after:,}."
            " Of a class the figures are its share, of a row or column of pixels its brightness (0 to 1)."
        )
        head = "| what | champion's | new | measure | drift | |\n|---|---|---|---|---|---|"
        foot = f"\n{left_out} comparisons are left out." if left_out else ""
        return "\n".join([f"# Drift: {self.level}\n\n{about}\n\n{head}", *rows, foot])

    def _told(self, kind: str) -> str:
        """Return in words what has changed among the findings of one kind, the most first."""
        of_kind = [finding for finding in self.findings if finding.kind == kind]
        found = [finding for finding in of_kind if finding.level is not Level.STABLE]
        if not found:
            return ""
        worst = max(found, key=lambda finding: finding.value)
        figure = f"{worst.measure} {worst.value:.2f}"
        note = f", {worst.note}" if worst.note else ""
        if kind == "labels":
            return f"shares of the classes ({figure}{note})"
        several = {"class": "classes", "row": "image rows", "column": "image columns"}[kind]
        return f"{len(found)} of {len(of_kind)} {several}, most {worst.subject} ({figure}{note})"


def stability_index(before_B: ArrayLike, after_B: ArrayLike) -> float:
    """Return the population stability index of two counts: Σ (after - before) · ln(after / before), of shares.

    Half a count is added to each bin, as an empty one has no logarithm. By convention below 0.1 nothing has
    changed, and above 0.25 much has. Source: N. Siddiqi, “Credit Risk Scorecards”, 2006.
    """
    before, after = (_shares(np.asarray(counts, dtype=np.float64)) for counts in (before_B, after_B))
    return float(((after - before) * np.log(after / before)).sum())


def stability_noise(bins: int, before: int, after: int, comparisons: int) -> float:
    """Return the index that samples of `before` and `after` items of one kind stay below, in all comparisons.

    For these it is distributed as chi-square with B - 1 degrees of freedom, times 1/before + 1/after. Source:
    B. Yurdakul, “Statistical properties of population stability index”, Western Michigan University, 2018.
    """
    from scipy.stats import chi2  # slow to import, and reading a report needs none of it

    return float(chi2.ppf(1 - FALSE_ALARMS / comparisons, bins - 1)) * (1 / before + 1 / after)


def _labels(new: Profile, old: Profile) -> Finding:
    """Compare the shares of the classes; those that only one side has count as empty on the other."""
    before, after = _by_class(old, old.images), _by_class(new, new.images)
    names = list(dict.fromkeys([*old.classes, *new.classes]))
    value = stability_index([before.get(name, 0) for name in names], [after.get(name, 0) for name in names])
    noise = stability_noise(len(names), old.total, new.total, _comparisons(old))
    added = [name for name in names if after.get(name) and not before.get(name)]
    return Finding(
        kind="labels", subject="shares of the classes", measure="PSI", value=value,
        level=_level(value, PSI_LIMITS, noise), note=f"new: {', '.join(added)}" if added else "",
    )  # fmt: skip


def _lines(kind: Literal["row", "column"], new: Profile, old: Profile) -> list[Finding]:
    """Compare the grey levels of each image row or column. Its pixels go together: images count as the sample."""
    tables = [(each.row_levels if kind == "row" else each.column_levels) for each in (old, new)]
    noise = stability_noise(len(tables[0][0]), old.total, new.total, _comparisons(old))
    findings = []
    for number, (before, after) in enumerate(zip(*tables, strict=True)):
        value = stability_index(before, after)
        findings.append(
            Finding(
                kind=kind, subject=f"{kind} {number}", before=_brightness(before), after=_brightness(after),
                measure="PSI", value=value, level=_level(value, PSI_LIMITS, noise),
            )
        )  # fmt: skip
    return findings


def _classes(new: Profile, old: Profile) -> list[Finding]:
    """Compare how the images of each class look: of all rows, the one whose brightness has moved most.

    Cohen's d is a difference of means over the standard deviation; 0.5 is a medium, 0.8 a large one. Source:
    J. Cohen, “Statistical Power Analysis for the Behavioral Sciences”, 1988.
    """
    from scipy.stats import t as student

    before, after = _rows_by_class(old), _rows_by_class(new)
    shares = [{n: count / each.total for n, count in _by_class(each, each.images).items()} for each in (old, new)]
    confidence = 1 - FALSE_ALARMS / (2 * _comparisons(old) * old.image_size[0])
    findings = []
    for name in [name for name in old.classes if name in before and name in after]:
        (old_H, old_variance_H, old_count), (new_H, new_variance_H, new_count) = before[name], after[name]
        deviation_H = np.maximum(np.sqrt((old_variance_H + new_variance_H) / 2), STEADY)
        value = float((np.abs(new_H - old_H) / deviation_H).max())
        quantile = float(student.ppf(confidence, max(1, old_count + new_count - 2)))
        level = _level(value, D_LIMITS, quantile * math.sqrt(1 / old_count + 1 / new_count))
        nearest = min(before, key=lambda other: float(np.square(new_H - before[other][0]).sum()))
        is_another = level is not Level.STABLE and nearest != name
        findings.append(
            Finding(
                kind="class", subject=f"class {name}", before=shares[0][name], after=shares[1][name], measure="d",
                value=value, level=level, note=f"looks like the champion's class {nearest}" if is_another else "",
            )
        )  # fmt: skip
    return findings


def _rows_by_class(profile: Profile) -> dict[str, tuple[Floats, Floats, int]]:
    """Return of each class with images the mean brightness of its rows, the variance between images, the count."""
    scale, found = profile.image_size[1] * WHITE, {}
    for name, count, sums, squares in zip(
        profile.classes, profile.images, profile.row_sums, profile.row_squares, strict=True
    ):
        if count:
            # whole numbers first: floats would lose the small difference of two large sums
            scatter = [count * square - total**2 for total, square in zip(sums, squares, strict=True)]
            variance_H = np.array([each / count**2 for each in scatter]) / scale**2
            found[name] = (np.array(sums) / (count * scale), variance_H, count)
    return found


def _comparisons(profile: Profile) -> int:
    return 1 + len(profile.classes) + sum(profile.image_size)


def _level(value: float, limits: tuple[float, float], noise: float) -> Level:
    """Return the level of a value by the usual limits; what chance alone may do is stable."""
    moderate, major = (max(limit, noise) for limit in limits)
    return Level.MAJOR if value > major else Level.MODERATE if value > moderate else Level.STABLE


def _brightness(counts_L: Sequence[int]) -> float:
    """Return the mean grey (0 to 1) of pixels counted by level, each taken for its level's share of the scale."""
    levels = len(counts_L)
    return sum(level * count for level, count in enumerate(counts_L)) / (sum(counts_L) * (levels - 1))


def _by_class(profile: Profile, values: Sequence[Any]) -> dict[str, Any]:
    return dict(zip(profile.classes, values, strict=True))


def _shares(counts_B: Floats) -> Floats:
    smoothed: Floats = (counts_B + 0.5) / (counts_B + 0.5).sum()
    return smoothed


def _cell(text: str) -> str:
    """Return a text that may hold a folder's name so that it stays in its cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
