"""The statements of `db.undo`, in the order in which they run; SQLite and PostgreSQL differ in a few words only.

`{name}` in a statement is one of those words, `:name` a parameter. Kinds are those of the history: 1 is the status
of a subscription, 2 a value of the personal data, 3 the membership of a group.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from types import SimpleNamespace

from db.resolve_sql import LOOK_UP_BY_INDEX
from db.statements import prepare_statements

__all__ = ["LOOK_UP_BY_INDEX", "load_statements"]

_SQLITE = {
    "on_commit": "",
    "clear": "DELETE FROM",
    "ids": "(SELECT value AS id FROM json_each(:ids))",
    "after_pairs": "json_each(h.details, '$.after')",
    "before_value": "json_extract(h.details, '$.before.\"' || f.key || '\"')",
    "added": "json_each(h.details, '$.added')",
    "removed": "json_each(h.details, '$.removed')",
    "undone": "CASE WHEN h.source = 'undo' THEN json_extract(h.details, '$.import') END",
    "stored": "json_extract(r.fields, '$.\"' || x.key || '\"')",
    "differs_from": "IS NOT",
    "merged": "json_patch(r.fields, x.patch)",
    "object": "json_object",
    "collect_object": "json_group_object",
    "collect_array": "json_group_array",
    "nested": "json",
    "is_undone": "json_extract(i.counters, '$.undone')",
    "lock": "",
    "share": "",
}
_POSTGRESQL = {
    "on_commit": "ON COMMIT DELETE ROWS",
    "clear": "TRUNCATE",
    "ids": "(SELECT CAST(value AS BIGINT) AS id FROM json_array_elements_text(CAST(:ids AS json)))",
    "after_pairs": "jsonb_each_text(h.details -> 'after')",
    "before_value": "(h.details -> 'before' ->> f.key)",
    "added": "jsonb_array_elements_text(h.details -> 'added')",
    "removed": "jsonb_array_elements_text(h.details -> 'removed')",
    "undone": "CASE WHEN h.source = 'undo' THEN CAST(h.details ->> 'import' AS BIGINT) END",
    "stored": "(r.fields ->> x.key)",
    "differs_from": "IS DISTINCT FROM",
    "merged": "jsonb_strip_nulls(r.fields || x.patch)",
    "object": "jsonb_build_object",
    "collect_object": "jsonb_object_agg",
    "collect_array": "jsonb_agg",
    "nested": "",
    "is_undone": "(i.counters ->> 'undone')",
    "lock": "FOR UPDATE OF r",
    "share": "FOR KEY SHARE OF g",
}

CREATE_PERSON = """
    CREATE TEMP TABLE IF NOT EXISTS undo_person (
        recipient_id BIGINT PRIMARY KEY, erased BOOLEAN, is_new BOOLEAN
    ) {on_commit}
"""

# What the history tells of these people, one row for each thing that changed.
CREATE_EVENT = """
    CREATE TEMP TABLE IF NOT EXISTS undo_event (
        recipient_id BIGINT, kind INTEGER, key TEXT, list_id BIGINT, channel INTEGER, id BIGINT, import_id BIGINT,
        undone_import BIGINT, before TEXT, after TEXT
    ) {on_commit}
"""
INDEX_EVENT = "CREATE INDEX IF NOT EXISTS undo_event_index ON undo_event (recipient_id, kind, key, id)"

# What becomes of each thing that the import changed: `revert`, `newer` or `final`.
CREATE_STEP = """
    CREATE TEMP TABLE IF NOT EXISTS undo_step (
        recipient_id BIGINT, kind INTEGER, key TEXT, list_id BIGINT, channel INTEGER, previous_id BIGINT,
        last_id BIGINT, before TEXT, after TEXT, outcome TEXT
    ) {on_commit}
"""
INDEX_STEP = "CREATE INDEX IF NOT EXISTS undo_step_index ON undo_step (recipient_id, kind, key)"
INDEX_BEFORE = "CREATE INDEX IF NOT EXISTS undo_step_before_index ON undo_step (key, before)"

CLEAR_PERSON = "{clear} undo_person"
CLEAR_EVENT = "{clear} undo_event"
CLEAR_STEP = "{clear} undo_step"

# Everybody who changes one of these people waits from here on, and what follows sees what those before did.
LOCK_PEOPLE = """
    SELECT COUNT(*) FROM (
        SELECT r.id FROM recipient r JOIN {ids} i ON i.id = r.id WHERE r.account_id = :account ORDER BY r.id {lock}
    ) locked
"""

ADD_PEOPLE = """
    INSERT INTO undo_person (recipient_id, erased, is_new)
    SELECT r.id, EXISTS (SELECT 1 FROM history h WHERE h.recipient_id = r.id AND h.kind = 4), false
    FROM {ids} i JOIN recipient r ON r.id = i.id WHERE r.account_id = :account
"""

ADD_EVENTS = """
    INSERT INTO undo_event (recipient_id, kind, key, list_id, channel, id, import_id, undone_import, before, after)
    SELECT h.recipient_id, 1, CAST(h.list_id AS TEXT) || '/' || CAST(h.channel AS TEXT), h.list_id, h.channel, h.id,
           h.import_id, {undone}, CAST(h.old_status AS TEXT), CAST(h.new_status AS TEXT)
    FROM undo_person p JOIN history h ON h.recipient_id = p.recipient_id WHERE h.kind = 1
    UNION ALL
    SELECT h.recipient_id, 2, f.key, NULL, NULL, h.id, h.import_id, {undone}, {before_value}, f.value
    FROM undo_person p JOIN history h ON h.recipient_id = p.recipient_id CROSS JOIN {after_pairs} f WHERE h.kind = 2
    UNION ALL
    SELECT h.recipient_id, 3, CAST(g.value AS TEXT), h.list_id, NULL, h.id, h.import_id, {undone}, 'out', 'in'
    FROM undo_person p JOIN history h ON h.recipient_id = p.recipient_id CROSS JOIN {added} g WHERE h.kind = 3
    UNION ALL
    SELECT h.recipient_id, 3, CAST(g.value AS TEXT), h.list_id, NULL, h.id, h.import_id, {undone}, 'in', 'out'
    FROM undo_person p JOIN history h ON h.recipient_id = p.recipient_id CROSS JOIN {removed} g WHERE h.kind = 3
"""

# What an import did and what undid it are as if they had never been.
DROP_UNDONE = """
    DELETE FROM undo_event WHERE EXISTS (
        SELECT 1 FROM undo_event u
        WHERE u.recipient_id = undo_event.recipient_id AND u.kind = undo_event.kind AND u.key = undo_event.key
          AND u.undone_import = undo_event.import_id AND u.id > undo_event.id
    )
"""
DROP_UNDOING = "DELETE FROM undo_event WHERE undone_import IS NOT NULL"

# The import's changes after the last one that somebody else made go back together, to before the first of them.
ADD_STEPS = """
    INSERT INTO undo_step (recipient_id, kind, key, list_id, channel, previous_id, last_id, before, after, outcome)
    SELECT t.recipient_id, t.kind, t.key, t.list_id, t.channel, t.previous_id, t.last_id,
           (SELECT e.before FROM undo_event e
            WHERE e.recipient_id = t.recipient_id AND e.kind = t.kind AND e.key = t.key AND e.id > t.previous_id
            ORDER BY e.id LIMIT 1),
           (SELECT e.after FROM undo_event e
            WHERE e.recipient_id = t.recipient_id AND e.kind = t.kind AND e.key = t.key AND e.id = t.last_id),
           CASE WHEN p.erased THEN 'final' WHEN t.last_id < t.previous_id THEN 'newer' ELSE 'revert' END
    FROM (
        SELECT recipient_id, kind, key, MAX(CASE WHEN import_id = :import THEN list_id END) AS list_id,
               MAX(channel) AS channel,
               COALESCE(MAX(CASE WHEN import_id IS NULL OR import_id <> :import THEN id END), 0) AS previous_id,
               MAX(CASE WHEN import_id = :import THEN id END) AS last_id
        FROM undo_event GROUP BY recipient_id, kind, key
    ) t JOIN undo_person p ON p.recipient_id = t.recipient_id
    WHERE t.last_id IS NOT NULL
"""

_SUBSCRIPTION = "s.recipient_id = x.recipient_id AND s.list_id = x.list_id AND s.channel = x.channel"

# A status that is not the one the import left came without history; one that is final stays, whoever made it so.
MARK_STATUSES = f"""
    UPDATE undo_step AS x
    SET outcome = CASE WHEN EXISTS (SELECT 1 FROM subscription s WHERE {_SUBSCRIPTION} AND {{final}})
                       THEN 'final' ELSE 'newer' END
    WHERE x.kind = 1 AND x.outcome <> 'final' AND (x.outcome = 'newer' OR NOT EXISTS (
        SELECT 1 FROM subscription s WHERE {_SUBSCRIPTION} AND CAST(s.status AS TEXT) = x.after AND NOT {{final}}
    ))
"""

# A later import may have asked for the same once more, which leaves no trace; nobody who left is brought back by that.
KEEP_UNSUBSCRIBED = "UPDATE undo_step SET outcome = 'newer' WHERE kind = 1 AND outcome = 'revert' AND after = '3'"

# An import that was undone itself, and left this alone because of the one now being undone, brings nobody back either.
KEEP_AFTER_UNDONE = """
    UPDATE undo_step AS x SET outcome = 'newer'
    WHERE x.kind = 1 AND x.outcome = 'revert' AND x.after = '3' AND x.before <> '3' AND EXISTS (
        SELECT 1 FROM undo_event e JOIN import_run i ON i.id = e.import_id
        WHERE e.id = x.previous_id AND {is_undone} IS NOT NULL
    )
"""

MARK_VALUES = """
    UPDATE undo_step AS x SET outcome = 'newer'
    WHERE x.kind = 2 AND x.outcome = 'revert' AND x.key NOT IN ('email', 'mobile') AND EXISTS (
        SELECT 1 FROM recipient r WHERE r.id = x.recipient_id AND {stored} {differs_from} x.after
    )
"""

# An address stays when its channel's statuses say something newer about it, when a subscription would be left without
# one, or when somebody else has the earlier one by now.
_MARK_ADDRESSES = """
    UPDATE undo_step AS x SET outcome = 'newer'
    WHERE x.kind = 2 AND x.outcome = 'revert' AND x.key = '%(name)s' AND (
        EXISTS (SELECT 1 FROM recipient r WHERE r.id = x.recipient_id AND r.%(name)s {differs_from} x.after)
        OR EXISTS (
            SELECT 1 FROM undo_event e
            WHERE e.recipient_id = x.recipient_id AND e.kind = 1 AND e.channel = %(channel)s AND e.id > x.last_id
              AND (e.import_id IS NULL OR e.import_id <> :import)
        )
        OR (x.before IS NULL AND EXISTS (
            SELECT 1 FROM subscription s
            WHERE s.recipient_id = x.recipient_id AND s.channel = %(channel)s AND NOT EXISTS (
                SELECT 1 FROM undo_step y
                WHERE y.recipient_id = s.recipient_id AND y.kind = 1 AND y.list_id = s.list_id
                  AND y.channel = s.channel AND y.outcome = 'revert' AND y.before IS NULL
            )
        ))
        OR EXISTS (
            SELECT 1 FROM recipient o
            WHERE o.%(name)s = x.before AND o.account_id = :account AND o.id <> x.recipient_id
        )
        OR EXISTS (
            SELECT 1 FROM undo_step y
            WHERE y.key = x.key AND y.before = x.before AND y.kind = 2 AND y.recipient_id < x.recipient_id
        )
    )
"""
MARK_EMAILS = _MARK_ADDRESSES % {"name": "email", "channel": 1}
MARK_MOBILES = _MARK_ADDRESSES % {"name": "mobile", "channel": 2}

# Addresses that would come back and may have been forgotten in between.
EARLIER_ADDRESSES = """
    SELECT recipient_id, key, before FROM undo_step
    WHERE kind = 2 AND outcome = 'revert' AND key IN ('email', 'mobile') AND before IS NOT NULL
"""
MARK_FORGOTTEN = """
    UPDATE undo_step SET outcome = 'final' WHERE recipient_id = :recipient_id AND kind = 2 AND key = :key
"""

# So that nobody deletes a group that somebody is being put back into.
LOCK_GROUPS = """
    SELECT COUNT(*) FROM (
        SELECT g.id FROM list_group g
        WHERE g.id IN (SELECT CAST(key AS BIGINT) FROM undo_step WHERE kind = 3 AND outcome = 'revert')
        ORDER BY g.id {share}
    ) locked
"""

# SQLite gives the id of a deleted group to a new one, which may be of another account or list.
MARK_GROUPS = """
    UPDATE undo_step AS x SET outcome = 'newer'
    WHERE x.kind = 3 AND x.outcome = 'revert' AND NOT EXISTS (
        SELECT 1 FROM list_group g
        WHERE g.id = CAST(x.key AS BIGINT) AND g.account_id = :account AND g.list_id = x.list_id
    )
"""

# Whom the import added, and nobody else has touched; of him nothing stays.
MARK_NEW = """
    UPDATE undo_person AS p SET is_new = true
    WHERE NOT p.erased
      AND EXISTS (
          SELECT 1 FROM recipient r
          WHERE r.id = p.recipient_id AND r.created_at = (
              SELECT h.at FROM history h
              WHERE h.id = (SELECT MIN(e.id) FROM undo_event e WHERE e.recipient_id = p.recipient_id)
          )
      )
      AND NOT EXISTS (
          SELECT 1 FROM undo_event e
          WHERE e.recipient_id = p.recipient_id AND (e.import_id IS NULL OR e.import_id <> :import)
      )
      AND NOT EXISTS (SELECT 1 FROM undo_step x WHERE x.recipient_id = p.recipient_id AND x.outcome <> 'revert')
      AND NOT EXISTS (
          SELECT 1 FROM subscription s
          WHERE s.recipient_id = p.recipient_id AND NOT EXISTS (
              SELECT 1 FROM undo_step x
              WHERE x.recipient_id = s.recipient_id AND x.kind = 1 AND x.list_id = s.list_id AND x.channel = s.channel
          )
      )
      AND EXISTS (SELECT 1 FROM undo_step x WHERE x.recipient_id = p.recipient_id)
"""

COUNT = "SELECT kind, outcome, COUNT(*) AS count FROM undo_step GROUP BY kind, outcome"
COUNT_NEW = "SELECT COUNT(*) FROM undo_person WHERE is_new"
EXAMPLES = "SELECT DISTINCT recipient_id FROM undo_step WHERE outcome <> 'revert' ORDER BY recipient_id LIMIT :limit"

_REVERTED = """
    undo_step x JOIN undo_person p ON p.recipient_id = x.recipient_id
"""
_PREVIOUS = "LEFT JOIN history h ON h.id = x.previous_id AND CAST(h.new_status AS TEXT) = x.before"

ADD_STATUS_HISTORY = f"""
    INSERT INTO history (account_id, recipient_id, list_id, kind, channel, at, old_status, new_status, reason_type,
                         reason_subtype, source, actor, details)
    SELECT :account, x.recipient_id, x.list_id, 1, x.channel, :now, CAST(x.after AS INTEGER), CAST(x.before AS INTEGER),
           h.reason_type, h.reason_subtype, 'undo', :actor, {{object}}('import', CAST(:import AS BIGINT))
    FROM {_REVERTED} {_PREVIOUS}
    WHERE x.kind = 1 AND x.outcome = 'revert' AND NOT p.is_new
"""
ADD_VALUE_HISTORY = f"""
    INSERT INTO history (account_id, recipient_id, kind, at, source, actor, details)
    SELECT :account, x.recipient_id, 2, :now, 'undo', :actor, {{object}}(
        'before', {{nested}}({{collect_object}}(x.key, x.after)),
        'after', {{nested}}({{collect_object}}(x.key, x.before)), 'import', CAST(:import AS BIGINT))
    FROM {_REVERTED}
    WHERE x.kind = 2 AND x.outcome = 'revert' AND NOT p.is_new
    GROUP BY x.recipient_id
"""
# Whoever was in a group before goes back into it.
_GROUPS = "{nested}(COALESCE({collect_array}(CAST(x.key AS BIGINT)) FILTER (WHERE x.before = '%s'), '[]'))"
ADD_GROUP_HISTORY = f"""
    INSERT INTO history (account_id, recipient_id, kind, at, source, actor, details)
    SELECT :account, x.recipient_id, 3, :now, 'undo', :actor, {{object}}(
        'added', {_GROUPS % "in"}, 'removed', {_GROUPS % "out"}, 'import', CAST(:import AS BIGINT))
    FROM {_REVERTED}
    WHERE x.kind = 3 AND x.outcome = 'revert' AND NOT p.is_new
    GROUP BY x.recipient_id
"""

REMOVE_SUBSCRIPTIONS = """
    DELETE FROM subscription WHERE (recipient_id, list_id, channel) IN (
        SELECT recipient_id, list_id, channel FROM undo_step WHERE kind = 1 AND outcome = 'revert' AND before IS NULL
    )
"""

# With the dates and the reason that the history has of the earlier status; that it changed is news to those who were
# told of what the import did.
RESTORE_SUBSCRIPTIONS = f"""
    UPDATE subscription AS s
    SET status = CAST(x.before AS INTEGER), changed_at = :now,
        subscribed_at = CASE WHEN x.before = '1' THEN COALESCE(h.at, s.subscribed_at) ELSE (
            SELECT MAX(g.at) FROM history g
            WHERE g.recipient_id = s.recipient_id AND g.list_id = s.list_id AND g.channel = s.channel
              AND g.kind = 1 AND g.new_status = 1 AND g.id <= x.previous_id
        ) END,
        unsubscribed_at = CASE WHEN x.before = '3' THEN COALESCE(h.at, :now) END,
        reason_type = h.reason_type, reason_subtype = h.reason_subtype, message_id = NULL,
        source = COALESCE(h.source, 'undo')
    FROM undo_step x {_PREVIOUS}
    WHERE {_SUBSCRIPTION} AND x.kind = 1 AND x.outcome = 'revert' AND x.before IS NOT NULL
"""

RESTORE_VALUES = """
    UPDATE recipient AS r SET fields = {merged}, updated_at = :now
    FROM (
        SELECT recipient_id, {collect_object}(key, before) AS patch FROM undo_step
        WHERE kind = 2 AND outcome = 'revert' AND key NOT IN ('email', 'mobile') GROUP BY recipient_id
    ) x
    WHERE r.id = x.recipient_id
"""
_RESTORE_ADDRESSES = """
    UPDATE recipient AS r SET %(name)s = x.before, updated_at = :now
    FROM undo_step x
    WHERE r.id = x.recipient_id AND x.kind = 2 AND x.outcome = 'revert' AND x.key = '%(name)s'
"""
RESTORE_EMAILS = _RESTORE_ADDRESSES % {"name": "email"}
RESTORE_MOBILES = _RESTORE_ADDRESSES % {"name": "mobile"}

REMOVE_FROM_GROUPS = """
    DELETE FROM group_member WHERE (recipient_id, group_id) IN (
        SELECT recipient_id, CAST(key AS BIGINT) FROM undo_step
        WHERE kind = 3 AND outcome = 'revert' AND before = 'out'
    )
"""
RETURN_TO_GROUPS = """
    INSERT INTO group_member (recipient_id, group_id)
    SELECT recipient_id, CAST(key AS BIGINT) FROM undo_step WHERE kind = 3 AND outcome = 'revert' AND before = 'in'
    ON CONFLICT DO NOTHING
"""

# Those that have gone out too: SQLite may give the recipient's id to somebody else.
REMOVE_MAILS = "DELETE FROM outbox WHERE recipient_id IN (SELECT recipient_id FROM undo_person WHERE is_new)"
REMOVE_HISTORY = "DELETE FROM history WHERE recipient_id IN (SELECT recipient_id FROM undo_person WHERE is_new)"
REMOVE_PEOPLE = "DELETE FROM recipient WHERE id IN (SELECT recipient_id FROM undo_person WHERE is_new)"

_FINAL = "(s.status = 3 AND s.reason_type IS NOT NULL AND s.reason_type IN ({0}))"


@cache
def load_statements(dialect: str, final_reasons: Collection[int]) -> SimpleNamespace:
    """Return every statement by its name in lower case, for "sqlite" or "postgresql".

    Args:
        dialect: name of the dialect.
        final_reasons: reason types of unsubscribes that stay.
    """
    reasons = ", ".join(str(int(reason)) for reason in final_reasons)
    words = {**(_SQLITE if dialect == "sqlite" else _POSTGRESQL), "final": _FINAL.format(reasons)}
    return prepare_statements(globals(), words)
