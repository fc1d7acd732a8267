"""Feeds any bytes to the services as messages: refusals of the three kinds may come out, nothing else.

    python tests/fuzz/fuzz_envelope.py -runs=1000000

Half of the inputs are taken as bytes of a message; of the others each byte is a word of a message, so that the
fuzzer comes as far as the parameters. Needs atheris.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

if __name__ == "__main__":
    import atheris

    with atheris.instrument_imports(include=["services.soap"]):
        import services.soap.codec  # noqa: F401 - before the others import it

from golden.contract import ORACLE  # noqa: E402
from golden.type_contract import TYPES  # noqa: E402

from services.contracts import SERVICES  # noqa: E402
from services.soap.codec import ServiceCodec  # noqa: E402
from services.soap.envelope import UnsupportedMediaType, open_envelope, read_header  # noqa: E402
from services.soap.faults import SoapFault, SoapVersion, encode_fault  # noqa: E402
from services.soap.large_text import Text  # noqa: E402
from services.soap.limits import XmlLimits  # noqa: E402
from services.soap.reader import MalformedDocument  # noqa: E402

CODECS = tuple(ServiceCodec(service) for service in (*SERVICES, ORACLE, TYPES))
CHARSETS = (None, "utf-8", "utf-16", "windows-1252", "utf-7", "nothing")
MEDIA_TYPES = tuple(version.media_type for version in SoapVersion)
# Small ones, so that short inputs reach them.
LIMITS = XmlLimits(depth=12, nodes=60, attributes=4, name=80, tag=66_000, text=400, message=3_000, large_message=6_000)
XSI = "http://www.w3.org/2001/XMLSchema-instance"
NAMESPACES = {version.namespace for version in SoapVersion} | {codec.service.namespace for codec in CODECS} | {XSI}
_NAMES = sorted(
    {"Envelope", "Header", "Body", "Authentication", "User", "Fault"}
    | {name for codec in CODECS for one in codec.service.operations for name in (one.name, *one.parameters)}
    | {"Radius", "Name", "Side", "Option", "Key", "Value", "int", "Shape", "Content", "Numbers", "Tag"}
)
_WORDS = (
    *(f"<p{number}:" for number in range(len(NAMESPACES))),
    *(
        " ",
        '"',
        "<",
        ">",
        "/>",
        "</",
        "<!--",
        "-->",
        "<![CDATA[",
        "]]>",
        "<?",
        "?>",
        "&amp;",
        "&#65;",
        "&#xD;",
        "\n",
        "x",
    ),
    *('xsi:nil="true"', 'xsi:type="p1:Circle"', 'xsi:type="Square"', 'a="b"', 'xmlns="u"', 'p0:mustUnderstand="1"'),
    *("1", "-1", "2147483648", "true", "1.5e3", "NaN", "2024-02-29T12:30:00Z", "AAEC", "\u00e8", "\U0001f600", " "),
)


def run_envelope(data: bytes) -> None:
    """Read a message as each service would; whatever is raised but refusals is an error."""
    if not data:
        return
    kind, data = data[0], data[1:]
    content = data if kind & 1 else _write_message(data)
    for codec in CODECS:
        try:
            _answer(codec, content, CHARSETS[kind // 2 % len(CHARSETS)], MEDIA_TYPES[kind // 16 % 2])
        except SoapFault as fault:
            for version in SoapVersion:
                encode_fault(version, fault)
        except (MalformedDocument, UnsupportedMediaType):
            continue


def _answer(codec: ServiceCodec, content: bytes, charset: str | None, media_type: str) -> None:
    with ExitStack() as held:

        def open_text() -> Text:
            text = Text(Path("/tmp"), lambda: True)  # noqa: S108 - a nameless file, and none for such short ones
            held.callback(text.close)
            return text

        chunks = [content[start : start + 97] for start in range(0, len(content), 97)]
        root = codec.read_message(chunks, LIMITS, charset, open_text)
        envelope = open_envelope(root, media_type)
        read_header(envelope, "Authentication", ("User", "Password"))
        if envelope.body is None:
            return
        for operation in codec.operations.values():
            # Whatever its name, the element is tried as each operation.
            operation.decode(envelope.body)


def _write_message(data: bytes) -> bytes:
    """Return a message: each pair of bytes is a word, or a tag of a known name that is closed in its turn."""
    declared = " ".join(f'xmlns:p{number}="{name}"' for number, name in enumerate(sorted(NAMESPACES)))
    version = sorted(NAMESPACES).index(SoapVersion.V11.namespace)
    parts = [f'<p{version}:Envelope {declared} xmlns:xsi="{XSI}"><p{version}:Body>']
    opened = [f"p{version}:Envelope", f"p{version}:Body"]
    for action, choice in zip(data[::2], data[1::2], strict=False):
        if action < 100:
            name = f"p{action % len(NAMESPACES)}:{_NAMES[choice % len(_NAMES)]}"
            attribute = _WORDS[choice % len(_WORDS)] if action < 20 and "=" in _WORDS[choice % len(_WORDS)] else ""
            parts.append(f"<{name} {attribute}>")
            opened.append(name)
        elif action < 170 and opened:
            parts.append(f"</{opened.pop()}>")
        else:
            parts.append(_WORDS[choice % len(_WORDS)])
    parts += [f"</{name}>" for name in reversed(opened)]
    return "".join(parts).encode()


if __name__ == "__main__":
    atheris.Setup(sys.argv, run_envelope)
    atheris.Fuzz()
