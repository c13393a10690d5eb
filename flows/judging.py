"""Whether the best model of a run becomes the champion: both measured on the same test images."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flows import tasks
from flows.session import Session
from flows.stages import Outcome, compare, evaluate_model, report_of, sequences_of
from rnnpipe.config import PipelineConfig
from rnnpipe.errors import DataError, TrackingError
from rnnpipe.evaluation.leaderboard import Candidate
from rnnpipe.evaluation.promotion import Verdict, decide, hold
from rnnpipe.evaluation.spec import SPEC_FILE, ModelSpec
from rnnpipe.evaluation.standing import Standing
from rnnpipe.files import digest_of, read_json
from rnnpipe.references import StageRef
from rnnpipe.reporting.card import Model, version_card
from rnnpipe.reporting.facts import FIGURES, Trained, run_folder, trained_of
from rnnpipe.tracking import registry
from rnnpipe.tracking.digests import MODEL_DIGEST_TAG
from rnnpipe.tracking.looks import count_looks
from rnnpipe.tracking.promotion import fetch_model
from rnnpipe.tracking.recording import conditions
from rnnpipe.tracking.registry import Version
from rnnpipe.training.environment import Environment

MAX_JUDGEMENTS = 10  # each is against another champion, which is as good at least as the one before


@dataclass(frozen=True)
class Judgement:
    """The candidate of a run, its version and the verdict on it."""

    candidate: Candidate
    version: Version
    verdict: Verdict
    champion: str


def judge_and_promote(session: Session, outcome: Outcome, run_ids: Mapping[str, str]) -> Judgement | None:
    """Register the run's best model, compare it with the champion, and promote it if the verdict says so.

    `run_ids` are the trainings' runs in MLflow by label. None when nothing is to be registered; TrackingError
    where MLflow can't be reached.
    """
    config = outcome.config
    if not config.registry.register_model:
        return None
    candidate = compare(session, outcome).candidate()
    chosen = trained_of(candidate.row, config, outcome.trained)
    version = _register(session, outcome, candidate, chosen=chosen, run_id=run_ids[chosen.label])
    card = version_card(version.uri, _model(session, outcome, candidate, chosen))
    for _ in range(MAX_JUDGEMENTS):
        verdict, measured = _judge(session, outcome, version, chosen)
        if verdict.champion_version == version.uri:  # what once made it champion stays written on it
            break
        if session.submit(
            tasks.apply_verdict, version=version, verdict=verdict, config=config, run_id=run_ids[chosen.label],
            dataset=outcome.dataset.model_dump(), measured=measured, card=card,
            figures=run_folder(session.workspace, outcome.run) / FIGURES,
        ).result():  # fmt: skip
            break
    else:
        raise TrackingError(f"the champion of {config.model_name} keeps changing", "run the same command again")
    champion = registry.champion(session.tracking(config), config.model_name)
    return Judgement(candidate, version, verdict, champion.uri if champion else "")


def _register(
    session: Session, outcome: Outcome, candidate: Candidate, *, chosen: Trained, run_id: str
) -> Version:
    row, config = candidate.row, outcome.config
    description = (
        f"**{row.label}**, seed {row.seed}, on {config.task}: test accuracy {row.accuracy:.4f}"
        f" (95 % interval {row.accuracy_low:.4f} to {row.accuracy_high:.4f}, {row.correct} of {row.total} images)."
        f" Chosen for the {candidate.chosen_by}."
    )
    assert chosen.evaluation is not None
    version: Version = session.submit(
        tasks.register_model, training=chosen.training.model_dump(), evaluation=chosen.evaluation.model_dump(),
        config=config, variant=chosen.variant, run_id=run_id, description=description,
        tags={**outcome.tags, **_record_of(session, config, outcome.dataset, chosen)},
    ).result()  # fmt: skip
    return version


def _model(session: Session, outcome: Outcome, candidate: Candidate, chosen: Trained) -> Model:
    spec = ModelSpec.model_validate(read_json(session.store.resolve(chosen.training).path / SPEC_FILE))
    return Model(
        spec=spec,
        candidate=candidate,
        report=report_of(session, chosen.evaluation),
        training=chosen.training.facts,
        dataset=outcome.dataset.facts,
        dataset_digest=outcome.dataset.digest,
    )


def _record_of(session: Session, config: PipelineConfig, dataset: StageRef, chosen: Trained) -> dict[str, str]:
    """Return what a model was made from, as tags of its version; its record.json says it whole."""
    champion = registry.champion(session.tracking(config), config.model_name)
    environment = Environment.of_training(session.store.resolve(chosen.training).path)
    return {
        "rnnpipe.config": config.model_dump_json(),
        "rnnpipe.variant": chosen.training.facts["variant"],
        "rnnpipe.seed": str(chosen.seed),
        "rnnpipe.training_key": chosen.training.key,
        **conditions(chosen.training),
        "rnnpipe.cpu_capability": environment.cpu_capability,
        "rnnpipe.dataset_digest": dataset.digest,
        "rnnpipe.sequence": config.sequence.model_dump_json(),
        "rnnpipe.code": environment.revision,
        "rnnpipe.environment": digest_of(environment.packages),
        "rnnpipe.parent_champion": champion.uri if champion else "none",
    }


def _judge(
    session: Session, outcome: Outcome, version: Version, chosen: Trained
) -> tuple[Verdict, list[dict[str, Any]]]:
    """Return the verdict on a version, and the evaluations it compares: the version's, and the champion's.

    The champion is measured anew on the run's test images.
    """
    config, rule, dataset = outcome.config, outcome.config.registry, outcome.dataset
    tracking = session.tracking(config)
    assert chosen.evaluation is not None
    candidate = Standing.read(version.uri, session.store.resolve(chosen.evaluation).path)
    champion = registry.champion(tracking, config.model_name)
    if champion is None:
        return decide(candidate, None, rule), []
    if champion.number == version.number:
        reason = "it is the champion already: the same training as before"
        return hold(candidate, champion.uri, reason, rule), []
    try:
        reference = _measure(session, config, dataset, champion)
    except DataError as error:
        reason = f"the champion {champion.uri} can't be measured on these images: {error.message}"
        return hold(candidate, champion.uri, reason, rule), []
    found = Standing.read(champion.uri, session.store.resolve(reference).path)
    if found.classes != candidate.classes:
        reason = f"the champion {champion.uri} was trained on other classes, so their answers can't be compared"
        return hold(candidate, champion.uri, reason, rule), []
    looks = count_looks(tracking, champion, dataset.digest)
    measured = [each.model_dump() for each in (chosen.evaluation, reference)]
    return decide(candidate, found, rule, test_looks=looks), measured


def _measure(session: Session, config: PipelineConfig, dataset: StageRef, champion: Version) -> StageRef:
    """Return the evaluation of a champion on a dataset's test images, as the sequences that it was trained on."""
    from rnnpipe.evaluation.deploy import load_model  # brings torch

    folder = fetch_model(session.tracking(config), champion, session.workspace)
    spec, _ = load_model(folder)
    theirs = config.model_copy(update={"sequence": spec.sequence})
    sequences = sequences_of(session, theirs, dataset)
    digest = champion.tags[MODEL_DIGEST_TAG]
    return evaluate_model(session, config, sequences, f"champion {champion.uri}", (digest, str(folder)))
