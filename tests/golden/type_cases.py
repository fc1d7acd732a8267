"""Requests about types: families of them, what may be nil or repeated, and the simple ones of the rarer kind."""

from __future__ import annotations

from collections.abc import Iterator

from golden.cases import NAMESPACE, SOAP, TEXT, V11, V12, Case, payload, wrap

PATH = "/Types.asmx"


def type_cases() -> list[Case]:
    """Return every case."""
    return [case for group in (_shapes(), _lists(), _parcels(), _results(), _numbers(), _bytes()) for case in group] + [
        Case("types-contract", method="GET", headers={}, path=f"{PATH}?wsdl")
    ]


def _call(name: str, operation: str, content: str = "", version: str = V11) -> Case:
    headers = {"Content-Type": TEXT if version == V11 else SOAP}
    # The prefix `t` is that of the service.
    body = payload(operation, content).replace(" xmlns", f' xmlns:t="{NAMESPACE}" xmlns', 1)
    return Case(name, wrap(body, version), headers, path=PATH)


def _shapes() -> Iterator[Case]:
    for name, shape in {
        "missing": "",
        "nil": '<shape i:nil="true"/>',
        "empty": "<shape/>",
        "untyped": "<shape><Name>n</Name></shape>",
        "abstract": '<shape i:type="t:Shape"><Name>n</Name></shape>',
        "circle": '<shape i:type="t:Circle"><Name>n</Name><Radius>2.5</Radius></shape>',
        "ring": '<shape i:type="t:Ring"><Name>n</Name><Radius>2.5</Radius><Hole>1</Hole></shape>',
        "square": '<shape i:type="t:Square"><Side>5</Side></shape>',
        "without-members": '<shape i:type="t:Circle"/>',
        "other-order": '<shape i:type="t:Ring"><Hole>1</Hole><Name>n</Name><Radius>2.5</Radius></shape>',
        "members-of-another": '<shape i:type="t:Square"><Radius>2.5</Radius><Side>5</Side></shape>',
        "unprefixed-type": '<shape i:type="Circle"><Radius>1</Radius></shape>',
        "type-with-spaces": '<shape i:type=" t:Circle "><Radius>1</Radius></shape>',
        "type-of-no-family": '<shape i:type="t:Parcel"/>',
        "type-unknown": '<shape i:type="t:Canary"/>',
        "type-of-another-namespace": '<shape i:type="d:Circle"/>',
        "type-simple": '<shape i:type="d:int">5</shape>',
        "type-with-unknown-prefix": '<shape i:type="zz:Circle"/>',
        "type-empty": '<shape i:type=""/>',
        "number-wrong": '<shape i:type="t:Circle"><Radius>canary</Radius></shape>',
        "number-empty": '<shape i:type="t:Square"><Side/></shape>',
        "nil-with-type": '<shape i:type="t:Circle" i:nil="true"/>',
        "prefix-declared-there": f'<shape i:type="u:Circle" xmlns:u="{NAMESPACE}"><Radius>1</Radius></shape>',
    }.items():
        yield _call(f"shape-{name}", "Describe", shape)


def _lists() -> Iterator[Case]:
    circle, square = '<Shape i:type="t:Circle"><Radius>1</Radius></Shape>', '<Shape i:type="t:Square"/>'
    for name, shapes in {
        "missing": "",
        "empty": "<shapes/>",
        "mixed": f'<shapes>{circle}<Shape i:nil="true"/>{square}</shapes>',
        "untyped-item": "<shapes><Shape/></shapes>",
        "named-as-type": "<shapes><Circle><Radius>1</Radius></Circle></shapes>",
        "typed-as-array": f'<shapes i:type="t:ArrayOfShape">{circle}</shapes>',
    }.items():
        yield _call(f"shapes-{name}", "DescribeAll", shapes)


def _parcels() -> Iterator[Case]:
    for name, content in {
        "empty": "",
        "nil-members": '<Content i:nil="true"/><Note i:nil="true"/><Weight i:nil="true"/><Tag i:nil="true"/>',
        "empty-members": "<Note/><Tag/><Numbers/>",
        "empty-number": "<Weight/>",
        "full": '<Content i:type="t:Square"><Side>1</Side></Content><Note>n</Note><Weight>3</Weight>'
        "<Tag>a</Tag><Tag>b</Tag><Numbers><int>1</int><int>2</int></Numbers>",
        "scattered": "<Tag>a</Tag><Weight>3</Weight><Tag>b</Tag>",
        "number-empty": "<Numbers><int/></Numbers>",
        "number-nil": '<Numbers><int i:nil="true"/></Numbers>',
        "numbers-of-another-name": "<Numbers><string>1</string></Numbers>",
    }.items():
        yield _call(f"parcel-{name}", "DescribeParcel", f"<parcel>{content}</parcel>")


def _results() -> Iterator[Case]:
    for kind in ("Circle", "Ring", "Square", "none"):
        yield _call(f"make-{kind}", "Make", f"<kind>{kind}</kind>")
    yield _call("make-1.2", "Make", "<kind>Ring</kind>", V12)
    yield _call("make-all", "MakeAll", "<kinds>Circle none Ring Square</kinds>")
    yield _call("pack", "Pack", "<full>true</full>")
    yield _call("pack-nothing", "Pack", "<full>false</full>")


def _numbers() -> Iterator[Case]:
    for number in ("9223372036854775807", "-9223372036854775808", "9223372036854775808", "", "1.0", " 7 "):
        yield _call(f"long-{number.strip() or 'empty'}", "Count", f"<number>{number}</number>")
    for number in (
        "0.1",
        "1",
        "-0",
        "1e3",
        "999999999999999",
        "1E15",
        "1E16",
        "0.0001",
        "1E-5",
        "123456789012345678",
        "1.7976931348623157E308",
        "1E400",
        ".5",
        "5.",
        "INF",
        "-INF",
        "NaN",
        "inf",
        "nan",
        "Infinity",
        "0x10",
        "1,5",
        "1_0",
        "",
    ):
        yield _call(f"double-{number or 'empty'}", "Measure", f"<number>{number}</number>")
    for number in ("1.50", "-0.00", "+7", ".5", "5.", "1e3", "79228162514264337593543950335", "1,5", "NaN", ""):
        yield _call(f"decimal-{number or 'empty'}", "Price", f"<number>{number}</number>")
    for kind, operation in {"long": "Count", "double": "Measure", "decimal": "Price"}.items():
        yield _call(f"{kind}-missing", operation)


def _bytes() -> Iterator[Case]:
    for name, data in {
        "plain": "AP8B",
        "padded": "YWI=",
        "with-spaces": " AP\n8B ",
        "empty": "",
        "odd": "AP8",
        "canary": "canary!",
    }.items():
        yield _call(f"bytes-{name}", "Store", f"<data>{data}</data>")
    yield _call("bytes-missing", "Store")
