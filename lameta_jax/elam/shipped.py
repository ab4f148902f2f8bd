"""The distilled E-LAMs that come with the package: one per size and application."""

from collections.abc import Sequence
from functools import cache, lru_cache
from importlib import resources
from pathlib import Path

from lameta_jax.elam.answering import Answer, MiniLMElam, answer_prompts
from lameta_jax.elam.distilled_files import load_distilled
from lameta_jax.elam.model import ELAM_LAYERS, Distilled
from lameta_jax.elam.sentence_encoder import SentenceEncoder
from lameta_jax.elam.weights import WeightsError


def shipped_folder() -> Path:
    """Folder of the shipped E-LAMs."""
    return Path(str(resources.files("lameta_jax"))) / "data" / "elams"


def shipped_applications() -> tuple[str, ...]:
    """Applications for which E-LAMs are shipped."""
    return tuple(sorted({path.stem.rsplit("-", 1)[0] for path in shipped_folder().glob("*.safetensors")}))


def shipped_path(name: str, application: str) -> Path:
    """File of one shipped E-LAM."""
    return shipped_folder() / f"{application}-{name}.safetensors"


def load_elam(name: str, application: str) -> MiniLMElam:
    """Shipped E-LAM of a size (`small` or `large`) for an application.

    Raises:
      WeightsError: there is none of that size or application, or the encoder's weights are missing.
    """
    if name not in ELAM_LAYERS:
        raise WeightsError(f"no E-LAM {name!r}; there are {', '.join(ELAM_LAYERS)}")
    if application not in shipped_applications():
        raise WeightsError(
            f"no E-LAM for application {application!r}; there are {', '.join(shipped_applications())}"
        )
    return MiniLMElam(_distilled(name, application), _encoder(ELAM_LAYERS[name]))


@cache
def _distilled(name: str, application: str) -> Distilled:
    """What the file holds; kept, since a stream of prompts asks for it again and again."""
    return load_distilled(shipped_path(name, application))


@lru_cache(maxsize=len(ELAM_LAYERS))
def _encoder(num_layers: int) -> SentenceEncoder:
    """Encoder of that many layers; kept, since loading and compiling it takes seconds."""
    return SentenceEncoder(num_layers)


def answer_shipped(
    name: str, prompts: Sequence[str], wanted: Sequence[str | None] | None = None
) -> list[tuple[Answer, MiniLMElam]]:
    """Answers of the shipped E-LAMs of a size, each with the model that gave it.

    `wanted` holds the application of every prompt; None is the one whose training prompts it resembles most.
    """
    elams = {application: load_elam(name, application) for application in shipped_applications()}
    distilled = [elam.distilled for elam in elams.values()]
    answers = answer_prompts(_encoder(ELAM_LAYERS[name]), distilled, prompts, wanted)
    return [(answer, elams[answer.application]) for answer in answers]
