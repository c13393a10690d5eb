import json

import numpy as np
import pytest
import safetensors.numpy
import torch

from rnnpipe.config import EvaluationConfig, ExecutionConfig
from rnnpipe.errors import DataError, DeviceError
from rnnpipe.evaluation import evaluate, job
from rnnpipe.evaluation.deploy import build_network, load_model, save_model
from rnnpipe.evaluation.evaluate import build_evaluation
from rnnpipe.evaluation.job import evaluation_recipe, threads_on
from rnnpipe.evaluation.order import images_of, transform_of
from rnnpipe.evaluation.predict import measure_latency, predict
from rnnpipe.evaluation.report import EvaluationReport
from rnnpipe.files import canonical_json, sha256_tree
from rnnpipe.models.kernels.choice import use_kernels
from rnnpipe.references import StageRef
from rnnpipe.runtime import num_threads

SEQUENCES = StageRef(stage="sequences", key="k" * 64, digest="s" * 64, facts={})


@pytest.fixture
def model_folder(make_spec, tmp_path):
    spec = make_spec()
    save_model(tmp_path / "model", spec, build_network(spec, seed=3))
    return tmp_path / "model"


def test_an_evaluation_writes_report_predictions_and_figures(model_folder, sequences_folder, config, tmp_path):
    folder = tmp_path / "evaluation"
    facts = build_evaluation(model_folder, sequences_folder, config, folder)
    report = EvaluationReport.model_validate_json((folder / "report.json").read_text())
    predictions = safetensors.numpy.load_file(folder / "predictions.safetensors")
    labels_N = np.load(sequences_folder / "test_y.npy")
    np.testing.assert_array_equal(predictions["labels"], labels_N)
    assert predictions["probabilities"].dtype == np.float32 and predictions["labels"].dtype == np.int64
    spec, network = load_model(model_folder)
    x_NTI = torch.from_numpy(np.load(sequences_folder / "test_x.npy"))
    assert use_kernels(network, torch.device("cpu"), "fp32", "auto")[0] == report.kernels == "compiled"
    expected_NK = predict(network, x_NTI, spec, torch.device("cpu"), 32).probabilities_NK.numpy()
    np.testing.assert_array_equal(predictions["probabilities"], expected_NK)
    assert (report.total, report.correct) == (70, int((expected_NK.argmax(1) == labels_N).sum()))
    assert (report.split, report.batch_size, report.halvings, report.threads) == ("test", 32, 0, 1)
    assert report.parameters == sum(parameter.numel() for parameter in network.parameters())
    assert report.weights_bytes == (model_folder / "weights.safetensors").stat().st_size
    assert report.device.startswith("cpu") and report.device_reason and report.precision == "fp32"
    assert 0 < report.latency_ms_p50 <= report.latency_ms_p95 and report.samples_per_s > 0
    assert report.peak_memory_mib > 10
    assert sorted(path.name for path in (folder / "figures").iterdir()) == [
        "accuracy_while_reading.png",
        "belief.png",
        "confusion_matrix.png",
        "gradient_reach.png",
        "mistakes.png",
        "per_class.png",
        "reliability.png",
        "robustness.png",
    ]
    assert report.reading is not None and report.reading.correct[-1] == report.correct
    assert report.robustness[0].correct[0] == report.correct and len(report.gradient_norms) == 8
    assert (folder / "belief.safetensors").exists()
    assert facts["accuracy"] == report.accuracy and facts["latency_ms_p50"] == report.latency_ms_p50
    assert len(canonical_json(facts)) < 1500


def test_a_net_of_coloured_images_is_measured_and_drawn_the_same_way(make_spec, config, tmp_path):
    spec = make_spec(sequence="patches", steps=4, features=48, channels=3)
    save_model(tmp_path / "model", spec, build_network(spec, seed=3))
    images = np.random.default_rng(0).integers(0, 256, (70, 8, 8, 3), dtype=np.uint8)
    np.save(tmp_path / "test_x.npy", transform_of(spec)(torch.from_numpy(images)).numpy())
    np.save(tmp_path / "test_y.npy", np.arange(70) % 3)
    build_evaluation(tmp_path / "model", tmp_path, config, tmp_path / "evaluation")
    report = EvaluationReport.read(tmp_path / "evaluation")
    assert {each.correct[0] for each in report.robustness} == {report.correct} and len(report.robustness) == 4
    assert (tmp_path / "evaluation" / "figures" / "mistakes.png").exists()
    restored = images_of(torch.from_numpy(np.load(tmp_path / "test_x.npy")), spec)
    np.testing.assert_array_equal(restored, images)


@pytest.mark.parametrize(
    ("asked", "device", "used"),
    [("auto", "cpu", (3, 1)), (2, "cpu", (2, 2)), ("auto", "cuda:0", (1, 1)), (2, "cuda:0", (2, 2))],
)
def test_auto_uses_all_cores_for_batches_and_one_for_an_image(monkeypatch, asked, device, used):
    monkeypatch.setattr(job, "cpu_cores", lambda: 3)
    execution = ExecutionConfig(threads=asked)
    assert (threads_on(device, execution), execution.threads_within(1)) == used


def test_the_report_says_with_how_many_threads_what_was_measured(
    monkeypatch, model_folder, sequences_folder, config, tmp_path
):
    used = []

    def measure(*arguments):
        used.append(num_threads())
        return measure_latency(*arguments)

    monkeypatch.setattr(job, "cpu_cores", lambda: 2)
    monkeypatch.setattr(evaluate, "measure_latency", measure)
    monkeypatch.setattr(evaluate, "predict", lambda *a: used.append(num_threads()) or predict(*a))
    auto = config.model_copy(update={"execution": ExecutionConfig(device="cpu", threads="auto")})
    facts = build_evaluation(model_folder, sequences_folder, auto, tmp_path / "evaluation")
    assert (facts["threads"], facts["latency_threads"]) == (2, 1)
    assert used[0] == 1 and set(used[1:]) == {2}


def test_scores_and_predictions_do_not_depend_on_the_run(model_folder, sequences_folder, config, tmp_path):
    for name in ("first", "second"):
        build_evaluation(model_folder, sequences_folder, config, tmp_path / name)
    assert sha256_tree(tmp_path / "first", "**/*.png") == sha256_tree(tmp_path / "second", "**/*.png")
    names = ("first/predictions.safetensors", "second/predictions.safetensors")
    assert len({(tmp_path / name).read_bytes() for name in names}) == 1


def test_a_split_without_images_says_what_to_set(model_folder, sequences_folder, config, tmp_path):
    with pytest.raises(DataError, match="no validation images") as caught:
        build_evaluation(model_folder, sequences_folder, config, tmp_path / "evaluation", split="validation")
    assert "validation_fraction" in caught.value.fix


@pytest.mark.parametrize(
    ("shape", "highest_label", "words"),
    [((4, 16), 2, "4 steps, 16 features and 3 classes"), ((8, 8), 3, "8 steps, 8 features and 4 classes")],
)
def test_sequences_the_model_was_not_made_for_are_refused(shape, highest_label, words, model_folder, config):
    folder = model_folder.parent
    np.save(folder / "test_x.npy", np.zeros((4, *shape), np.uint8))
    np.save(folder / "test_y.npy", np.array([0, 1, 2, highest_label]))
    with pytest.raises(DataError, match=words):
        build_evaluation(model_folder, folder, config, folder / "evaluation")


def test_a_net_whose_outputs_are_not_finite_is_refused(make_spec, sequences_folder, config, tmp_path):
    spec = make_spec()
    network = build_network(spec, seed=3)
    torch.nn.init.constant_(network.head.bias, float("nan"))
    save_model(tmp_path / "model", spec, network)
    with pytest.raises(DataError, match="not finite"):
        build_evaluation(tmp_path / "model", sequences_folder, config, tmp_path / "evaluation")
    assert not (tmp_path / "evaluation").exists()


def test_a_device_that_is_not_there_is_refused(model_folder, sequences_folder, config, tmp_path):
    absent = config.model_copy(update={"execution": ExecutionConfig(device="cuda:99")})
    with pytest.raises(DeviceError, match="cuda:99"):
        build_evaluation(model_folder, sequences_folder, absent, tmp_path / "evaluation")


def test_the_recipe_is_json_and_changes_with_what_matters():
    evaluation, execution = EvaluationConfig(), ExecutionConfig()
    base = evaluation_recipe("m", SEQUENCES, evaluation, execution)
    assert base.stage == "evaluations" and json.loads(canonical_json(base.inputs)) == base.inputs
    others = [
        evaluation_recipe("n", SEQUENCES, evaluation, execution),
        evaluation_recipe("m", SEQUENCES.model_copy(update={"digest": "t" * 64}), evaluation, execution),
        evaluation_recipe("m", SEQUENCES, EvaluationConfig(batch_size=5), execution),
        evaluation_recipe("m", SEQUENCES, evaluation, ExecutionConfig(threads=2)),
        evaluation_recipe("m", SEQUENCES, evaluation, execution, split="validation"),
    ]
    assert len({recipe.key for recipe in (base, *others)}) == 6
    elsewhere = ExecutionConfig(timeout_s=60)
    assert evaluation_recipe("m", SEQUENCES, evaluation, elsewhere).key == base.key
