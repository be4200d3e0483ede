"""Processes that hang, end, or are listened to slowly."""

import os
import time

import pytest

from normsuite.measure import listening, process

SAYS = "import json, sys, time; print(json.dumps({'said': 1}), flush=True); "


def heard(code, **limits):
    limits = {"first_s": 60.0, "limit_s": 60.0} | limits
    with process.fresh(["-c", code], os.environ) as one:
        yield from listening.heard(one, None, **limits)


def test_what_it_says_is_yielded_until_it_ends():
    assert list(heard(SAYS)) == [{"said": 1}]


@pytest.mark.parametrize(
    ("code", "limits"),
    [
        ("import time; time.sleep(60)", {"first_s": 0.5}),
        (SAYS + "time.sleep(60)", {"limit_s": 0.5}),
        (SAYS + "time.sleep(60)", {"limit_s": lambda message: 0.5 * message["said"]}),
    ],
    ids=["before a word", "behind one", "by the message"],
)
def test_one_that_hangs_is_ended_after_its_limit(code, limits):
    begun = time.monotonic()
    with pytest.raises(listening.Ended) as ended:
        list(heard(code, **limits))
    assert ended.value.hung_s == 0.5 and ended.value.how("ends") == "hangs: ended after 0.5 s"
    assert time.monotonic() - begun < 30


def test_one_that_fails_is_told_from_one_that_hangs():
    with pytest.raises(listening.Ended) as ended:
        list(heard(SAYS + "sys.exit('no luck')"))
    assert ended.value.hung_s is None and ended.value.how("ends") == "ends (exit code 1: no luck)"


def test_the_listener_s_own_time_is_no_silence():
    messages = heard(SAYS + "print(json.dumps({'said': 2}))", limit_s=5.0, first_s=60.0)
    assert next(messages) == {"said": 1}
    time.sleep(0.2)
    assert [message["said"] for message in messages] == [2]
