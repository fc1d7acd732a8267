"""What can be asked of an export, and how it is stored."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audience.unsubscribed import COLUMNS
from exchange.export_csv import CsvFormat
from jobs.exports import ExportError, ExportSettings

numbers = st.lists(st.integers(1, 10_000), min_size=1, max_size=4).map(tuple)
reasons = st.lists(st.sampled_from([0, 1, 2, 20, 8, 81, 5122, 1024]), min_size=1, max_size=4).map(tuple)
columns = st.lists(st.sampled_from([*COLUMNS, "field:1", "field:39"]), min_size=1, unique=True).map(tuple)


@given(
    st.builds(
        ExportSettings,
        lists=st.none() | numbers,
        exclude_lists=st.just(()) | numbers,
        period=st.sampled_from(["full", "previous-day"]),
        reasons=st.none() | reasons,
        exclude_reasons=st.just(()) | reasons,
        columns=columns,
        headers=st.dictionaries(st.sampled_from(COLUMNS), st.text(max_size=5)),
        csv=st.builds(CsvFormat, separator=st.sampled_from(";,|"), header=st.booleans()),
        name_pattern=st.sampled_from(["{type}.csv", "{account}_{id}_{date:yyyyMMdd}.txt"]),
        folder=st.sampled_from(["export", "export/daily"]),
    )
)
def test_settings_survive_storing(settings: ExportSettings) -> None:
    assert ExportSettings.from_dict(settings.to_dict()) == settings


def test_settings_stored_by_an_older_version_take_defaults_for_what_is_new() -> None:
    assert ExportSettings.from_dict({"period": "full"}) == ExportSettings()


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"lists": (0,)}, "list number"),
        ({"exclude_lists": (-1,)}, "list number"),
        ({"lists": ()}, "none at all"),
        ({"reasons": ()}, "none at all"),
        ({"period": "weekly"}, "'weekly' is not a period: choose among full, previous-day"),
        ({"reasons": (3,)}, "3 is not the code"),
        ({"exclude_reasons": (84,)}, "84 is not the code"),
        ({"columns": ()}, "at least one column"),
        ({"columns": ("email", "email")}, "twice"),
        ({"columns": ("email", "password")}, "'password' is not a column"),
        ({"headers": {"password": "Password"}}, "'password' is not a column"),
        ({"folder": "import/1"}, "is not export or a folder below it"),
        ({"folder": ""}, "is not export"),
        ({"folder": "/export"}, "is not export"),
        ({"folder": "exports"}, "is not export"),
        ({"folder": "export/../import"}, "is not export"),
        ({"folder": "export\\a"}, "is not export"),
        ({"folder": "export/\0"}, "is not export"),
        ({"name_pattern": "../{type}.csv"}, "dot|path separators"),
        ({"name_pattern": "{recipient}.csv"}, "not known in a file name"),
        ({"name_pattern": ""}, "must not be empty"),
    ],
)
def test_refuses_what_cannot_be_exported(values: dict[str, Any], text: str) -> None:
    with pytest.raises(ExportError, match=text):
        ExportSettings(**values)
