"""Profiles read from outside: as TOML and back, and everything that is refused."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.errors import InvalidProfile
from exchange.profile_checks import check_profile
from exchange.profile_files import KEYS, changed_keys, make_profile, read_profile, write_profile
from exchange.profiles import ROLES, Acknowledgement, Profile

RICH = Profile(
    encoding="cp1252",
    separator="\t",
    header=False,
    columns=("external", "email", "", "5", "first name"),
    column_names={"Kundnr": "external", "Ü «1»": "", "a.b": "7"},
    status="column",
    groups=(3, 4),
    constants={"list": "2", "9": 'He said "no"\\'},
    transforms={
        "5": ({"do": "date", "from": ["dd/MM/yyyy", "dd/MM/yy"], "otherwise": "keep"},),
        "email": ({"do": "lower"}, {"do": "lookup", "table": {"a b": "c", "": "é"}, "otherwise": "keep"}),
    },
    checks={"5": {"type": "number", "min": 0, "max": 1.5}},
    key="external",
    unknown="refuse",
    duplicates="refuse",
    mode="full",
    missing="keep",
    max_missing_percent=2.5,
    pattern=r"crm_\d+_{date:yyyyMMdd}\.csv",
    match="regex",
    start_at="03:00",
    bundle="nightly",
    bundle_place=2,
    wait_until="05:00",
    expected_by="23:59",
    scan_seconds=0,
    acknowledgements=("mail", "table"),
    contact="ops@example.com",
    completeness="trailer",
)


def test_every_key_survives() -> None:
    assert read_profile(write_profile(RICH)) == RICH
    assert read_profile(write_profile(RICH, changed_keys(RICH))) == RICH
    assert read_profile(write_profile(Profile())) == Profile()
    assert make_profile(json.loads(json.dumps(RICH.to_dict()))) == RICH
    assert set(KEYS) == {item.name for item in fields(Profile)}
    assert read_profile("") == Profile()


def test_what_is_written_can_be_read_by_people() -> None:
    profile = Profile(mode="full", transforms={"5": ({"do": "date", "from": "dd/MM/yyyy"},)}, constants={"list": "2"})
    lines = [line for line in write_profile(profile, changed_keys(profile)).splitlines() if line]
    assert lines == [
        'mode = "full"',
        "[constants]",
        'list = "2"',
        "[[transforms.5]]",
        'do = "date"',
        'from = "dd/MM/yyyy"',
    ]


def test_defaults_are_for_keys_that_are_left_out() -> None:
    defaults = {"column_names": {"111": "email"}}
    assert read_profile("", defaults).column_names == {"111": "email"}
    assert read_profile("[column_names]", defaults).column_names == {}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("max_mising_percent = 3", "max_mising_percent: it is not known; did you mean max_missing_percent?"),
        ("zzz = 3", "zzz: it is not known"),
        ("quote = 1", "quote: input should be a valid string"),
        ("header = 1", "header: input should be a valid boolean"),
        ("groups = [1.5]", "groups.0: input should be a valid integer"),
        ("groups = [0]", "groups: "),
        ('key = "emial"', "key: input should be 'email', 'mobile' or 'external'"),
        ('acknowledgements = ["mial"]', "acknowledgements.0: input should be"),
        ('acknowledgements = ["mail", "mail"]', "acknowledgements: mail stands there twice"),
        ("quiet_seconds = nan", "quiet_seconds: input should be a valid number"),
        ("quiet_seconds = 0", "quiet_seconds: "),
        ("scan_seconds = -1", "scan_seconds: "),
        ("groups = [99999999999999999999]", "file: it has a value of a kind"),
        ("a =", "file: not TOML"),
        ("a = 1\na = 2", "file: not TOML"),
        ("x = " + "[" * 5000, "file: not TOML"),
        ('separator = ";;"', "separator: expected one character"),
        ('separator = "\\n"', "separator: expected one character"),
        ('quote = "ab"', "quote: expected one character"),
        ("separator = '\"'", "quote: it is the separator"),
        ("header = false", "columns: none of them holds an e-mail address"),
        ('header = false\ncolumns = ["1", "status"]', "columns: none of them holds"),
        ('header = false\nkey = "external"\ncolumns = ["email"]', "columns: none of them holds an external id"),
        ('header = false\nkey = "mobile"\ncolumns = ["email"]', "columns: none of them holds a mobile number"),
        ('header = false\ncolumns = ["email", "E-MAIL"]', "columns: email stands there twice"),
        ('columns = ["email"]', "columns: they are for files without a header"),
        ('column_names.a = "emial"', "column_names.a: 'emial' is none of"),
        ('unsubscribed_value = "1"', "unsubscribed_value: it is the same"),
        ('confirm = true\nchannels = "sms"', "confirm: "),
        ('key = "mobile"\nchannels = "email"', "key: "),
        ('mode = "full"\nstatus = "unsubscribed"', "mode: "),
        ("max_missing_percent = 100.5", "max_missing_percent: expected 0 to 100"),
        ('constants.email = "a@example.com"', "constants.email: every row"),
        ('constants.emial = "x"', "constants.emial: that is none of"),
        ('constants.007 = "x"', "constants.007: that is none of"),
        ('constants.list = "two"', "constants.list: expected a number"),
        ('constants.5 = "a\\nb"', "constants.5: expected up to"),
        ("constants.5 = 5", "constants.5: input should be a valid string"),
        ('transforms.emial = [{do = "upper"}]', "transforms.emial: that is none of"),
        ('transforms.5 = [{do = "uper"}]', "transforms.5: step 1: do: 'uper' is none of"),
        ('transforms.5 = {do = "upper"}', "transforms.5: input should be a valid array"),
        ('transforms.list = [{do = "lookup", table = {}, otherwise = "omit"}]', "transforms.list: step 1: otherwise"),
        ('checks.email = {type = "date"}', "checks.email: that is no number of a field"),
        ('checks.5 = {type = "data"}', "checks.5: type: 'data' is none of"),
        ('pattern = ""', "pattern: "),
        ('match = "regex"\npattern = "("', "pattern: not a regular expression"),
        ('match = "regex"\npattern = "(?=x)"', "pattern: not a regular expression"),
        ('pattern = "{date:yyyyMMMdd}"', "pattern: 'yyyyMMMdd' is no date pattern"),
        ('start_at = "24:00"', "start_at: expected a time of day HH:MM"),
        ('start_at = "7:30"', "start_at: expected a time of day HH:MM"),
        ("expected_by = 07:30:00", "expected_by: expected a time of day HH:MM"),
        ('bundle = "nightly"', "bundle: it needs a bundle_place"),
        ('bundle = " "\nbundle_place = 1', "bundle: expected a name"),
        ('bundle = "x"\nbundle_place = 0', "bundle_place: expected 1 or more"),
        ("bundle_place = 2", "bundle_place: it needs a bundle"),
        ('wait_until = "05:00"', "wait_until: it needs a bundle"),
        ('marker_suffix = "/x"', "marker_suffix: "),
        ('trailer = "("', "trailer: not a regular expression"),
        ('format = "xml"', "grammar: with format 'xml' it must have email, "),
        ('grammar.email = "x"', "grammar: it is for format 'xml'"),
    ],
)
def test_profile_is_refused(document: str, message: str) -> None:
    with pytest.raises(InvalidProfile) as refusal:
        read_profile(document)
    assert str(refusal.value).startswith(message)
    assert str(refusal.value).startswith(f"{refusal.value.key}: ")
    assert "\n" not in str(refusal.value)


def test_xml_takes_no_transforms() -> None:
    words = ("record_tag", "email", "prefix", "number", "field_tag")
    grammar = dict.fromkeys(words, "x")
    check_profile(Profile(format="xml", grammar=grammar))
    with pytest.raises(InvalidProfile, match="transforms: it is for format 'csv'"):
        check_profile(Profile(format="xml", grammar=grammar, transforms={"5": ({"do": "upper"},)}))


def test_values_of_unknown_kinds_are_refused() -> None:
    odd: Any = object()
    with pytest.raises(InvalidProfile, match="of a kind that no key has"):
        check_profile(Profile(pattern=odd))
    with pytest.raises(InvalidProfile, match="key: "):
        check_profile(Profile(key=odd.__class__.__name__))


WORDS = st.text(st.characters(codec="utf-8"), max_size=12)
PRINTABLE = WORDS.map(lambda text: "".join(filter(str.isprintable, text)).strip())
FIELD = st.integers(1, 99).map(str)
STEP = st.builds(lambda find, put: {"do": "replace", "find": f"x{find}", "with": put}, WORDS, WORDS)
PROFILES = st.builds(
    Profile,
    column_names=st.dictionaries(WORDS, st.sampled_from(ROLES) | FIELD),
    constants=st.dictionaries(FIELD, PRINTABLE, max_size=3),
    transforms=st.dictionaries(FIELD | st.sampled_from(ROLES), st.lists(STEP, max_size=3).map(tuple), max_size=3),
    separator=st.sampled_from([None, ";", "\t", "'"]),
    subscribed_value=WORDS.map(lambda text: f"yes{text}"),
    unsubscribed_value=WORDS.map(lambda text: f"no{text}"),
    groups=st.lists(st.integers(1, 10**9), max_size=3).map(tuple),
    acknowledgements=st.lists(st.sampled_from(get_args(Acknowledgement)), unique=True).map(tuple),
    max_missing_percent=st.floats(0, 100),
    marker_suffix=WORDS.map(lambda text: "." + text.replace("/", "")),
    start_at=st.none() | st.times().map(lambda time: time.strftime("%H:%M")),
)


@settings(max_examples=30)
@given(PROFILES)
def test_what_is_written_is_read(profile: Profile) -> None:
    assert read_profile(write_profile(profile)) == profile
    assert read_profile(write_profile(profile, changed_keys(profile))) == profile


@given(
    st.dictionaries(
        st.sampled_from(KEYS),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | WORDS,
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | FIELD, inner, max_size=3),
            max_leaves=6,
        ),
        max_size=4,
    )
)
def test_anything_is_a_profile_or_refused(given_values: dict[str, Any]) -> None:
    try:
        profile = make_profile(given_values)
    except InvalidProfile as refusal:
        assert refusal.key
        return
    check_profile(profile)
