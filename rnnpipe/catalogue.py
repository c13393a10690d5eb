"""Everything that has a name in a config: datasets, sequence transforms, recurrent variants.

Three literal dictionaries; other packages add to them (plugins.py). The code behind a name is given as
"module:attribute" and imported when it is first used, so that checking a config needs no torch. A new one is a
class (or function), a line here and a parameter in its test: CONTRIBUTING.md shows it.
"""

import pkgutil
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, ClassVar, Literal

from rnnpipe.plugins import Registered, add_plugins

DIGIT_NAMES = tuple("0123456789")
FASHION_NAMES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
KUZUSHIJI_NAMES = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")


def load_target(target: str) -> Any:
    """Import and return what "module:attribute" names."""
    return pkgutil.resolve_name(target)


@dataclass(frozen=True)
class SourceFile:
    """One file of a downloaded dataset: what it holds, its name on the mirrors, and what its content must be.

    `sha256` is of the decoded content, so that a mirror may compress as it likes; where that isn't published,
    `archive_sha256` is of the gzip archive as the authors made it.
    """

    role: str
    name: str
    sha256: str = ""
    archive_sha256: str = ""


@dataclass(frozen=True)
class DatasetSpec(Registered):
    """Where a dataset comes from. `load` is called as load(spec, config, downloads).

    It returns a RawDataset, or a RawSeries where the dataset `holds` series.
    """

    CODE: ClassVar[str] = "load"
    TAKES: ClassVar[str] = "spec, config, downloads"
    GIVES: ClassVar[tuple[str, ...]] = ("classes",)

    summary: str
    load: str
    classes: tuple[str, ...] = ()
    has_test_split: bool = True
    torchvision_class: str = ""
    files: tuple[SourceFile, ...] = ()
    holds: Literal["images", "series"] = "images"


@dataclass(frozen=True)
class SequenceSpec(Registered):
    """A sequence transform. `build` is called as build(image_size, config); with (T, I) if it `reads` series."""

    TAKES: ClassVar[str] = "image_size, config"
    GIVES: ClassVar[tuple[str, ...]] = ("steps", "features")

    summary: str
    build: str
    reads: Literal["images", "series"] = "images"


@dataclass(frozen=True)
class VariantSpec(Registered):
    """A recurrent variant. `build` is called as build(input_size, config) and returns an encoder.

    One that `reads_lengths` takes a second argument, or None: the number of steps of each sequence, lengths_B.
    """

    TAKES: ClassVar[str] = "input_size, config"
    GIVES: ClassVar[tuple[str, ...]] = ("output_size",)

    summary: str
    build: str
    source: str
    hidden_size: int
    num_layers: int = 1
    options: frozenset[str] = frozenset()
    reads_lengths: bool = False


DATASETS: dict[str, DatasetSpec] = {
    "digits": DatasetSpec(
        "1,797 handwritten digits of 8 x 8 pixels; comes with scikit-learn, needs no network",
        load="rnnpipe.data.embedded:load_digits",
        classes=DIGIT_NAMES,
        has_test_split=False,
    ),
    "mnist": DatasetSpec(
        "70,000 handwritten digits of 28 x 28 pixels (LeCun, Cortes, Burges)",
        load="rnnpipe.data.idx:load_idx",
        classes=DIGIT_NAMES,
        torchvision_class="MNIST",
        files=(
            SourceFile("train_images", "train-images-idx3-ubyte.gz",
                       sha256="ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
            SourceFile("train_labels", "train-labels-idx1-ubyte.gz",
                       sha256="65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
            SourceFile("test_images", "t10k-images-idx3-ubyte.gz",
                       sha256="0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
            SourceFile("test_labels", "t10k-labels-idx1-ubyte.gz",
                       sha256="ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
        ),
    ),
    "fashion-mnist": DatasetSpec(
        "70,000 articles of clothing of 28 x 28 pixels (Xiao, Rasul, Vollgraf, 2017)",
        load="rnnpipe.data.idx:load_idx",
        classes=FASHION_NAMES,
        torchvision_class="FashionMNIST",
        files=(
            SourceFile("train_images", "train-images-idx3-ubyte.gz",
                       sha256="c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
            SourceFile("train_labels", "train-labels-idx1-ubyte.gz",
                       sha256="bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
            SourceFile("test_images", "t10k-images-idx3-ubyte.gz",
                       sha256="5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
            SourceFile("test_labels", "t10k-labels-idx1-ubyte.gz",
                       sha256="0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
        ),
    ),
    "kmnist": DatasetSpec(
        "70,000 cursive Japanese characters of 28 x 28 pixels (Clanuwat et al., 2018)",
        load="rnnpipe.data.idx:load_idx",
        classes=KUZUSHIJI_NAMES,
        torchvision_class="KMNIST",
        files=(
            SourceFile("train_images", "train-images-idx3-ubyte.gz",
                       archive_sha256="51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4"),
            SourceFile("train_labels", "train-labels-idx1-ubyte.gz",
                       archive_sha256="e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17"),
            SourceFile("test_images", "t10k-images-idx3-ubyte.gz",
                       archive_sha256="edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5"),
            SourceFile("test_labels", "t10k-labels-idx1-ubyte.gz",
                       archive_sha256="20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c"),
        ),
    ),
    "emnist-digits": DatasetSpec(
        "280,000 handwritten digits of 28 x 28 pixels (Cohen et al., 2017)",
        load="rnnpipe.data.idx:load_emnist",
        classes=DIGIT_NAMES,
        torchvision_class="EMNIST",
        files=(
            SourceFile("train_images", "emnist-digits-train-images-idx3-ubyte.gz",
                       archive_sha256="f7c95004d14d81af89522e67d8f0c781dfb3bd544181c81bfe1eb6b41c35b726"),
            SourceFile("train_labels", "emnist-digits-train-labels-idx1-ubyte.gz",
                       archive_sha256="6638a6ff5fe2eefd9cca2471995b46c82986b8e4b2a70d2f5ce8e05d7edb319e"),
            SourceFile("test_images", "emnist-digits-test-images-idx3-ubyte.gz",
                       archive_sha256="20ebe43509264f7639d37c835a3f0b009e90b29e00a099a03101abe1644a3f63"),
            SourceFile("test_labels", "emnist-digits-test-labels-idx1-ubyte.gz",
                       archive_sha256="bad1834c45d5988e270b99d43b13edc3fd898f658ffbc2caf2846ef27f7b05b0"),
        ),
    ),
    "folder": DatasetSpec(
        "your own images: one sub-folder a class, any size and common format",
        load="rnnpipe.data.folder:load_folder",
        has_test_split=False,
    ),
    "npz": DatasetSpec(
        "your own series: numpy's arrays x (N, T, I), y (N), and lengths (N) where they differ",
        load="rnnpipe.data.npz:load_npz",
        has_test_split=False,
        holds="series",
    ),
    "parquet": DatasetSpec(
        "your own series: a table with a row for each time step of each series",
        load="rnnpipe.data.parquet:load_parquet",
        has_test_split=False,
        holds="series",
    ),
}  # fmt: skip

SEQUENCES: dict[str, SequenceSpec] = {
    "rows": SequenceSpec("one image row a step, top to bottom", "rnnpipe.data.sequences:Rows"),
    "columns": SequenceSpec("one image column a step, left to right", "rnnpipe.data.sequences:Columns"),
    "pixels": SequenceSpec("one pixel a step, in reading order", "rnnpipe.data.sequences:Pixels"),
    "permuted": SequenceSpec("one pixel a step, in a fixed random order", "rnnpipe.data.sequences:Permuted"),
    "patches": SequenceSpec("one square patch a step, in reading order", "rnnpipe.data.sequences:Patches"),
    "as-is": SequenceSpec("series as they are, one time step a step", "rnnpipe.data.sequences:AsIs", "series"),
}

DAIR_TUTORIAL = "dair.ai, “RNNs with PyTorch”"
LOEBER_TUTORIAL = "P. Loeber, “RNN & LSTM & GRU”"
FENG_PAPER = "Feng et al., “Were RNNs All We Needed?”, 2024"
LAYER_OPTIONS = frozenset({"num_layers", "bidirectional", "dropout", "truncated_steps"})

VARIANTS: dict[str, VariantSpec] = {
    "single-neuron": VariantSpec(
        "one neuron, weights written by hand", "rnnpipe.models.manual:SingleNeuron",
        f"{DAIR_TUTORIAL}, SingleRNN", hidden_size=1),
    "basic": VariantSpec(
        "n neurons, weights written by hand", "rnnpipe.models.manual:Basic",
        f"{DAIR_TUTORIAL}, BasicRNN", hidden_size=128),
    "rnn-cell": VariantSpec(
        "nn.RNNCell in a loop", "rnnpipe.models.manual:CellLoop",
        f"{DAIR_TUTORIAL}, CleanBasicRNN", hidden_size=128, options=frozenset({"nonlinearity"})),
    "image-rnn": VariantSpec(
        "nn.RNN, one layer of 150", "rnnpipe.models.layers:Rnn",
        f"{DAIR_TUTORIAL}, ImageRNN", hidden_size=150, options=LAYER_OPTIONS | {"nonlinearity"},
        reads_lengths=True),
    "rnn": VariantSpec(
        "nn.RNN, two layers of 128", "rnnpipe.models.layers:Rnn",
        LOEBER_TUTORIAL, hidden_size=128, num_layers=2, options=LAYER_OPTIONS | {"nonlinearity"},
        reads_lengths=True),
    "gru": VariantSpec(
        "nn.GRU, two layers of 128", "rnnpipe.models.layers:Gru",
        LOEBER_TUTORIAL, hidden_size=128, num_layers=2, options=LAYER_OPTIONS, reads_lengths=True),
    "lstm": VariantSpec(
        "nn.LSTM, two layers of 128", "rnnpipe.models.layers:Lstm",
        LOEBER_TUTORIAL, hidden_size=128, num_layers=2, options=LAYER_OPTIONS, reads_lengths=True),
    "min-gru": VariantSpec(
        "minGRU, all steps at once by a scan, two layers of 128", "rnnpipe.models.minimal:MinGru",
        FENG_PAPER, hidden_size=128, num_layers=2, options=frozenset({"num_layers", "dropout"}),
        reads_lengths=True),
    "min-lstm": VariantSpec(
        "minLSTM, all steps at once by a scan, two layers of 128", "rnnpipe.models.minimal:MinLstm",
        FENG_PAPER, hidden_size=128, num_layers=2, options=frozenset({"num_layers", "dropout"}),
        reads_lengths=True),
}  # fmt: skip

_ENTRIES = entry_points()  # one look at all packages, for the three
# Why a name that another package registers can't be used, by name.
PROBLEMS: dict[str, dict[str, str]] = {
    "dataset": add_plugins(_ENTRIES.select(group="rnnpipe.datasets"), DATASETS, DatasetSpec),
    "sequence transform": add_plugins(_ENTRIES.select(group="rnnpipe.sequences"), SEQUENCES, SequenceSpec),
    "variant": add_plugins(_ENTRIES.select(group="rnnpipe.variants"), VARIANTS, VariantSpec),
}
