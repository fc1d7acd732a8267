"""The statements of `db.merge`, in the order in which they run; SQLite and PostgreSQL differ in a few words only.

`{name}` in a statement is one of those words, `:name` a parameter. A state is 0 for no subscription, 1 to 3 as
stored, 4 for unsubscribed because of a final reason. Channel 1 is e-mail, 2 SMS.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from types import SimpleNamespace

from db import resolve_sql
from db.statements import prepare_statements

_SQLITE = {
    "json": "TEXT",
    "instant": "TEXT",
    "on_commit": "",
    "clear": "DELETE FROM",
    "fence": "LIMIT -1",
    # Nobody else adds recipients while this transaction has the write lock.
    "next_id": "COALESCE((SELECT seq FROM sqlite_sequence WHERE name = 'recipient'), 0) + k.seq",
    "merged": "json_patch(r.fields, x.fields)",
    "stripped": "json_patch('{}', x.fields)",
    "pairs": "json_each(x.fields)",
    "stored": "json_extract(r.fields, '$.\"' || f.key || '\"')",
    "differs_from": "IS NOT",
    "object": "json_object",
    "collect_object": "json_group_object",
    "array": "json_array",
    "collect_array": "json_group_array",
    "no_array": "NULL",
    "elements": "json_each",
    "nested": "json",
    "lock": "",
    "share": "",
}
_POSTGRESQL = {
    "json": "JSONB",
    "instant": "TIMESTAMPTZ",
    "on_commit": "ON COMMIT DELETE ROWS",
    "clear": "TRUNCATE",
    "fence": "OFFSET 0",
    "next_id": "nextval('recipient_id_seq')",
    "merged": "jsonb_strip_nulls(r.fields || x.fields)",
    "stripped": "jsonb_strip_nulls(x.fields)",
    "pairs": "jsonb_each_text(x.fields)",
    "stored": "(r.fields ->> f.key)",
    "differs_from": "IS DISTINCT FROM",
    "object": "jsonb_build_object",
    "collect_object": "jsonb_object_agg",
    "array": "json_build_array",
    "collect_array": "jsonb_agg",
    "no_array": "CAST(NULL AS jsonb)",
    "elements": "json_array_elements_text",
    "nested": "",
    "lock": "FOR UPDATE OF r",
    "share": "FOR SHARE",
}

# What each transition (rule) makes of each state.
CREATE_RULE = "CREATE TEMP TABLE IF NOT EXISTS import_rule (rule INTEGER, before INTEGER, after INTEGER) {on_commit}"

# Which groups a set of groups has.
CREATE_GROUP_SET = """
    CREATE TEMP TABLE IF NOT EXISTS import_group_set (group_set INTEGER, group_id BIGINT) {on_commit}
"""

# The same, one row for each set.
CREATE_GROUP_LIST = """
    CREATE TEMP TABLE IF NOT EXISTS import_group_list (group_set INTEGER PRIMARY KEY, groups {json}) {on_commit}
"""

INDEX_GROUP_SET = "CREATE INDEX IF NOT EXISTS import_group_set_index ON import_group_set (group_set)"

# The people of a part, one row each, as the file tells.
CREATE_STAGE = """
    CREATE TEMP TABLE IF NOT EXISTS import_stage (
        seq INTEGER, email TEXT, mobile TEXT, fields {json}, list_id BIGINT,
        email_rule INTEGER, sms_rule INTEGER, group_set INTEGER, row_count INTEGER, shares_number BOOLEAN,
        external TEXT, leaves BOOLEAN
    ) {on_commit}
"""

# The same people, with who they are and what their states are and will be.
CREATE_RESOLVED = """
    CREATE TEMP TABLE IF NOT EXISTS import_resolved (
        recipient_id BIGINT, is_new BOOLEAN, sms_recipient_id BIGINT, email TEXT, mobile TEXT, fields {json},
        list_id BIGINT, group_set INTEGER, row_count INTEGER, mobile_in_use BOOLEAN,
        email_before INTEGER, email_after INTEGER, sms_before INTEGER, sms_after INTEGER, shares_number BOOLEAN,
        email_recipient_id BIGINT, email_in_use BOOLEAN, external TEXT, external_in_use BOOLEAN, seq INTEGER,
        leaves BOOLEAN, only_status BOOLEAN
    ) {on_commit}
"""

CLEAR_RULE = "{clear} import_rule"
CLEAR_GROUP_SET = "{clear} import_group_set"
CLEAR_GROUP_LIST = "{clear} import_group_list"
CLEAR_STAGE = "{clear} import_stage"
CLEAR_RESOLVED = "{clear} import_resolved"

ADD_RULE = "INSERT INTO import_rule (rule, before, after) VALUES (:rule, :before, :after)"
# A group that was deleted since the file began gets nobody any more; one that is here stays until this is done.
ADD_GROUP_SET = """
    INSERT INTO import_group_set (group_set, group_id) SELECT :group_set, g.id FROM list_group g WHERE g.id = :group_id
    {share}
"""

ADD_GROUP_LIST = """
    INSERT INTO import_group_list (group_set, groups)
    SELECT group_set, {collect_array}(group_id) FROM import_group_set GROUP BY group_set
"""

# What there is to write, and what is reported. A row with an e-mail address counts by its e-mail subscription.
COUNT = """
    SELECT COUNT(CASE WHEN is_new THEN 1 END) AS new_recipients,
           COUNT(CASE WHEN NOT is_new THEN 1 END) AS known_recipients,
           COUNT(CASE WHEN email_before = 0 AND email_after <> 0 THEN 1 END)
             + COUNT(CASE WHEN sms_before = 0 AND sms_after <> 0 THEN 1 END) AS new_subscriptions,
           COUNT(CASE WHEN email_before <> 0 AND email_after <> email_before THEN 1 END)
             + COUNT(CASE WHEN sms_before <> 0 AND sms_after <> sms_before THEN 1 END) AS changed_subscriptions,
           COUNT(CASE WHEN before = 0 THEN 1 END) AS new,
           SUM(CASE WHEN before = 0 THEN row_count - 1 ELSE row_count END) AS existing,
           SUM(CASE WHEN before IN (3, 4) AND after = before THEN row_count ELSE 0 END) AS left_unsubscribed,
           COUNT(CASE WHEN email_before IN (1, 2) AND email_after = 3 THEN 1 END)
             + COUNT(CASE WHEN sms_before IN (1, 2) AND sms_after = 3 THEN 1 END) AS unsubscribed,
           COUNT(CASE WHEN mobile_in_use THEN 1 END) AS mobile_in_use,
           COUNT(CASE WHEN email_in_use THEN 1 END) AS email_in_use,
           COUNT(CASE WHEN external_in_use THEN 1 END) AS external_in_use,
           COUNT(CASE WHEN email_before = 0 THEN 1 END) AS new_email,
           COUNT(CASE WHEN email_before <> 0 THEN 1 END) AS existing_email,
           COUNT(CASE WHEN email_before IN (3, 4) THEN 1 END) AS optout_email,
           COUNT(CASE WHEN sms_before = 0 THEN 1 END) AS new_mobile,
           COUNT(CASE WHEN sms_before <> 0 THEN 1 END) AS existing_mobile,
           COUNT(CASE WHEN sms_before IN (3, 4) THEN 1 END) AS optout_mobile
    FROM (
        SELECT r.*, COALESCE(email_before, sms_before, CASE WHEN is_new THEN 0 ELSE 1 END) AS before,
               COALESCE(email_after, sms_after) AS after
        FROM import_resolved r
    ) c
"""

ADD_RECIPIENTS = """
    INSERT INTO recipient (id, account_id, email, mobile, external_key, fields, created_at, updated_at)
    SELECT x.recipient_id, :account, x.email, x.mobile, x.external, {stripped}, :now, :now
    FROM import_resolved x WHERE x.is_new
"""

_CHANGES = """
    {merged} <> r.fields OR {email_changes}
    OR (x.mobile IS NOT NULL AND (r.mobile IS NULL OR r.mobile <> x.mobile))
"""

# Values that change, by field number, `email` or `mobile`.
_CHANGED_VALUES = """(
    SELECT {collect_object}(v.key, v.%s) FROM (
        SELECT f.key AS key, {stored} AS old, f.value AS new FROM {pairs} f WHERE {stored} {differs_from} f.value
        UNION ALL
        SELECT 'email', r.email, x.email WHERE {email_changes}
        UNION ALL
        SELECT 'mobile', r.mobile, x.mobile WHERE x.mobile IS NOT NULL AND r.mobile {differs_from} x.mobile
    ) v
)"""

# Written before the recipients are, while the old values are there.
ADD_PROFILE_HISTORY = f"""
    INSERT INTO history (account_id, recipient_id, list_id, kind, at, source, import_id, details)
    SELECT :account, r.id, x.list_id, 2, :now, :source, :import,
           {{object}}('before', {{nested}}({_CHANGED_VALUES % "old"}),
                    'after', {{nested}}({_CHANGED_VALUES % "new"}))
    FROM import_resolved x JOIN recipient r ON r.id = x.recipient_id
    WHERE NOT x.is_new AND ({_CHANGES})
    {{lock}}
"""

# Only rows that change are written; its row count is the number of updated recipients.
UPDATE_RECIPIENTS = f"""
    UPDATE recipient AS r
    SET fields = {{merged}}, email = {{new_email}}, mobile = COALESCE(x.mobile, r.mobile), updated_at = :now
    FROM import_resolved x
    WHERE r.id = x.recipient_id AND NOT x.is_new AND ({_CHANGES})
"""

# Both in one on PostgreSQL, where computing what changes is most of the work. Locked rows are looked at again when
# somebody else changed them meanwhile.
UPDATE_PROFILES = f"""
    WITH changed AS MATERIALIZED (
        SELECT r.id, x.list_id, x.fields AS given, r.fields AS old_fields, {{merged}} AS new_fields,
               r.email AS old_email, CASE WHEN {{email_changes}} THEN x.email END AS email,
               r.mobile AS old_mobile, CASE WHEN x.mobile {{differs_from}} r.mobile THEN x.mobile END AS mobile
        FROM import_resolved x JOIN recipient r ON r.id = x.recipient_id
        WHERE NOT x.is_new AND ({_CHANGES})
        {{lock}}
    ), told AS (
        INSERT INTO history (account_id, recipient_id, list_id, kind, at, source, import_id, details)
        SELECT :account, c.id, c.list_id, 2, :now, :source, :import,
               {{object}}('before', v.before, 'after', v.after)
        FROM changed c CROSS JOIN LATERAL (
            SELECT {{collect_object}}(e.key, e.old) AS before, {{collect_object}}(e.key, e.new) AS after
            FROM (
                SELECT f.key, c.old_fields ->> f.key AS old, f.value AS new FROM jsonb_each_text(c.given) f
                WHERE c.old_fields ->> f.key {{differs_from}} f.value
                UNION ALL
                SELECT 'email', c.old_email, c.email WHERE c.email IS NOT NULL
                UNION ALL
                SELECT 'mobile', c.old_mobile, c.mobile WHERE c.mobile IS NOT NULL
            ) e
        ) v
    )
    UPDATE recipient AS r
    SET fields = c.new_fields, email = COALESCE(c.email, r.email), mobile = COALESCE(c.mobile, r.mobile),
        updated_at = :now
    FROM changed c WHERE r.id = c.id
"""

# The external id of people who have none yet.
ADD_EXTERNAL_KEYS = """
    UPDATE recipient AS r
    SET external_key = x.external, updated_at = :now
    FROM import_resolved x
    WHERE r.id = x.recipient_id AND NOT x.is_new AND r.external_key IS NULL AND x.external IS NOT NULL
"""

ADD_SUBSCRIPTIONS = """
    INSERT INTO subscription (recipient_id, list_id, channel, status, subscribed_at, changed_at, unsubscribed_at,
                              reason_type, source)
    SELECT recipient_id, list_id, channel, after, CASE WHEN after = 1 THEN CAST(:now AS {instant}) END, :now,
           CASE WHEN after = 3 THEN CAST(:now AS {instant}) END, CASE WHEN after = 3 THEN CAST(:reason AS INTEGER) END,
           :source
    FROM (
        SELECT email_recipient_id AS recipient_id, list_id, 1 AS channel, email_after AS after
        FROM import_resolved WHERE email_before = 0 AND email_after <> 0
        UNION ALL
        SELECT sms_recipient_id, list_id, 2, sms_after
        FROM import_resolved WHERE sms_before = 0 AND sms_after <> 0
    ) c
"""

# The state is checked again, so that somebody who unsubscribed a moment ago stays unsubscribed; the row count
# then differs from the one expected.
_CHANGE_SUBSCRIPTIONS = """
    UPDATE subscription AS s
    SET status = x.%(name)s_after, changed_at = :now,
        subscribed_at = CASE WHEN x.%(name)s_after = 1 THEN CAST(:now AS {instant}) ELSE s.subscribed_at END,
        unsubscribed_at = CASE WHEN x.%(name)s_after = 3 THEN CAST(:now AS {instant}) END,
        reason_type = CASE WHEN x.%(name)s_after = 3 THEN CAST(:reason AS INTEGER) END,
        reason_subtype = NULL, message_id = NULL, source = :source
    FROM import_resolved x
    WHERE s.recipient_id = x.%(recipient)s AND s.list_id = x.list_id AND s.channel = %(channel)s
      AND x.%(name)s_before <> 0 AND x.%(name)s_after <> x.%(name)s_before AND {state} = x.%(name)s_before
"""
CHANGE_EMAIL = _CHANGE_SUBSCRIPTIONS % {"name": "email", "recipient": "email_recipient_id", "channel": 1}
CHANGE_SMS = _CHANGE_SUBSCRIPTIONS % {"name": "sms", "recipient": "sms_recipient_id", "channel": 2}

ADD_HISTORY = """
    INSERT INTO history (account_id, recipient_id, list_id, kind, channel, at, old_status, new_status, reason_type,
                         source, import_id)
    SELECT :account, recipient_id, list_id, 1, channel, :now,
           CASE before WHEN 0 THEN NULL WHEN 4 THEN 3 ELSE before END, after,
           CASE WHEN after = 3 THEN CAST(:reason AS INTEGER) END, :source, :import
    FROM (
        SELECT email_recipient_id AS recipient_id, list_id, 1 AS channel, email_before AS before, email_after AS after
        FROM import_resolved WHERE email_after <> email_before
        UNION ALL
        SELECT sms_recipient_id, list_id, 2, sms_before, sms_after
        FROM import_resolved WHERE sms_after <> sms_before
    ) c
"""

# Somebody new is in no group yet.
_GROUPS_TO_ADD = """CASE WHEN x.is_new THEN (
    SELECT l.groups FROM import_group_list l WHERE l.group_set = x.group_set
) ELSE (
    SELECT {collect_array}(n.group_id) FROM import_group_set n
    WHERE n.group_set = x.group_set AND NOT EXISTS (
        SELECT 1 FROM group_member m WHERE m.recipient_id = x.recipient_id AND m.group_id = n.group_id
    )
) END"""
_GROUPS_TO_REMOVE = """(
    SELECT {collect_array}(g.id) FROM list_group g
    WHERE g.list_id = x.list_id
      AND EXISTS (SELECT 1 FROM group_member m WHERE m.recipient_id = x.recipient_id AND m.group_id = g.id)
      AND NOT EXISTS (SELECT 1 FROM import_group_set n WHERE n.group_set = x.group_set AND n.group_id = g.id)
)"""

# Written before the groups change. One for imports that only add, one for those that replace.
_ADD_GROUP_HISTORY = """
    INSERT INTO history (account_id, recipient_id, list_id, kind, at, source, import_id, details)
    SELECT :account, c.recipient_id, c.list_id, 3, :now, :source, :import,
           {object}('added', {nested}(COALESCE(c.added, '[]')), 'removed', {nested}(COALESCE(c.removed, '[]')))
    FROM (SELECT x.recipient_id, x.list_id, %s AS added, %s AS removed FROM import_resolved x WHERE %s {fence}) c
    WHERE COALESCE(c.added, '[]') <> '[]' OR COALESCE(c.removed, '[]') <> '[]'
"""
ADD_GROUP_HISTORY = _ADD_GROUP_HISTORY % (_GROUPS_TO_ADD, "{no_array}", "x.group_set IS NOT NULL")
ADD_GROUP_HISTORY_REPLACING = _ADD_GROUP_HISTORY % (_GROUPS_TO_ADD, _GROUPS_TO_REMOVE, "NOT x.only_status")

# Who is pending now because this part asks for confirmation gets a mail. One that waits for him already does, if it
# confirms this list: that of a page stays the page's, that of another import is this import's from now on, unless
# that one has completed: then both rely on it, and it goes with neither.
ADD_CONFIRMATIONS = """
    INSERT INTO outbox AS o (account_id, list_id, recipient_id, kind, list_ids, message_number, import_id, state,
                             attempts, created_at)
    SELECT :account, x.list_id, x.email_recipient_id, 'confirmation', {array}(x.list_id),
           CAST(:message AS INTEGER), :import, 'waiting', 0, :now
    FROM import_resolved x WHERE x.email_after = 2
    ON CONFLICT (recipient_id, list_id, kind) WHERE state = 'waiting' DO UPDATE
    SET import_id = CASE WHEN EXISTS (
            SELECT 1 FROM import_run i WHERE i.id = o.import_id AND i.state <> 'completed'
        ) THEN excluded.import_id END,
        message_number = CASE WHEN o.import_id IS NULL THEN o.message_number ELSE excluded.message_number END,
        list_ids = (
            SELECT {collect_array}(u.id) FROM (
                SELECT CAST(e.value AS BIGINT) AS id FROM {elements}(o.list_ids) e UNION SELECT excluded.list_id
            ) u
        )
    WHERE o.import_id <> excluded.import_id
       OR (o.import_id IS NULL AND NOT EXISTS (
           SELECT 1 FROM {elements}(o.list_ids) e WHERE CAST(e.value AS BIGINT) = excluded.list_id
       ))
"""

# Out of the list's groups that are not among the row's.
REMOVE_GROUPS = """
    DELETE FROM group_member
    WHERE (recipient_id, group_id) IN (
        SELECT x.recipient_id, g.id FROM import_resolved x JOIN list_group g ON g.list_id = x.list_id
        WHERE NOT x.only_status AND NOT EXISTS (
            SELECT 1 FROM import_group_set n WHERE n.group_set = x.group_set AND n.group_id = g.id
        )
    )
"""

ADD_GROUPS = """
    INSERT INTO group_member (recipient_id, group_id)
    SELECT x.recipient_id, n.group_id
    FROM import_resolved x JOIN import_group_set n ON n.group_set = x.group_set
    WHERE true
    ON CONFLICT DO NOTHING
"""

# An address that is the key never changes; with another key, it is what the newest row says.
_ADDED_EMAIL = {"new_email": "COALESCE(r.email, x.email)", "email_changes": "(r.email IS NULL AND x.email IS NOT NULL)"}
_NEWEST_EMAIL = {
    "new_email": "COALESCE(x.email, r.email)",
    "email_changes": "(x.email IS NOT NULL AND (r.email IS NULL OR r.email <> x.email))",
}

_STATE = "CASE WHEN s.status = 3 AND s.reason_type IN ({0}) THEN 4 ELSE s.status END"


@cache
def load_statements(dialect: str, final_reasons: Collection[int], key: str = "email") -> SimpleNamespace:
    """Return every statement by its name in lower case, for "sqlite" or "postgresql".

    Args:
        dialect: name of the dialect.
        final_reasons: reason types that no import undoes.
        key: what rows are told apart by: `email`, `mobile` or `external`.
    """
    reasons = ", ".join(str(int(reason)) for reason in final_reasons)
    words = {
        **(_SQLITE if dialect == "sqlite" else _POSTGRESQL),
        **(_ADDED_EMAIL if key == "email" else _NEWEST_EMAIL),
        "known": resolve_sql.choose_identity(key),
        "adoptable": resolve_sql.choose_adoptable(key),
        "state": _STATE.format(reasons),
    }
    return prepare_statements({**vars(resolve_sql), **globals()}, words)
