"""Measures what one recipient's mail costs: rendered here, built with the standard library, and signed (DKIM).

The mail has two parts, 3 kB of HTML, three merge tags, three tracked links, an open pixel and the headers of bulk mail;
the standard library's has the same parts, tags and links, without the further headers. Run alone:

    python -m benchmarks.render_mail
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from email import policy
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid

from audience.list_settings import ListSettings
from delivery.compiling import CompiledMessage, MessageContent, MessageContext, Person, compile_message
from delivery.dkim import Algorithm, DkimSigner, make_key
from delivery.messages import MessageSettings
from delivery.sendings import Sender
from delivery.tracking_links import LinkSigner
from services.mailup.merge_tags import VOCABULARY

BUDGET = 60
"""Microseconds for a mail that is not signed."""
MAILS = 2_000
ROUNDS = 7
SECRET = "5ec7e7" * 10 + "abcd"
PUBLIC_URL = "https://mail.example.com"
LINKS = (
    "https://shop.example.com/autumn",
    "https://shop.example.com/offers?page=2",
    "https://shop.example.com/account",
)
PARAGRAPH = "<p>Lorem ipsum dolor sit amet, consetetur sadipscing elitr, sed diam nonumy eirmod tempor.</p>\n"
HTML = (
    "<html><body><h1>Dear [name] [surname],</h1>\n"
    + PARAGRAPH * 28
    + "".join(f'<p><a href="{link}">More</a></p>\n' for link in LINKS)
    + "<p>You get this as [email].</p></body></html>\n"
)
TEXT = "Dear [name] [surname],\n\n" + "Lorem ipsum dolor sit amet.\n" * 10 + "\n".join(LINKS) + "\nto [email]\n"
ISSUED = datetime(2026, 11, 22, tzinfo=UTC)
PEOPLE = [
    Person(number, number, f"reader{number}@example.org", None, {"1": f"Name{number % 97}", "2": f"O'Brien-{number}"})
    for number in range(1, MAILS + 1)
]


def compile_for(signer: DkimSigner | None) -> CompiledMessage:
    """Return the mail, ready for all recipients."""
    settings = ListSettings(sender_email="shop@example.com", sender_name="Shop", to_name="field:1")
    context = MessageContext(
        account_id=1,
        account_number=7,
        secret_key=SECRET,
        list_id=3,
        list_name="News",
        list_settings=settings,
        field_names={1: "name", 2: "surname"},
        field_defaults={},
        sending_id=12,
        sender=Sender(),
        public_url=PUBLIC_URL,
        bounce_domain="bounce.example.com",
        host="mail.example.com",
        vocabulary=VOCABULARY,
        dkim=signer,
        issued_at=ISSUED,
    )
    tracked = MessageSettings(track_links=True)
    return compile_message(MessageContent(subject="News", html=HTML, text=TEXT, settings=tracked), context)


def build_with_library(person: Person) -> bytes:
    """Return the mail as a program without a compiler builds it: everything for each recipient."""
    links = LinkSigner(SECRET, 7, PUBLIC_URL).of_recipient(12, person.recipient_id, person.email)
    html, text = HTML.replace("</body>", f'<img src="{links.open_url()}"></body>'), TEXT
    for place, link in enumerate(LINKS):
        html, text = html.replace(link, links.click_url(place)), text.replace(link, links.click_url(place))
    for tag, value in (("[name]", person.fields["1"]), ("[surname]", person.fields["2"]), ("[email]", person.email)):
        html, text = html.replace(tag, value), text.replace(tag, value)
    mail = EmailMessage(policy=policy.SMTP)
    mail["From"], mail["To"], mail["Subject"] = "Shop <shop@example.com>", person.email, "News"
    mail["Date"], mail["Message-ID"] = format_datetime(ISSUED), make_msgid(domain="mail.example.com")
    mail.set_content(text, cte="quoted-printable")
    mail.add_alternative(html, subtype="html", cte="quoted-printable")
    return mail.as_bytes()


def time_each(work: Callable[[Person], object], mails: int) -> float:
    """Return microseconds of processor time for a mail: the best of some rounds, since others use the machine too."""
    rounds = []
    for _ in range(ROUNDS):
        started = time.process_time()
        for person in PEOPLE[:mails]:
            work(person)
        rounds.append((time.process_time() - started) / mails * 1e6)
    return min(rounds)


def time_dkimpy(algorithm: Algorithm) -> float | None:
    """Return microseconds that dkimpy takes to sign a mail; None where it is missing."""
    try:
        import dkim
    except ImportError:
        return None
    key, unsigned = make_key(algorithm).encode(), compile_for(None)
    mail = unsigned.render(PEOPLE[0]).content
    return time_each(lambda person: dkim.sign(mail, b"s1", b"example.com", key), 20)


def main() -> None:
    """Print the figures."""
    plain = compile_for(None)
    size = len(plain.render(PEOPLE[0]).content)
    print(f"One mail of {size:,} bytes with {len(plain.links)} tracked links, one core, best of {ROUNDS} rounds:\n")
    ours = time_each(plain.render, MAILS)
    library = time_each(build_with_library, MAILS // 10)
    _print("rendered", ours, f"goal {BUDGET}: {'met' if ours <= BUDGET else 'MISSED'}")
    _print("standard library", library, f"{library / ours:.1f} times as long")
    for algorithm in ("rsa", "ed25519"):
        signer = DkimSigner("example.com", "s1", algorithm, make_key(algorithm))
        signed = time_each(compile_for(signer).render, MAILS // 4)
        _print(f"rendered, {algorithm}", signed, f"signing is {1 - ours / signed:.0%} of it")
    dkimpy = time_dkimpy("rsa")
    if dkimpy is not None:
        _print("dkimpy, rsa", dkimpy, "signing alone")


def _print(name: str, microseconds: float, remark: str) -> None:
    print(f"{name:20} {microseconds:9.1f} us {1e6 / microseconds:9,.0f}/s   {remark}")


if __name__ == "__main__":
    main()
