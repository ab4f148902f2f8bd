"""What E-LAMs make of the prompts that composers are trained and tested on, kept for all studies of composition.

    python experiments/srl_translations.py        # writes experiments/results/srl_translations.json

Test prompts are read by the shipped E-LAMs ("iokd") and by raw ones. Training prompts are read by models distilled
without them: a composer trained on what an E-LAM says of prompts it has learned from would trust it too much. (The raw
E-LAM has met those few of them that are in the history.) Answers are whole percents, in the order of ../test/ids.
"""

import time

import jax
from common import report, write_results

from lameta_jax.elam.model import ELAM_LAYERS
from lameta_jax.elam.sentence_encoder import SentenceEncoder
from lameta_jax.elam.shipped import load_elam
from lameta_jax.intents.corpus import BENCHMARKS, prompts_of
from lameta_jax.intents.preference import format_percents, whole_percents
from lameta_jax.intents.teacher import RecordedTeacher
from lameta_jax.intents.translator import translate
from lameta_jax.pipeline.distillation import cross_translate, distil_raw, read_intents
from lameta_jax.pipeline.intents import IntentConfig, prepare_intents

SEED = 0


def main() -> None:
    started, config = time.time(), IntentConfig()
    data = prepare_intents(SentenceEncoder(), RecordedTeacher(), BENCHMARKS, config)
    found = {
        name: {
            group: {
                "ids": [record.id for record in labelled.records],
                "preferences": [" ".join(f"{weight:.4f}" for weight in row) for row in labelled.preferences],
                "answers": {"raw": {}, "iokd": {}},
            }
            for group, labelled in (("training", part.training), ("test", part.test))
        }
        for name, part in data.applications.items()
    }
    keys = jax.random.split(jax.random.key(SEED), len(ELAM_LAYERS))
    for size, key in zip(ELAM_LAYERS, keys, strict=True):
        raw = distil_raw(key, size, data.history, config)
        for name, part in data.applications.items():
            report(f"{time.time() - started:5.0f} s  {size} E-LAM, {name}")
            shipped = translate(load_elam(size, name), prompts_of(part.test.records))
            read = {
                ("training", "raw"): read_intents(raw, part.training.levels).preferences,
                ("test", "raw"): read_intents(raw, part.test.levels).preferences,
                ("training", "iokd"): cross_translate(key, raw, part, data.history, config.method),
                ("test", "iokd"): [answer.preference for answer in shipped],
            }
            for (group, method), preferences in read.items():
                answers = [format_percents(percents) for percents in whole_percents(preferences)]
                found[name][group]["answers"][method][size] = answers
    report(
        f"wrote {write_results('srl_translations', {'applications': found}, seeds=[SEED], started=started)}"
    )


if __name__ == "__main__":
    main()
