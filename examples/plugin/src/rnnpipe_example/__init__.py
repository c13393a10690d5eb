"""What this package adds to rnnpipe. Only specs stand here: a config is checked without torch."""

from rnnpipe.catalogue import DatasetSpec, SequenceSpec, VariantSpec

MGU = VariantSpec(
    "minimal gated unit, one layer of 64",
    "rnnpipe_example.nets:MinimalGatedUnit",
    "Zhou et al., “Minimal gated unit for recurrent neural networks”, 2016",
    hidden_size=64,
)
ZIGZAG = SequenceSpec(
    "one image row a step, every other one from right to left", "rnnpipe_example.sequences:Zigzag"
)
BARS = DatasetSpec(
    "400 images of 8 x 8 pixels with one bright row or column",
    "rnnpipe_example.images:load_bars",
    classes=("row", "column"),
    has_test_split=False,
)
