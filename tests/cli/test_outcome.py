"""What a run ends with in the terminal, where its variants have several seeds."""

import pytest

from flows.summary import RunSummary
from rnnpipe.cli.outcome import print_outcome
from rnnpipe.evaluation.groups import VariantSummary
from rnnpipe.evaluation.leaderboard import Leaderboard, LeaderboardRow


def row(label: str, seed: int, accuracy: float) -> LeaderboardRow:
    return LeaderboardRow(
        label=label, variant=label, seed=seed, validation_accuracy=0.9, validation_loss=0.1, train_wall_s=1.0,
        train_samples_per_s=1.0, accuracy=accuracy, accuracy_low=accuracy - 0.01, accuracy_high=accuracy + 0.01,
        correct=round(1000 * accuracy), total=1000, parameters=10, latency_ms_p50=1.0, samples_per_s=1.0,
    )  # fmt: skip


def test_means_and_groups_stand_below_the_rows(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [row(label, seed, mean + seed / 100) for label, mean in (("gru", 0.9), ("rnn", 0.7)) for seed in (0, 1)]
    variants = [
        VariantSummary(label=label, seeds=2, accuracy=mean, accuracy_low=0.6, accuracy_high=0.99, group=group)
        for group, (label, mean) in enumerate((("gru", 0.905), ("rnn", 0.705)), start=1)
    ]
    board = Leaderboard.of(rows, tuple(variants))
    print_outcome(RunSummary(run="0123abcd", flow_run_id="", task="digits-rows", leaderboard=board))
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "1 1 gru · seed 1 91.00 (90.00 to 92.00)" in " ".join(lines)
    assert "1 gru 2 90.50 (60.00 to 99.00)" in lines and "2 rnn 2 70.50 (60.00 to 99.00)" in lines
    assert any(line.startswith("group: variants of one group") for line in lines)


def test_a_single_net_stands_in_no_group(capsys: pytest.CaptureFixture[str]) -> None:
    one = VariantSummary(label="gru", seeds=1, accuracy=0.9, accuracy_low=0.8, accuracy_high=0.95, group=1)
    board = Leaderboard.of([row("gru", 0, 0.9)], (one,))
    print_outcome(RunSummary(run="0123abcd", flow_run_id="", task="digits-rows", leaderboard=board))
    out = capsys.readouterr().out
    assert "over the seeds" not in out and "group: " not in out
