import pytest
from pydantic import ValidationError

from rnnpipe.evaluation.metrics import MetricNames
from rnnpipe.evaluation.report import EvaluationReport


def test_a_report_survives_json(make_report):
    report = make_report()
    assert EvaluationReport.model_validate_json(report.model_dump_json()) == report
    assert EvaluationReport.model_validate(report.model_dump(mode="json")) == report


def test_a_report_refuses_unknown_keys_and_nan(make_report):
    values = make_report().model_dump()
    with pytest.raises(ValidationError, match="loss"):
        EvaluationReport(**{**values, "loss": float("nan")})
    with pytest.raises(ValidationError, match="extra"):
        EvaluationReport(**values, surprise=1)


def test_scores_agree_with_each_other(make_report):
    report = make_report()
    assert report.correct == sum(row[index] for index, row in enumerate(report.confusion))
    assert [scores.support for scores in report.per_class] == [sum(row) for row in report.confusion]
    assert report.accuracy_low < report.accuracy < report.accuracy_high
    assert report.macro_f1 == pytest.approx(sum(scores.f1 for scores in report.per_class) / 3)


def test_metrics_carry_the_names_of_one_place(make_report):
    report = make_report()
    values = report.metrics()
    assert set(values) <= set(MetricNames) and all(isinstance(value, float) for value in values.values())
    assert {name for name in MetricNames if name.startswith(("test/", "model/"))} == set(values)
    assert values[MetricNames.TEST_ACCURACY] == report.accuracy
    assert values[MetricNames.TEST_ACCURACY_PCT] + values[MetricNames.TEST_ERROR_PCT] == pytest.approx(100)


def test_metrics_of_the_validation_split_are_not_called_test(make_report):
    report = make_report().model_copy(update={"split": "validation"})
    names = report.metrics().keys()
    assert "val/accuracy" in names and not any(name.startswith("test/") for name in names)
