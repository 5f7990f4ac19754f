"""What is no limit is refused, and each limit is an option."""

import math
import re
from dataclasses import fields

import pytest

from fmnist_utils.cli.main import commands
from fmnist_utils.errors import BadInputError
from fmnist_utils.service.limits import Limits


@pytest.mark.parametrize("seconds", [math.nan, -5, 0, math.inf, 1e9])
def test_a_time_that_is_none_is_refused_in_a_sentence(seconds):
    with pytest.raises(BadInputError, match=re.escape(f"received {seconds:g} seconds: ")):
        Limits(seconds=seconds)


def test_each_limit_is_an_option_with_its_default():
    options = {option.name: option.default for option in commands.commands["serve"].params}
    assert {limit.name: limit.default for limit in fields(Limits)}.items() <= options.items()
