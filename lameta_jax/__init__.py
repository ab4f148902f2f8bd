"""lameta_jax: intent-aware composition of agentic networks (LAMeTA) and meta-learned adaptation (MAN), in JAX.

The names below are imported when they are first used, so that `import lameta_jax` costs nothing and the language
models are needed only by those who use them.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "AgenticNetwork": "network.network",
    "NetworkError": "network.network",
    "Request": "network.network",
    "Scenario": "network.network",
    "load_scenario": "network.files",
    "save_scenario": "network.files",
    "load_named": "network.scenarios",
    "ChainFactors": "network.qoe",
    "chain_factors": "network.qoe",
    "objective_qoe": "network.qoe",
    "subjective_qoe": "network.qoe",
    "optimum": "network.optimum",
    "beam_search": "network.optimum",
    "EnvConfig": "composition.env",
    "make_env_params": "composition.env",
    "make_users": "composition.types",
    "make_policy": "composition.policy",
    "policy_actor": "composition.policy",
    "LearnerConfig": "composition.learner",
    "EpisodeConfig": "composition.rollout",
    "composition_task": "composition.rollout",
    "PPOHyperparameters": "composition.ppo",
    "make_train": "composition.ppo",
    "evaluate": "composition.evaluate",
    "load_elam": "elam.shipped",
    "translate": "intents.translator",
    "weighted_dpo_loss": "distillation.losses",
    "adapt": "meta.adaptation",
    "meta_gradient": "meta.adaptation",
    "make_federated": "meta.federated",
    "sweep": "scale.sweep",
    "grid_runs": "scale.space",
    "random_runs": "scale.space",
}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'lameta_jax' has no attribute {name!r}")
    return getattr(import_module(f"lameta_jax.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
