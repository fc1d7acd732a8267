"""The pages that links in mails lead to. Opening one changes nothing, whoever opens it; its button does."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import structlog
from flask import Blueprint, Response, request
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from werkzeug.exceptions import TooManyRequests

from audience.errors import UnknownList
from audience.list_settings import LANGUAGES, read_settings
from audience.lists import find_list_by_guid
from audience.status_rules import CONFIRM, UNSUBSCRIBE, Reason, State, Transition
from audience.subscriptions import Cause
from db.engine import Database
from db.retry import retry_on_conflict
from delivery.links import LinkKind
from delivery.outbox import LINK_PATHS
from delivery.tokens import InvalidLink
from delivery.vocabulary import Vocabulary
from delivery.web_versions import Viewing
from services.hosted.forms import is_one_click, read_form
from services.hosted.looks import Look, look_of, plain_look
from services.hosted.questions import Choice, LinkEnded, Question, answer_question, find_message, find_question
from services.hosted.rendering import complete_headers, redirect, render_page
from services.hosted.targets import find_target
from services.hosted.web_versions import add_web_version
from services.http.answers import RETRY_SECONDS
from services.http.failures import describe_failure
from services.http.options import HttpOptions
from services.http.origins import caller_address
from services.http.rate_limits import RateLimit, network_of
from services.resources import Resources

log = structlog.get_logger()

_GUID = re.compile(r"[0-9A-Fa-f-]{36}")
_PROBLEMS = {"address": "problem_address", "list": "problem_list"}


@dataclass(frozen=True, slots=True)
class _Reader:
    """Whoever has opened a link, in the request that is being answered."""

    database: Database
    options: HttpOptions

    def ask(self, token: str, kind: LinkKind) -> Question:
        """Find out what the link is about."""
        with self.database.read() as connection:
            return find_question(connection, token, kind)

    def confirm(self, token: str) -> Question:
        """Confirm whatever is pending."""
        return self._answer(token, "confirm", CONFIRM, None, lambda _: True)

    def unsubscribe(self, token: str, reason: Reason, wanted: Callable[[Choice], bool]) -> Question:
        """Leave the lists that are wanted."""
        return self._answer(token, "unsubscribe", UNSUBSCRIBE, reason, wanted)

    def _answer(
        self,
        token: str,
        kind: LinkKind,
        transition: Transition,
        reason: Reason | None,
        wanted: Callable[[Choice], bool],
    ) -> Question:
        actor = caller_address(request.environ, trust_forwarded=self.options.trust_forwarded)

        def answer(connection: Connection) -> Question:
            question = find_question(connection, token, kind)
            cause = Cause("link", reason, actor=actor, message_number=find_message(connection, question.link))
            return answer_question(connection, question, transition, cause, wanted)

        # Mail programs of many readers may ask for it within seconds.
        return retry_on_conflict(lambda: self.database.write_shared(answer))


def create_hosted_pages(resources: Resources, options: HttpOptions, vocabulary: Vocabulary) -> Blueprint:
    """Return `/confirm/…`, `/unsubscribe/…`, `/subscription-received/…` and `/v/…`."""
    pages = Blueprint("hosted", __name__)
    reader = _Reader(resources.database, options)
    limit = RateLimit(options.form_rate_per_address)

    @pages.before_request
    def count_caller() -> None:
        # Large mail providers unsubscribe all their users from a few addresses, and no unsubscribe may get lost.
        if request.endpoint != f"{pages.name}.{unsubscribe.__name__}":
            limit.count(network_of(caller_address(request.environ, trust_forwarded=options.trust_forwarded)))

    @pages.get(f"{LINK_PATHS['confirm']}<token>")
    def ask_to_confirm(token: str) -> Response:
        question = reader.ask(token, "confirm")
        return _show_confirmation(question) if question.in_state(State.PENDING) else _tell_confirmed(question)

    @pages.post(f"{LINK_PATHS['confirm']}<token>")
    def confirm(token: str) -> Response:
        read_form()
        # Whoever has no valid link does not get as far as waiting for his turn to write.
        reader.ask(token, "confirm")
        answered = reader.confirm(token)
        done = _tell_confirmed(answered)
        target = find_target(answered.settings.confirmed_url)
        return redirect(target) if target is not None else done

    @pages.get(f"{LINK_PATHS['unsubscribe']}<token>")
    def ask_to_unsubscribe(token: str) -> Response:
        return _show_choice(reader.ask(token, "unsubscribe"))

    @pages.post(f"{LINK_PATHS['unsubscribe']}<token>")
    def unsubscribe(token: str) -> Response:
        form = read_form()
        question = reader.ask(token, "unsubscribe")
        if is_one_click(form):
            return _tell_unsubscribed(reader.unsubscribe(token, Reason.HEADER_LINK, _is_named))
        wanted = _is_ticked(form.getlist("list")) if question.has_choice else _is_named
        if not any(map(wanted, question.choices)):
            return _show_choice(question, nothing_chosen=True)
        answered = reader.unsubscribe(token, Reason.LINK, wanted)
        target = find_target(question.settings.unsubscribed_url)
        return redirect(target) if target is not None else _tell_unsubscribed(answered)

    @pages.get("/subscription-received/<guid>")
    def subscription_received(guid: str) -> Response:
        problem = _PROBLEMS.get(request.args.get("problem", ""))
        try:
            if not _GUID.fullmatch(guid):
                raise UnknownList("This is no GUID.")
            with resources.database.read_once() as connection:
                mailing = find_list_by_guid(connection, guid)
        except UnknownList:
            return _tell(_callers_look(), "problem_title", problem or "problem_list", status=404)
        look = look_of(read_settings(mailing.settings), mailing.name)
        return _tell(look, "problem_title", problem) if problem else _tell(look, "received_title", "received_text")

    @pages.errorhandler(InvalidLink)
    def tell_invalid(_error: InvalidLink) -> Response:
        return _tell(_callers_look(), "invalid_title", "invalid_text", status=404)

    @pages.errorhandler(LinkEnded)
    def tell_ended(error: LinkEnded) -> Response:
        return _tell(error.look or _callers_look(), "ended_title", error.text, status=410)

    @pages.errorhandler(DBAPIError)
    def tell_failure(error: DBAPIError) -> Response:
        log.error("page_failed", page=request.endpoint, **describe_failure(error))
        return _refuse_for_now(503, RETRY_SECONDS)

    @pages.errorhandler(TooManyRequests)
    def tell_limit(refusal: TooManyRequests) -> Response:
        return _refuse_for_now(429, refusal.retry_after)

    add_web_version(pages, resources, Viewing(options.public_url, vocabulary))
    pages.after_request(complete_headers)
    return pages


def _is_named(choice: Choice) -> bool:
    return choice.named


def _is_ticked(numbers: Iterable[str]) -> Callable[[Choice], bool]:
    """Return what tells the lists whose boxes are ticked in a form; numbers of other lists do nothing."""
    ticked = set(numbers)
    return lambda choice: str(choice.mailing.number) in ticked


def _show_confirmation(question: Question) -> Response:
    return render_page(
        "confirm.html",
        question.look,
        "confirm_title",
        email=question.link.email,
        target=find_target(question.settings.confirmed_url),
        names=_names(question.in_state(State.PENDING)),
    )


def _show_choice(question: Question, *, nothing_chosen: bool = False) -> Response:
    """Return the page that asks whether, or what, to leave."""
    if not question.active:
        return _tell(question.look, "not_subscribed_title", "unsubscribed_text", question, question.named)
    return render_page(
        "unsubscribe.html",
        question.look,
        "unsubscribe_title",
        status=422 if nothing_chosen else 200,
        email=question.link.email,
        target=find_target(question.settings.unsubscribed_url),
        choices=question.active,
        has_choice=question.has_choice,
        nothing_chosen=nothing_chosen,
    )


def _tell_confirmed(question: Question) -> Response:
    """Return the page that says what is confirmed.

    Raises:
        LinkEnded: nothing is: its owner has unsubscribed, or was removed.
    """
    subscribed = question.in_state(State.SUBSCRIBED)
    if not subscribed:
        raise LinkEnded("ended_text", question.look)
    return _tell(question.look, "confirmed_title", "confirmed_text", question, subscribed)


def _tell_unsubscribed(question: Question) -> Response:
    return _tell(question.look, "unsubscribed_title", "unsubscribed_text", question, question.choices)


def _tell(
    look: Look,
    title: str,
    key: str,
    question: Question | None = None,
    choices: Iterable[Choice] = (),
    *,
    status: int = 200,
) -> Response:
    """Return a page that only says something: a title and a text, by their keys, and names of lists."""
    email = question.link.email if question is not None else ""
    return render_page("message.html", look, title, status=status, email=email, key=key, names=_names(choices))


def _refuse_for_now(status: int, retry_after: object) -> Response:
    response = _tell(_callers_look(), "failed_title", "failed_text", status=status)
    response.headers["Retry-After"] = str(retry_after)
    return response


def _names(choices: Iterable[Choice]) -> list[str]:
    return [choice.mailing.name for choice in choices]


def _callers_look() -> Look:
    return plain_look(request.accept_languages.best_match(LANGUAGES) or LANGUAGES[0])
