"""Networks for tests of composition, as the content of network files, with numbers that are easy by hand."""

import numpy as np

# Service times are exponential (V = 1), so that an agent's latency is 1 / (mu - lambda).


def _network(agents, links, request, max_latency=1.0):
    """Agents as (id, type, capability, mu, outages of 100), links as (one, other, BER); lambda = 4."""
    return {
        "name": "by-hand",
        "arrival_rate": 4.0,
        "capability_threshold": 0.01,
        "max_latency": max_latency,
        "request": list(request),
        "agents": [
            {
                "id": name,
                "type": kind,
                "capability": capability,
                "service_rate": rate,
                "service_cv": 1.0,
                "observations": 100,
                "outages": outages,
            }
            for name, kind, capability, rate, outages in agents
        ],
        "links": [{"between": [one, other], "ber": ber} for one, other, ber in links],
        "elams": [{"name": "small", "fee": 0.01}, {"name": "large", "fee": 0.05}],
    }


def four_agents():
    """Request A -> B: chains a-b1 and a-b2; c is of no use. Indices 0 to 3.

    I(C)   = (C - 0.2) / 0.6:   1, 1/3, 2/3, 0
    I(L)   = (0.25 - L) / 0.2:  L = 0.25, 0.05, 0.125, 0.0625, so 0, 1, 0.625, 0.9375
    I(F/O) = (0.2 - p) / 0.2:   1, 0.5, 0.75, 0
    I(BER) = (0.05 - b) / 0.04: a-b1 1, a-b2 0, b1-b2 0.75, b2-c 0.5
    """
    agents = [
        ("a", "A", 0.8, 8.0, 0),
        ("b1", "B", 0.4, 24.0, 10),
        ("b2", "B", 0.6, 12.0, 5),
        ("c", "C", 0.2, 20.0, 20),
    ]
    links = [("a", "b1", 0.01), ("a", "b2", 0.05), ("b1", "b2", 0.02), ("b2", "c", 0.03)]
    return _network(agents, links, ("A", "B"))


def six_agents():
    """Request A -> B -> C, two agents a type, every link there is between types: eight chains.

    The second of each type is capable and slow, the first fast and weak: the best chain depends on the user.
    """
    agents = [
        ("a0", "A", 0.30, 60.0, 2),
        ("a1", "A", 0.90, 12.0, 3),
        ("b0", "B", 0.35, 50.0, 1),
        ("b1", "B", 0.85, 10.0, 4),
        ("c0", "C", 0.40, 70.0, 5),
        ("c1", "C", 0.80, 14.0, 0),
    ]
    pairs = [("a0", "b0"), ("a0", "b1"), ("a1", "b0"), ("a1", "b1")]
    pairs += [("b0", "c0"), ("b0", "c1"), ("b1", "c0"), ("b1", "c1")]
    links = [(one, other, 0.005 * (1 + place)) for place, (one, other) in enumerate(pairs)]
    return _network(agents, links, ("A", "B", "C"))


def dead_end():
    """Request A -> B -> C: a-b1-c works; b2 is a leaf, so after a-b2 no legal agent is left."""
    agents = [
        ("a", "A", 0.8, 30.0, 0),
        ("b1", "B", 0.4, 24.0, 10),
        ("b2", "B", 0.6, 32.0, 5),
        ("c", "C", 0.2, 20.0, 20),
    ]
    return _network(agents, [("a", "b1", 0.01), ("a", "b2", 0.05), ("b1", "c", 0.02)], ("A", "B", "C"))


def interleaved(request):
    """Eleven agents A B A B C A B A B C A in a ring, each linked to the three next on both sides.

    So requests may name types again and again. The first agent is so slow (0.9 minutes) that most chains through it
    break (18b).
    """
    kinds = "ABABCABABCA"
    agents = [
        (f"{kind}{place}", kind, 0.8 + 0.015 * place, 20.0 + 3 * place, place)
        for place, kind in enumerate(kinds)
    ]
    agents[0] = ("A0", "A", 0.95, 4 + 1 / 0.9, 0)
    names = [agent[0] for agent in agents]
    links = [
        (names[place], names[(place + distance) % 11], 0.002 * distance + 0.001 * place)
        for place in range(11)
        for distance in (1, 2, 3)
    ]
    return _network(agents, links, request)


def walks_without_return(mapping):
    """All chains that serve the request, as lists of agent ids, found by walking on from each agent."""
    kind = {agent["id"]: agent["type"] for agent in mapping["agents"]}
    linked = {frozenset(link["between"]) for link in mapping["links"]}
    walks = [[]]
    for wanted in mapping["request"]:
        walks = [
            [*walk, agent]
            for walk in walks
            for agent in kind
            if kind[agent] == wanted
            and agent not in walk
            and (not walk or frozenset((walk[-1], agent)) in linked)
        ]
    return walks


def permuted(mapping, order):
    """The same network with its agents listed in another order."""
    return {**mapping, "agents": [mapping["agents"][place] for place in order]}


def preferences(count, seed=0):
    """Points of the simplex."""
    return np.random.default_rng(seed).dirichlet(np.ones(4), count)
