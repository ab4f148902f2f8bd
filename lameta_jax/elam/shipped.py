"""The distilled E-LAMs that come with the package: one per size and application."""

from collections.abc import Sequence
from functools import lru_cache
from importlib import resources
from pathlib import Path

import numpy as np

from lameta_jax.elam.model import ELAM_LAYERS, MiniLMElam, load_distilled
from lameta_jax.elam.sentence_encoder import SentenceEncoder, sentence_embeddings
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
    return MiniLMElam(load_distilled(shipped_path(name, application)), _encoder(ELAM_LAYERS[name]))


@lru_cache(maxsize=len(ELAM_LAYERS))
def _encoder(num_layers: int) -> SentenceEncoder:
    """Encoder of that many layers; kept, since loading and compiling it takes seconds."""
    return SentenceEncoder(num_layers)


def nearest_application(prompts: Sequence[str]) -> list[str]:
    """For each prompt the application whose training prompts it resembles most (cosine to their centroid)."""
    applications = shipped_applications()
    centroids = np.stack([load_distilled(shipped_path("large", name)).centroid for name in applications])
    embeddings = sentence_embeddings(_encoder(ELAM_LAYERS["large"]).levels(prompts))
    centroids = centroids / np.linalg.norm(centroids, axis=1, keepdims=True)
    return [applications[index] for index in (embeddings @ centroids.T).argmax(axis=1)]
