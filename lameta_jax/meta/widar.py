"""Widar3.0: gestures seen by Wi-Fi, as body-coordinate velocity profiles (BVP), from two packed files.

A profile is a sequence of frames, 10 per second: how the power of the reflections spreads over the velocity of the
body, on a grid of 20 x 20 from -2 to 2 m/s in each direction.

Reference: Zheng et al., Zero-Effort Cross-Domain Gesture Recognition with Wi-Fi, MobiSys 2019; Zhang et al., Widar3.0:
Zero-Effort Cross-Domain Gesture Recognition with Wi-Fi, IEEE TPAMI 2021.
"""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Int, Shaped, UInt8

from lameta_jax.meta.datasets import Samples, find_files, read_bytes, require_digest

GESTURES = ("push_pull", "sweep", "clap", "slide", "draw_o_horizontal", "draw_zigzag_horizontal")
"""The names of the labels, in order."""

Subset = Literal["paper", "cross_room", "all"]
"""Of the six gestures: the 11,992 samples that fit the 12,000 of MAN, the 12,742 of the dates that have all six in all
three rooms, or all 23,640 of every date."""

_CROSS_ROOM = (
    "widar3_bvp_cross_room.npz",
    "544588485795b69c02e6c6a30f0df93dbac0944d3d4a40208d00f5aa36729515",
)
_MORE = ("widar3_bvp_more.npz", "e9b1b1e66d478766e6c8140b427fd560ddac1c33fc248eb8902952e68733cdcf")
_SOURCE = (
    "without them, get the BVP release from https://doi.org/10.21227/7znf-qp86 "
    "and read it with lameta_jax.meta.widar_release.load_widar_release"
)
UNIT = 0.04
"""Where a profile is not 0, its root mean square over all samples is 0.0399; `to_floats` gives values over this."""


class WidarSamples(NamedTuple):
    """Samples with who made the gesture, where and when; see `Samples`."""

    inputs: UInt8[np.ndarray, "samples 20 20 frames"]  # velocities along x, along y, time
    labels: Int[np.ndarray, " samples"]  # index into GESTURES
    scale: Shaped[np.ndarray, " samples"]
    user: Int[np.ndarray, " samples"]  # 1 to 17
    room: Int[np.ndarray, " samples"]  # 1 classroom, 2 hall, 3 office
    date: Int[np.ndarray, " samples"]  # such as 20181130

    def samples(self) -> Samples:
        """The same without who, where and when."""
        return Samples(self.inputs, self.labels, self.scale)


def load_widar(folder: Path | None = None, subset: Subset = "paper", frames: int = 20) -> WidarSamples:
    """Samples of the six standard gestures; those whose label is in doubt are left out.

    The number of frames is made the same: longer samples lose as many at the start as at the end, shorter ones get
    empty frames on both sides, the odd one at the end. 12% of "cross_room" are longer than 20 frames, none than 36.
    The packed values are whole numbers of 1/255 of the sample's largest, with a relative error of 0.4% (root mean
    square).

    Args:
      folder: of the packed files; by default they are looked for where `find_files` says, as `widar3`.

    Raises:
      DatasetError: a file is missing, damaged, or another version.
    """
    packed = [_CROSS_ROOM, _MORE] if subset == "all" else [_CROSS_ROOM]
    paths = find_files("widar3", [name for name, _ in packed], folder, _SOURCE)
    parts = []
    for path, (_, digest) in zip(paths, packed, strict=True):
        content = read_bytes(path)
        require_digest(content, digest, path)
        with np.load(io.BytesIO(content), allow_pickle=False) as fields:
            parts.append(_unpack(fields, subset, frames))
    return joined(parts)


def _unpack(fields: Mapping[str, np.ndarray], subset: Subset, frames: int) -> WidarSamples:
    """The samples of one packed file."""
    chosen = np.flatnonzero(fields["paper_subset"] if subset == "paper" else ~fields["label_doubtful"])
    profiles, start, length = fields["frames"], fields["offset"], fields["length"]
    inputs = np.zeros((len(chosen), 20, 20, frames), dtype=np.uint8)
    for row, sample in enumerate(chosen):
        inputs[row] = centred(profiles[start[sample] : start[sample] + length[sample]], frames)
    labels, user, room, date = (
        fields[name][chosen].astype(np.int32) for name in ("gesture", "user", "room", "date")
    )
    return WidarSamples(inputs, labels, fields["scale"][chosen] / np.float32(UNIT), user, room, date)


def centred(profile: Shaped[np.ndarray, "length 20 20"], frames: int) -> Shaped[np.ndarray, "20 20 frames"]:
    """The middle `frames` frames, or all with empty ones on both sides, as in `load_widar`; time goes last."""
    surplus = len(profile) - frames
    if surplus >= 0:
        kept = profile[surplus // 2 : surplus // 2 + frames]
    else:
        before = -surplus // 2
        kept = np.pad(profile, ((before, -surplus - before), (0, 0), (0, 0)))
    return np.moveaxis(kept, 0, -1)


def joined(parts: list[WidarSamples]) -> WidarSamples:
    """One after the other."""
    if len(parts) == 1:  # without a second copy
        return parts[0]
    return WidarSamples(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
