"""What this package adds does what rnnpipe expects of it."""

import numpy as np
import torch

from rnnpipe.catalogue import DATASETS, PROBLEMS, load_target
from rnnpipe.config import DataConfig, SequenceConfig, VariantConfig
from rnnpipe.data.sequences import build_transform
from rnnpipe.models.classifier import build_classifier


def test_rnnpipe_finds_all_three() -> None:
    assert not any(PROBLEMS.values())
    assert VariantConfig(name="mgu").hidden_size == 64 and SequenceConfig(name="zigzag").name == "zigzag"


def test_the_net_is_its_equation_and_can_be_exported() -> None:
    net = build_classifier(VariantConfig(name="mgu", hidden_size=3), input_size=2, num_classes=2, seed=0)
    x_BTI = torch.rand(5, 4, 2)
    h_BH = torch.zeros(5, 3)
    for x_BI in x_BTI.unbind(1):
        forget = torch.sigmoid(net.encoder.forget(torch.cat([h_BH, x_BI], 1)))
        h_BH = (1 - forget) * h_BH + forget * torch.tanh(
            net.encoder.candidate(torch.cat([forget * h_BH, x_BI], 1))
        )
    torch.testing.assert_close(net.encoder(x_BTI), h_BH)
    graph = torch.export.export(net.eval(), (x_BTI,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)).module()
    torch.testing.assert_close(graph(x_BTI[:3]), net(x_BTI[:3]))


def test_every_other_row_is_read_backwards() -> None:
    image_HW = torch.arange(12).view(3, 4)
    transform = build_transform((3, 4), SequenceConfig(name="zigzag"))
    assert transform(image_HW[None])[0].tolist() == [[0, 1, 2, 3], [7, 6, 5, 4], [8, 9, 10, 11]]


def test_bars_are_rows_and_columns(tmp_path) -> None:
    spec = DATASETS["bars"]
    raw = load_target(spec.load)(spec, DataConfig(name="bars"), tmp_path)
    assert raw.train_images_NHW.shape == (400, 8, 8) and raw.train_images_NHW.dtype == np.uint8
    bright_NHW = raw.train_images_NHW == 255
    assert (bright_NHW.any(axis=2).sum(axis=1) == np.where(raw.train_labels_N, 8, 1)).all()
