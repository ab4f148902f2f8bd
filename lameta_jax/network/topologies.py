"""Who is linked to whom: random graphs by name; a list of links, never a matrix."""

from typing import NamedTuple

import jax.numpy as jnp
import networkx as nx
import numpy as np

from lameta_jax.network.channel import nakagami_mrc_ber
from lameta_jax.network.network import NetworkError

TOPOLOGIES = ("erdos-renyi", "watts-strogatz", "barabasi-albert", "grid", "random-geometric")

REWIRING = 0.1  # share of links that watts-strogatz moves
# Random geometric: log-distance path loss, Rayleigh fading, two receive branches. Links end where the mean
# SNR per branch has fallen to 0 dB, which is a bit error rate of 0.058; at half that distance it is 0.0024.
PATH_LOSS_EXPONENT = 3.0
SNR_AT_RANGE = 1.0  # linear
FADING_FIGURE, BRANCHES = 1.0, 2.0
SHORTEST = 0.01  # distances below this share of the range count as it


class Topology(NamedTuple):
    """Agents by number, links by pairs of them, and bit error rates where the geometry says them."""

    num_agents: int
    link_ends: np.ndarray  # [links, 2]
    link_ber: np.ndarray | None = None  # [links]


def draw_topology(name: str, num_agents: int, mean_degree: float, generator: np.random.Generator) -> Topology:
    """Draw a topology with about `mean_degree` links per agent; its cost grows with agents plus links.

    "erdos-renyi": each pair alike. "watts-strogatz": ring with rewired links, even degree. "barabasi-albert":
    preferential attachment. "grid": the most square rectangle, whatever the mean degree. "random-geometric":
    uniform in the unit square, linked within a range, bit error rates from path loss and fading.

    Raises:
      NetworkError: no such topology, or one that does not fit the sizes.
    """
    seed = int(generator.integers(2**31))
    half_degree = max(1, round(mean_degree / 2))
    if name == "erdos-renyi":
        graph = nx.fast_gnp_random_graph(num_agents, min(1.0, mean_degree / (num_agents - 1)), seed=seed)
    elif name == "watts-strogatz":
        graph = nx.watts_strogatz_graph(num_agents, min(2 * half_degree, num_agents), REWIRING, seed)
    elif name == "barabasi-albert":
        graph = nx.barabasi_albert_graph(num_agents, min(half_degree, num_agents - 1), seed)
    elif name == "grid":
        rows = next(rows for rows in range(int(num_agents**0.5), 0, -1) if num_agents % rows == 0)
        graph = nx.convert_node_labels_to_integers(nx.grid_2d_graph(rows, num_agents // rows))
    elif name == "random-geometric":
        return _random_geometric(num_agents, mean_degree, seed)
    else:
        raise NetworkError(f"topology = {name!r} must be one of {', '.join(TOPOLOGIES)}")
    return Topology(num_agents, np.array(graph.edges, dtype=int).reshape(-1, 2))


def _random_geometric(num_agents: int, mean_degree: float, seed: int) -> Topology:
    # Mean degree = agents per unit area times the area in range, leaving the borders of the square aside.
    reach = (mean_degree / (np.pi * (num_agents - 1))) ** 0.5
    graph = nx.random_geometric_graph(num_agents, reach, seed=seed)
    ends = np.array(graph.edges, dtype=int).reshape(-1, 2)
    position = np.array([graph.nodes[agent]["pos"] for agent in range(num_agents)])
    distance = np.linalg.norm(position[ends[:, 0]] - position[ends[:, 1]], axis=1)
    mean_snr = SNR_AT_RANGE * np.maximum(distance / reach, SHORTEST) ** -PATH_LOSS_EXPONENT
    ber = nakagami_mrc_ber(jnp.asarray(mean_snr, dtype=float), FADING_FIGURE, BRANCHES)
    return Topology(num_agents, ends, np.asarray(ber, dtype=float))
