"""The one training loop, for all variants: minibatches in a fixed order, validation, best epoch, checkpoints."""

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
from rnnpipe.runtime import autocast, seed_noise, synchronize
from rnnpipe.training.augmentation import Augmentation
from rnnpipe.training.checkpoint import Progress, Tensors, load_checkpoint, save_checkpoint
from rnnpipe.training.journal import event_line
from rnnpipe.training.optimization import build_optimizer, learning_rate_at, set_learning_rate
from rnnpipe.training.setting import NullRecorder, Recorder, Setting, TrainingData, epoch_order, mix_seed
from rnnpipe.training.team import ALONE, Team
from rnnpipe.training.watching import believed

REPORT_EVERY_S = 0.5
VALIDATION_BATCH = 1000


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

    def __init__(self, network: nn.Module, data: TrainingData, setting: Setting, team: Team = ALONE) -> None:
        self.network, self.data, self.setting, self.team = network, data, setting, team
        self.joined = team.join(network)
        self.augmentation = Augmentation.of(setting)
        self.recorder: Recorder = NullRecorder()
        self.optimizer = build_optimizer(network.parameters(), setting.config)
        self.progress = Progress()
        self.best: Tensors = {}
        self.passed_over: list[str] = []  # checkpoints that couldn't be used, and why
        self.updates_per_epoch = -(-len(data.train_y_N) // setting.config.batch_size)
        self.total_updates = self.updates_per_epoch * setting.config.epochs
        self._unreported: list[tuple[torch.Tensor, int]] = []  # updates' losses, on the device, and images
        self._reported = self._saved = time.perf_counter()
        self._is_stopping = False

    def resume(self) -> None:
        """Go on from the newest whole checkpoint of the run folder, if there is one."""
        if self.setting.folder is not None:
            folder, network, optimizer = self.setting.folder, self.network, self.optimizer
            found = self.team.in_turn(lambda: load_checkpoint(folder, network, optimizer), folder)
            self.progress, self.best, self.passed_over = found

    def stop(self) -> None:
        """Let `run` end with a TrainingError after the update under way, once a checkpoint holds it.

        It only sets a flag, so a signal's handler may call it.
        """
        self._is_stopping = True

    def run(self, recorder: Recorder) -> Outcome:
        """Train to the last epoch or until validation no longer improves; return the best epoch's weights.

        Raises TrainingError when a loss or a weight is no longer finite, and after `stop`.
        """
        self.recorder, self._saved = recorder, time.perf_counter()
        patience = self.setting.config.early_stopping_patience
        while self.progress.epoch < self.setting.config.epochs:
            if patience and self.progress.epochs_without_gain >= patience:
                return Outcome(self.best, self.progress, stopped_early=True)
            self._epoch(self.progress.epoch + 1)
        return Outcome(self.best, self.progress, stopped_early=False)

    def _epoch(self, epoch: int) -> None:
        self._updates(epoch)
        self._check_weights(epoch)
        validation = self._validate(epoch)
        self._keep_best(epoch, validation)
        progress, images = self.progress, len(self.data.train_y_N)
        line = event_line(
            "epoch",
            epoch=epoch,
            step=progress.step,
            # An exact sum, so that it is no matter in which pieces the losses came.
            train_loss=math.fsum(progress.epoch_losses) / images,
            learning_rate=self._learning_rate(progress.step - 1),
            validation_loss=validation.loss if validation else None,
            validation_accuracy=validation.accuracy if validation else None,
            wall_s=progress.epoch_wall_s,
            samples_per_s=images / progress.epoch_wall_s,
            belief=believed(self.network, self.data, self.setting),
        )
        progress.epoch = epoch
        progress.wall_s += progress.epoch_wall_s
        progress.epoch_wall_s, progress.epoch_losses = 0.0, []
        self._checkpoint(line)

    def _updates(self, epoch: int) -> None:
        """Make the updates of an epoch that aren't made yet."""
        order = epoch_order(self.setting.seed, epoch, len(self.data.train_y_N)).to(self.data.train_y_N.device)
        made = self.progress.step - self.progress.epoch * self.updates_per_epoch
        self.network.train()
        self._reported = time.perf_counter()
        for chosen in torch.split(order, self.setting.config.batch_size)[made:]:
            self._unreported.append((self._update(chosen, epoch), len(chosen)))
            self.data.was_read()
            self.progress.step += 1
            now = time.perf_counter()
            if self._is_stopping:
                self._checkpoint_within(epoch)
                told = f"stopped after step {self.progress.step}, as asked"
                raise TrainingError(told, "run the same command again: it goes on from there")
            if now - self._saved >= self.setting.checkpoint_every_s:
                self._checkpoint_within(epoch)
            elif now - self._reported >= REPORT_EVERY_S:
                self._report(epoch)
        self._report(epoch)

    def _checkpoint_within(self, epoch: int) -> None:
        self._report(epoch)
        if self.setting.folder is not None:
            self._checkpoint(event_line("checkpoint", epoch=epoch, step=self.progress.step))

    def _checkpoint(self, line: str) -> None:
        """Save a checkpoint that holds the journal's next line, then write that line.

        In this order whoever reads the line knows that all before it is safe: it is never done, or told, twice.
        """
        self.progress.mark, self.progress.journal_line = self.recorder.sync(), line
        if self.setting.folder is not None and self.team.leads:
            save_checkpoint(self.setting.folder, self.progress, self.network, self.optimizer, self.best)
        self.recorder.append(line)
        self._reported = self._saved = time.perf_counter()

    def _update(self, chosen: torch.Tensor, epoch: int) -> torch.Tensor:
        """Make one update with the images of these numbers; return its loss, still on the device."""
        setting = self.setting
        # Dropout's noise is a function of the seed and the step, so that a resumed run meets the same.
        seed_noise(setting.device, mix_seed(setting.seed, epoch, self.progress.step, *self.team.noise))
        pixels_BTI = self.data.train_x_NTI.index_select(0, chosen).to(setting.device)
        if self.augmentation is not None:
            pixels_BTI = self.augmentation(pixels_BTI, epoch, self.progress.step)
        part = self.team.part(len(chosen))
        x_BTI = scale_pixels(pixels_BTI[part], setting.spec)
        y_B = self.data.train_y_N[chosen[part]].to(setting.device)
        with autocast(setting.device, setting.precision):
            logits_BK = self.joined(x_BTI)
            loss = functional.cross_entropy(logits_BK, y_B, label_smoothing=setting.config.label_smoothing)
        loss = self.team.weighted(loss, len(y_B), len(chosen))
        set_learning_rate(self.optimizer, self._learning_rate(self.progress.step))
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if setting.config.gradient_clip_norm is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), setting.config.gradient_clip_norm)
        self.optimizer.step()
        return self.team.whole(loss.detach())

    def _report(self, epoch: int) -> None:
        """Write the losses of the updates since the last report to the journal, and count their time."""
        if not self._unreported:
            return
        losses, sizes = zip(*self._unreported, strict=True)
        self._unreported = []
        values: list[float] = torch.stack(losses).tolist()
        synchronize(self.setting.device)
        now = time.perf_counter()
        wall_s, self._reported = max(now - self._reported, 1e-9), now
        first_step = self.progress.step - len(values)
        finite = list(takewhile(math.isfinite, values))
        if finite:
            told = {"epoch": epoch, "first_step": first_step, "samples_per_s": sum(sizes) / wall_s}
            self.recorder.append(event_line("steps", **told, losses=[value.hex() for value in finite]))
        if len(finite) < len(values):
            self._diverged(f"the loss became {values[len(finite)]}", first_step + len(finite), epoch)
        self.progress.epoch_wall_s += wall_s
        self.progress.epoch_losses += [value * size for value, size in zip(values, sizes, strict=True)]

    def _check_weights(self, epoch: int) -> None:
        """Raise TrainingError where the last update left weights that aren't finite: no training loss shows it."""
        if not all(bool(parameter.isfinite().all()) for parameter in self.network.parameters()):
            self._diverged("the weights became infinite or NaN", self.progress.step - 1, epoch)

    def _validate(self, epoch: int) -> Validation | None:
        if self.data.validation_y_N is None:
            return None
        found = Validation(*self.team.told(list(self._measure()) if self.team.leads else [0.0, 0.0]))
        if not math.isfinite(found.loss):
            self._diverged(f"the validation loss became {found.loss}", self.progress.step - 1, epoch)
        return found

    def _measure(self) -> Validation:
        x_NTI, y_N = self.data.validation_x_NTI, self.data.validation_y_N
        assert x_NTI is not None and y_N is not None
        with autocast(self.setting.device, self.setting.precision):
            found = predict(self.network, x_NTI, self.setting.spec, self.setting.device, VALIDATION_BATCH)
        probabilities_NK, labels_N = found.probabilities_NK.numpy(), y_N.numpy()
        return Validation(accuracy(probabilities_NK, labels_N), mean_loss(probabilities_NK, labels_N))

    def _diverged(self, what: str, step: int, epoch: int) -> None:
        """Raise TrainingError in the leading process: the others look at other times, and end because it does."""
        if self.team.leads:
            raise TrainingError(
                f"{what} at step {step} (epoch {epoch}, learning rate {self._learning_rate(step):.3g})",
                "lower training.learning_rate, or set training.gradient_clip_norm",
            )

    def _learning_rate(self, step: int) -> float:
        return learning_rate_at(step, self.total_updates, self.setting.config)

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
