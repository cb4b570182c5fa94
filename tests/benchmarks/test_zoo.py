"""The zoo's small half: exported, fed and scored. The other half is scored by the slow tests below."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from benchmarks.zoo import Feeds, Run, Scores, ZooModel, assets, audio, rendered, zoo
from benchmarks.zoo.model import draw
from netwright.ir.errors import MissingExtraError

ROOT = Path(__file__).resolve().parents[2]
SMALL = ("digit_cnn", "silero", "g2p_gru", "train_small_lstm")
"""The models whose packages `requirements/zoo-small.txt` lists."""
QUICK_TO_SCORE = ("digit_cnn", "silero")
KNOWN: dict[str, dict[str, float]] = {
    "digit_cnn": {"uci_digits": 0.8703, "mnist": 0.996},
    "minilm": {"domain": 0.8958, "cosine": 1.0, "simlex999": 0.4462, "wordsim353": 0.7289, "lee50": 0.6538},
    "silero": {"clean_f1": 0.9984, "noisy_f1": 0.9716, "noisy_auc": 0.9989},
    "g2p_gru": {"words": 0.714, "phoneme_error": 0.0879},
    "resemblyzer": {"call_auc": 0.9778, "cosine": 1.0},
    "efficientnet_lite0": {"agreement": 1.0, "kl": 0.0, "photos": 0.8571, "faces": 0.995},
    "crepe_tiny": {"within_50_cents": 0.8333, "difference": 0.0},
}
"""Scores of the originals; those on rendered text and synthesised speech depend on the machine's fonts and voices."""
FLOORS = {
    "ppocr_det": 0.9,
    "ppocr_rec": 0.95,
    "ppocr_cls": 0.93,
    "train_small_cnn": 0.96,
    "train_small_resnet": 0.8,
    "train_small_lstm": 0.87,
    "train_small_transformer": 0.88,
}
"""What an original reaches where training or fonts leave some play."""


@pytest.mark.parametrize("name", SMALL)
def test_feeds_run_are_reproducible_and_follow_their_seed(name: str):
    model = zoo[name]
    run = model.original()
    feeds = model.feeds(2, batch=2, seed=3)
    assert len(feeds) == 2
    for one, again, other in zip(feeds, model.feeds(2, batch=2, seed=3), model.feeds(2, batch=2, seed=4), strict=True):
        assert all(np.array_equal(one[key], again[key]) for key in one)
        assert any(one[key].shape != other[key].shape or not np.array_equal(one[key], other[key]) for key in one)
        assert all(np.isfinite(value).all() for value in run(one).values())


@pytest.mark.parametrize("name", SMALL)
def test_a_quick_score_tells_the_original_from_a_broken_model(name: str):
    model = zoo[name]
    original = model.original()
    scores = model.evaluate(original, quick=True, original=original)
    broken = model.evaluate(shuffled_outputs(original), quick=True, original=original)
    lost = model.loss(scores, broken)
    assert lost is not None
    assert lost > 10


def shuffled_outputs(run: Run) -> Run:
    """A model whose answers belong to other rows and classes."""

    def broken(feeds: Feeds) -> Mapping[str, np.ndarray]:
        return {name: np.roll(np.roll(value, len(value) // 2, axis=0), 5, axis=-1) for name, value in run(feeds).items()}

    return broken


@pytest.mark.parametrize("name", QUICK_TO_SCORE)
def test_originals_score_what_is_known_of_them(name: str):
    check_known(zoo[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in KNOWN if name not in QUICK_TO_SCORE])
def test_the_other_originals_score_what_is_known_of_them(name: str):
    check_known(zoo[name])


def check_known(model: ZooModel) -> None:
    scores = model.evaluate(model.original(threads=2))
    for metric, value in KNOWN[model.name].items():
        assert scores.metrics[metric] == pytest.approx(value, abs=0.003), metric


@pytest.mark.slow
@pytest.mark.parametrize("name", FLOORS)
def test_what_training_and_fonts_vary_stays_above_its_floor(name: str):
    model = zoo[name]
    scores = model.evaluate(model.original(threads=2))
    if model.primary in scores.skipped:
        pytest.skip(scores.skipped[model.primary])
    assert scores.metrics[model.primary] >= FLOORS[name]


@pytest.mark.slow
def test_the_character_model_needs_fewer_than_three_bits():
    model = zoo["train_small_gpt"]
    assert model.evaluate(model.original(threads=2)).metrics["bits_per_character"] < 3


def test_a_missing_package_names_its_pip_requirement():
    with pytest.raises(MissingExtraError) as raised:
        assets.asset("no_such_package/weights.pth", "no-such-package==1.0")
    assert "pip install --no-deps no-such-package==1.0" in str(raised.value)


def test_without_fonts_reading_is_skipped_with_the_remedy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rendered, "FONT_FOLDER", Path("nowhere"))
    rendered.fonts.cache_clear()
    scores = zoo["ppocr_rec"].evaluate(lambda feeds: feeds, quick=True, original=lambda feeds: feeds)
    rendered.fonts.cache_clear()
    assert scores.metrics == {}
    assert "apt-get install fonts-dejavu-core" in scores.skipped["characters"]


def test_without_espeak_the_synthesised_part_is_skipped_with_the_remedy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "")
    model = zoo["silero"]
    run = model.original()
    scores = model.evaluate(run, original=run)
    assert scores.skipped == {"espeak_f1": audio.ESPEAK_MISSING}
    assert model.primary in scores.metrics


def test_a_loss_is_counted_in_points_and_in_the_right_direction():
    up, down = zoo["digit_cnn"], zoo["train_small_gpt"]
    assert up.loss(Scores({"uci_digits": 0.87}), Scores({"uci_digits": 0.85})) == pytest.approx(2)
    assert down.loss(Scores({"bits_per_character": 2.7}), Scores({"bits_per_character": 2.8})) == pytest.approx(2)
    assert up.loss(Scores({}), Scores({"uci_digits": 0.85})) is None


def test_drawing_uses_every_row_before_it_repeats_one():
    drawn = draw({"x": np.arange(10)}, count=3, batch=5, seed=0)
    assert sorted(int(row) for one in drawn[:2] for row in one["x"]) == list(range(10))


def test_the_command_prints_only_json():
    command = [sys.executable, "-m", "benchmarks.zoo", "digit_cnn", "--quick", "--json", "--model", str(zoo["digit_cnn"].onnx())]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    result = json.loads(done.stdout)
    assert result["primary"] == "uci_digits"
    original, given = result["models"]
    assert original["metrics"] == given["metrics"]


def test_importing_the_zoo_loads_neither_torch_nor_onnxruntime():
    code = "import sys, benchmarks.zoo; print(sorted({'torch', 'onnxruntime'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
