"""MAN on convex problems against a NumPy twin and against what local adaptation alone must give."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lameta_jax.meta.convex import spread_targets
from lameta_jax.meta.convex_training import Rates, TrainingConfig, draw_runs, measure_generalisation
from lameta_jax.meta.logistic import Logistic
from lameta_jax.meta.ridge import Ridge

L2, NOISE = 0.3, 0.4


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def make_ridge(num_agents, dims=3):
    targets = spread_targets(jax.random.key(7), num_agents, dims, 0.5)
    return Ridge(targets, jnp.eye(dims), noise=jnp.array(NOISE), l2=jnp.array(L2))


class Twin:
    """Ridge regression under MAN in loops over data sets, rounds, agents, steps; shares no code with the package."""

    def __init__(self, draws, targets, inner_rate, meta_rate, config):
        self.draws, self.targets, self.config = jax.tree.map(np.asarray, draws), np.asarray(targets), config
        self.beta, self.gamma, self.half = inner_rate, meta_rate, config.num_samples // 2

    def samples(self, dataset, agent, places, outer=False):
        places = places + self.half if outer else places
        data = self.draws.data
        return data.inputs[dataset, agent, places], data.labels[dataset, agent, places]

    def adapt(self, model, steps):
        hessians = []
        for x, y in steps:
            hessians.append(x.T @ x / len(y) + L2 * np.eye(len(model)))
            model = model - self.beta * (x.T @ (x @ model - y) / len(y) + L2 * model)
        return model, hessians

    def train(self, dataset):
        config, model = self.config, np.zeros(self.targets.shape[1])
        for turn in range(max(config.rounds)):
            order = np.argsort(self.draws.turns[dataset, turn, : config.num_agents])
            inner = iter(np.floor(self.draws.inner[dataset, turn] * self.half).astype(int))
            outer = iter(np.floor(self.draws.outer[dataset, turn] * self.half).astype(int))
            total = np.zeros_like(model)
            for agent in order[: config.num_collaborators]:
                steps = []
                for _ in range(config.num_steps):
                    places = np.array([next(inner) for _ in range(config.batch_size)])
                    steps.append(self.samples(dataset, agent, places))
                adapted, hessians = self.adapt(model, steps)
                places = np.array([next(outer) for _ in range(config.outer_batch_size)])
                x, y = self.samples(dataset, agent, places, outer=True)
                gradient = x.T @ (x @ adapted - y) / len(y) + L2 * adapted
                if config.order == "second_order":  # back through the steps
                    for hessian in reversed(hessians):
                        gradient = gradient - self.beta * hessian @ gradient
                total += gradient
            divisor = config.num_collaborators if config.divide_by == "collaborators" else config.num_agents
            model = model - self.gamma * total / divisor
        return model

    def population(self, agent, model):
        gap = model - self.targets[agent]
        return (gap @ gap + NOISE**2 + L2 * model @ model) / 2

    def empirical(self, dataset, agent, model, places):
        x = self.draws.data.inputs[dataset, agent, places]
        y = self.draws.data.labels[dataset, agent, places]
        return np.mean((x @ model - y) ** 2) / 2 + L2 * model @ model / 2

    def gaps(self):
        config, count = self.config, len(self.draws.turns)
        models = [self.train(dataset) for dataset in range(count)]
        everything, outer = np.arange(config.num_samples), np.arange(self.half, config.num_samples)
        shape = (config.num_steps, config.batch_size)

        def adapted(model, source, used, agent):
            uniform = self.draws.test[used, agent, : shape[0] * shape[1]]
            places = np.floor(uniform * self.half).astype(int).reshape(shape)
            return self.adapt(model, [self.samples(source, agent, row) for row in places])[0]

        rows = []
        for n in range(count):
            sums = np.zeros(3)
            for agent in range(config.num_agents):
                for sign, m in ((1, n), (-1, n - 1)):
                    own = adapted(models[m], m, m, agent)
                    here = adapted(models[m], n, n, agent)
                    fresh = adapted(models[m], n - 2, n, agent)
                    sums += sign * np.array(
                        [
                            self.population(agent, own) - self.empirical(n, agent, own, everything),
                            self.population(agent, fresh) - self.empirical(n, agent, here, outer),
                            self.population(agent, models[m])
                            - self.empirical(n, agent, models[m], everything),
                        ]
                    )
            rows.append(sums / config.num_agents)
        return np.array(rows)


@pytest.mark.parametrize(
    ("order", "divide_by"),
    [
        ("second_order", "collaborators"),
        pytest.param("first_order", "collaborators", marks=pytest.mark.slow),
        pytest.param("second_order", "agents", marks=pytest.mark.slow),
    ],
)
def test_gaps_are_those_of_a_numpy_twin(order, divide_by):
    config = TrainingConfig(
        num_collaborators=2,
        num_agents=3,
        num_samples=6,
        batch_size=2,
        outer_batch_size=3,
        num_steps=3,
        rounds=(4,),
        order=order,
        divide_by=divide_by,
    )
    # drawn for larger runs: only the first part is used
    larger = TrainingConfig(
        num_collaborators=4, num_agents=4, num_samples=8, batch_size=3, num_steps=3, rounds=(5,)
    )
    problem = make_ridge(4)
    draws = draw_runs(jax.random.key(0), problem, 4, (config, larger))
    found = measure_generalisation(draws, problem, Rates(jnp.array(0.11), jnp.array(0.23)), config)
    expected = Twin(draws, problem.targets, 0.11, 0.23, config).gaps()
    np.testing.assert_allclose(np.stack(found, axis=-1)[:, 0], expected, rtol=1e-9, atol=1e-12)


def test_the_error_of_one_small_step_is_rate_times_variance_over_samples():
    """Untrained, E_gen = beta Cov(gradient on the batch, gradient on D_k) = beta sigma^2 / D up to beta^2.

    The foundation model knows nothing of the data, so it fits no sample better than any other.
    """
    config = TrainingConfig(num_collaborators=1, num_agents=8, num_samples=16, batch_size=4, rounds=(0, 1))
    problem, rate = make_ridge(8), 1e-3
    draws = draw_runs(jax.random.key(1), problem, 3000, (config,))
    found = measure_generalisation(draws, problem, Rates(jnp.array(rate), jnp.array(0.0)), config)
    expected = rate * float(problem.gradient_variance(jnp.zeros((8, 3))).mean()) / 16
    adapted = np.asarray(found.adapted[:, 0])
    assert adapted.mean() == pytest.approx(expected, rel=0.1)
    assert adapted.std() / 3000**0.5 < 0.03 * expected
    np.testing.assert_array_equal(found.foundation, 0)
    np.testing.assert_allclose(found.fresh[:, 0], 0, atol=1e-14)
    np.testing.assert_allclose(found.adapted[:, 1], adapted, rtol=1e-9)  # gamma = 0: rounds change nothing


@pytest.mark.slow
def test_what_is_taken_away_from_the_gaps_has_mean_zero():
    """Gaps without the other data sets' models, from the twin, agree in the mean."""
    config = TrainingConfig(
        num_collaborators=2, num_agents=2, num_samples=4, batch_size=1, outer_batch_size=2, rounds=(5,)
    )
    problem = make_ridge(2)
    draws = draw_runs(jax.random.key(2), problem, 400, (config,))
    found = measure_generalisation(draws, problem, Rates(jnp.array(0.2), jnp.array(0.3)), config)
    twin = Twin(draws, problem.targets, 0.2, 0.3, config)
    plain = []
    for n in range(400):
        model = twin.train(n)
        plain.append(
            np.mean([twin.population(k, model) - twin.empirical(n, k, model, np.arange(4)) for k in range(2)])
        )
    foundation = np.asarray(found.foundation[:, 0])
    error = np.hypot(np.std(plain), foundation.std()) / 400**0.5
    assert abs(np.mean(plain) - foundation.mean()) < 4 * error
    assert foundation.mean() > 4 * foundation.std() / 400**0.5  # there is something to agree about


@pytest.mark.slow
def test_logistic_regression_overfits_less_with_more_samples():
    targets = spread_targets(jax.random.key(0), 4, 3, 0.5)
    problem = Logistic(targets, jnp.eye(3), l2=jnp.array(0.2))
    configs = tuple(
        TrainingConfig(num_collaborators=4, num_agents=4, num_samples=size, batch_size=2, rounds=(20,))
        for size in (8, 64)
    )
    draws = draw_runs(jax.random.key(3), problem, 200, configs)
    rates = Rates(jnp.array(0.1), jnp.array(0.5))
    few, many = (measure_generalisation(draws, problem, rates, config).adapted.mean() for config in configs)
    assert float(few) > 3 * float(many) > 0


@pytest.mark.parametrize(("samples", "collaborators", "datasets"), [(7, 2, 4), (8, 3, 4), (8, 2, 2)])
def test_sizes_that_do_not_fit_are_refused(samples, collaborators, datasets):
    config = TrainingConfig(
        num_collaborators=collaborators, num_agents=2, num_samples=samples, batch_size=1, rounds=(1,)
    )
    problem = make_ridge(2)
    draws = draw_runs(jax.random.key(0), problem, datasets, (config,))
    with pytest.raises(ValueError, match="do not fit"):
        measure_generalisation(draws, problem, Rates(jnp.array(0.1), jnp.array(0.1)), config)
