"""The audit: what is measured, what is tested, and what is said of it."""

import hashlib
import json

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.optimize import minimize
from scipy.signal import butter, sosfilt
from sklearn.metrics import roc_auc_score

from local.data.folds import draw_folds
from local.evaluation.confound_audit import (
    audit_labels,
    capture,
    leakage,
    probes,
    silence,
    verdict,
)
from local.utils.ranking import plain_auroc
from tests.audio_files import speech

RATE = 16000
ROW = {
    "level_dbfs": -20.0,
    "sample_rate": 44100.0,
    "format": "WAV",
    "codec": "PCM_16",
    "channels": 2.0,
}


@pytest.fixture(scope="module")
def spoken():
    return speech("My sister picked up a bag of sand in the park", RATE)


def in_noise(spoken, before_s=1.0, after_s=1.0, noise=0.001):
    """Speech with noise around and in it, float32 [time]."""
    padded = np.pad(spoken, (round(before_s * RATE), round(after_s * RATE)))
    generator = np.random.default_rng(1)
    padded = padded + generator.normal(0, noise, len(padded))
    return torch.from_numpy(padded.astype(np.float32))


# What a recording is like


def test_noise_floor_is_that_of_the_quietest_moments(spoken):
    samples = in_noise(spoken).numpy()
    # 0.001 is 60 dB below full scale; frames of 400 samples scatter by 0.3 dB
    assert capture.noise_floor_dbfs(samples, RATE) == pytest.approx(-60, abs=1)
    assert capture.noise_floor_dbfs(np.zeros(RATE), RATE) == -100


@pytest.mark.parametrize("cut_hz", [2000, 3400])
def test_bandwidth_ends_with_the_microphone_whatever_is_said(spoken, cut_hz):
    sos = butter(20, cut_hz, output="sos", fs=RATE)
    noise = np.random.default_rng(0).normal(0, 0.001, len(spoken))
    for samples in (spoken + noise, noise, 10 * noise):
        found = capture.bandwidth_hz(sosfilt(sos, samples), RATE)
        assert cut_hz <= found < 1.6 * cut_hz
        assert capture.bandwidth_hz(samples, RATE) == RATE / 2


def test_hash_is_of_sixteen_bits():
    expected = hashlib.sha256(bytes([0, 0, 255, 127, 1, 128])).hexdigest()
    samples = np.array([0.4 / 32767, 1.0, -1.0], dtype=np.float32)
    assert capture.audio_hash(samples) == expected
    assert capture.audio_hash(samples * [1, 1.5, 9]) == expected  # clipped
    assert capture.audio_hash(samples[:2]) != expected


def test_speech_is_found_without_a_network_and_threads_stay(spoken, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise AssertionError("the audit asked for a network")

    monkeypatch.setattr("socket.socket.connect", refuse)
    silence._detector.cache_clear()
    n_threads = torch.get_num_threads()
    torch.set_num_threads(n_threads + 1)
    silence._detector()
    assert torch.get_num_threads() == n_threads + 1
    torch.set_num_threads(n_threads)
    found = silence.find_speech(in_noise(spoken, before_s=1.5), RATE)
    end_s = 1.5 + len(spoken) / RATE
    assert found[0][0] == pytest.approx(1.5, abs=0.15)
    assert found[-1][1] == pytest.approx(end_s, abs=0.25)
    assert silence.find_speech(in_noise(np.zeros(RATE)), RATE) == []


def test_speech_is_found_at_other_rates(spoken):
    waveform = in_noise(spoken)
    expected = silence.find_speech(waveform, RATE)
    upsampled = silence.resample(waveform, RATE, 44100)
    found = silence.find_speech(upsampled, 44100)
    assert np.ravel(found) == pytest.approx(np.ravel(expected), abs=0.05)


def numbered(n):
    """Samples that tell their place, [n]."""
    return torch.arange(1, n + 1, dtype=torch.float32)


def test_silence_is_one_second_200_ms_from_speech():
    # 3 s at 1 kHz, speech from 1.5 to 2.0 s: silent are 0 to 1.3 and 2.2 to 3.0
    found = silence.find_silence(numbered(3000), 1000, [(1.5, 2.0)])
    assert torch.equal(found, numbered(1000))
    # speech from 0.9 to 1.9: 0 to 0.7 and 2.1 to 3.0, the longer one first
    found = silence.find_silence(numbered(3000), 1000, [(0.9, 1.9)])
    assert len(found) == 1000
    assert torch.equal(found[:890], torch.arange(2101.0, 2991.0))
    # 10 samples of seam, at equal power; then the shorter one's eleventh
    assert found[890] == 2991 and found[899] == pytest.approx(10, abs=0.01)
    assert torch.equal(found[900:], torch.arange(11.0, 111.0))


def test_too_little_silence_is_none():
    speech = [(1.0, 2.0)]
    # 0.8 s before, 0.2 s and one seam of 10 ms after
    assert silence.find_silence(numbered(2410), 1000, speech) is not None
    assert silence.find_silence(numbered(2409), 1000, speech) is None
    # stretches below 0.1 s do not count
    crumbs = [(t + 0.25, t + 0.30) for t in np.arange(0, 20, 0.49)]
    assert silence.find_silence(numbered(20000), 1000, crumbs) is None
    # nearly no speech: the detector may have missed it
    assert silence.find_silence(numbered(5000), 1000, []) is None
    assert silence.find_silence(numbered(5000), 1000, [(1.0, 1.2)]) is None


def test_digital_zeros_are_no_silence():
    waveform = numbered(5000)
    waveform[500:1700] = 0
    waveform[300:309] = 0  # fewer than 10 ms: a sample may be 0
    found = silence.find_silence(waveform, 1000, [(4.0, 5.0)])
    # 1.7 to 3.8 s is the longest stretch
    assert torch.equal(found, torch.arange(1701.0, 2701.0))
    waveform[1700:3500] = 0
    # 0 to 0.5 (with its nine zeros) and 3.5 to 3.8 s are not enough
    assert silence.find_silence(waveform, 1000, [(4.0, 5.0)]) is None


def test_silence_features_follow_level_alone():
    noise = torch.randn(RATE, generator=torch.Generator().manual_seed(0)) * 0.01
    quiet, loud = (silence.silence_features(noise * k, RATE) for k in (1, 10))
    assert len(quiet) == 40
    for name, value in quiet.items():
        gain_db = 20 if "mean" in name else 0
        assert loud[name] - value == pytest.approx(gain_db, abs=1e-3)
    assert set(silence.silence_features(None, RATE).values()) == {None}
    assert list(silence.silence_features(None, RATE)) == list(quiet)


def test_extract_gives_one_flat_row(spoken):
    waveform = in_noise(spoken, 1.5, 1.5)
    features, found = capture.extract(waveform, RATE, ROW)
    assert found.shape == (RATE,)
    assert found.std() == pytest.approx(0.001, rel=0.05)  # noise, nothing spoken
    assert features["capture_sample_rate"] == "44100"
    assert features["capture_format"] == "WAV PCM_16"
    assert features["capture_channels"] == "2"
    assert features["behaviour_duration_s"] == len(waveform) / RATE
    assert 0 <= features["behaviour_pause_share"] < 0.3
    json.dumps(features, allow_nan=False)
    without, found = capture.extract(in_noise(np.zeros(RATE)), RATE, ROW)
    assert found is None and without["behaviour_pause_share"] is None
    assert list(without) == list(features)


# How well features tell a label


def test_scores_are_those_of_a_regression_on_the_other_folds():
    generator = np.random.default_rng(0)
    features = generator.normal(size=(60, 5)) * [1, 2, 3, 0.1, 1]
    targets = (features[:, 1] + generator.normal(size=60) > 1).astype(int)
    folds = np.arange(60) % 2
    scores = probes.out_of_fold_scores(features, targets, folds)

    def loss(weights):  # of fold 0, by its definition
        logits = features[::2] @ weights[1:] + weights[0]
        return 0.1 * np.sum(
            np.logaddexp(0, logits) - targets[::2] * logits
        ) + 0.5 * np.sum(weights[1:] ** 2)

    weights = minimize(loss, np.zeros(6), tol=1e-9).x
    expected = features[1::2] @ weights[1:] + weights[0]
    assert scores[1::2] == pytest.approx(expected, abs=2e-2)
    # what does not vary in the other fold has no weight there
    halves = np.column_stack([features, folds])
    assert probes.out_of_fold_scores(halves, targets, folds) == pytest.approx(scores)
    assert not probes.out_of_fold_scores(halves[:, 5:], targets, folds).any()
    assert not probes.out_of_fold_scores(halves[:, :0], targets, folds).any()


def test_a_probe_can_be_fitted_to_what_separates_the_classes():
    """Where Newton's method without a line search ended in a singular matrix."""
    generator = np.random.default_rng(0)
    targets, folds = np.arange(42) % 20 < 2, np.arange(42) % 2
    features = np.column_stack([30 * targets, generator.normal(size=(42, 40)) * 9])
    scores = probes.out_of_fold_scores(features, targets, folds)
    assert np.isfinite(scores).all()
    assert probes.fold_auroc(targets, scores, folds) == 1


def test_recordings_of_one_format_are_audited():
    """52 recordings whose columns are all the same but one, or all of them."""
    manifest, features = cohort(n_subjects=13, n_each=4)
    same = features.assign(capture_a=-20.0, capture_b=8000.0, capture_format="WAV")
    same[[name for name in same if name.startswith("silence")]] = np.nan
    result = audit_labels(manifest, same, ["x"])["x"]
    assert result["capture_probe_auroc"]["value"] == 0.5
    result = audit_labels(manifest, same.assign(capture_a=manifest["x"]), ["x"])["x"]
    assert result["capture_probe_auroc"]["value"] == 1.0


def test_rare_categories_are_one():
    kinds = pd.Series(["a"] * 6 + ["b", "c"] + ["d"] * 5)
    design = probes.design_matrix(pd.DataFrame({"kind": kinds}))
    assert design.sum(axis=0).tolist() == [6, 5, 2]  # a, d, other


def test_rounding_is_no_difference():
    table = pd.DataFrame({"x": [-20.0, np.nextafter(-20, 0)] * 5, "y": np.zeros(10)})
    assert probes.design_matrix(table).shape == (10, 0)
    table["y"] = np.arange(10) * 1e-12  # small, and all there is
    assert probes.design_matrix(table).shape == (10, 1)


def test_folds_keep_subjects_whole():
    generator = np.random.default_rng(0)
    subjects = np.array([f"s{i // 4}" for i in range(80)], dtype=object)
    targets = generator.integers(0, 2, 80)
    folds = draw_folds(targets, subjects, 0)
    assert set(folds) == set(range(5))
    assert all(len(set(folds[subjects == s])) == 1 for s in subjects)
    few = (np.arange(80) < 8).astype(int)  # two positive subjects
    assert set(draw_folds(few, subjects, 0)) == {0, 1}
    assert draw_folds((np.arange(80) < 4).astype(int), subjects, 0) is None


def test_offsets_of_folds_change_nothing():
    generator = np.random.default_rng(0)
    targets, folds = generator.integers(0, 2, 40), np.arange(40) % 4
    scores = generator.normal(size=40)
    value = probes.fold_auroc(targets, scores, folds)
    expected = [roc_auc_score(targets[f::4], scores[f::4]) for f in range(4)]
    assert value == pytest.approx(np.mean(expected))
    assert probes.fold_auroc(targets, scores + 9.0 * folds, folds) == value


def test_scores_are_out_of_fold():
    # the feature is the label in fold 0 and its opposite in fold 1
    targets, folds = np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1])
    features = np.array([[0.0], [1.0], [1.0], [0.0]])
    scores = probes.out_of_fold_scores(features, targets, folds)
    assert probes.fold_auroc(targets, scores, folds) == 0.0


def test_auroc_within_weighs_pairs():
    targets = np.array([0, 1, 1, 0, 1])
    scores = np.array([1.0, 2.0, 3.0, 9.0, 8.0])
    # a: both of two pairs in order; b: not the one
    assert probes.auroc_within(targets, scores, np.array(list("aaabb"))) == 2 / 3
    assert probes.auroc_within(targets, scores, np.array(list("abcde"))) is None


def test_permutations_are_of_whole_subjects():
    rows_of = [np.array([0, 3]), np.array([1, 4]), np.array([2, 5])]
    seen = set()
    generator = np.random.default_rng(0)
    for _ in range(100):
        drawn = probes.permute_subjects(rows_of, generator)
        assert (drawn[3:] == drawn[:3] + 3).all()  # second recordings stay second
        seen.add(tuple(drawn[:3]))
    assert len(seen) == 6


def test_p_is_that_of_all_arrangements():
    subjects = np.repeat(np.array(list("abcdef"), dtype=object), 2)
    targets = np.repeat([0, 0, 0, 1, 1, 1], 2)
    scores = np.repeat([1.0, 2, 3, 4, 5, 6], 2)
    # 2 of the 20 ways to choose three subjects of six are as extreme
    p = probes.permutation_p(
        lambda rows: roc_auc_score(targets, scores[rows]), subjects, 4000, 0
    )
    assert p == pytest.approx(0.1, abs=0.04)  # it stops at 20 draws as extreme
    assert probes.count_arrangements(targets, subjects) == 20


def test_p_never_is_zero():
    subjects = np.array([f"s{i}" for i in range(40)], dtype=object)
    targets = np.arange(40) % 2
    p = probes.permutation_p(
        lambda rows: roc_auc_score(targets, targets[rows]), subjects, 99, 0
    )
    assert p == 1 / 100


def test_p_counts_subjects_not_recordings():
    """Labels and scores of subjects, without any tie between them: p is uniform."""
    small = 0
    for seed in range(100):
        generator = np.random.default_rng(seed)
        sizes = generator.integers(3, 12, 16)
        subjects = np.repeat(np.array([f"s{i:02d}" for i in range(16)]), sizes)
        targets = np.repeat(generator.permutation(16) % 2, sizes)
        scores = np.repeat(generator.normal(size=16), sizes)
        scores = scores + 0.3 * generator.normal(size=len(scores))
        p = probes.permutation_p(
            lambda rows, t=targets, s=scores: plain_auroc(t, s[rows]),
            subjects,
            99,
            seed,
        )
        small += p <= 0.1
    assert 3 <= small <= 18  # 10 are expected; with recordings permuted it is 59


# What is said of it


def cohort(n_subjects=24, n_each=6, seed=0):
    """A manifest of subjects who have a label or not, and features of no meaning."""
    generator = np.random.default_rng(seed)
    n = n_subjects * n_each
    affected = generator.permutation(n_subjects) % 2
    manifest = pd.DataFrame(
        {
            "ID": [f"r{i}" for i in range(n)],
            "subject": np.repeat([f"s{i:02d}" for i in range(n_subjects)], n_each),
            "device": np.repeat(generator.choice(["a", "b"], n_subjects), n_each),
            "x": np.repeat(affected, n_each).astype(float),
        }
    )
    numbers = ["capture_a", "capture_b", "silence_a", "silence_b", "behaviour_a"]
    features = pd.DataFrame(generator.normal(size=(n, 5)), columns=numbers)
    features["capture_format"] = generator.choice(["WAV", "MP3"], n)
    features["audio_sha256"] = manifest["ID"]
    return manifest, features


def test_nothing_planted_is_clear():
    manifest, features = cohort()
    found = audit_labels(manifest, features, ["x"])["x"]
    assert found["status"] == "clear"
    assert found["capture_probe_auroc"]["status"] == "clear"
    assert found["silence_auroc"]["status"] == "not_computable"
    assert found["capture_probe_auroc"]["p"] is None
    assert set(found["capture_probe_auroc"]["within"]) == {"device"}
    assert "There is no sign that how the recordings" in found["reasons"][0]
    assert "Clear is no proof" in found["reasons"][-1]
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("probe", ["capture", "silence", "behaviour"])
def test_what_is_planted_is_flagged_but_behaviour(probe):
    manifest, features = cohort()
    features[f"{probe}_a"] += 3 * manifest["x"]
    found = audit_labels(manifest, features, ["x"])["x"]
    measure = found[f"{probe}_probe_auroc"]
    assert measure["value"] > 0.9
    if probe == "behaviour":
        assert found["status"] == "clear" and measure["status"] is None
    else:
        assert found["status"] == measure["status"] == "flagged"
        # two tests of one label: 399 draws, none as extreme
        assert measure["p"] == 1 / 400 and measure["p_holm"] == 2 / 400
        assert any("p = 0.005" in reason for reason in found["reasons"])


def test_the_model_on_silence_is_flagged_without_a_probe():
    manifest, features = cohort()
    logits = 4 * manifest[["x"]].to_numpy() + features[["silence_b"]].to_numpy()
    logits[:6] = np.nan  # one subject without silence
    found = audit_labels(manifest, features, ["x"], silence_logits=logits)["x"]
    measure = found["silence_auroc"]
    assert found["status"] == measure["status"] == "flagged"
    assert measure["n"] == len(manifest) - 6 and measure["n_subjects"] == 23
    expected = roc_auc_score(manifest["x"][6:], logits[6:, 0])
    assert measure["value"] == pytest.approx(expected)
    assert measure["low"] < expected < measure["high"] and measure["reason"] is None


def test_auroc_within_devices_stands_beside_the_whole():
    manifest, features = cohort()
    manifest["device"] = np.where(manifest["x"] == 1, "a", "b")
    manifest.loc[:5, "device"] = "a"
    manifest.loc[6:11, "device"] = "b"
    logits = (manifest[["device"]] == "a").to_numpy(dtype=float)
    found = audit_labels(manifest, features, ["x"], logits=logits)["x"]["auroc"]
    assert found["value"] > 0.8
    assert found["within"] == {"device": 0.5}  # all logits of a device are the same


def test_few_subjects_are_too_few_to_test():
    # 2 of 4 subjects: 6 arrangements
    manifest, features = cohort(n_subjects=4, n_each=8)
    found = audit_labels(manifest, features, ["x"])["x"]
    assert found["capture_probe_auroc"]["p"] is None
    assert "too few to test" in found["reasons"][0]
    assert found["status"] in ("inconclusive", "flagged")
    features["capture_a"] += 9 * manifest["x"]
    found = audit_labels(manifest, features, ["x"])["x"]
    assert found["capture_probe_auroc"]["status"] == "flagged"
    assert "seems to tell" in found["reasons"][0]


def measure_of(value, testable=True, p_holm=None):
    return {"value": value, "testable": testable, "p_holm": p_holm}


@pytest.mark.parametrize(
    ("measure", "status"),
    [
        (measure_of(0.64), "clear"),
        (measure_of(0.36 + 1e-9), "clear"),
        (measure_of(0.66, p_holm=0.04), "flagged"),
        (measure_of(0.34, p_holm=0.04), "flagged"),
        (measure_of(0.90, p_holm=0.05), "inconclusive"),
        (measure_of(0.74, testable=False), "inconclusive"),
        (measure_of(0.55, testable=False), "inconclusive"),
        (measure_of(0.76, testable=False), "flagged"),
        (measure_of(0.24, testable=False), "flagged"),
    ],
)
def test_rule_of_the_flag(measure, status):
    assert verdict._status(measure) == status


def test_holm_counts_tests_that_were_not_made():
    found = [measure_of(0.9), measure_of(0.5), measure_of(0.5)]
    subjects = np.array([f"s{i:02d}" for i in range(40)], dtype=object)
    targets = np.arange(40) % 2
    test = {
        "statistic": lambda rows: roc_auc_score(targets, targets[rows]),
        "subjects": subjects,
        "arrangements": 10**6,
    }
    found = [of | {"p": None, "p_holm": None} for of in found]
    verdict._test([(of, dict(test)) for of in found], 0)
    assert found[0]["p"] == 1 / 400 and found[0]["p_holm"] == 3 / 400
    assert found[1]["p"] is None and found[1]["p_holm"] is None
    assert [of["status"] for of in found] == ["flagged", "clear", "clear"]


def test_what_can_not_be_computed_says_why():
    manifest, features = cohort()
    manifest["y"] = 1.0
    manifest["z"] = np.nan
    features.loc[10:, "silence_a"] = np.nan
    ranges = [None, None, None, [0.0, 4.0]]
    manifest["score"] = 2.0
    found = audit_labels(
        manifest, features, ["x", "y", "z", "score"], label_ranges=ranges
    )
    assert "only 10 rated" in found["x"]["silence_probe_auroc"]["reason"]
    assert found["x"]["status"] == "clear"  # of the capture probe
    assert any("10 of 144 rated" in reason for reason in found["x"]["reasons"])
    for name, reason in (("y", "negative"), ("z", "only 0"), ("score", "is a score")):
        assert found[name]["status"] == "not_computable"
        assert reason in found[name]["capture_probe_auroc"]["reason"]
        assert found[name]["capture_probe_auroc"]["value"] is None
    json.dumps(found, allow_nan=False)


def test_a_label_does_not_depend_on_those_beside_it():
    manifest, features = cohort()
    manifest["y"] = 1 - manifest["x"].shift(48, fill_value=0)
    alone = audit_labels(manifest, features, ["x"])["x"]["capture_probe_auroc"]
    beside = audit_labels(manifest, features, ["y", "x"])["x"]["capture_probe_auroc"]
    assert alone["value"] == beside["value"]


# What is in two splits


def test_leakage_names_subjects_audio_and_shares():
    train = pd.DataFrame(
        {"ID": ["r1", "r2", "r3"], "subject": ["p1", "p2", "p2"], "x": [1, 0, np.nan]}
    )
    test = pd.DataFrame(
        {"ID": ["r4", "r5"], "subject": ["P02", "p3"], "x": [np.nan] * 2}
    )
    found = leakage(
        {"train": train, "test": test},
        {"train": ["h1", "h2", "h2"], "test": ["h4", "h1"]},
        ["x"],
    )
    assert found["shared_subjects"] == ["p2"]
    assert found["shared_audio"] == [
        {"splits": ["train", "test"], "uids": ["r1", "r5"]}
    ]
    shares = found["label_shares"]
    assert shares["train"]["x"] == {"n": 2, "n_positive": 1, "share": 0.5}
    assert shares["test"]["x"]["share"] is None and shares["test"]["x"]["reason"]
    json.dumps(found, allow_nan=False)
