"""The one training loop, for all variants: minibatches in a fixed order, validation, best epoch, checkpoints."""

import logging
import math
import time
from dataclasses import dataclass
from itertools import takewhile
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from rnnpipe.errors import TrainingError
from rnnpipe.evaluation.deploy import scale_pixels
from rnnpipe.evaluation.metrics import accuracy, mean_loss
from rnnpipe.evaluation.predict import predict
from rnnpipe.runtime import autocast, synchronize
from rnnpipe.training.checkpoint import Progress, Tensors, load_checkpoint, save_checkpoint
from rnnpipe.training.journal import event_line
from rnnpipe.training.optimization import build_optimizer, learning_rate_at, set_learning_rate
from rnnpipe.training.setting import NullRecorder, Recorder, Setting, TrainingData, epoch_order, mix_seed

REPORT_EVERY_S = 0.5
VALIDATION_BATCH = 1000

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """The weights of the best epoch, and how the training went."""

    weights: Tensors
    progress: Progress
    stopped_early: bool


class Validation(NamedTuple):
    """How good a net is on the validation images; the loss is in nats."""

    accuracy: float
    loss: float


class Fit:
    """A training under way: network, optimiser, cursor, best weights so far."""

    def __init__(self, network: nn.Module, data: TrainingData, setting: Setting) -> None:
        self.network, self.data, self.setting = network, data, setting
        self.recorder: Recorder = NullRecorder()
        self.optimizer = build_optimizer(network.parameters(), setting.config)
        self.progress = Progress()
        self.best: Tensors = {}
        self.updates_per_epoch = -(-len(data.train_y_N) // setting.config.batch_size)
        self.total_updates = self.updates_per_epoch * setting.config.epochs

    def resume(self) -> None:
        """Go on from the newest whole checkpoint of the run folder, if there is one."""
        folder = self.setting.folder
        if folder is not None and (found := load_checkpoint(folder, self.network, self.optimizer)):
            self.progress, self.best = found
            logger.info("resumed after epoch %d", self.progress.epoch)

    def run(self, recorder: Recorder) -> Outcome:
        """Train to the last epoch or until validation no longer improves; return the best epoch's weights.

        Raises TrainingError when a loss or a weight is no longer finite.
        """
        self.recorder = recorder
        patience = self.setting.config.early_stopping_patience
        while self.progress.epoch < self.setting.config.epochs:
            if patience and self.progress.epochs_without_gain >= patience:
                return Outcome(self.best, self.progress, stopped_early=True)
            self._epoch()
        return Outcome(self.best, self.progress, stopped_early=False)

    def _epoch(self) -> None:
        epoch = self.progress.epoch + 1
        started = time.perf_counter()
        train_loss, rate = self._updates(epoch)
        synchronize(self.setting.device)
        wall_s = time.perf_counter() - started
        self._check_weights(epoch)
        validation = self._validate(epoch)
        self._keep_best(epoch, validation)
        self.progress.epoch = epoch
        self.progress.wall_s += wall_s
        line = event_line(
            "epoch",
            epoch=epoch,
            step=self.progress.step,
            train_loss=train_loss,
            learning_rate=rate,
            validation_loss=validation.loss if validation else None,
            validation_accuracy=validation.accuracy if validation else None,
            wall_s=wall_s,
            samples_per_s=len(self.data.train_y_N) / wall_s,
        )
        self._checkpoint(line)

    def _checkpoint(self, line: str) -> None:
        """Save a checkpoint that holds the journal's next line, then write that line.

        In this order whoever reads the line knows that the epoch is safe: it is never done, or told, twice.
        """
        self.progress.mark, self.progress.journal_line = self.recorder.sync(), line
        if self.setting.folder is not None:
            save_checkpoint(self.setting.folder, self.progress, self.network, self.optimizer, self.best)
        self.recorder.append(line)

    def _updates(self, epoch: int) -> tuple[float, float]:
        """Make one epoch's updates; return the mean loss of its images and the last learning rate."""
        config, reported = self.setting.config, time.perf_counter()
        total = len(self.data.train_y_N)
        order = epoch_order(self.setting.seed, epoch, total).to(self.data.train_y_N.device)
        summed: list[float] = []  # the losses of the epoch's updates, each times its number of images
        losses: list[torch.Tensor] = []
        sizes: list[int] = []
        rate = config.learning_rate
        self.network.train()
        for chosen in torch.split(order, config.batch_size):
            rate = learning_rate_at(self.progress.step, self.total_updates, config)
            losses.append(self._update(chosen, rate, epoch))
            sizes.append(len(chosen))
            self.progress.step += 1
            if time.perf_counter() - reported > REPORT_EVERY_S:
                summed += self._report(epoch, losses, sizes, reported)
                losses, sizes, reported = [], [], time.perf_counter()
        summed += self._report(epoch, losses, sizes, reported)
        # An exact sum: how many losses a report holds depends on the clock, their mean must not.
        return math.fsum(summed) / total, rate

    def _update(self, chosen: torch.Tensor, rate: float, epoch: int) -> torch.Tensor:
        """Make one update with the images of these numbers; return its loss, still on the device."""
        setting = self.setting
        # Dropout's noise is a function of the seed and the step, so that a resumed run meets the same.
        torch.manual_seed(mix_seed(setting.seed, epoch, self.progress.step))
        x_BTI = scale_pixels(self.data.train_x_NTI[chosen].to(setting.device), setting.spec)
        y_B = self.data.train_y_N[chosen].to(setting.device)
        with autocast(setting.device, setting.precision):
            loss = functional.cross_entropy(self.network(x_BTI), y_B)
        set_learning_rate(self.optimizer, rate)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if setting.config.gradient_clip_norm is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), setting.config.gradient_clip_norm)
        self.optimizer.step()
        return loss.detach()

    def _report(self, epoch: int, losses: list[torch.Tensor], sizes: list[int], since: float) -> list[float]:
        """Write the losses of some updates to the journal; return each times its batch size."""
        if not losses:
            return []
        values: list[float] = torch.stack(losses).tolist()
        first_step = self.progress.step - len(values)
        finite = list(takewhile(math.isfinite, values))
        if finite:
            images_per_s = sum(sizes) / max(time.perf_counter() - since, 1e-9)
            told = {"epoch": epoch, "first_step": first_step, "samples_per_s": images_per_s}
            self.recorder.append(event_line("steps", **told, losses=[value.hex() for value in finite]))
        if len(finite) < len(values):
            loss = values[len(finite)]
            raise self._diverged(f"the loss became {loss}", first_step + len(finite), epoch)
        return [value * size for value, size in zip(values, sizes, strict=True)]

    def _check_weights(self, epoch: int) -> None:
        """Raise TrainingError where the last update left weights that aren't finite: no training loss shows it."""
        if not all(bool(parameter.isfinite().all()) for parameter in self.network.parameters()):
            raise self._diverged("the weights became infinite or NaN", self.progress.step - 1, epoch)

    def _validate(self, epoch: int) -> Validation | None:
        x_NTI, y_N = self.data.validation_x_NTI, self.data.validation_y_N
        if x_NTI is None or y_N is None:
            return None
        with autocast(self.setting.device, self.setting.precision):
            found = predict(self.network, x_NTI, self.setting.spec, self.setting.device, VALIDATION_BATCH)
        probabilities_NK, labels_N = found.probabilities_NK.numpy(), y_N.numpy()
        loss = mean_loss(probabilities_NK, labels_N)
        if not math.isfinite(loss):
            raise self._diverged(f"the validation loss became {loss}", self.progress.step - 1, epoch)
        return Validation(accuracy(probabilities_NK, labels_N), loss)

    def _diverged(self, what: str, step: int, epoch: int) -> TrainingError:
        rate = learning_rate_at(step, self.total_updates, self.setting.config)
        return TrainingError(
            f"{what} at step {step} (epoch {epoch}, learning rate {rate:.3g})",
            "lower training.learning_rate, or set training.gradient_clip_norm",
        )

    def _keep_best(self, epoch: int, validation: Validation | None) -> None:
        """Keep this epoch's weights if validation is better (or there is none): accuracy, then loss."""
        progress = self.progress
        if validation is not None:
            best = (progress.best_accuracy, -progress.best_loss)
            if (validation.accuracy, -validation.loss) <= best:
                progress.epochs_without_gain += 1
                return
            progress.best_accuracy, progress.best_loss = validation
        progress.best_epoch, progress.epochs_without_gain = epoch, 0
        self.best = {name: value.detach().cpu().clone() for name, value in self.network.state_dict().items()}


def fit(network: nn.Module, data: TrainingData, setting: Setting, recorder: Recorder | None = None) -> Outcome:
    """Train `network` (x_BTI → logits_BK) in place and return the best epoch's weights.

    With a run folder in `setting` it goes on from the newest checkpoint there; a journal in that folder is opened
    by the caller between `Fit.resume` and `Fit.run`. Raises TrainingError when a loss or a weight isn't finite.
    """
    training = Fit(network, data, setting)
    training.resume()
    return training.run(recorder or NullRecorder())
