"""What the report of `map` says: an alarm where the map is not worth its time, the command without its secrets."""

from types import SimpleNamespace

import pytest

from sparsecover.pipeline import reporting
from sparsecover.pipeline.make_map import MapResult


def alarm(network: float, forest: float | None) -> str | None:
    baseline = None if forest is None else SimpleNamespace(miou=forest)
    result = SimpleNamespace(baseline=baseline, assessment=SimpleNamespace(miou=network))
    return MapResult.alarm.fget(result)


def test_a_better_forest_is_told_with_both_figures() -> None:
    text = alarm(0.57, 0.68)
    assert text is not None
    assert "0.680" in text
    assert "0.570" in text


@pytest.mark.parametrize(("network", "forest"), [(0.7, 0.6), (0.7, None), (0.7, float("nan"))])
def test_there_is_no_alarm_without_reason(network: float, forest: float | None) -> None:
    assert alarm(network, forest) is None


def test_the_command_is_shown_without_passwords_and_signatures(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = "/vsicurl/https://me:secret@example.org/a.tif?token=abc"
    monkeypatch.setattr("sys.argv", ["/usr/bin/sparsecover", "map", scene, "--field", "what?"])
    assert reporting._command() == "sparsecover map /vsicurl/https://example.org/a.tif --field 'what?'"
