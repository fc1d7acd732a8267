"""Names that MailUp files and accounts use for columns and fields (specification §0, §4.2)."""

from __future__ import annotations

COLUMN_NAMES: dict[str, str] = {
    "111": "email",
    "222": "prefix",
    "333": "number",
    "444": "mobile",
    "idList": "list",
    "IdGroup": "group",
    "ExternalGroupName": "group_name",
    "optout": "status",
}
"""Header cells and the role each stands for, as `exchange.profiles.ROLES` names them."""

SENDING_FILES: dict[str, str] = {"parcel": "FTPZIP", "sms": "CSV2SMS"}
"""What files that send are called in the subjects of notices, by kind of their folder (specification §8, no. 33)."""

DEFAULT_FIELDS: dict[int, str] = {
    1: "nome",
    2: "cognome",
    3: "azienda",
    4: "città",
    5: "provincia",
    6: "cap",
    7: "regione",
    8: "paese",
    9: "indirizzo",
    10: "fax",
    11: "telefono",
    12: "IDCliente",
    13: "IDUltimoOrdine",
    14: "DataUltimoOrdine",
    15: "TotaleUltimoOrdine",
    16: "IDProdottiUltimoOrdine",
    17: "IDCategorieUltimoOrdine",
    18: "DataUltimoOrdineSpedito",
    19: "IDUltimoOrdineSpedito",
    20: "DataCarrelloAbbandonato",
    21: "TotaleCarrelloAbbandonato",
    22: "IDCarrelloAbbandonato",
    23: "TotaleFatturato",
    24: "TotaleFatturatoUltimi12Mesi",
    25: "TotaleFatturatoUltimi30gg",
    26: "IDTuttiProdottiAcquistati",
}
"""Names of the personal data fields of a new account, by number."""

MAX_FIELD = 39
"""Fields are called campo1 … campo39."""

EXPORT_HEADERS: dict[str, dict[str, str]] = {
    "unsubscribers": {
        "email": "email",
        "mobile": "Phone Number",
        "list": "idList",
        "unsubscribed_at": "OptOut_Date",
        "subscribed_at": "Subscription Date",
        "message": "optout_nl",
        "reason_type": "optout_type",
        "reason_subtype": "optout_subtype",
    },
    "subscribers": {
        "email": "email",
        "mobile": "Phone Number",
        "list": "idList",
        "subscribed_at": "Subscription Date",
        "groups": "IdGroup",
    },
    "email-statistics": {
        "list": "idList",
        "sending": "idInvio",
        "message": "idNl",
        "email": "email",
        "subject": "subject",
        "status": "statusType",
        "details": "details",
        "changed_at": "statusChange",
        "sent_at": "sentDate",
    },
    "sms-statistics": {
        "recipient": "recipient",
        "list": "idList",
        "message": "idSMS",
        "sent_at": "sentdate",
        "changed_at": "responsedate",
        "status": "status",
    },
    "recipients": {
        "email": "email",
        "mobile": "Phone Number",
        "list": "idList",
        "unsubscribed_at": "OptOut_Date",
        "subscribed_at": "Subscription Date",
        "groups": "IdGroup",
        "reason_type": "optout_type",
        "reason_subtype": "optout_subtype",
    },
}
"""Header cell by type of export and column, as `jobs.export_types` names them (specification §4.4)."""

EXPORT_WORDS: dict[str, dict[str, str]] = {
    "email-statistics": {"sent": "SNT", "opened": "OPN", "clicked": "CLK", "bounced": "NCO"},
    "sms-statistics": {"delivered": "DELIVERED", "queued": "QUEUED", "error": "ERROR"},
}
"""What is written for a state, by type of export and the state's own name (specification §4.4)."""
