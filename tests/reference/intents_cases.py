"""Preferences and corpus records to test with."""

import json

import numpy as np


def random_preferences(seed, count, concentration=0.6):
    """Preferences all over the simplex, some nearly one-sided, some with zeros."""
    generator = np.random.default_rng(seed)
    values = generator.dirichlet([concentration] * 4, size=count)
    values[generator.random((count, 4)) < 0.1] = 0.0
    values[values.sum(axis=1) == 0] = 0.25
    return values / values.sum(axis=1, keepdims=True)


def record(name="mm-1", **changes):
    """Fields of a valid record."""
    fields = {
        "id": name,
        "application": "multimedia",
        "style": "mixed",
        "prompt": "A poster for the fair, please.",
        "preference": [0.5, 0.3, 0.1, 0.1],
        "rationale": "Posters must look good.",
        "annotations": [[0.5, 0.3, 0.1, 0.1], [0.4, 0.4, 0.1, 0.1]],
    }
    return fields | changes


def without(fields, name):
    """The fields less one."""
    return {key: value for key, value in fields.items() if key != name}


def exchange(name, response, kind="augment", application="qa", **more):
    """Fields of a recorded exchange; the message is the id."""
    fields = {"id": name, "kind": kind, "application": application, "response": response}
    return fields | {"messages": [{"role": "user", "content": name}]} | more


def sample(prompt, percents=(10, 20, 30, 40), **more):
    """One line of a teacher's answer."""
    return json.dumps({"prompt": prompt, "reasoning": "because", "preference": list(percents)} | more)


def write_lines(path, *lines):
    """A JSON Lines file; text is written as it is, anything else as JSON."""
    path.write_text("".join((x if isinstance(x, str) else json.dumps(x)) + "\n" for x in lines), "utf-8")
    return path
