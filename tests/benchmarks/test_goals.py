"""The sentence about goals: what is below one is named, with the goal; of several thread counts the most count."""

from benchmarks.goals import MET, is_verdict, judged, judged_ratios

LABELS = {"torch": "torch's", "compiled": "compiled"}


def case(variant: str, threads: int, **ratios: float) -> dict[str, object]:
    return {
        "variant": variant,
        "threads": threads,
        "summary": {"ratio": {n: {"median": r} for n, r in ratios.items()}},
    }


def test_what_is_below_its_goal_is_named() -> None:
    assert judged([("one", 2.0, 2.0), ("two", 2.5, 1.0)]) == MET
    assert judged([("one", 1.994, 2.0), ("two", 2.5, 1.0)]) == "Below its goal here: one 1.99 of 2."


def test_only_the_cases_with_most_threads_count_and_what_is_absent_isnt_judged() -> None:
    cases = [case("rnn", 1, torch=0.1), case("rnn", 2, torch=2.0), case("gru", 2, torch=1.0, compiled=3.0)]
    goals = {"torch": {"rnn": 1.5, "gru": 1.5}, "compiled": {"rnn": 9.0}}
    sentence = judged_ratios(cases, goals, LABELS)
    assert sentence == "Below its goal here: `gru` torch's 1 of 1.5."
    assert is_verdict(sentence) and is_verdict(MET) and not is_verdict("| a | table |")
