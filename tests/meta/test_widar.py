"""Widar3.0 in packed form and from the release: the same samples, and nothing left out in silence."""

import csv
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import savemat

from lameta_jax.meta.datasets import DatasetError, to_floats
from lameta_jax.meta.widar import GESTURES, UNIT, centred, load_widar
from lameta_jax.meta.widar_release import SESSIONS, load_widar_release, read_bvp

SETTINGS = "1-1e-07-100-20-100000-L0"
PACKED = "widar3_bvp_cross_room.npz"


def profile(frames, seed=0):
    return np.random.default_rng(seed).uniform(0, 0.1, (20, 20, frames))


def write(folder, name, values, variable="velocity_spectrum_ro"):
    folder.mkdir(parents=True, exist_ok=True)
    savemat(folder / name, {variable: values})
    return folder / name


def refusal(function, *arguments) -> str:
    with pytest.raises(DatasetError) as caught:
        function(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@given(st.integers(1, 36), st.integers(1, 30))
def test_the_middle_of_a_gesture_stays_in_the_middle(length, frames):
    numbered = (
        np.ones((length, 20, 20), dtype=np.uint8) * np.arange(1, length + 1, dtype=np.uint8)[:, None, None]
    )
    found = centred(numbered, frames)
    assert found.shape == (20, 20, frames) and (found == found[0, 0]).all()
    kept = [int(number) for number in found[0, 0] if number]
    assert kept == list(range(kept[0], kept[0] + min(length, frames)))  # in order, none missing between
    lost_before, lost_after = kept[0] - 1, length - kept[-1]
    empty_before, empty_after = (
        found[0, 0].tolist().index(kept[0]),
        found[0, 0, ::-1].tolist().index(kept[-1]),
    )
    assert lost_after - lost_before in (0, 1) and empty_after - empty_before in (0, 1)


def test_profiles_are_read_time_first(tmp_path):
    values = profile(7)
    assert np.array_equal(read_bvp(write(tmp_path, "some.mat", values)), np.moveaxis(values, 2, 0))
    # MATLAB drops the last axis of a single frame
    assert np.array_equal(read_bvp(write(tmp_path, "one.mat", values[:, :, 0])), values[None, :, :, 0])
    assert read_bvp(write(tmp_path, "none.mat", np.zeros((20, 20, 0)))).shape == (0, 20, 20)


@pytest.mark.parametrize(
    ("values", "variable", "words"),
    [
        (profile(3), "velocity", "no variable velocity_spectrum_ro"),
        (profile(3)[:19], "velocity_spectrum_ro", "(19, 20, 3) must be numbers of (20, 20, frames)"),
        (np.stack([profile(3)] * 2, axis=-1), "velocity_spectrum_ro", "(20, 20, 3, 2) must be"),
        (profile(3) * 1j, "velocity_spectrum_ro", "complex128"),
        (np.full((20, 20, 2), np.nan), "velocity_spectrum_ro", "not finite"),
    ],
)
def test_a_file_without_a_profile_is_refused(tmp_path, values, variable, words):
    path = write(
        tmp_path, "some.mat", values if values.shape[-1] != 1 else np.repeat(values, 2, -1), variable
    )
    message = refusal(read_bvp, path)
    assert message.startswith(str(path)) and words in message


@pytest.mark.parametrize("keep", [0, 60, 400, 1500])
def test_a_file_that_was_cut_short_is_refused(tmp_path, keep):
    path = write(tmp_path, "some.mat", profile(3))
    path.write_bytes(path.read_bytes()[:keep])
    refusal(read_bvp, path)


@pytest.fixture
def release(tmp_path):
    """A release with each naming pattern, each layout, and each reason to leave a file out."""
    usual = "{date}-VS/6-link/user{user}"
    for number, (folder, name) in enumerate(
        [
            ("20181130-VS/user5", f"user5-4-1-1-1-{SETTINGS}.mat"),  # slide
            (usual.format(date=20181121, user=1), f"user1-1-8-5-20-{SETTINGS}-20181121.mat"),  # slide
            (usual.format(date=20181205, user=2), f"user2-1-1-1-1-{SETTINGS}.mat"),  # O: depends on the user
            (usual.format(date=20181205, user=3), f"user3-1-1-1-1-{SETTINGS}.mat"),  # slide, not in "paper"
            (usual.format(date=20181208, user=2), "user2-3-1-1-1-20181208.mat"),  # clap
            (usual.format(date=20181211, user=9), f"user9-6-1-1-1-{SETTINGS}.mat"),  # zigzag
            (usual.format(date=20181130, user=17), f"user17-7-1-1-1-{SETTINGS}.mat"),  # N
            (usual.format(date=20181109, user=1), f"user1-4-1-1-1-{SETTINGS}.mat"),  # in doubt
            (usual.format(date=20181128, user=6), f"user6-2-1-1-1-{SETTINGS}.mat"),  # in doubt
            (usual.format(date=20181205, user=2), f"user2-6-1-1-1-{SETTINGS}.mat"),  # no such number
            (usual.format(date=20181205, user=2), f"user2-0-1-1-1-{SETTINGS}.mat"),  # no such number
            (usual.format(date=20181205, user=7), f"user7-1-1-1-1-{SETTINGS}.mat"),  # no such user that day
            ("20181205/6-link/user2", f"user2-1-1-1-2-{SETTINGS}.mat"),  # no such folder
            (usual.format(date=20181205, user=2), "notes.mat"),
        ]
    ):
        write(tmp_path / folder, name, profile(5 + number, number))
    write(tmp_path / "20181130-VS/user5", f"user5-5-1-1-1-{SETTINGS}.mat", np.zeros((20, 20, 0)))
    (tmp_path / "20181130-VS/user5" / f"user5-6-1-1-1-{SETTINGS}.mat").write_bytes(b"MATLAB")
    return tmp_path


def test_a_release_is_read_with_what_its_numbers_mean(release):
    samples, left_out = load_widar_release(release, "all", frames=12)
    assert samples.inputs.shape == (6, 20, 20, 12)
    assert [GESTURES[label] for label in samples.labels] == [
        "slide", "slide", "draw_o_horizontal", "slide", "clap", "draw_zigzag_horizontal",
    ]  # fmt: skip
    assert samples.date.tolist() == [20181121, 20181130, 20181205, 20181205, 20181208, 20181211]
    assert samples.user.tolist() == [1, 5, 2, 3, 2, 9] and samples.room.tolist() == [1, 1, 2, 2, 2, 3]
    assert (len(left_out.unreadable), len(left_out.empty), len(left_out.unknown)) == (1, 1, 5)
    assert (left_out.doubtful, left_out.other) == (2, 1)
    assert "user5-6-1-1-1" in left_out.unreadable[0] and "user5-5-1-1-1" in left_out.empty[0]
    # the second is file 0, of 5 frames: three empty ones before and four after
    values = to_floats(samples.inputs, samples.scale)[1] * UNIT
    assert np.abs(values[:, :, 3:8] - profile(5)).max() <= 0.1 / 255 / 2 + 1e-7
    assert not values[:, :, :3].any() and not values[:, :, 8:].any()


def test_subsets_of_a_release(release):
    cross_room, left_out = load_widar_release(release, "cross_room")
    assert cross_room.date.tolist() == [20181130, 20181205, 20181205, 20181208, 20181211]
    assert (left_out.doubtful, left_out.other) == (2, 2)
    paper, left_out = load_widar_release(release, "paper")
    assert paper.user.tolist() == [5, 2, 2, 9] and left_out.other == 3


def test_a_profile_of_nothing_is_a_sample_of_zeros(tmp_path):
    write(tmp_path / "20181130-VS/user5", f"user5-1-1-1-1-{SETTINGS}.mat", np.zeros((20, 20, 3)))
    samples, _ = load_widar_release(tmp_path)
    assert not to_floats(samples.inputs, samples.scale).any()


def test_a_folder_without_samples_is_refused(tmp_path):
    assert "no sample of Widar3.0 among 0 .mat files" in refusal(load_widar_release, tmp_path / "absent")


def test_missing_and_damaged_packed_files_are_refused(tmp_path):
    message = refusal(load_widar, tmp_path)
    assert PACKED in message and str(tmp_path) in message and "doi.org" in message
    (tmp_path / PACKED).write_bytes(b"PK")
    message = refusal(load_widar, tmp_path)
    assert message.startswith(str(tmp_path / PACKED)) and "SHA-256" in message


def test_one_flipped_byte_of_a_packed_file_is_noticed(data_dir, tmp_path):
    shutil.copyfile(data_dir / "widar3" / PACKED, tmp_path / PACKED)
    with open(tmp_path / PACKED, "r+b") as file:
        file.seek(5_000_000)
        byte = file.read(1)[0]
        file.seek(5_000_000)
        file.write(bytes([byte ^ 1]))
    assert "SHA-256" in refusal(load_widar, tmp_path)


def test_the_samples_that_fit_the_paper(data_dir):
    samples = load_widar(data_dir / "widar3")
    assert samples.inputs.shape == (11_992, 20, 20, 20)
    assert np.bincount(samples.room).tolist() == [0, 6748, 2249, 2995]
    assert {(user, room) for user, room in zip(samples.user.tolist(), samples.room.tolist(), strict=True)} == {
        (1, 2), (2, 2), (6, 2), (3, 3), (7, 3), (8, 3), (9, 3), *((user, 1) for user in (5, *range(10, 18))),
    }  # fmt: skip
    assert np.abs(np.bincount(samples.labels) - 2000).max() <= 4
    values = to_floats(samples.inputs[::10], samples.scale[::10])
    assert np.sqrt(np.mean(values[values > 0] ** 2)) == pytest.approx(1, rel=0.05)
    # a frame of the source sums to about 1; 5 frames in the middle, where no gesture ends
    sums = values[..., 8:12].sum((1, 2)) * UNIT
    assert np.median(sums[sums > 0]) == pytest.approx(1, abs=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(("subset", "count"), [("cross_room", 12_742), ("all", 25_015 - 1250 - 125)])
def test_the_other_subsets(data_dir, subset, count):
    samples = load_widar(data_dir / "widar3", subset, frames=8)
    assert samples.inputs.shape == (count, 20, 20, 8) and set(samples.room.tolist()) == {1, 2, 3}


def test_the_meaning_of_numbers_is_that_of_the_table(data_dir):
    with open(data_dir / "widar3" / "gesture_ids_by_date.csv", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    numbers = {}
    for row in table:
        session = SESSIONS[int(row["date"]), int(row["user"])]
        place = session.gestures[int(row["gesture_id_in_file_name"]) - 1]
        numbers.setdefault((int(row["date"]), int(row["user"])), []).append(place)
        packed = row["in_packed_files"]
        assert session.room == int(row["room"])
        if packed == "no" or "doubtful" in row["note"]:
            assert place == (-2 if "doubtful" in row["note"] else -1)
        else:
            assert GESTURES[place] == row["gesture"] and session.cross_room == (packed == "cross_room")
    assert {key: list(session.gestures) for key, session in SESSIONS.items()} == numbers


def test_original_files_agree_with_their_packed_form(data_dir):
    folder = data_dir / "widar3"
    released, left_out = load_widar_release(folder / "original_samples", "all")
    assert released.date.tolist() == [20181109, 20181121, 20181130, 20181208] and not any(left_out)
    paths = sorted((folder / "original_samples").rglob("*.mat"))
    for place, (path, date, user) in enumerate(zip(paths, released.date, released.user, strict=True)):
        name = PACKED if date in (20181130, 20181208) else "widar3_bvp_more.npz"
        with np.load(folder / name) as fields:
            same = (fields["date"] == date) & (fields["user"] == user)
            for field in ("gesture_file_id", "position", "orientation", "repetition"):
                same &= fields[field] == 1
            (row,) = np.flatnonzero(same)
            whole = fields["frames"][fields["offset"][row] : fields["offset"][row + 1]]
            step = fields["scale"][row]
            assert released.labels[place] == fields["gesture"][row]
            assert released.room[place] == fields["room"][row]
        assert np.abs(read_bvp(path) - whole * step).max() <= 0.5 * step * 1.0001
        assert np.array_equal(released.inputs[place], centred(whole, 20))
        assert released.scale[place] * UNIT == pytest.approx(step, rel=1e-6)
