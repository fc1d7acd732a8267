"""Every text of the mails that a list sends by itself, in every language that a list can have."""

from __future__ import annotations

from audience.list_settings import LANGUAGES

TEXTS: dict[str, dict[str, str]] = {
    "confirmation_subject": {
        "en": "Please confirm your subscription: {list}",
        "it": "Confermi la sua iscrizione: {list}",
        "de": "Bitte bestätigen Sie Ihre Anmeldung: {list}",
        "fr": "Veuillez confirmer votre inscription : {list}",
        "es": "Confirme su suscripción: {list}",
    },
    "confirmation_text": {
        "en": "Somebody has asked that messages be sent to {address} from:",
        "it": "È stato chiesto di inviare messaggi all'indirizzo {address} da:",
        "de": "Jemand hat darum gebeten, an {address} Nachrichten zu senden von:",
        "fr": "Il a été demandé d'envoyer à l'adresse {address} des messages de :",
        "es": "Se ha solicitado enviar a {address} mensajes de:",
    },
    "confirmation_ask": {
        "en": "If it was you, please open this link to confirm it. It works for 30 days.",
        "it": "Se è stato lei, apra questo link per confermare. È valido per 30 giorni.",
        "de": "Wenn Sie das waren, öffnen Sie zur Bestätigung bitte diesen Link. Er gilt 30 Tage.",
        "fr": "Si c'était vous, veuillez ouvrir ce lien pour confirmer. Il est valable 30 jours.",
        "es": "Si ha sido usted, abra este enlace para confirmarlo. Es válido durante 30 días.",
    },
    "confirmation_link": {
        "en": "Confirm subscription",
        "it": "Conferma iscrizione",
        "de": "Anmeldung bestätigen",
        "fr": "Confirmer l'inscription",
        "es": "Confirmar suscripción",
    },
    "confirmation_end": {
        "en": "If you did not ask for this, ignore this message: you will not be subscribed.",
        "it": "Se non ha fatto questa richiesta, ignori questo messaggio: non verrà iscritto.",
        "de": "Wenn Sie das nicht angefordert haben, beachten Sie diese Nachricht nicht: Sie werden nicht angemeldet.",
        "fr": "Si vous n'avez rien demandé, ignorez ce message : vous ne serez pas inscrit.",
        "es": "Si no lo ha solicitado, ignore este mensaje: no quedará suscrito.",
    },
    "welcome_subject": {
        "en": "You are subscribed: {list}",
        "it": "Iscrizione confermata: {list}",
        "de": "Sie sind angemeldet: {list}",
        "fr": "Vous êtes inscrit : {list}",
        "es": "Está suscrito: {list}",
    },
    "welcome_text": {
        "en": "From now on you receive messages at {address} from:",
        "it": "D'ora in poi riceverà messaggi all'indirizzo {address} da:",
        "de": "Ab jetzt erhalten Sie an {address} Nachrichten von:",
        "fr": "Désormais, vous recevez à l'adresse {address} des messages de :",
        "es": "A partir de ahora recibirá en {address} mensajes de:",
    },
    "welcome_ask": {
        "en": "If you do not want them any more, open this link:",
        "it": "Se non desidera più riceverli, apra questo link:",
        "de": "Wenn Sie keine mehr erhalten möchten, öffnen Sie diesen Link:",
        "fr": "Si vous n'en voulez plus, ouvrez ce lien :",
        "es": "Si ya no desea recibirlos, abra este enlace:",
    },
    "welcome_link": {
        "en": "Unsubscribe",
        "it": "Annulla iscrizione",
        "de": "Abmelden",
        "fr": "Se désinscrire",
        "es": "Cancelar suscripción",
    },
    "goodbye_subject": {
        "en": "You are unsubscribed: {list}",
        "it": "Iscrizione annullata: {list}",
        "de": "Sie sind abgemeldet: {list}",
        "fr": "Vous êtes désinscrit : {list}",
        "es": "Suscripción cancelada: {list}",
    },
    "goodbye_text": {
        "en": "You will no longer receive messages at {address} from:",
        "it": "Non riceverà più messaggi all'indirizzo {address} da:",
        "de": "Sie erhalten an {address} keine Nachrichten mehr von:",
        "fr": "Vous ne recevrez plus à l'adresse {address} de messages de :",
        "es": "Ya no recibirá en {address} mensajes de:",
    },
    "unsubscribe-notice_subject": {
        "en": "Somebody has unsubscribed: {list}",
        "it": "Iscrizione annullata da un destinatario: {list}",
        "de": "Jemand hat sich abgemeldet: {list}",
        "fr": "Quelqu'un s'est désinscrit : {list}",
        "es": "Alguien ha cancelado la suscripción: {list}",
    },
    "unsubscribe-notice_text": {
        "en": "{address} does not receive messages any more from:",
        "it": "{address} non riceve più messaggi da:",
        "de": "{address} erhält keine Nachrichten mehr von:",
        "fr": "{address} ne reçoit plus de messages de :",
        "es": "{address} ya no recibe mensajes de:",
    },
}


def write_text(language: str, key: str, **values: str) -> str:
    """Return a text with its values put in, in English when there is none in the language; it is plain."""
    texts = TEXTS[key]
    return texts[language if language in LANGUAGES else "en"].format(**values)
