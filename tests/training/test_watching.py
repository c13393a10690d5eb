"""The validation images whose reading is watched epoch by epoch."""

import numpy as np
import torch

from rnnpipe.evaluation.belief import read_along
from rnnpipe.evaluation.deploy import build_network
from rnnpipe.training.setting import TrainingData
from rnnpipe.training.watching import beliefs_of, read_watched, save_watched, watched_places


def test_each_epoch_tells_what_the_net_believes_of_an_image_a_class(train, make_setting, data, tmp_path):
    setting = make_setting(training={"epochs": 2})
    outcome, events = train(setting, data)
    epochs = [event for event in events if event["event"] == "epoch"]
    places = watched_places(data)
    assert data.validation_y_N[places].tolist() == [0, 1, 2]
    network = build_network(setting.spec, 0)
    network.load_state_dict(outcome.weights)
    x_nTI = data.validation_x_NTI[places]
    expected = read_along(network, x_nTI, setting.spec, setting.device, len(x_nTI))
    found = beliefs_of(epochs[outcome.progress.best_epoch - 1], setting.spec.steps)
    np.testing.assert_array_equal(found.steps_R, expected.steps_R)
    np.testing.assert_allclose(found.probabilities_NRK, expected.probabilities_NRK, atol=0.00051)
    save_watched(tmp_path, data, setting)
    images, labels = read_watched(tmp_path)
    np.testing.assert_array_equal(images, x_nTI)  # rows stay where they are
    np.testing.assert_array_equal(labels, [0, 1, 2])


def test_without_validation_images_nothing_is_watched(train, make_setting, data, tmp_path):
    without = TrainingData(data.train_x_NTI, data.train_y_N)
    _, events = train(make_setting(training={"epochs": 1}), without)
    (epoch,) = [event for event in events if event["event"] == "epoch"]
    assert epoch["belief"] is None and beliefs_of(epoch, 6) is None
    save_watched(tmp_path, without, make_setting())
    assert read_watched(tmp_path) is None
    assert not len(watched_places(without)) and torch.is_tensor(watched_places(without))
