"""How far recordings are from those of training: against numbers by hand and scipy."""

import json

import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis

from local.model.training_range import (
    MEASURES,
    NAMES,
    Distance,
    Heard,
    TrainingRange,
    as_array,
    fit_embedding,
    judged,
)

#: A cross in a plane: mean 0, variance 0.5 in each direction.
CROSS = [[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]
ROW = [5.0, -20.0, -60.0, 8.0, 0.8, 4.0]


def known(limit=2.0, **measures):
    return TrainingRange(
        {
            "limit": limit,
            "measures": measures,
            "distance": [1.0, 2.0],
            "embedding": fit_embedding(CROSS),
        }
    )


def heard(**values):
    row = dict(zip(MEASURES, ROW, strict=True)) | values
    return Heard(np.array([[*row.values()]]), np.zeros((1, 2)))


def test_a_measure_is_1_at_either_end_and_wider_for_what_never_varies():
    ranges = known(level_dbfs=[-30.0, -20.0, -15.0], bandwidth_khz=[8.0, 8.0, 8.0])

    def part(name, value):
        return ranges.parts(heard(**{name: value}))[0][1 + [*MEASURES].index(name)]

    assert part("level_dbfs", -20.0) == 0
    assert part("level_dbfs", -15.0) == part("level_dbfs", -30.0) == 1
    assert part("level_dbfs", -40.0) == 2
    # the factor 1.25 stands for an end: 4 kHz is log 2 / log 1.25 away
    assert part("bandwidth_khz", 4.0) == pytest.approx(3.106, abs=1e-3)
    assert part("bandwidth_khz", 10.0) == pytest.approx(1)
    assert part("rate_per_s", 99.0) == 0  # not known of training


def test_what_is_no_audio_is_compared_by_its_embedding_alone():
    ranges = known(level_dbfs=[-30.0, -20.0, -15.0])
    nothing = Heard(np.full((1, len(MEASURES)), np.nan), np.zeros((1, 2)))
    assert ranges.parts(nothing).tolist() == [[-1.0, 0, 0, 0, 0, 0, 0]]
    assert Heard.of(3.0, np.array([0, 0, *[np.nan] * 5])).measures[0, 0] != 3.0


def test_reasons_say_what_is_odd_the_strongest_first():
    ranges = known(
        level_dbfs=[-30.0, -20.0, -15.0], bandwidth_khz=[7.5, 8.0, 8.0], limit=1.0
    )
    odd = heard(level_dbfs=-9.0, bandwidth_khz=4.0)
    assert ranges.reasons(odd) == [
        [
            "bandwidth 4 kHz, training 7.5 to 8",
            "level -9 dBFS, training -30 to -15",
        ]
    ]
    assert ranges.deviations(odd).tolist() == pytest.approx([3.106], abs=1e-3)
    # distance (3 / 0.5 ** 0.5) of the embedding, training 1 to 2
    far = Heard(heard().measures, np.array([[3.0, 0.0]]))
    assert ranges.reasons(far) == [["embedding at distance 4.24, training up to 2"]]
    near = np.concatenate([[0.0, 0.0], ROW[1:]])
    assert judged(ranges, 5.0, near) == {"in_range": True, "out_of_range": []}


def test_distances_are_those_of_the_covariance():
    rng = np.random.default_rng(0)
    spread = rng.normal(size=(3, 3))
    rows = rng.normal(size=(400, 3)) @ spread
    others = rng.normal(size=(5, 3)) @ spread * 3
    inverse = np.linalg.inv(np.cov(rows.T, bias=True))
    expected = [mahalanobis(other, rows.mean(axis=0), inverse) for other in others]
    # with all axes but one, which then is the rest, nothing is left out
    found = Distance(**fit_embedding(rows))(others)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_no_recording_can_be_read_off_what_is_kept():
    rows = np.random.default_rng(0).normal(size=(40, 6))
    kept = fit_embedding(rows)
    assert json.loads(json.dumps(kept)) == kept
    numbers = np.concatenate(
        [as_array(kept[name]) for name in ("center", "axes", "variances")]
    )
    assert not np.isclose(rows[:, :, None], numbers, rtol=1e-6).any()
    # of more axes than recordings: the mean and less than a quarter of as many
    wide = fit_embedding(np.random.default_rng(0).normal(size=(20, 500)))
    assert len(as_array(wide["axes"])) == 5 * 500


def test_embeddings_of_one_value_do_not_divide_by_nothing():
    distance = Distance(**fit_embedding(np.ones((10, 3))))
    assert np.isfinite(distance(np.ones((1, 3)))).all()
    assert len(NAMES) == 1 + len(MEASURES)
