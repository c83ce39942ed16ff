"""Figures of an evaluation: what is drawn, and in which words it is told."""

import dataclasses
import warnings

import numpy as np
import pandas as pd
import pytest
from made_results import result_of
from matplotlib.image import imread

from local.data.labels import LabelType
from local.evaluation.in_range import selective
from local.evaluation.operating_points import apply_operating_points
from local.evaluation.result import Excerpt
from local.metrics import split_metrics
from local.report.figures import FIGURES, NAMES, Drawn, draw_figures
from local.report.figures.curves import OF_FOLDS, draw_pr, draw_roc
from local.report.figures.drawing import (
    COLOURS,
    WIDTH,
    n_lines,
    panel_grid,
    save,
    shown,
)
from local.report.figures.forest import draw_forest
from local.report.figures.probabilities import (
    draw_calibration,
    draw_decision_curve,
    draw_score_distributions,
)
from local.report.figures.risk import draw_risk
from local.report.figures.scores import draw_scores
from local.report.figures.spectrograms import (
    draw_errors,
    draw_explained,
    draw_silences,
)
from local.report.figures.training import draw_training_curves
from local.training.evaluation_settings import EvaluationSettings
from local.training.train_log import JsonTrainLogger

NAN = np.nan
SCORE = LabelType("score", (0.0, 100.0), None, is_score=True)
ODD = "$x_1$ of a name that is sixty characters long, with ü and 声"

#: Four recordings of which the second and the third are in the wrong order: 3 of 4
#: pairs are right.
TARGETS, PROBABILITIES = [1, 0, 1, 0], [0.92, 0.62, 0.42, 0.12]


def entry(value, low=None, high=None):
    return {"value": value, "low": low, "high": high, "reason": "few"}


def table_of(labels):
    """labels : dict of str to (targets, predictions); of a score "score" is third"""
    parts = []
    for name, (targets, predictions, *kind) in labels.items():
        n = len(targets)
        part = {
            "uid": [f"u{i}" for i in range(n)],
            "subject": [f"s{i}" for i in range(n)],
            "label": name,
            "target": np.array(targets, dtype=float),
            "logit": predictions,
            "probability": NAN if kind else predictions,
            "session": "",
            "split": "test",
            "predicted": pd.array([None] * n, dtype="Int8"),
        }
        parts.append(pd.DataFrame(part))
    return pd.concat(parts, ignore_index=True)


def evidence_of(labels, thresholds=None, **changes):
    """The evidence of an evaluation of these labels, thresholds on some of them."""
    table = table_of(labels)
    types = {name: SCORE if of[2:] else LabelType() for name, of in labels.items()}
    points = {
        name: {
            "threshold": {
                "value": (thresholds or {}).get(name),
                "rule": "youden",
                "source": "valid",
                "n_positive_subjects": 12,
                "reason": "few",
            },
            "calibration": None,
        }
        for name, label_type in types.items()
        if not label_type.is_score
    }
    table = apply_operating_points(table, points)
    groups = [list(labels)]
    metrics = split_metrics.evaluate_predictions(table, groups, None, types, points, 1)
    return result_of(table, groups, types, metrics, **changes)


def with_metrics(evidence, **changes):
    return dataclasses.replace(evidence, metrics=evidence.metrics | changes)


@pytest.fixture(scope="module")
def pair():
    """Two labels, the first one with a threshold at 0.5."""
    return evidence_of(
        {"slow": (TARGETS, PROBABILITIES), "one class": ([0, 0, NAN, 0], [0.2] * 4)},
        {"slow": 0.5},
    )


def words(panel):
    return [text.get_text() for text in panel.texts]


def lines(panel, marker):
    return [line for line in panel.lines if line.get_marker() == marker]


def names_below(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


# All of them


def test_files_and_what_is_told_of_them(pair, tmp_path):
    drawn = draw_figures(pair, tmp_path / "figures")
    names = ["forest", "roc", "pr", "calibration", "score_distributions"]
    assert [figure.name for figure in drawn] == names
    for figure in drawn:
        assert isinstance(figure, Drawn)
        assert figure.path == tmp_path / "figures" / f"{figure.name}.png"
        assert imread(figure.path).shape[1] < 800
        assert figure.section == FIGURES[figure.name][0]
        assert figure.title and figure.alt.endswith(".")
        assert "slow" in figure.alt
        assert any(digit in figure.alt for digit in "0123456789")
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        f"{name}.png" for name in names
    }


def test_figure_of_before_does_not_stay(tmp_path):
    for name in ("errors.png", "scores.png", "mine.png"):
        (tmp_path / name).write_bytes(b"old")
    evidence = evidence_of({"severity": ([10, 50, 90], [20, 50, 80], "score")})
    (drawn,) = draw_figures(evidence, tmp_path)
    assert (drawn.name, drawn.section) == ("scores", "measures")
    assert "severity: MAE 6.67" in drawn.alt
    assert drawn.path.read_bytes() != b"old"
    assert not (tmp_path / "errors.png").exists()
    assert (tmp_path / "mine.png").read_bytes() == b"old"


@pytest.mark.parametrize(
    "labels",
    [
        {"a": ([], []), "b": ([], [])},
        {"a": ([NAN, NAN], [0.1, 0.2])},
    ],
    ids=["empty table", "nothing rated"],
)
def test_nothing_to_show(labels, tmp_path):
    assert draw_figures(evidence_of(labels), tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def random_evidence(names):
    rng = np.random.default_rng(0)
    labels = {
        name: (rng.integers(0, 2, 30), rng.uniform(size=30).round(3)) for name in names
    }
    return evidence_of(labels, dict.fromkeys(names, 0.5))


def test_odd_labels(tmp_path):
    evidence = random_evidence([ODD, "_hidden"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of letters that the font lacks, too
        drawn = {figure.name: figure for figure in draw_figures(evidence, tmp_path)}
    assert ODD in drawn["forest"].alt
    name = draw_forest(evidence).figure.axes[0].get_yticklabels()[0].get_text()
    assert name.count(r"\$") == 2
    assert n_lines(name) == 3
    assert r"\$x_1\$" in draw_roc(evidence).figure.axes[0].lines[1].get_label()


def test_many_labels_make_figures_higher():
    few, many = (
        random_evidence([f"label {i}" for i in range(n)]) for n in (2, 12)
    )  # one row of two panels and six
    for name in ("score_distributions",):
        draw = FIGURES[name][1]
        (width, height), (as_wide, higher) = (
            draw(evidence).figure.get_size_inches() for evidence in (few, many)
        )
        assert as_wide == width
        assert higher == pytest.approx(6 * height)
    forest = draw_forest(many).figure
    assert len(forest.axes[0].get_yticks()) == 13  # and the mean
    assert forest.get_size_inches()[1] > 13 * 0.45


def test_names_of_the_registry_are_those_of_files():
    assert NAMES == (
        "forest",
        "roc",
        "pr",
        "scores",
        "calibration",
        "score_distributions",
        "decision_curve",
        "risk",
        "silences",
        "training_curves",
        "errors",
    )


@pytest.mark.parametrize(("n", "rows", "columns"), [(1, 1, 1), (2, 1, 2), (5, 3, 2)])
def test_panels_wrap(n, rows, columns):
    figure, panels = panel_grid(n, 2.0)
    assert len(panels) == len(figure.axes) == n
    grid = panels[0].get_gridspec()
    assert (grid.nrows, grid.ncols) == (rows, columns)
    assert figure.get_size_inches()[1] == 2 * rows


def test_shown():
    assert shown("$a$ b", 3) == "\\$a\\$\nb"


def test_file_is_written_as_a_whole(tmp_path):
    class Broken:
        def savefig(self, stream, **_):
            stream.write(b"half")
            raise OSError("disk full")

    path = tmp_path / "x.png"
    path.write_bytes(b"old")
    with pytest.raises(OSError, match="disk full"):
        save(Broken(), path)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("x.png", b"old")]


# Curves


def test_operating_point_on_the_curves(pair):
    # at 0.5 one of two positives is found, and one of two decisions is right
    for draw, point in ((draw_roc, [0.5, 0.5]), (draw_pr, [0.5, 0.5])):
        panel = draw(pair).figure.axes[0]
        (marker,) = lines(panel, "o")
        np.testing.assert_allclose(marker.get_xydata(), [point])
        legend = [text.get_text() for text in panel.get_legend().get_texts()]
        assert legend[-1] == "at the threshold"
        assert legend.count("at the threshold") == 1
    alt = draw_roc(pair).alt
    assert "slow 0.75 (no interval); one class not computable" in alt
    assert "At the threshold slow has sensitivity 0.50 and specificity 0.50." in alt
    assert "one class has" not in alt


def test_operating_points_of_folds_are_told_to_be_off_the_curve(pair):
    for draw in (draw_roc, draw_pr):
        panel = draw(with_metrics(pair, n_folds=5)).figure.axes[0]
        legend = [text.get_text() for text in panel.get_legend().get_texts()]
        assert legend[-1].replace("\n", " ") == OF_FOLDS


def test_operating_points_are_where_the_metrics_have_them():
    labels = {"a": ([1, 1, 1, 0, 0], [0.9, 0.8, 0.2, 0.7, 0.1])}
    evidence = evidence_of(labels, {"a": 0.75})
    # 2 of 3 found, no false alarm
    (marker,) = lines(draw_roc(evidence).figure.axes[0], "o")
    np.testing.assert_allclose(marker.get_xydata(), [[0, 2 / 3]])
    (marker,) = lines(draw_pr(evidence).figure.axes[0], "o")
    np.testing.assert_allclose(marker.get_xydata(), [[2 / 3, 1]])


def test_roc_curves(tmp_path):
    labels = {
        "_slow $rate": ([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1]),
        "absent": ([0, 0, 0, 0], [0.5] * 4),
        "strained": ([1, NAN, 0, 1], [0.6, 0.9, 0.7, 0.8]),
    }
    groups = [["_slow $rate", "absent"], ["strained"]]
    figure = draw_roc(evidence_of(labels, label_groups=groups)).figure
    save(figure, tmp_path / "roc.png")
    height, width = imread(tmp_path / "roc.png").shape[:2]
    assert 600 < width < 800  # two panels beside each other, on a phone and on A4
    assert 400 < height < 800
    first, second = figure.axes
    assert [first.get_title(), second.get_title()] == ["ROC, head 1", "ROC, head 2"]
    assert first.get_aspect() == 1
    diagonal, slow, absent = first.lines
    np.testing.assert_array_equal(diagonal.get_xydata(), [[0, 0], [1, 1]])
    # in the order of the scores: positive, negative, positive, negative
    corners = [[0, 0], [0, 0.5], [0.5, 0.5], [0.5, 1], [1, 1]]
    np.testing.assert_allclose(slow.get_xydata(), corners)
    assert len(absent.get_xydata()) == 0
    np.testing.assert_allclose(second.lines[1].get_xydata()[-1], [1, 1])
    (panel,) = draw_roc(evidence_of(labels)).figure.axes
    assert panel.get_title() == "ROC"
    assert [text.get_text() for text in panel.get_legend().get_texts()] == [
        "chance",
        r"AUROC 0.750: _slow \$rate (2 pos., 2 neg.)",
        "AUROC not computable: absent (0 pos., 4 neg.)",
        "AUROC 0.500: strained (2 pos., 1 neg.)",
    ]


def test_many_labels_look_different():
    labels = [str(digit) for digit in range(28)]
    lines = draw_roc(random_evidence(labels)).figure.axes[0].lines
    curves = [line for line in lines if line.get_label().startswith("AUROC")]
    assert len({(line.get_color(), line.get_linestyle()) for line in curves}) == 28


def test_curves_leave_scores_out():
    labels = {
        "severity": ([37, NAN, 50, 20], [40, 12, 50, 26], "score"),
        "slow": ([1, 0, 1, 0], [0.9, 0.5, 0.7, 0.3]),
        "pain": ([1, 2, 3, 6], [2, 3, 4, 7], "score"),
    }
    groups = [["severity"], ["slow", "pain"]]
    (panel,) = draw_roc(evidence_of(labels, label_groups=groups)).figure.axes
    assert panel.get_title() == "ROC, head 2"
    names = [line.get_label() for line in panel.lines]
    assert names == ["chance", "AUROC 1.000: slow (2 pos., 2 neg.)"]
    del labels["slow"]
    assert draw_roc(evidence_of(labels)) is None
    assert draw_pr(evidence_of(labels)) is None


def test_no_operating_point_without_a_threshold():
    panel = draw_roc(evidence_of({"a": (TARGETS, PROBABILITIES)})).figure.axes[0]
    assert lines(panel, "o") == []
    assert len(panel.get_legend().get_texts()) == 2


def test_precision_recall(pair):
    sketch = draw_pr(pair)
    panel = sketch.figure.axes[0]
    slow, prevalence, _, one_class = panel.lines
    np.testing.assert_allclose(prevalence.get_ydata(), [0.5, 0.5])
    assert prevalence.is_dashed()
    # all, then from the lowest score on: 2/4, 2/3, 1/2, 1/1 and the end at (0, 1)
    np.testing.assert_allclose(
        slow.get_xydata(), [[1, 0.5], [1, 2 / 3], [0.5, 0.5], [0.5, 1], [0, 1]]
    )
    assert slow.get_drawstyle() == "steps-post"
    assert len(one_class.get_xydata()) == 0
    # AP: 1 x 0.5 + 2/3 x 0.5
    assert slow.get_label() == "AP 0.833: slow (prevalence 0.500)"
    assert one_class.get_label() == "AP not computable: one class"
    assert "slow 0.83 (no interval) with prevalence 0.50" in sketch.alt


# Scores


def test_scores_are_drawn():
    labels = {
        "severity": ([37.3, NAN, 50, 20], [40.1, 12.5, 50, 26], "score"),
        "pain": ([1, 2, 3, 6], [2, 3, 4, 7], "score"),
    }
    severity, pain = draw_scores(evidence_of(labels)).figure.axes
    np.testing.assert_allclose(
        severity.collections[0].get_offsets(), [[37.3, 40.1], [50, 50], [20, 26]]
    )
    np.testing.assert_allclose(
        pain.collections[0].get_offsets(), [[1, 2], [2, 3], [3, 4], [6, 7]]
    )
    # the line on which both are equal goes from corner to corner
    line = severity.lines[0].get_xydata()
    assert (line[:, 0] == line[:, 1]).all()
    assert severity.get_xlim() == severity.get_ylim() == tuple(line[:, 0])
    assert line[0, 0] < 20 and line[1, 0] > 50
    assert severity.get_aspect() == 1
    # errors 2.8, 0 and 6; 1 above each of ratings with a variance of 14/3: rows 28/3,
    # raters 2
    assert severity.get_title().startswith("severity\nMAE 2.93, ICC ")
    icc = (28 / 3) / (28 / 3 + 2 / 4 * 2)
    assert pain.get_title() == f"pain\nMAE 1, ICC {icc:.3f} (n = 4)"


def test_no_figure_without_scores(pair):
    assert draw_scores(pair) is None


@pytest.mark.parametrize(("n", "rows", "columns"), [(1, 1, 1), (4, 2, 2), (5, 3, 2)])
def test_panels_of_many_scores(tmp_path, n, rows, columns):
    rng = np.random.default_rng(n)
    labels = {f"s$core {i}": (*rng.uniform(0, 9, (2, 6)), "score") for i in range(n)}
    figure = draw_scores(evidence_of(labels)).figure
    assert len(figure.axes) == n
    grid = figure.axes[0].get_gridspec()
    assert (grid.nrows, grid.ncols) == (rows, columns)
    save(figure, tmp_path / "scores.png")
    height, width = imread(tmp_path / "scores.png").shape[:2]
    assert width == pytest.approx(700 if n > 1 else 400, rel=0.1)
    assert height / rows == pytest.approx(400, rel=0.15)


def test_a_score_without_ratings_and_one_with_a_single_value():
    labels = {"a": ([NAN] * 3, [1] * 3, "score"), "b": ([5] * 3, [5] * 3, "score")}
    unrated, single = draw_scores(evidence_of(labels)).figure.axes
    assert [text.get_text() for text in unrated.texts] == ["no rating"]
    assert unrated.get_title() == "a\nMAE n/a, ICC n/a (n = 0)"
    assert single.get_xlim() == (4.5, 5.5)


# Calibration


def test_calibration_bins(pair):
    sketch = draw_calibration(pair)
    panel, strip, *others = sketch.figure.axes
    assert len(others) == 2
    perfect, points, *_ = panel.lines
    np.testing.assert_array_equal(perfect.get_xydata(), [[0, 0], [1, 1]])
    # four probabilities, four bins of one recording
    np.testing.assert_allclose(
        points.get_xydata(), [[0.12, 0], [0.42, 1], [0.62, 0], [0.92, 1]]
    )
    # Wilson of 0 and of 1 of one subject: z² / (1 + z²) on the one side
    high = 1.959964**2 / (1 + 1.959964**2)
    bars = np.array([bar[:, 1] for bar in panel.collections[0].get_segments()])
    np.testing.assert_allclose(
        bars, [[0, high], [1 - high, 1], [0, high], [1 - high, 1]], atol=1e-6
    )
    counts = [bar.get_height() for bar in strip.patches]
    assert sum(counts) == 4 and [counts[i] for i in (2, 8, 12, 18)] == [1] * 4
    # two subjects of each class: a slope, but neither its interval nor the line's band
    slope = pair.metrics["labels"]["slow"]["calibration_slope"]["value"]
    assert panel.get_title() == f"slow\nslope {slope:.2f} (no interval)"
    assert names_below(sketch.figure) == ["perfect", "bins, 95 % interval"]
    said = "positive are 0.00 of the recordings with a mean probability of 0.12 and "
    assert said + "1.00 of the recordings with a mean probability of 0.92" in sketch.alt


def test_calibration_line_and_band():
    """One of four positive at logit -1, three of four at logit 1: by hand."""
    targets = [1, 0, 0, 0] * 5 + [1, 1, 1, 0] * 5
    probabilities = np.repeat([1 / (1 + np.e), np.e / (1 + np.e)], 20)
    sketch = draw_calibration(evidence_of({"a": (targets, probabilities)}))
    panel = sketch.figure.axes[0]
    _, line, *_ = panel.lines
    np.testing.assert_allclose(line.get_ydata()[[0, -1]], [0.25, 0.75], atol=1e-6)
    band = panel.collections[0].get_paths()[0].get_extents()
    assert band.y0 < 0.25 < 0.75 < band.y1
    assert "its 95 % band" in names_below(sketch.figure)


def test_unrated_recordings_are_not_in_the_strip(pair):
    strip = draw_calibration(pair).figure.axes[3]
    assert sum(bar.get_height() for bar in strip.patches) == 3


@pytest.mark.parametrize(("n", "is_drawn"), [(400, True), (398, False)])
def test_flexible_curve_needs_200_of_each_class(n, is_drawn):
    targets = np.arange(n) % 2
    probabilities = np.linspace(0.01, 0.99, n)
    sketch = draw_calibration(evidence_of({"a": (targets, probabilities)}))
    drawn = names_below(sketch.figure)
    assert ("flexible curve" in drawn) == is_drawn
    curves = [of for of in sketch.figure.axes[0].lines if of.is_dashed()]
    assert len(curves) == is_drawn
    for curve in curves:  # half are positive whatever the probability
        np.testing.assert_allclose(curve.get_ydata(), 0.5, atol=0.05)


# Decisions


def test_decision_curve_by_hand(pair):
    """Two of four positive, at 0.9 and 0.4; at 0.5 one is found, one alarm is false."""
    asked = split_metrics.evaluate_predictions(
        *(pair.table, pair.label_groups, None, pair.types),
        decision_thresholds=[0.2, 0.5],
    )
    sketch = draw_decision_curve(with_metrics(pair, labels=asked["labels"]))
    slow, one_class = sketch.figure.axes
    model, everybody, nobody, points = slow.lines[:4]
    curve = asked["labels"]["slow"]["decision_curve"]
    values = [entry["net_benefit"]["value"] for entry in curve]
    np.testing.assert_allclose(points.get_xydata(), np.c_[[0.2, 0.5], values])
    assert values[1] == pytest.approx(1 / 4 - 1 / 4)
    places, benefits = model.get_xydata().T
    assert np.interp(0.48, places, benefits) == pytest.approx(
        1 / 4 - 0.48 / 0.52 / 4, abs=1e-4
    )
    places, benefits = everybody.get_xydata().T
    assert np.interp(0.5, places, benefits) == pytest.approx(0, abs=0.01)
    assert list(nobody.get_ydata()) == [0, 0]
    assert "at 0.5 the model has 0.00 (no interval), calling everybody" in sketch.alt
    assert one_class.get_title() == "one class"
    assert draw_decision_curve(pair) is None  # no thresholds were asked for


def test_score_distributions(pair):
    sketch = draw_score_distributions(pair)
    slow, one_class = sketch.figure.axes
    up = {round(b.get_x(), 2): b.get_height() for b in slow.patches if b.get_height()}
    # bars of 0.05: positive ones at 0.9 and 0.4, negative ones at 0.6 and 0.1
    assert up == {0.9: 1, 0.4: 1, 0.6: -1, 0.1: -1}
    _, threshold = slow.lines
    assert list(threshold.get_xdata()) == [0.5, 0.5]
    assert sum(bar.get_height() for bar in one_class.patches) == -3
    assert len(one_class.lines) == 1
    assert slow.yaxis.get_major_formatter()(-25, None) == "25"
    assert (
        "slow: median 0.67 of 2 positive recordings, median 0.37 of 2 negative "
        "recordings, threshold 0.50. one class: no positive recording, median 0.20 of "
        "3 negative recordings, no threshold."
    ) in sketch.alt
    assert "threshold" in names_below(sketch.figure)


def test_distributions_without_any_threshold():
    sketch = draw_score_distributions(evidence_of({"slow": (TARGETS, PROBABILITIES)}))
    assert names_below(sketch.figure) == [
        "rated positive (up)",
        "rated negative (down)",
    ]


def forest_evidence(pair):
    of_labels = {
        "slow": pair.metrics["labels"]["slow"] | {"auroc": entry(0.9, 0.8, 0.95)},
        "one class": pair.metrics["labels"]["one class"],
    }
    macro = {"auroc": entry(0.9), "n_labels": 1, "left_out": {}}
    baselines = {
        "prevalence": {"labels": {"slow": {"auroc": entry(0.5)}}},
        "acoustic statistics": {"labels": {"slow": {"auroc": entry(0.3)}}},
        "hubert": {"labels": {"slow": {"auroc": entry(0.8)}, "one class": {}}},
        "absent": {"labels": {"slow": {"reason": "not measured"}}},
    }
    return with_metrics(pair, labels=of_labels, macro=macro, baselines=baselines)


def test_forest(pair):
    sketch = draw_forest(forest_evidence(pair))
    (panel,) = sketch.figure.axes
    model, mean = lines(panel, "o")
    np.testing.assert_allclose(model.get_xydata(), [[0.9, 0]])
    np.testing.assert_allclose(mean.get_xydata(), [[0.9, 2]])
    # hollow without an interval
    assert model.get_markerfacecolor() != "white"
    assert mean.get_markerfacecolor() == "white"
    (interval,) = [x for x in panel.lines if list(x.get_xdata()) == [0.8, 0.95]]
    assert list(interval.get_ydata()) == [0, 0]
    ((acoustic,), (hubert,)) = lines(panel, "^"), lines(panel, "s")
    # a little below the model's
    np.testing.assert_allclose(acoustic.get_xydata(), [[0.3, 0.25]])
    np.testing.assert_allclose(hubert.get_xydata(), [[0.8, 0.25]])
    (chance,) = [x for x in panel.lines if list(x.get_xdata()) == [0.5, 0.5]]
    assert chance.is_dashed()
    assert panel.get_xlim()[0] < 0.3
    assert panel.get_ylim() == (2.5, -0.5)
    names = [name.get_text() for name in panel.get_yticklabels()]
    assert names == ["slow", "one class", "mean of 1 label"]
    assert sorted(words(panel)) == [
        "0.90\n(0.80–0.95)",
        "0.90\n(no interval)",
        "not computable",
    ]
    assert names_below(sketch.figure) == [
        "model, 95 % interval",
        "no interval: too few subjects",
        "prevalence, as chance: 0.5",
        "acoustic statistics",
        "hubert",
    ]
    assert "slow 0.90 (0.80–0.95); one class not computable" in sketch.alt
    assert "The baseline acoustic statistics: slow 0.30." in sketch.alt


def test_forest_of_one_label_has_no_mean():
    panel = draw_forest(evidence_of({"a": (TARGETS, PROBABILITIES)})).figure.axes[0]
    assert [name.get_text() for name in panel.get_yticklabels()] == ["a"]


def excerpt(row=12, label="slow", target=1.0, prediction=0.034, hz=1000.0, seconds=1):
    time = np.arange(16000 * seconds) / 16000
    wave = np.sin(2 * np.pi * hz * time).astype(np.float32)
    return Excerpt(row, f"uid{row}", label, target, prediction, wave, 16000)


def test_errors(pair):
    errors = [excerpt(), excerpt(14, "one class", 0.0, 0.97, hz=3000.0, seconds=2)]
    sketch = draw_errors(dataclasses.replace(pair, errors=errors))
    first, second = sketch.figure.axes
    assert first.get_title() == "slow\nrow 12\nrated 1, probability 0.03"
    assert second.get_title() == "one class\nrow 14\nrated 0, probability 0.97"
    for panel, khz, duration in ((first, 1.0, 1.0), (second, 3.0, 2.0)):
        (image,) = panel.images
        left, right, low, high = image.get_extent()
        assert (left, low, high) == (0, 0, 8) and right == pytest.approx(duration)
        power = image.get_array()
        loudest = power.mean(axis=1).argmax() / (len(power) - 1) * high
        assert loudest == pytest.approx(khz, abs=0.05)
        assert image.norm.vmax == power.max()
        assert image.origin == "lower"
    assert "slow, row 12, rated 1, probability 0.03; one class, row 14" in sketch.alt
    assert "uid" not in sketch.alt + first.get_title()


def curves(labels, peak=2):
    """As explain_file gives them: a pause, and a peak at 0.15 s + 0.1 s · `peak`."""
    times_s = [0.15 + 0.1 * i for i in range(5)]
    values = [None, -1.0, -1.0, -1.0, -1.0]
    values[peak] = 2.0
    entry = {"values": values, "peak_s": times_s[peak]}
    return {"times_s": times_s, "labels": dict.fromkeys(labels, entry)}


def curve_of(panel):
    """Times and values of a curve, the bounds of what is shaded, and what is told."""
    (shade,) = panel.patches
    bounds = shade.get_x(), shade.get_x() + shade.get_width()
    return *panel.lines[0].get_data(), bounds, panel.texts[0].get_text()


def test_error_with_a_curve_of_its_label(pair):
    heard = dataclasses.replace(excerpt(), curves=curves(["slow", "one class"]))
    sketch = draw_errors(dataclasses.replace(pair, errors=[heard, excerpt(14)]))
    first, second = sketch.figure.axes
    (below,) = first.child_axes
    assert not second.child_axes
    times_s, values, bounds, told = curve_of(below)
    assert list(times_s) == heard.curves["times_s"]
    np.testing.assert_array_equal(values, [NAN, -1, 2, -1, -1])
    assert bounds == pytest.approx((0.2, 0.5)) and told == "0.35 s"
    assert below.get_xlim() == first.get_xlim() == pytest.approx((0, 1))
    assert (first.get_xlabel(), second.get_xlabel()) == ("", "s")
    assert below.get_ylabel() == "logit"
    assert (
        "slow, row 12, rated 1, probability 0.03, heard most at 0.35 s;" in sketch.alt
    )


def test_a_sound_that_stays_the_same_has_no_peak(pair):
    heard = dataclasses.replace(excerpt(), curves=curves(["slow"]))
    heard.curves["labels"]["slow"]["values"] = [None, 1.5, 1.5004, 1.5, 1.5]
    sketch = draw_errors(dataclasses.replace(pair, errors=[heard]))
    (below,) = sketch.figure.axes[0].child_axes
    assert not below.patches and not below.texts and len(below.lines) == 1
    assert "heard most" not in sketch.alt
    heard.curves["labels"]["slow"] |= {"predicted": 1}
    captions = {"slow": ""}
    sketch = draw_explained("a.wav", np.ones(4000), 4000, heard.curves, captions)
    assert not sketch.figure.axes[1].patches and "slow nowhere" in sketch.alt


@pytest.mark.parametrize(("seconds", "wide"), [(1, 1), (20, 2), (200, 3)])
def test_one_recording_explained(seconds, wide):
    wave = np.sin(np.arange(seconds * 4000) * 0.9).astype(np.float32)
    captions = {"slow": "probability 0.90", ODD: "", "low": "", "severity": ""}
    explained = curves(captions)
    decided = {"slow": {"predicted": 1}, ODD: {"predicted": 0}}
    decided |= {"low": {"predicted": None}, "severity": {"score": 3.0}}
    for label, entry in decided.items():
        explained["labels"][label] = explained["labels"][label] | entry
    sketch = draw_explained("$a$.wav", wave, 4000, explained, captions)
    assert sketch.figure.get_size_inches()[0] == pytest.approx(wide * WIDTH)
    picture, *below = sketch.figure.axes
    assert picture.get_title() == r"\$a\$.wav"
    assert picture.images[0].get_extent() == [0, seconds, 0, 2]
    assert picture.images[0].get_array().shape[1] <= 8000
    assert below[0].get_title(loc="left") == "slow: probability 0.90"
    assert below[1].get_title(loc="left").startswith(r"\$x")
    colours = [panel.lines[0].get_color() for panel in below]
    assert colours == [COLOURS[0], "0.6", "0.6", COLOURS[0]]
    units = [panel.get_ylabel() for panel in below]
    assert units == ["logit", "logit", "logit", "score"]
    assert below[-1].get_xlabel() == "time (s)"
    assert "not a cause" in sketch.figure.get_supxlabel()
    for panel in below:
        assert panel.get_xlim() == (0, seconds)
        assert curve_of(panel)[2:] == (pytest.approx((0.2, 0.5)), "0.35 s")
    assert f"slow 0.35 s, {ODD} 0.35 s" in sketch.alt


def test_uids_only_where_they_may_be_shown(pair):
    evidence = dataclasses.replace(
        pair,
        errors=[excerpt()],
        silences={"slow": [excerpt(20)]},
        evaluation=EvaluationSettings(show_uids=True),
    )
    sketch = draw_errors(evidence)
    assert sketch.figure.axes[0].get_title().startswith("slow\nrow 12, uid12\n")
    assert "uid12" in sketch.alt
    panel = draw_silences(evidence).figure.axes[0]
    assert panel.get_title().startswith("row 20, uid20\n")
    odd = dataclasses.replace(excerpt(), uid="$_$")  # no mathematics
    sketch = draw_errors(dataclasses.replace(evidence, errors=[odd]))
    assert r"row 12, \$_\$" in sketch.figure.axes[0].get_title()


def test_error_of_a_score_and_of_nothing_but_digital_silence():
    evidence = evidence_of({"severity": ([10, 50, 90], [20, 50, 80], "score")})
    silent = dataclasses.replace(
        excerpt(3, "severity", 37.5, 81.234), waveform=np.zeros(100)
    )
    sketch = draw_errors(dataclasses.replace(evidence, errors=[silent]))
    (panel,) = sketch.figure.axes
    assert panel.get_title() == "severity\nrow 3\nrated 37.5, predicted 81.2"
    assert np.isfinite(panel.images[0].get_array()).all()


def test_silences(pair):
    quiet = dataclasses.replace(excerpt(30), waveform=excerpt().waveform / 1000)
    silences = {"slow": [excerpt(20), quiet], "one class": [], "gone": []}
    sketch = draw_silences(dataclasses.replace(pair, silences=silences))
    loud, low = sketch.figure.axes
    assert loud.get_title() == "row 20\nrated 1"
    # one scale for all: 1000 times as low is 60 dB below
    first, second = loud.images[0], low.images[0]
    assert (first.norm.vmin, first.norm.vmax) == (second.norm.vmin, second.norm.vmax)
    assert first.norm.vmax == first.get_array().max()
    difference = first.get_array().max() - second.get_array().max()
    assert difference == pytest.approx(60, abs=0.1)
    assert "2 seconds" in sketch.alt and "slow: row 20, row 30" in sketch.alt
    assert draw_silences(dataclasses.replace(pair, silences={"slow": []})) is None
    assert draw_silences(pair) is None and draw_errors(pair) is None


def ranged(labels, deviations, **options):
    """The evidence of recordings that are so far from those of the training."""
    evidence = evidence_of(labels, **options)
    away = np.tile(deviations, len(labels))
    inside = pd.array((away <= 1).astype(int), dtype="Int8")
    table = evidence.table.assign(deviation=away, in_range=inside)
    evidence = dataclasses.replace(evidence, table=table)
    return with_metrics(evidence, selective=selective(table))


def test_risk_against_coverage_by_hand():
    """All but the ten that are farthest away are right."""
    n, far = 40, 10
    targets, near = np.arange(n) % 2, np.arange(n) < n - far
    probabilities = np.where(near, targets, 1 - targets)
    labels = {
        "slow": (targets, probabilities),
        "severity": (50.0 * targets, 50 * targets + 30 * (1 - near), "score"),
        "undecided": (targets, probabilities),
    }
    away = np.where(near, 0.5, 2) + np.arange(n) / 1000
    sketch = draw_risk(ranged(labels, away, thresholds={"slow": 0.5}))
    slow, severity = sketch.figure.axes
    n_decided = np.arange(20, n + 1)
    for panel, unit in ((slow, 1), (severity, 30)):
        line, end = panel.lines
        shares, risk = line.get_data()
        np.testing.assert_allclose(shares, n_decided / n)
        np.testing.assert_allclose(
            risk, unit * np.maximum(n_decided - 30, 0) / n_decided
        )
        assert list(end.get_xdata()) == [0.75, 0.75]
        # at random as many are wrong of some as of all: 10 of 40
        (grey,) = panel.collections
        bounds = grey.get_paths()[0].vertices
        first = bounds[bounds[:, 0] == 0.5, 1] / unit
        assert 0.1 <= first.min() < 0.25 < first.max() <= 0.4
    assert (slow.get_ylabel(), severity.get_ylabel()) == (
        "wrong decisions",
        "mean error",
    )
    assert names_below(sketch.figure)[1:] == [
        "nearest to training first",
        "end of the range",
    ]
    assert "slow 0.25 of 100 %" in sketch.alt
    assert "severity 0.00 of 50 %" in sketch.alt


def test_no_risk_of_few_recordings_and_of_an_unknown_range(pair):
    assert draw_risk(pair) is None
    assert draw_risk(with_metrics(pair, selective={"reason": "of before"})) is None
    few = {"slow": (np.arange(20) % 2, np.arange(20) / 20)}
    assert draw_risk(ranged(few, np.ones(20), thresholds={"slow": 0.5})) is None


# Training


@pytest.fixture
def training(pair, tmp_path):
    """The evidence of a training with these (train loss, valid loss, AUROC)."""

    def _training(*epochs, best_by="loss"):
        logger = JsonTrainLogger(str(tmp_path / "train_log.txt"))
        (tmp_path / "train_log.jsonl").write_text("")
        for epoch, (train_loss, valid_loss, auroc) in enumerate(epochs, start=1):
            valid = {"loss": valid_loss, "macro_auroc": auroc}
            logger.log_stats({"epoch": epoch}, {"loss": train_loss}, valid)
        settings = {"best_checkpoint": best_by}
        return dataclasses.replace(pair, train_log=logger.json_file, settings=settings)

    return _training


def test_training_is_told(training, pair):
    epochs = (0.9, 0.8, 0.7), (0.7, 0.6, 0.65)
    assert draw_training_curves(training(*epochs, best_by="macro_auroc")).alt == (
        "Curves over 2 epochs of training; training loss from 0.9 to 0.7; validation "
        "loss from 0.8 to 0.6; macro AUROC of the validation from 0.70 to 0.65; the "
        "highest macro AUROC is that of epoch 1."
    )
    assert draw_training_curves(training()) is None
    assert draw_training_curves(pair) is None


@pytest.mark.parametrize(
    ("best_by", "epoch", "name"),
    [
        ("loss", 3, "lowest validation loss (epoch 3)"),
        ("macro_auroc", 2, "highest macro AUROC (epoch 2)"),
    ],
)
def test_training_curves(training, tmp_path, best_by, epoch, name):
    epochs = (0.9, 0.8, 0.6), (0.7, 0.5, 0.8), (0.5, 0.4, 0.7)
    figure = draw_training_curves(training(*epochs, best_by=best_by)).figure
    save(figure, tmp_path / "curves.png")
    height, width = imread(tmp_path / "curves.png").shape[:2]
    assert (width, height) == pytest.approx((702, 416), rel=0.1)
    losses, auroc = figure.axes
    train, valid, best = losses.lines
    np.testing.assert_allclose(train.get_xydata(), [[1, 0.9], [2, 0.7], [3, 0.5]])
    np.testing.assert_allclose(valid.get_ydata(), [0.8, 0.5, 0.4])
    np.testing.assert_allclose(auroc.lines[0].get_ydata(), [0.6, 0.8, 0.7])
    assert list(best.get_xdata()) == list(auroc.lines[1].get_xdata()) == [epoch] * 2
    assert best.get_label() == name


def test_training_curves_without_auroc(training):
    epochs = (0.9, 0.4, None), (0.7, 0.5, None)
    losses, auroc = draw_training_curves(training(*epochs)).figure.axes
    assert list(losses.lines[-1].get_xdata()) == [1, 1]
    assert [text.get_text() for text in auroc.texts] == ["not in the log"]


def test_training_curves_by_what_is_not_in_the_log(training):
    epochs = (0.9, 0.4, None), (0.8, 0.3, None)
    evidence = training(*epochs, best_by="macro_auroc")
    assert len(draw_training_curves(evidence).figure.axes[0].lines) == 2
