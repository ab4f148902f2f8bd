"""Pools of users from a corpus: the people behind its prompts, and what E-LAMs made of their words."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from lameta_jax.composition.types import User, make_users
from lameta_jax.intents.corpus import Record, preferences_of


def corpus_users(
    records: Sequence[Record],
    translations: Sequence[Float[np.ndarray, "users 4"]] = (),
    *,
    num_elams: int = 2,
) -> User:
    """One user per record, in order, who wants what the record's annotators say.

    Args:
      records: such as `load_benchmark(application).test`.
      translations: of the records' prompts by every E-LAM, in the order of `Scenario.elam_names`; none at all: every
        E-LAM reads perfectly.
      num_elams: how many E-LAMs read perfectly, where there are no translations.
    """
    translated = np.stack(translations, axis=1) if translations else None
    return make_users(preferences_of(records), translated, num_elams=num_elams)
