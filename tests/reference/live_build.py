"""Builds a small data set with a live teacher; run as a program, so that a test can kill it.

    python live_build.py URL TRANSCRIPT [WRITES]

With WRITES, the process dies in the middle of writing that exchange.
"""

import hashlib
import os
import signal
import sys

import numpy as np

from lameta_jax.intents.augmentation_plan import PlanConfig
from lameta_jax.intents.corpus import Record
from lameta_jax.intents.dataset import DatasetConfig, build_dataset
from lameta_jax.intents.http_teacher import HttpConfig, HttpTeacher

CONFIG = DatasetConfig(
    target=30, min_similarity=-1.0, plan=PlanConfig(samples_per_request=5, spare_requests=2)
)
SPEED = HttpConfig(requests_per_minute=float("inf"), timeout_s=30.0)


def records(prefix, count, application="gardening"):
    """Real samples without reasoning."""
    shares = np.random.default_rng(len(prefix)).dirichlet(np.ones(4), count)
    return tuple(
        Record(
            id=f"{prefix}-{number}",
            application=application,
            prompt=f"{prefix} wants number {number} done well",
            preference=tuple(share),
        )
        for number, share in enumerate(shares.tolist())
    )


def embed(prompts):
    """Embeddings without meaning: every prompt points somewhere else."""
    seeds = [int.from_bytes(hashlib.sha256(prompt.encode()).digest()[:8], "big") for prompt in prompts]
    return np.stack([np.random.default_rng(seed).normal(size=64) for seed in seeds])


def environment(url, key="secret"):
    """What a user would set."""
    names = ("LAMETA_TEACHER_BASE_URL", "LAMETA_TEACHER_MODEL", "LAMETA_TEACHER_API_KEY")
    return dict(zip(names, (url, "test-model", key), strict=True))


def build(teacher, config=CONFIG, **options):
    """Eight real samples: three of the application, five of the history, none of them explained."""
    history = records("history", 5, "other")
    return build_dataset(records("own", 3), history, teacher, embed, config, **options)


def _die_while_writing(exchange):
    write, left = os.write, [exchange]

    def cut_short(file, data):
        left[0] -= 1
        if left[0]:
            return write(file, data)
        write(file, data[: len(data) // 2])
        os.kill(os.getpid(), signal.SIGKILL)

    os.write = cut_short


if __name__ == "__main__":
    url, path, *writes = sys.argv[1:]
    if writes:
        _die_while_writing(int(writes[0]))
    with HttpTeacher(path, SPEED, environment(url)) as live:
        build(live)
