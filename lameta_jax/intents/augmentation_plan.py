"""Which demonstrations and settings each request for samples shows: the few-shot side of LAMeTA eq. (23)."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from lameta_jax.intents.corpus import Record
from lameta_jax.intents.requests import Request, augmentation_request

SETTINGS = (  # of anybody's life and work; an application may have better ones
    "a home kitchen; a family of three generations",
    "a small shop before it opens",
    "a night shift in a hospital",
    "a train that is late",
    "school, the evening before it is due",
    "a farm at harvest",
    "an office on the last day of the quarter",
    "a garage; oily hands",
    "a volunteer club without money",
    "the first weeks in a foreign country",
    "a building site in the rain",
    "a newspaper close to its deadline",
    "a laboratory in the middle of an experiment",
    "backstage at a festival",
    "retirement, with all the time in the world",
    "a start-up that shows its product tomorrow",
    "a town hall, everything in writing",
    "a boat or a mountain hut with a poor connection",
    "a hobby taken seriously",
    "weddings, births and funerals",
)


@dataclass(frozen=True, kw_only=True)
class PlanConfig:
    """How requests for samples are drawn."""

    samples_per_request: int = 25
    own_demonstrations: int = 6  # of D_u, shown in a request
    relevant_demonstrations: int = 4  # of D_rel, shown in a request
    # Requests beyond those that would do if every sample were good; when they are used up, samples are missing.
    spare_requests: int = 10
    settings: tuple[str, ...] = SETTINGS  # one is named in each request, so that samples differ
    seed: int = 0  # of the draw

    def __post_init__(self):
        for name in ("samples_per_request", "own_demonstrations"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)} must be at least 1")
        for name in ("relevant_demonstrations", "spare_requests", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} = {getattr(self, name)} must not be negative")
        if not self.settings:
            raise ValueError("settings must name at least one")


def plan_requests(
    application: str, own: Sequence[Record], related: Sequence[Record], count: int, config: PlanConfig
) -> tuple[Request, ...]:
    """All requests that may be needed for `count` samples, in the order in which they are to be asked.

    Each draws from a stream of its own, so that a larger count only adds requests.
    """
    if count == 0:
        return ()
    order = np.random.default_rng(config.seed).permutation(len(config.settings))
    requests = []
    for number in range(ceil(count / config.samples_per_request) + config.spare_requests):
        rng = np.random.default_rng([config.seed, number])
        shown = [
            pool[row]
            for pool, size in ((own, config.own_demonstrations), (related, config.relevant_demonstrations))
            for row in rng.permutation(len(pool))[:size]
        ]
        setting = config.settings[order[number % len(order)]]
        name = f"augment-{application}-{number:02d}"
        requests.append(augmentation_request(name, application, shown, config.samples_per_request, setting))
    return tuple(requests)
