"""Which of several models makes a map: the one that held-out labels find best, and in words why."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sparsecover.errors import plural
from sparsecover.evaluation import Assessment, paired_gain
from sparsecover.evaluation.intervals import Interval

FORESTS = ("random-forest-features", "random-forest")
"""Models that need seconds, from the better one on most scenes to the plainer one."""

_TITLES = {"random-forest": "random forest on pixels", "random-forest-features": "random forest on features"}


@dataclass(frozen=True)
class Contest:
    """Models scored on the same held-out labels.

    Attributes:
        scores: by model; the first is the one that was trained for the map.
        asked_for: whether the user named that model, which then makes the map in any case.
    """

    scores: Mapping[str, Assessment]
    asked_for: bool = False

    @property
    def trained(self) -> str:
        """The model that was trained for the map."""
        return next(iter(self.scores))

    @property
    def rival(self) -> str | None:
        """The best of the others; None without others, or where nothing could be scored."""
        others = [name for name in self.scores if name != self.trained and self.scores[name].scored_pixels]
        return max(others, key=lambda name: self.scores[name].miou, default=None)

    @property
    def better(self) -> str:
        """The trained model, or the rival where it scores better."""
        rival = self.rival
        beaten = rival is not None and self.scores[rival].miou > self.scores[self.trained].miou
        return rival if rival is not None and beaten else self.trained

    @property
    def maker(self) -> str:
        """The model that makes the map."""
        return self.trained if self.asked_for else self.better

    @property
    def gain(self) -> float | None:
        """mIoU of the trained model above the rival's."""
        return None if self.rival is None else self.scores[self.trained].miou - self.scores[self.rival].miou

    @property
    def gain_interval(self) -> Interval | None:
        """Its 95% interval over groups of labels; None where they are too few."""
        return None if self.rival is None else paired_gain(self.scores[self.trained], self.scores[self.rival])

    @property
    def verdict(self) -> str | None:
        """Which model is better, by how much, and which made the map; None without a rival."""
        if self.rival is None:
            return None
        better = self.better
        worse = self.rival if better == self.trained else self.trained
        first, second = (f"{self.scores[name].miou:.3f}" for name in (better, worse))
        found = f"better than the {title(worse)}" if first != second else f"as good as the {title(worse)}"
        made = f"The map is made by the {title(self.maker)}" if self.asked_for else "It makes the map"
        asked = ", as was asked for" if self.asked_for else ""
        return (
            f"On the same held-out labels the {title(better)} is {found} (mIoU {first} against {second}; "
            f"{self._certainty()}). {made}{asked}."
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values for metrics.json."""
        return {
            "made_by": self.maker,
            "better": self.better,
            "verdict": self.verdict,
            "gain_over": self.rival,
            "gain": self.gain,
            "gain_interval_95": None if self.gain_interval is None else list(self.gain_interval),
            "models": {name: assessment.as_dict() for name, assessment in self.scores.items()},
        }

    def _certainty(self) -> str:
        interval, groups = self.gain_interval, self.scores[self.trained].groups
        if interval is None:
            return f"in {groups} {plural(groups, 'group')} of labels, too few to say how far chance went"
        # Told from the better one's side.
        low, high = interval if self.better == self.trained else (-interval[1], -interval[0])
        chance = ", so it may be chance" if low <= 0 and self.gain else ""
        return f"difference with 95% interval {low:+.3f} to {high:+.3f} over {groups} groups of labels{chance}"


def title(model: str) -> str:
    """A model in sentences."""
    return _TITLES.get(model, f"network {model}")
