import torch

from rnnpipe.training.setting import NullRecorder, epoch_order, mix_seed


def test_an_order_is_a_permutation_that_depends_on_seed_and_epoch_alone():
    torch.manual_seed(1)
    first = epoch_order(5, 2, 1000)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert torch.equal(first, epoch_order(5, 2, 1000))
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(first.sort().values, torch.arange(1000))


def test_orders_differ_by_epoch_and_by_seed():
    orders = [tuple(epoch_order(seed, epoch, 50).tolist()) for seed in range(5) for epoch in range(1, 6)]
    assert len(set(orders)) == 25


def test_mixed_seeds_are_pure_distinct_and_fit_torch():
    parts = [(seed, epoch, step) for seed in range(4) for epoch in range(4) for step in range(4)]
    seeds = [mix_seed(*each) for each in parts]
    assert seeds == [mix_seed(*each) for each in parts] and len(set(seeds)) == len(parts)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert len({mix_seed(1, 23), mix_seed(12, 3), mix_seed(1, 2, 3), mix_seed(123)}) == 4


def test_the_null_recorder_stands_at_an_empty_journal():
    recorder = NullRecorder()
    recorder.append("{}\n")
    assert recorder.sync().length == 0
