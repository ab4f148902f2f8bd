"""The data of stage 1: the published D_IoKD to the last record, and what is asked of whom."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from lameta_jax.elam.sentence_encoder import SentenceEncoder
from lameta_jax.intents.corpus import BENCHMARKS, load_benchmark, load_history
from lameta_jax.intents.teacher import RecordedTeacher
from lameta_jax.pipeline.intents import IntentConfig, prepare_intents

RESULTS = Path(__file__).parents[2] / "experiments" / "results" / "srl_translations.json"
# SHA-256 of the records that the published results were trained on, one sorted JSON object a line
PUBLISHED = {
    "multimedia": "d146795cf4cca9275ac99269a0d7a98f1089ecc497e57b0b6386a6dc855092f7",
    "qa": "931da017950ca077907deddef2e8d2f2f78d61693d2647abfcb84fcaaa49df58",
}


class MadeUpEncoder(SentenceEncoder):
    """Levels without meaning, and a note of what was encoded."""

    def __init__(self):
        self.encoded = []

    def levels(self, prompts, progress=None):
        self.encoded += prompts
        digests = [hashlib.sha256(prompt.encode()).digest() for prompt in prompts]
        rows = [np.random.default_rng(list(digest)).normal(size=(2, 64)) for digest in digests]
        return np.stack(rows).astype(np.float32)


class Listener:
    """Passes requests on and remembers them."""

    def __init__(self):
        self.asked, self._recorded = [], RecordedTeacher()

    def ask(self, request):
        self.asked.append(request.id)
        return self._recorded.ask(request)


@pytest.mark.slow
def test_the_data_of_the_published_results_is_built_again():
    data = prepare_intents(SentenceEncoder(), RecordedTeacher(), BENCHMARKS, IntentConfig())
    published = json.loads(RESULTS.read_text(encoding="utf-8"))["applications"]
    for name, part in data.applications.items():
        assert [record.id for record in part.training.records] == published[name]["training"]["ids"]
        assert part.num_synthetic == 500 and part.rejects == {}
        lines = [json.dumps(asdict(record), sort_keys=True) for record in part.training.records]
        assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == PUBLISHED[name]


def test_prompts_are_encoded_once_and_samples_asked_for_as_far_as_they_are_wanted():
    encoder, teacher = MadeUpEncoder(), Listener()
    # nothing of the history is relevant: 10 real samples, so that 300 more take 12 requests of 25
    config = IntentConfig(min_similarity=dict.fromkeys(BENCHMARKS, 2.0), target=310)
    data = prepare_intents(encoder, teacher, BENCHMARKS, config)
    assert len(encoder.encoded) == len(set(encoder.encoded)) == 600 + 2 * (50 + 300)
    assert teacher.asked == [f"augment-{name}-{number:02d}" for name in ("mm", "qa") for number in range(12)]
    assert data.history.records == load_history()
    for name, part in data.applications.items():
        own, test = load_benchmark(name)
        assert part.training.records[:10] == own and part.test.records == test
        short = {"multimedia": "mm", "qa": "qa"}[name]
        assert [record.id for record in part.training.records[10:]] == [
            f"augment-{short}-{number:02d}-{line:02d}" for number in range(12) for line in range(25)
        ]
        assert (part.num_relevant, part.num_synthetic, part.rejects) == (0, 300, {})
        for group in (part.training, part.test, data.history):
            again = MadeUpEncoder().levels([record.prompt for record in group.records])
            np.testing.assert_array_equal(group.levels, again)
