"""Networks for tests: one small fixed one, random ones, and network files written without the package."""

import json
from xml.sax.saxutils import quoteattr

import networkx as nx
import numpy as np
from hypothesis import strategies as st

DELETE = object()


def small_network():
    """Five agents: two chains reader -> writer -> artist, r1-w1-d1 and r1-w2-d1; w2 also knows w1."""
    rates = {"r1": 30.0, "w1": 20.0, "w2": 12.0, "d1": 15.0, "x1": 9.0}
    types = {"r1": "reader", "w1": "writer", "w2": "writer", "d1": "artist", "x1": "other"}
    agents = [
        {
            "id": name,
            "type": types[name],
            "capability": 0.5 + 0.05 * index,
            "service_rate": rate,
            "service_cv": 0.5,
            "observations": 100,
            "outages": index,
        }
        for index, (name, rate) in enumerate(rates.items())
    ]
    pairs = [("r1", "w1"), ("r1", "w2"), ("w1", "d1"), ("w1", "w2"), ("w2", "d1"), ("d1", "x1")]
    return {
        "name": "small",
        "arrival_rate": 4.0,
        "capability_threshold": 0.01,
        "max_latency": 1.0,
        "request": ["reader", "writer", "artist"],
        "agents": agents,
        "links": [{"between": list(pair), "ber": 0.01 * (index + 1)} for index, pair in enumerate(pairs)],
        "elams": [{"name": "small", "fee": 0.01}, {"name": "large", "fee": 0.05}],
    }


def random_network(seed, num_agents=8, num_types=3, request=("t0", "t1", "t2"), degree=4):
    """A network file's content with factors in the usual ranges; its request may have no chain.

    Every agent has the same number of links, so that arrays have the same shapes whatever the seed.
    """
    generator = np.random.default_rng(seed)
    agents = [
        {
            "id": f"n{index}",
            "type": f"t{index % num_types}",
            "capability": float(generator.uniform(0.2, 0.9)),
            "service_rate": float(generator.uniform(5, 60)),
            "service_cv": float(generator.uniform(0, 2)),
            "observations": 1000,
            "outages": int(generator.integers(0, 100)),
        }
        for index in range(num_agents)
    ]
    links = [
        {"between": [f"n{i}", f"n{j}"], "ber": float(10 ** generator.uniform(-4, -1))}
        for i, j in nx.random_regular_graph(degree, num_agents, seed).edges
    ]
    return {
        "name": "random",
        "arrival_rate": 4.0,
        "capability_threshold": 0.03,
        "max_latency": 0.8,
        "request": list(request),
        "agents": agents,
        "links": links,
    }


def log_uniform(low, high):
    return st.floats(np.log(low), np.log(high)).map(lambda x: float(np.exp(x)))


@st.composite
def valued_chains(draw, hops=5):
    """A chain of agents in series with extreme but valid values, its links, a load and a preference."""
    arrival_rate = draw(log_uniform(1e-3, 1e3))
    agents = []
    for _ in range(hops):
        observations = draw(st.integers(1, 10**6))
        agents.append(
            {
                "compute_budget": draw(log_uniform(1e15, 1e27)),
                "service_rate": arrival_rate * (1 + draw(log_uniform(1e-3, 1e3))),
                "service_cv": draw(st.just(0.0) | log_uniform(1e-3, 30)),
                "observations": observations,
                "outages": draw(st.sampled_from([0, 1, observations]) | st.integers(0, observations)),
            }
        )
    bers = [draw(st.sampled_from([0.0, 1.0]) | log_uniform(1e-18, 0.5)) for _ in range(hops - 1)]
    weights = np.array([draw(st.sampled_from([0.0, 1.0]) | st.floats(0.01, 1)) for _ in range(4)])
    weights = np.array([1.0, 0, 0, 0]) if weights.sum() == 0 else weights
    return agents, bers, arrival_rate, draw(log_uniform(1e-6, 1)), list(weights / weights.sum())


def yaml_text(mapping):
    """YAML is a superset of JSON but for exponents without a dot, which PyYAML's JSON output never has."""
    return json.dumps(mapping)


def graphml_text(mapping):
    """GraphML with one key per attribute and Python type; `request` with commas, `elams` as JSON."""
    keys, body = {}, []

    def data(domain, attributes):
        lines = []
        for name, value in attributes.items():
            kind = {bool: "boolean", int: "int", float: "double"}.get(type(value), "string")
            key = keys.setdefault((domain, name, kind), f"k{len(keys)}")
            text = str(value).lower() if kind == "boolean" else str(value)
            lines.append(f'<data key="{key}">{text}</data>')
        return "".join(lines)

    for agent in mapping["agents"]:
        attributes = {key: value for key, value in agent.items() if key != "id"}
        name = f" id={quoteattr(str(agent['id']))}" if "id" in agent else ""
        body.append(f"<node{name}>{data('node', attributes)}</node>")
    for link in mapping["links"]:
        attributes = {key: value for key, value in link.items() if key != "between"}
        first, second = (quoteattr(str(end)) for end in link["between"])
        body.append(f"<edge source={first} target={second}>{data('edge', attributes)}</edge>")
    top = {key: value for key, value in mapping.items() if key not in ("agents", "links")}
    if isinstance(top.get("request"), list):
        top["request"] = ",".join(top["request"])
    for name in ("elams", "made_by"):
        if isinstance(top.get(name), list | dict):
            top[name] = json.dumps(top[name])
    body.append(data("graph", top))
    declared = "".join(
        f'<key id="{key}" for="{domain}" attr.name={quoteattr(name)} attr.type="{kind}"/>'
        for (domain, name, kind), key in keys.items()
    )
    return f'<graphml>{declared}<graph edgedefault="undirected">{"".join(body)}</graph></graphml>'


WRITERS = {".yaml": yaml_text, ".json": json.dumps, ".graphml": graphml_text}


def changed(mapping, *path_and_value):
    """A deep copy with one value replaced, added, or deleted (DELETE) at a path of keys and positions."""
    *path, last, value = path_and_value
    copy = json.loads(json.dumps(mapping))
    target = copy
    for step in path:
        target = target[step]
    if value is DELETE:
        del target[last]
    else:
        target[last] = value
    return copy
