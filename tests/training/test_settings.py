"""training.settings: what is asked of an evaluation."""

import pytest

from local.training.settings import EvaluationSettings
from local.utils.errors import UserError


@pytest.mark.parametrize("share", ["best", 0, 1.1, True, [0.9]])
def test_other_shares_are_refused(share):
    with pytest.raises(UserError, match="above 0 and at most 1"):
        EvaluationSettings(threshold_sensitivity=share)


@pytest.mark.parametrize("columns", ["sex", [1], {"sex": "f"}])
def test_subgroups_are_names_of_columns(columns):
    with pytest.raises(UserError, match="must be a list of columns, as"):
        EvaluationSettings(subgroups=columns)


def test_what_can_be():
    for share in (None, 0.9, 1):
        asked = EvaluationSettings(threshold_sensitivity=share, subgroups=["sex"])
        assert asked.threshold_sensitivity == share
