import pytest

from rnnpipe.evaluation.leaderboard import Leaderboard, LeaderboardRow, TrainingSummary


@pytest.fixture
def make_row(make_report):
    def make(
        label: str,
        correct: int,
        validation: tuple[float, float] | None = None,
        parameters: int = 1000,
        seed: int = 0,
    ):
        accuracy, loss = validation or (None, None)
        training = TrainingSummary(
            label=label, variant=label, seed=seed, validation_accuracy=accuracy, validation_loss=loss,
            train_wall_s=12.5, train_samples_per_s=4000.0,
        )  # fmt: skip
        report = make_report().model_copy(
            update={"correct": correct, "accuracy": correct / 120, "parameters": parameters}
        )
        return LeaderboardRow.of(training, report)

    return make


def test_rows_stand_by_test_accuracy_then_by_size(make_row):
    rows = [
        make_row("a", 80),
        make_row("big", 100, parameters=9),
        make_row("small", 100, parameters=5),
        make_row("b", 90),
    ]
    assert [row.label for row in Leaderboard.of(rows).rows] == ["small", "big", "b", "a"]


def test_the_order_in_which_rows_come_does_not_matter(make_row):
    rows = [make_row("gru", 100, seed=seed) for seed in (2, 0, 1)]
    assert Leaderboard.of(rows) == Leaderboard.of(reversed(rows))


def test_the_candidate_is_chosen_on_validation_images(make_row):
    board = Leaderboard.of([make_row("lucky", 110, (0.90, 0.4)), make_row("gru", 100, (0.95, 0.3))])
    candidate = board.candidate()
    assert board.rows[0].label == "lucky" and candidate.row.label == "gru"
    assert candidate.chosen_by == "highest validation accuracy of 2 models (0.9500)"


def test_validation_ties_go_to_the_lower_loss_and_then_the_smaller_net(make_row):
    rows = [
        make_row("lossy", 110, (0.9, 0.5)),
        make_row("large", 105, (0.9, 0.4), parameters=2000),
        make_row("small", 100, (0.9, 0.4), parameters=1000),
    ]
    assert Leaderboard.of(rows).candidate().row.label == "small"


def test_without_validation_images_the_choice_says_that_it_is_optimistic(make_row):
    candidate = Leaderboard.of([make_row("a", 80), make_row("b", 90)]).candidate()
    assert candidate.row.label == "b"
    assert candidate.chosen_by == (
        "highest test accuracy of 2 models (0.7500), as there are no validation images,"
        " so that figure is optimistic"
    )


def test_a_single_model_without_validation_images_is_no_choice_at_all(make_row):
    assert "optimistic" not in Leaderboard.of([make_row("a", 80)]).candidate().chosen_by


def test_the_markdown_table_has_a_line_a_row_and_a_cell_a_heading(make_row):
    board = Leaderboard.of([make_row("gru", 100, (0.9, 0.4)), make_row("lstm", 90)])
    heading, rule, *lines = board.markdown().splitlines()
    assert len(lines) == 2 and len({line.count("|") for line in (heading, rule, *lines)}) == 1
    assert lines[0].startswith("| 1 | gru | 0 | 0.8333 |") and "| 100 of 120 | 0.9000 | 1,000 |" in lines[0]
    assert "| none |" in lines[1]


def test_a_leaderboard_survives_json(make_row):
    board = Leaderboard.of([make_row("gru", 100, (0.9, 0.4)), make_row("lstm", 90)])
    assert Leaderboard.model_validate_json(board.model_dump_json()) == board
