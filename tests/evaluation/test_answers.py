"""Files of series get the answers of the net, whatever their own padding; those that don't fit are refused."""

import numpy as np
import pytest
import torch
from PIL import Image

from rnnpipe.config import VariantConfig
from rnnpipe.errors import DataError
from rnnpipe.evaluation.answers import answers
from rnnpipe.evaluation.deploy import Deploy, build_network, save_model
from rnnpipe.evaluation.evaluate import build_evaluation
from rnnpipe.evaluation.report import EvaluationReport
from rnnpipe.evaluation.spec import ModelSpec

NAMES = ["ax", "ay"]


def spec_of(has_lengths=True, columns=None):
    series = {
        "names": NAMES, "means": [1.0, -2.0], "deviations": [2.0, 0.5], "has_lengths": has_lengths,
        "columns": columns,
    }  # fmt: skip
    facts = {
        "dataset": {"name": "npz", "digest": "d" * 64}, "classes": ["sit", "walk", "run"], "series": series,
        "sequence": {"name": "as-is", "scaling": "standard"}, "steps": 6, "features": 2, "mean": 0.0,
        "deviation": 1.0,
    }  # fmt: skip
    return ModelSpec.of(facts, VariantConfig(name="gru", hidden_size=5))


@pytest.fixture(name="model")
def make_model(tmp_path):
    """Write a model folder and return it with its graph."""

    def make(**changes):
        spec = spec_of(**changes)
        network = build_network(spec, seed=1).eval()
        save_model(tmp_path / "model", spec, network)
        return tmp_path / "model", Deploy(spec, network)

    return make


def test_each_series_of_a_file_gets_the_nets_answer(model, tmp_path):
    folder, deploy = model()
    x_NTI = np.random.default_rng(0).normal(size=(3, 6, 2)).astype(np.float32)
    lengths = [6, 2, 4]
    with torch.inference_mode():
        scaled_NTI = (torch.from_numpy(x_NTI) - torch.tensor([1, -2])) / torch.tensor([2, 0.5])
        ends = enumerate(lengths)
        logits_NK = torch.cat([deploy.network(scaled_NTI[n : n + 1, :length]) for n, length in ends])
        expected_NK = logits_NK.softmax(1).numpy()
    np.savez(tmp_path / "long.npz", x=x_NTI, lengths=lengths, features=NAMES)
    np.savez(tmp_path / "short.npz", x=x_NTI[1:, :4], lengths=lengths[1:], features=NAMES)
    found = list(answers(folder, [tmp_path / "long.npz", tmp_path / "short.npz"]))
    assert [answer.named["series"] for answer in found] == ["0", "1", "2", "0", "1"]
    values = np.array([list(answer.probabilities.values()) for answer in found])
    np.testing.assert_allclose(values, expected_NK[[0, 1, 2, 1, 2]], atol=1e-6)
    best = ["sit", "walk", "run"][int(expected_NK[0].argmax())]
    assert found[0].best == best and found[0].named["file"].endswith("long.npz")


def test_a_table_names_its_series(model, tmp_path):
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    named = {"series": "who", "time": "t", "label": "what", "features": None}
    folder, _ = model(columns=named)
    rows = {
        "who": ["b", "a", "a"],
        "t": [0, 1, 0],
        "ay": [1.0, 2.0, 3.0],
        "ax": [4.0, 5.0, 6.0],
        "more": [0, 0, 0],
    }
    parquet.write_table(arrow.table(rows), tmp_path / "rows.parquet")
    np.savez(tmp_path / "same.npz", x=[[[6, 3], [5, 2]], [[4, 1], [0, 0]]], lengths=[2, 1], features=NAMES)
    in_table, in_archive = (list(answers(folder, [tmp_path / name])) for name in ("rows.parquet", "same.npz"))
    assert [answer.named["series"] for answer in in_table] == ["a", "b"]
    assert [answer.probabilities for answer in in_table] == [answer.probabilities for answer in in_archive]


REFUSED = {
    "too long": ({"x": np.ones((2, 7, 2)), "features": NAMES}, "series 0 has 7 steps; the model reads at most 6"),
    "other features": ({"x": np.ones((2, 3, 2)), "features": ["ay", "ax"]}, "are ay, ax; the model reads ax, ay"),
    "more features": ({"x": np.ones((2, 3, 3))}, "features are feature 0, feature 1, feature 2"),
    "no series": ({"y": [1]}, "there is no array x"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_files_that_do_not_fit_are_refused_and_the_next_is_read(name, model, tmp_path):
    arrays, words = REFUSED[name]
    folder, _ = model()
    np.savez(tmp_path / "wrong.npz", **arrays)
    np.savez(tmp_path / "right.npz", x=np.ones((1, 3, 2)), features=NAMES)
    wrong, right = answers(folder, [tmp_path / "wrong.npz", tmp_path / "right.npz"])
    assert isinstance(wrong.error, DataError) and words in wrong.error.message and wrong.error.fix
    assert right.error is None and right.best


def test_a_model_of_one_length_reads_only_that(model, tmp_path):
    folder, _ = model(has_lengths=False)
    np.savez(tmp_path / "short.npz", x=np.ones((1, 3, 2)), features=NAMES)
    (answer,) = answers(folder, [tmp_path / "short.npz"])
    assert "the model reads always 6" in answer.error.message


def test_a_model_of_series_reads_no_images(model, tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "image.png")
    (answer,) = answers(model()[0], [tmp_path / "image.png"])
    assert "the model reads series" in answer.error.message


def test_series_are_evaluated_without_figures_of_images(model, config, tmp_path):
    folder, _ = model()
    random = np.random.default_rng(0)
    x_NTI = random.normal(size=(60, 6, 2)).astype(np.float32)
    x_NTI[np.arange(6) >= random.integers(1, 7, 60)[:, None]] = np.nan
    np.save(tmp_path / "test_x.npy", x_NTI)
    np.save(tmp_path / "test_y.npy", np.arange(60) % 3)
    build_evaluation(folder, tmp_path, config, tmp_path / "evaluation")
    report = EvaluationReport.read(tmp_path / "evaluation")
    assert report.total == 60 and report.robustness == () and len(report.gradient_norms) == 6
    assert report.kernels == "torch" and "differ in length" in report.kernels_reason
    assert report.reading.correct[-1] == report.correct
    drawn = {path.name for path in (tmp_path / "evaluation" / "figures").iterdir()}
    assert drawn >= {"confusion_matrix.png", "per_class.png", "reliability.png", "gradient_reach.png"}
    assert not drawn & {"belief.png", "mistakes.png", "robustness.png"}
