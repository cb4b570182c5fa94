"""Real trained models with real data to score them on, all of it out of PyPI packages: nothing is fetched when it runs."""

from benchmarks.zoo.crepe import CrepeTinyModel
from benchmarks.zoo.digit_cnn import DigitCnnModel
from benchmarks.zoo.efficientnet import EfficientNetModel
from benchmarks.zoo.g2p_gru import G2pModel
from benchmarks.zoo.minilm import MiniLmModel
from benchmarks.zoo.model import PackagedModel, Scores, TorchModel, ZooModel
from benchmarks.zoo.ppocr import OcrDetection, OcrDirection, OcrRecognition
from benchmarks.zoo.resemblyzer import ResemblyzerModel
from benchmarks.zoo.sessions import Feeds, Run, open_session
from benchmarks.zoo.silero import SileroModel
from benchmarks.zoo.trained import TRAINED, TrainedModel

__all__ = ["Feeds", "PackagedModel", "Run", "Scores", "TorchModel", "TrainedModel", "ZooModel", "open_session", "zoo"]

zoo: dict[str, ZooModel] = {
    model.name: model
    for model in (
        DigitCnnModel(),
        MiniLmModel(),
        OcrDetection(),
        OcrRecognition(),
        OcrDirection(),
        SileroModel(),
        G2pModel(),
        ResemblyzerModel(),
        EfficientNetModel(),
        CrepeTinyModel(),
        *TRAINED,
    )
}
"""Every model by name."""
