"""What a training yaml of a user's own may say, and what a command line."""

import pytest
from conftest import user_error
from running import ROOT

from local.training.evaluation_settings import EvaluationSettings
from local.training.settings import check_training, check_values
from local.utils.errors import UserError
from local.utils.yaml_files import plain_values

TRAIN = ROOT / "hparams" / "train.yaml"


@pytest.fixture
def checked(tmp_path):
    """Checks a yaml that is based on train.yaml and has some lines more."""

    def check(*lines, **overrides):
        file = tmp_path / "mine.yaml"
        file.write_text("\n".join([f"base: {TRAIN}", *lines, ""]))
        check_training(plain_values(file, overrides), file)

    return check


def test_what_a_yaml_may_add(checked):
    checked(
        "seed: 1",
        "half: &half 0.5     # repeated",
        "width: 3            # referred to",
        "final_dropout: *half",
        "clf_bottleneck: !ref <width> * 100",
        "precision: bf16     # a run option of SpeechBrain",
        "extra: !new:torch.nn.Identity",
        "label_types: null",
        "subgroups:",
        'study: "2024"',
        "gauss_snr: 20",
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("max_rl: 0.1", "nothing reads the key max_rl: did you mean max_lr?"),
        ("colour: red", "nothing reads the key colour: take it away"),
        ('show_uids: "False"', "show_uids must be True or False; found 'False'"),
        ("report: null", "report must be True or False; found None"),
        ("subgroups: sex", "subgroups must be a list, as [a, b]; found 'sex'"),
        ("label_types: [1]", "label_types must be a mapping, as {a: 1}; found [1]"),
        ("study: 2024", "study must be a name, in quotes if it looks like something"),
        ("patience: soon", "patience must be a number; found 'soon'"),
        ("mono: null", "mono must be mean or sum, found None"),
        ("seed: 4294967296", "seed must be 4294967295 or less, found 4294967296"),
        ("eval_crop: 3", "eval_crop must be null or an object (!new:…), found 3"),
        ("background_folder: noises", "a share of recordings that get something of it"),
        ("augment: null", "missing: augment (a yaml that begins with `base: train"),
        ("positive_weight: !remove", "missing: positive_weight ("),
        ("modules: {classifier: 3}", "missing: modules: compute_features, modules: m"),
    ],
)
def test_what_it_may_not_say(checked, line, message):
    assert message in user_error(checked, line)


def test_a_kind_is_that_of_the_key_whatever_the_yaml_says(checked):
    with pytest.raises(Exception, match="n_mels must be a number; found '80'"):
        checked('n_mels: "80"')
    checked('n_mels: "80"', n_mels=20)


def test_an_object_can_not_be_switched_off(checked):
    assert "missing: mix (" in user_error(checked, mix=None)


def test_a_folder_of_noise_and_its_share_go_together(checked):
    message = user_error(checked, background_folder="noises")
    assert "give --background=0.5, or leave background_folder out" in message
    assert "reverb needs --reverb_folder=DIR" in user_error(checked, reverb=0.5)
    checked(background=0.1, background_folder="noises")


def test_options_of_later_commands_have_the_same_kinds():
    message = user_error(check_values, {"num_workers": "two", "split_csv": 3}, {})
    assert "num_workers must be a number; found 'two'" in message
    check_values({"num_workers": None, "window_pooling": None}, {})


@pytest.mark.parametrize("share", ["best", 0, 1.1, True, [0.9]])
def test_other_shares_are_refused(share):
    with pytest.raises(UserError, match="above 0 and at most 1"):
        EvaluationSettings(threshold_sensitivity=share)


@pytest.mark.parametrize("columns", ["sex", [1], {"sex": "f"}])
def test_subgroups_are_names_of_columns(columns):
    with pytest.raises(UserError, match="must be a list of columns, as"):
        EvaluationSettings(subgroups=columns)


@pytest.mark.parametrize("key", ["decision_thresholds", "prevalences"])
@pytest.mark.parametrize("shares", [0.2, [0], [0.2, 1], ["a"], [0.2, 0.2], [True]])
def test_lists_of_shares(key, shares):
    with pytest.raises(UserError, match=f"{key} must be a list of different numbers"):
        EvaluationSettings(**{key: shares})
    for asked in (None, [], [0.2, 0.1]):
        assert getattr(EvaluationSettings(**{key: asked}), key) == asked


def test_what_can_be():
    for share in (None, 0.9, 1):
        asked = EvaluationSettings(threshold_sensitivity=share, subgroups=["sex"])
        assert asked.threshold_sensitivity == share


@pytest.mark.parametrize(
    "threshold", [0, 1, 1.5, True, "0.5", [0.5], {"slow": 2}, {"slow": None}]
)
def test_a_threshold_is_a_probability(threshold):
    with pytest.raises(UserError, match="threshold must be a probability above 0"):
        EvaluationSettings(threshold=threshold)


def test_a_threshold_is_given_or_chosen():
    with pytest.raises(UserError, match="give one of the two"):
        EvaluationSettings(threshold=0.5, threshold_sensitivity=0.9)
    both = EvaluationSettings(threshold={"slow": 0.3}, threshold_sensitivity=0.9)
    assert both.given_thresholds(["slow", "loud"]) == {"slow": 0.3}
    assert EvaluationSettings().given_thresholds(["slow"]) == {}
    with pytest.raises(UserError) as error:
        both.given_thresholds(["loud", "low"])
    assert "threshold names slow" in str(error.value)
    assert "these are loud, low" in str(error.value)
