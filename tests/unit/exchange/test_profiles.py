"""Profiles as they are stored."""

from __future__ import annotations

import json

from exchange.profiles import Profile


def test_profile_survives_storage() -> None:
    profile = Profile(
        separator="|", header=False, columns=("email", "", "1"), groups=(3, 4), column_names={"a": "email"}
    )
    assert Profile.from_dict(json.loads(json.dumps(profile.to_dict()))) == profile


def test_missing_and_unknown_keys_are_tolerated() -> None:
    assert Profile.from_dict({"quote": "'", "colour": "red"}) == Profile(quote="'")
