"""Figures of histories, reports, leaderboards and test images, in one style.

Every function takes records and arrays and returns a Figure of its own; `save_figure` writes it.
"""

from rnnpipe.evaluation.figures.curves import (
    TrendPoint,
    accuracy_trend,
    accuracy_while_reading,
    gradient_reach,
    learning_curves,
    robustness_curves,
)
from rnnpipe.evaluation.figures.pictures import (
    GRID_CELLS,
    Watched,
    belief_picture,
    changed_images,
    confident_mistakes,
)
from rnnpipe.evaluation.figures.scores import (
    confusion_matrix,
    cost_against_accuracy,
    leaderboard_bars,
    per_class_bars,
    reliability_diagram,
)
from rnnpipe.evaluation.figures.style import save_figure

__all__ = [
    "GRID_CELLS",
    "TrendPoint",
    "Watched",
    "accuracy_trend",
    "accuracy_while_reading",
    "belief_picture",
    "changed_images",
    "confident_mistakes",
    "confusion_matrix",
    "cost_against_accuracy",
    "gradient_reach",
    "leaderboard_bars",
    "learning_curves",
    "per_class_bars",
    "reliability_diagram",
    "robustness_curves",
    "save_figure",
]
