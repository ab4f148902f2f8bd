"""Widar3.0 from the files of its public release, one MATLAB file for each gesture that someone made.

The files are `{date}-VS/6-link/user{U}/user{U}-{gesture}-{position}-{orientation}-{repetition}-{suffix}.mat`, without
the folder `6-link` for 20181130. What a gesture's number means depends on the date and on the user: see `SESSIONS`.
"""

import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from lameta_jax.meta.datasets import DatasetError, refuse
from lameta_jax.meta.widar import GESTURES, UNIT, Subset, WidarSamples, centred

_VARIABLE = "velocity_spectrum_ro"
_FOLDER = re.compile(r"(\d{8})-VS")
_NAME = re.compile(
    r"user(\d{1,2})-(\d{1,2})-(\d)-(\d)-(\d{1,2})-(?:1-1e-07-100-20-100000-L0(?:-\d{8})?|\d{8})\.mat"
)

_PUSH_PULL, _SWEEP, _CLAP, _SLIDE, _O, _ZIGZAG = range(len(GESTURES))
_OTHER, _DOUBTFUL = -1, -2  # drawings that are none of the six; numbers whose meaning the data contradicts
_VERTICAL = (_PUSH_PULL, _SWEEP, _CLAP, _OTHER, _OTHER, _OTHER)
_DRAWN = (_O, _ZIGZAG, _OTHER, _OTHER, _OTHER)
_ALL_SIX = (_PUSH_PULL, _SWEEP, _CLAP, _SLIDE, _O, _ZIGZAG)


class Session(NamedTuple):
    """What some users did on a day."""

    room: int  # 1 classroom, 2 hall, 3 office
    gestures: tuple[int, ...]  # what the numbers from 1 on mean, as an index into GESTURES
    cross_room: bool = False  # one of those that have all six gestures in all three rooms


SESSIONS: dict[tuple[int, int], Session] = {
    (date, user): session
    for date, users, session in [
        (20181109, (1, 2, 3), Session(1, (_PUSH_PULL, _SWEEP, _CLAP, _DOUBTFUL, _OTHER, _OTHER))),
        (20181112, (1, 2), Session(1, (_OTHER,) * 10)),
        (20181115, (1,), Session(1, _VERTICAL)),
        (20181117, (4,), Session(2, _VERTICAL)),
        (20181118, (2, 3), Session(2, _VERTICAL)),
        (20181121, (1, 2, 3), Session(1, (_SLIDE, *_DRAWN))),
        (20181127, (2, 5), Session(2, (_SLIDE, *_DRAWN))),
        (20181128, (6,), Session(2, (_PUSH_PULL, _DOUBTFUL, _CLAP, _O, _ZIGZAG, _OTHER))),
        (20181130, (5, *range(10, 18)), Session(1, (*_ALL_SIX, _OTHER, _OTHER, _OTHER), True)),
        (20181204, (1,), Session(2, (*_ALL_SIX, _OTHER, _OTHER, _OTHER), True)),
        (20181205, (2,), Session(2, _DRAWN, True)),
        (20181205, (3,), Session(2, (_SLIDE, *_DRAWN), True)),
        (20181208, (2,), Session(2, (_PUSH_PULL, _SWEEP, _CLAP, _SLIDE), True)),
        (20181208, (3,), Session(2, (_PUSH_PULL, _SWEEP, _CLAP), True)),
        (20181209, (2,), Session(2, (_PUSH_PULL,))),
        (20181209, (6,), Session(2, _ALL_SIX, True)),
        (20181211, (3, 7, 8, 9), Session(3, _ALL_SIX, True)),
    ]
    for user in users
}
"""What was recorded, by date and user."""


class LeftOut(NamedTuple):
    """Files of the release that gave no sample, and why."""

    unreadable: tuple[str, ...]  # the reader's messages
    empty: tuple[str, ...]  # files without a frame
    unknown: tuple[str, ...]  # files whose name, date, user or number is not of the release
    doubtful: int  # files whose label is in doubt
    other: int  # files of other gestures, or outside the subset


def read_bvp(path: Path) -> Float[np.ndarray, "frames 20 20"]:
    """The profile of one file, time first; it may have no frame.

    Raises:
      DatasetError: it cannot be read, or holds no such profile.
    """
    from scipy.io import loadmat

    try:
        values = loadmat(path, variable_names=[_VARIABLE]).get(_VARIABLE)
    except Exception as error:  # whatever the reader makes of a file that is cut short or is not one
        refuse(path, f"not readable as a MATLAB file: {error}")
    if values is None:
        refuse(path, f"it has no variable {_VARIABLE}")
    if values.size == 0:
        return np.zeros((0, 20, 20))
    if values.shape[:2] != (20, 20) or values.ndim > 3 or values.dtype.kind not in "fiu":
        refuse(path, f"{_VARIABLE} of {values.dtype} {values.shape} must be numbers of (20, 20, frames)")
    profile = np.moveaxis(values.reshape(20, 20, -1), -1, 0).astype(float)
    if not np.isfinite(profile).all():
        refuse(path, f"{_VARIABLE} has values that are not finite")
    return profile


def load_widar_release(
    folder: Path, subset: Subset = "paper", frames: int = 20
) -> tuple[WidarSamples, LeftOut]:
    """The samples that `load_widar` gives, from the release itself, ordered by path, and what was left out.

    Args:
      folder: the one that holds `20181109-VS` and so on, in any depth.

    Raises:
      DatasetError: there is no folder, or nothing in it that gives a sample.
    """
    paths = sorted(folder.rglob("*.mat"))
    found, unreadable, empty, unknown = [], [], [], []
    left_out = Counter()
    for path in paths:
        place = _place(path)
        if place is None:
            unknown.append(str(path))
        elif place.gesture in (_DOUBTFUL, _OTHER) or not _in_subset(place, subset):
            left_out[place.gesture == _DOUBTFUL] += 1
        else:
            try:
                profile = read_bvp(path)
            except DatasetError as error:
                unreadable.append(str(error))
                continue
            if len(profile):
                found.append(
                    (*_quantised(profile, frames), place.gesture, place.user, place.session.room, place.date)
                )
            else:
                empty.append(str(path))
    if not found:
        refuse(folder, f"no sample of Widar3.0 among {len(paths)} .mat files in it; see load_widar_release")
    inputs, scale, *others = (np.stack(column) for column in zip(*found, strict=True))
    label, user, room, date = (column.astype(np.int32) for column in others)
    samples = WidarSamples(inputs, label, scale, user, room, date)
    return samples, LeftOut(tuple(unreadable), tuple(empty), tuple(unknown), left_out[True], left_out[False])


class _Place(NamedTuple):
    """What a file's name says."""

    date: int
    user: int
    session: Session
    gesture: int


def _place(path: Path) -> _Place | None:
    """None where the release has no such file."""
    name = _NAME.fullmatch(path.name)
    dates = [match[1] for part in path.parts if (match := _FOLDER.fullmatch(part))]
    if not name or not dates:
        return None
    date, user, number = int(dates[-1]), int(name[1]), int(name[2])
    session = SESSIONS.get((date, user))
    if session is None or not 1 <= number <= len(session.gestures):
        return None
    return _Place(date, user, session, session.gestures[number - 1])


def _in_subset(place: _Place, subset: Subset) -> bool:
    """Whether a file is in the subset; "paper" is 16 users of a room by 6 gestures, without user 3 in room 2."""
    twice = (place.user, place.session.room) == (3, 2)
    return subset == "all" or (place.session.cross_room and (subset == "cross_room" or not twice))


def _quantised(profile: np.ndarray, frames: int) -> tuple[np.ndarray, np.float32]:
    """As in the packed files: whole numbers of 1/255 of the largest value, and none below 0."""
    step = max(profile.max(), np.finfo(np.float32).tiny) / 255
    whole = np.clip(np.rint(profile / step), 0, 255).astype(np.uint8)
    return centred(whole, frames), np.float32(step / UNIT)
