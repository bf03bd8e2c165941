"""When is retraining worth its cost? The profile's costs and strategy, what was measured of a model so far, and the verdict."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, model_validator

from tools.contracts.base import Contract, UtcDatetime
from tools.contracts.request import Unit

Recommendation = Literal["retrain", "wait_for_labels", "fix_data", "roll_back", "keep_watching"]
Positive = Annotated[timedelta, Field(gt=timedelta(0))]
Amount = Annotated[float, Field(ge=0)]
Strategy = Literal["expected_cost", "periodic", "threshold", "cumulative_loss", "forecast"]
"""`expected_cost` weighs the loss expected from keeping the model against the cost of retraining, and learns both rates from the
model's history. The others are the known rules: a tuned period, a threshold on the loss, a threshold on the loss since the last
training (CARA-like), and a forecast of the loss without what it does not know (UPF-like)."""


class RetrainingCosts(Contract):
    """What a retraining costs, and what a lost point of the metric costs a day. All amounts are in `unit`."""

    unit: str = "point-days"
    """Of every amount here: `EUR`, `USD`, hours. The default counts one hundredth of the primary metric, lost for a day, as 1."""
    loss: Annotated[float, Field(gt=0)] = 100.0
    """What a loss of 1.0 of the primary metric costs a day; one hundredth of it is a point's cost."""
    loss_unit: Unit = "absolute"
    """`relative`: the loss is a share of the recorded baseline; for metrics that are no shares, such as a mean error in minutes."""
    training: Amount = 5.0
    """Of one training."""
    training_hour: Amount = 0.0
    """Of each hour that trainings of this model took, beside `training`."""
    review: Amount = 10.0
    """Of judging the candidate: a person's time."""
    bad_deploy: Amount = 100.0
    """What a bad candidate costs that is rolled out and taken back."""
    bad_deploy_risk: Annotated[float, Field(ge=0, le=1)] = 0.02
    """How often that happens."""

    def of_retraining(self, hours: float | None) -> float:
        """One retraining, all in, in `unit`."""
        return (
            self.training + self.training_hour * (hours or 0.0) + self.review + self.bad_deploy_risk * self.bad_deploy
        )


class WhenSpec(Contract):
    """When the model is worth retraining. Triggers that insist do not ask."""

    strategy: Strategy = "expected_cost"
    costs: RetrainingCosts = RetrainingCosts()
    every: Positive = timedelta(days=30)
    """The schedule that holds until there is a history to learn from: counted from the end of the champion's training rows."""
    block: Positive = timedelta(days=7)
    """Losses are measured and counted in blocks of this length."""
    horizon: Positive = timedelta(days=180)
    """How far ahead a loss counts; never further than the history reaches back."""
    threshold: Amount | None = None
    """Strategy `threshold`: loss since training from which to retrain; tuned on the history where absent."""
    min_blocks: Annotated[int, Field(ge=2)] = 6
    """Blocks with measured losses that make a history; below, the schedule holds."""


class LossCell(Contract):
    """The loss of one version on the rows of one block: one cell of the matrix 'trained until s, tested on t'."""

    version: str
    trained_until: UtcDatetime
    """End of the version's training rows; not later than `start`."""
    start: UtcDatetime
    end: UtcDatetime
    loss: float
    """The primary metric, so turned that more is worse; in its unit."""
    n: int
    """Rows (of a ranking: groups) behind it."""

    @model_validator(mode="after")
    def _behind_its_training(self) -> "LossCell":
        if not self.trained_until <= self.start < self.end:
            raise ValueError(
                f"version {self.version}: a loss counts on rows behind its training only "
                f"(trained until {self.trained_until}, block {self.start} to {self.end})"
            )
        return self


class PastTraining(Contract):
    """One training of this model, whatever became of it."""

    at: UtcDatetime
    trained_until: UtcDatetime | None = None
    minutes: Amount | None = None
    """Absent where nobody took the time."""
    deployed: bool = False


class LossHistory(Contract):
    """What was measured of one model so far."""

    metric: str
    block: Positive
    version: str | None = None
    """The champion; absent where there is none."""
    trained_until: UtcDatetime | None = None
    """End of its training rows; absent where unknown."""
    labelled_until: UtcDatetime | None = None
    """Up to here labels are mature: a training now would end here. Absent where unknown."""
    baseline: float | None = None
    """Its recorded metric, for costs that are relative."""
    cells: tuple[LossCell, ...] = ()
    """Of all versions, in no order; of two for the same version and block the later one holds."""
    trainings: tuple[PastTraining, ...] = ()

    @property
    def training_hours(self) -> float | None:
        """Mean of the trainings that were timed."""
        timed = [one.minutes for one in self.trainings if one.minutes is not None]
        return sum(timed) / len(timed) / 60 if timed else None


class WhenNumber(Contract):
    """One number behind the verdict."""

    name: str
    """`loss_per_day`, `expected_loss`, `retraining_cost`, `age`, …"""
    value: float
    low: float | None = None
    high: float | None = None
    unit: str = ""
    n: int | None = None
    statement: str


class WhenVerdict(Contract):
    """Should the model be retrained now?"""

    action: Recommendation
    strategy: Strategy
    basis: Literal["evidence", "history", "schedule"]
    """`evidence`: something must be mended, taken back or waited for, whatever a retraining is worth. `history`: weighed by the
    strategy. `schedule`: there is no history to weigh by, and `every` decides."""
    statement: str
    """One sentence for people, with the numbers in it."""
    numbers: tuple[WhenNumber, ...] = ()
    next_look: UtcDatetime | None = None
    """Before then nothing new will be known."""
