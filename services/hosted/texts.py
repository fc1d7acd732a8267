"""Every text of the hosted pages, in every language that a list can have."""

from __future__ import annotations

from audience.list_settings import LANGUAGES

TEXTS: dict[str, dict[str, str]] = {
    "confirm_title": {
        "en": "Confirm your subscription",
        "it": "Conferma l'iscrizione",
        "de": "Anmeldung bestätigen",
        "fr": "Confirmer l'inscription",
        "es": "Confirmar la suscripción",
    },
    "confirm_question": {
        "en": "Please confirm that you want to receive messages at {address} from:",
        "it": "Confermi di voler ricevere messaggi all'indirizzo {address} da:",
        "de": "Bitte bestätigen Sie, dass Sie an {address} Nachrichten erhalten möchten von:",
        "fr": "Veuillez confirmer que vous souhaitez recevoir à l'adresse {address} des messages de :",
        "es": "Confirme que desea recibir en {address} mensajes de:",
    },
    "confirm_button": {
        "en": "Confirm subscription",
        "it": "Conferma iscrizione",
        "de": "Anmeldung bestätigen",
        "fr": "Confirmer l'inscription",
        "es": "Confirmar suscripción",
    },
    "confirm_ignore": {
        "en": "If you did not ask for this, close this page: you will not be subscribed.",
        "it": "Se non ha fatto questa richiesta, chiuda questa pagina: non verrà iscritto.",
        "de": "Wenn Sie das nicht angefordert haben, schließen Sie diese Seite: Sie werden nicht angemeldet.",
        "fr": "Si vous n'avez rien demandé, fermez cette page : vous ne serez pas inscrit.",
        "es": "Si no lo ha solicitado, cierre esta página: no quedará suscrito.",
    },
    "confirmed_title": {
        "en": "Subscription confirmed",
        "it": "Iscrizione confermata",
        "de": "Anmeldung bestätigt",
        "fr": "Inscription confirmée",
        "es": "Suscripción confirmada",
    },
    "confirmed_text": {
        "en": "You will receive messages at {address} from:",
        "it": "Riceverà messaggi all'indirizzo {address} da:",
        "de": "Sie erhalten an {address} Nachrichten von:",
        "fr": "Vous recevrez à l'adresse {address} des messages de :",
        "es": "Recibirá en {address} mensajes de:",
    },
    "unsubscribe_title": {
        "en": "Unsubscribe",
        "it": "Annulla l'iscrizione",
        "de": "Abmelden",
        "fr": "Se désinscrire",
        "es": "Cancelar la suscripción",
    },
    "unsubscribe_question": {
        "en": "Do you want to stop receiving messages at {address} from:",
        "it": "Non vuole più ricevere messaggi all'indirizzo {address} da:",
        "de": "Möchten Sie an {address} keine Nachrichten mehr erhalten von:",
        "fr": "Souhaitez-vous ne plus recevoir à l'adresse {address} de messages de :",
        "es": "¿Desea dejar de recibir en {address} mensajes de:",
    },
    "unsubscribe_button": {
        "en": "Unsubscribe",
        "it": "Annulla iscrizione",
        "de": "Abmelden",
        "fr": "Se désinscrire",
        "es": "Cancelar suscripción",
    },
    "choose_legend": {
        "en": "What do you no longer want to receive at {address}?",
        "it": "Che cosa non vuole più ricevere all'indirizzo {address}?",
        "de": "Was möchten Sie an {address} nicht mehr erhalten?",
        "fr": "Que souhaitez-vous ne plus recevoir à l'adresse {address} ?",
        "es": "¿Qué no desea seguir recibiendo en {address}?",
    },
    "choose_one": {
        "en": "Please choose at least one. Nothing has been changed.",
        "it": "Scelga almeno una voce. Nulla è stato modificato.",
        "de": "Bitte wählen Sie mindestens einen Eintrag. Es wurde nichts geändert.",
        "fr": "Veuillez choisir au moins une entrée. Rien n'a été modifié.",
        "es": "Elija al menos una opción. No se ha cambiado nada.",
    },
    "unsubscribed_title": {
        "en": "You are unsubscribed",
        "it": "Iscrizione annullata",
        "de": "Sie sind abgemeldet",
        "fr": "Vous êtes désinscrit",
        "es": "Suscripción cancelada",
    },
    "unsubscribed_text": {
        "en": "You will no longer receive messages at {address} from:",
        "it": "Non riceverà più messaggi all'indirizzo {address} da:",
        "de": "Sie erhalten an {address} keine Nachrichten mehr von:",
        "fr": "Vous ne recevrez plus à l'adresse {address} de messages de :",
        "es": "Ya no recibirá en {address} mensajes de:",
    },
    "not_subscribed_title": {
        "en": "You are not subscribed",
        "it": "Nessuna iscrizione",
        "de": "Sie sind nicht angemeldet",
        "fr": "Vous n'êtes pas inscrit",
        "es": "No está suscrito",
    },
    "ended_title": {
        "en": "This link is no longer valid",
        "it": "Questo link non è più valido",
        "de": "Dieser Link ist nicht mehr gültig",
        "fr": "Ce lien n'est plus valable",
        "es": "Este enlace ya no es válido",
    },
    "ended_text": {
        "en": "It is too old, or you have unsubscribed since. To receive messages, please subscribe again.",
        "it": "È troppo vecchio, oppure nel frattempo l'iscrizione è stata annullata. Per ricevere messaggi si iscriva"
        " di nuovo.",
        "de": "Er ist zu alt, oder Sie haben sich inzwischen abgemeldet. Um Nachrichten zu erhalten, melden Sie sich"
        " bitte neu an.",
        "fr": "Il est trop ancien, ou vous vous êtes désinscrit entre-temps. Pour recevoir des messages, veuillez vous"
        " inscrire à nouveau.",
        "es": "Es demasiado antiguo, o ha cancelado la suscripción desde entonces. Para recibir mensajes, suscríbase de"
        " nuevo.",
    },
    "gone_text": {
        "en": "What it was about does not exist any more. Nothing is sent to you from there.",
        "it": "Ciò a cui si riferiva non esiste più. Da lì non riceverà nulla.",
        "de": "Das, worum es ging, gibt es nicht mehr. Von dort wird Ihnen nichts gesendet.",
        "fr": "Ce dont il s'agissait n'existe plus. Rien ne vous sera envoyé de là.",
        "es": "Aquello a lo que se refería ya no existe. Desde allí no se le envía nada.",
    },
    "invalid_title": {
        "en": "This link is not valid",
        "it": "Questo link non è valido",
        "de": "Dieser Link ist nicht gültig",
        "fr": "Ce lien n'est pas valable",
        "es": "Este enlace no es válido",
    },
    "invalid_text": {
        "en": "Please check that you have opened the whole link of the message.",
        "it": "Verifichi di avere aperto il link completo del messaggio.",
        "de": "Bitte prüfen Sie, ob Sie den ganzen Link aus der Nachricht geöffnet haben.",
        "fr": "Veuillez vérifier que vous avez ouvert le lien complet du message.",
        "es": "Compruebe que ha abierto el enlace completo del mensaje.",
    },
    "received_title": {
        "en": "Thank you",
        "it": "Grazie",
        "de": "Vielen Dank",
        "fr": "Merci",
        "es": "Gracias",
    },
    "received_text": {
        "en": "Your request has been received. If you get a message that asks you to confirm it, please open the link"
        " in it.",
        "it": "La richiesta è stata ricevuta. Se riceve un messaggio che chiede di confermarla, apra il link che"
        " contiene.",
        "de": "Ihre Anfrage ist eingegangen. Wenn Sie eine Nachricht mit der Bitte um Bestätigung erhalten, öffnen Sie"
        " bitte den Link darin.",
        "fr": "Votre demande a été reçue. Si un message vous demande de la confirmer, veuillez ouvrir le lien qu'il"
        " contient.",
        "es": "Hemos recibido su solicitud. Si recibe un mensaje que le pide confirmarla, abra el enlace que contiene.",
    },
    "problem_title": {
        "en": "Your request could not be accepted",
        "it": "La richiesta non può essere accettata",
        "de": "Ihre Anfrage konnte nicht angenommen werden",
        "fr": "Votre demande n'a pas pu être acceptée",
        "es": "No se ha podido aceptar su solicitud",
    },
    "problem_address": {
        "en": "The e-mail address or the phone number is missing or not correct. Please go back and check it.",
        "it": "L'indirizzo e-mail o il numero di telefono manca o non è corretto. Torni indietro e lo verifichi.",
        "de": "Die E-Mail-Adresse oder Telefonnummer fehlt oder ist nicht richtig. Bitte gehen Sie zurück und prüfen"
        " Sie sie.",
        "fr": "L'adresse e-mail ou le numéro de téléphone manque ou n'est pas correct. Veuillez revenir en arrière et"
        " vérifier.",
        "es": "La dirección de correo o el número de teléfono falta o no es correcto. Vuelva atrás y compruébelo.",
    },
    "problem_list": {
        "en": "What you wanted to subscribe to was not found. Please tell those whose form you have used.",
        "it": "Ciò a cui voleva iscriversi non è stato trovato. Informi chi gestisce il modulo che ha usato.",
        "de": "Das, wofür Sie sich anmelden wollten, wurde nicht gefunden. Bitte sagen Sie es denen, deren Formular"
        " Sie benutzt haben.",
        "fr": "Ce à quoi vous vouliez vous inscrire est introuvable. Veuillez le signaler aux responsables du"
        " formulaire.",
        "es": "No se ha encontrado aquello a lo que quería suscribirse. Avise a los responsables del formulario.",
    },
    "verify_title": {
        "en": "Confirm this sender address",
        "it": "Conferma l'indirizzo del mittente",
        "de": "Absenderadresse bestätigen",
        "fr": "Confirmer l'adresse de l'expéditeur",
        "es": "Confirmar la dirección del remitente",
    },
    "verify_question": {
        "en": "May messages be sent with {address} as their sender?",
        "it": "È permesso inviare messaggi con {address} come mittente?",
        "de": "Dürfen Nachrichten mit {address} als Absender gesendet werden?",
        "fr": "Des messages peuvent-ils être envoyés avec {address} comme expéditeur ?",
        "es": "¿Se pueden enviar mensajes con {address} como remitente?",
    },
    "verify_button": {
        "en": "Confirm sender address",
        "it": "Conferma mittente",
        "de": "Absender bestätigen",
        "fr": "Confirmer l'expéditeur",
        "es": "Confirmar remitente",
    },
    "verify_ignore": {
        "en": "If you did not ask for this, close this page: the address will not be used.",
        "it": "Se non ha fatto questa richiesta, chiuda questa pagina: l'indirizzo non verrà usato.",
        "de": "Wenn Sie das nicht angefordert haben, schließen Sie diese Seite: Die Adresse wird nicht verwendet.",
        "fr": "Si vous n'avez rien demandé, fermez cette page : l'adresse ne sera pas utilisée.",
        "es": "Si no lo ha solicitado, cierre esta página: la dirección no se usará.",
    },
    "verified_title": {
        "en": "Sender address confirmed",
        "it": "Mittente confermato",
        "de": "Absenderadresse bestätigt",
        "fr": "Expéditeur confirmé",
        "es": "Remitente confirmado",
    },
    "verified_text": {
        "en": "Messages can be sent with {address} as their sender.",
        "it": "È possibile inviare messaggi con {address} come mittente.",
        "de": "Nachrichten können mit {address} als Absender gesendet werden.",
        "fr": "Des messages peuvent être envoyés avec {address} comme expéditeur.",
        "es": "Se pueden enviar mensajes con {address} como remitente.",
    },
    "failed_title": {
        "en": "This is not possible at the moment",
        "it": "Al momento non è possibile",
        "de": "Das ist im Moment nicht möglich",
        "fr": "Ce n'est pas possible pour le moment",
        "es": "No es posible en este momento",
    },
    "failed_text": {
        "en": "Please try again in a few minutes. Nothing has been changed.",
        "it": "Riprovi tra qualche minuto. Nulla è stato modificato.",
        "de": "Bitte versuchen Sie es in einigen Minuten noch einmal. Es wurde nichts geändert.",
        "fr": "Veuillez réessayer dans quelques minutes. Rien n'a été modifié.",
        "es": "Vuelva a intentarlo dentro de unos minutos. No se ha cambiado nada.",
    },
}


def known_language(language: str) -> str:
    """Return the language if there are texts in it, else English."""
    return language if language in LANGUAGES else "en"


def write_text(language: str, key: str, **values: str) -> str:
    """Return a text with its values put in; it is plain, so it must be escaped."""
    return TEXTS[key][known_language(language)].format(**values)
