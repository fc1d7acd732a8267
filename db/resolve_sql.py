"""The statements of `db.merge` that find out whom the rows of a part are about, and which rows are not to count.

They are written as those of `db.merge_sql`.
"""

from __future__ import annotations

# Who is meant by a row, by what it is told apart with. An address leads to somebody only if that does not contradict
# the stronger key.
_KNOWN = {
    "email": """COALESCE(
        h.email_holder_id,
        (SELECT r.id FROM recipient r WHERE r.id = h.holder_id AND (h.email IS NULL OR r.email IS NULL)),
        (SELECT r.id FROM recipient r WHERE r.id = h.external_holder_id AND (h.email IS NULL OR r.email IS NULL))
    )""",
    "mobile": """COALESCE(
        h.holder_id,
        (SELECT r.id FROM recipient r WHERE r.id = h.email_holder_id AND (h.mobile IS NULL OR r.mobile IS NULL))
    )""",
    "external": """COALESCE(
        h.external_holder_id,
        (SELECT r.id FROM recipient r WHERE r.id = h.email_holder_id AND r.external_key IS NULL),
        (SELECT r.id FROM recipient r
         WHERE r.id = h.holder_id AND r.external_key IS NULL AND (h.email IS NULL OR r.email IS NULL))
    )""",
}

# A part is small beside the tables and meets them by unique keys. A planner that has no statistics yet, as
# while a large file comes in, would rather read whole tables for every part.
LOOK_UP_BY_INDEX = """
    SELECT set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),
           set_config('enable_seqscan', 'off', true), set_config('enable_material', 'off', true),
           set_config('jit', 'off', true)
"""

# Who is meant: the one with this e-mail address; failing that the one with this number, unless he has another
# address. The SMS channel belongs to whoever holds the number. A number that somebody else holds is not stored.
# Look-ups are scalar subqueries, each behind a fence, so that no planner turns them into joins of whole tables or
# computes one twice.
RESOLVE = """
    INSERT INTO import_resolved
    SELECT t.recipient_id, t.is_new, t.sms_recipient_id, t.email, CASE WHEN t.holder_id IS NULL THEN t.mobile END,
           t.fields, t.list_id, t.group_set, t.row_count, t.holder_id IS NOT NULL AND t.holder_id <> t.recipient_id,
           t.email_before, (SELECT after FROM import_rule WHERE rule = t.email_rule AND before = t.email_before),
           t.sms_before, (SELECT after FROM import_rule WHERE rule = t.sms_rule AND before = t.sms_before),
           t.shares_number, t.recipient_id, false, CAST(NULL AS TEXT), false, t.seq, t.leaves, false
    FROM (
        SELECT i.*,
               CASE WHEN i.email_rule IS NOT NULL THEN COALESCE((
                   SELECT {state} FROM subscription s
                   WHERE s.recipient_id = i.known_id AND s.list_id = i.list_id AND s.channel = 1
               ), 0) END AS email_before,
               CASE WHEN i.sms_rule IS NOT NULL THEN COALESCE((
                   SELECT {state} FROM subscription s
                   WHERE s.recipient_id = i.sms_recipient_id AND s.list_id = i.list_id AND s.channel = 2
               ), 0) END AS sms_before
        FROM (
            SELECT n.*, COALESCE(n.holder_id, n.recipient_id) AS sms_recipient_id
            FROM (
                SELECT k.*, COALESCE(k.known_id, {next_id}) AS recipient_id, k.known_id IS NULL AS is_new
                FROM (
                    SELECT h.*, COALESCE(
                        (SELECT r.id FROM recipient r WHERE r.email = h.email AND r.account_id = :account),
                        (SELECT r.id FROM recipient r WHERE r.id = h.holder_id AND (h.email IS NULL OR r.email IS NULL))
                    ) AS known_id
                    FROM (
                        SELECT p.*, (
                            SELECT r.id FROM recipient r WHERE r.mobile = p.mobile AND r.account_id = :account
                        ) AS holder_id
                        FROM import_stage p {fence}
                    ) h {fence}
                ) k {fence}
            ) n {fence}
        ) i {fence}
    ) t
"""

# The same for rows that are told apart by another key than the e-mail address, or have an external id. What a row says
# about an address is meant for whoever holds it, and only what nobody else holds is stored. A row that is found
# without an address of its own is about the addresses that are stored.
RESOLVE_BY_KEY = """
    INSERT INTO import_resolved
    SELECT t.recipient_id, t.is_new, t.sms_recipient_id,
           CASE WHEN t.email_recipient_id = t.recipient_id THEN t.email END,
           CASE WHEN t.sms_recipient_id = t.recipient_id THEN t.mobile END,
           t.fields, t.list_id, t.group_set, t.row_count, t.sms_recipient_id <> t.recipient_id,
           t.email_before,
           CASE WHEN t.has_email
                THEN (SELECT after FROM import_rule WHERE rule = t.email_rule AND before = t.email_before) END,
           t.sms_before,
           CASE WHEN t.has_mobile
                THEN (SELECT after FROM import_rule WHERE rule = t.sms_rule AND before = t.sms_before) END,
           t.shares_number, t.email_recipient_id, t.email_recipient_id <> t.recipient_id,
           CASE WHEN t.external_holder_id IS NULL THEN t.external END,
           t.external_holder_id IS NOT NULL AND t.external_holder_id <> t.recipient_id, t.seq, t.leaves, false
    FROM (
        SELECT i.*,
               CASE WHEN i.email_rule IS NOT NULL AND i.has_email THEN COALESCE((
                   SELECT {state} FROM subscription s
                   WHERE s.recipient_id = i.email_recipient_id AND s.list_id = i.list_id AND s.channel = 1
               ), 0) END AS email_before,
               CASE WHEN i.sms_rule IS NOT NULL AND i.has_mobile THEN COALESCE((
                   SELECT {state} FROM subscription s
                   WHERE s.recipient_id = i.sms_recipient_id AND s.list_id = i.list_id AND s.channel = 2
               ), 0) END AS sms_before
        FROM (
            SELECT n.*, COALESCE(n.holder_id, n.recipient_id) AS sms_recipient_id,
                   COALESCE(n.email_holder_id, n.recipient_id) AS email_recipient_id,
                   n.email IS NOT NULL OR EXISTS (
                       SELECT 1 FROM recipient r WHERE r.id = n.known_id AND r.email IS NOT NULL
                   ) AS has_email,
                   n.mobile IS NOT NULL OR EXISTS (
                       SELECT 1 FROM recipient r WHERE r.id = n.known_id AND r.mobile IS NOT NULL
                   ) AS has_mobile
            FROM (
                SELECT k.*, COALESCE(k.known_id, {next_id}) AS recipient_id, k.known_id IS NULL AS is_new
                FROM (
                    SELECT h.*, {known} AS known_id
                    FROM (
                        SELECT p.*, (
                            SELECT r.id FROM recipient r WHERE r.mobile = p.mobile AND r.account_id = :account
                        ) AS holder_id, (
                            SELECT r.id FROM recipient r WHERE r.email = p.email AND r.account_id = :account
                        ) AS email_holder_id, (
                            SELECT r.id FROM recipient r WHERE r.external_key = p.external AND r.account_id = :account
                        ) AS external_holder_id
                        FROM import_stage p {fence}
                    ) h {fence}
                ) k {fence}
            ) n {fence}
        ) i {fence}
    ) t
"""

# Whether two rows turned out to be one person, or the number that several rows share is that of somebody without
# an e-mail address, whom one of them may be: such a part must be merged in smaller pieces.
MEETINGS = """
    SELECT COUNT(*) <> COUNT(DISTINCT x.recipient_id)
        OR COUNT(x.sms_after) <> COUNT(DISTINCT CASE WHEN x.sms_after IS NOT NULL THEN x.sms_recipient_id END)
        OR COUNT(CASE WHEN x.shares_number AND x.mobile_in_use THEN
               (SELECT 1 FROM recipient r WHERE r.id = x.sms_recipient_id AND r.email IS NULL) END) > 0
    FROM import_resolved x
"""

# Also whether two rows are about one address, or an address that a row may not have belongs to somebody who may give
# it up in the same part, or whom another row that tells it may be.
MEETINGS_BY_KEY = """
    SELECT COUNT(*) <> COUNT(DISTINCT x.recipient_id)
        OR COUNT(x.email_after) <> COUNT(DISTINCT CASE WHEN x.email_after IS NOT NULL THEN x.email_recipient_id END)
        OR COUNT(x.sms_after) <> COUNT(DISTINCT CASE WHEN x.sms_after IS NOT NULL THEN x.sms_recipient_id END)
        OR COUNT(CASE WHEN x.email_in_use AND EXISTS (
               SELECT 1 FROM import_resolved o WHERE o.recipient_id = x.email_recipient_id) THEN 1 END) > 0
        OR COUNT(CASE WHEN x.mobile_in_use AND EXISTS (
               SELECT 1 FROM import_resolved o WHERE o.recipient_id = x.sms_recipient_id) THEN 1 END) > 0
        OR COUNT(CASE WHEN x.shares_number AND EXISTS (
               SELECT 1 FROM recipient r WHERE {adoptable} AND (
                   (x.mobile_in_use AND r.id = x.sms_recipient_id)
                   OR (x.email_in_use AND r.id = x.email_recipient_id))) THEN 1 END) > 0
    FROM import_resolved x
"""

# Rows about people who are not known, but with addresses that are: what they say about those counts, and nothing else.
REDIRECT_UNKNOWN = """
    UPDATE import_resolved
    SET recipient_id = CASE WHEN email_in_use THEN email_recipient_id ELSE sms_recipient_id END, is_new = false,
        email = NULL, mobile = NULL, external = NULL, fields = '{{}}', group_set = NULL, only_status = true,
        email_before = CASE WHEN email_in_use THEN email_before END,
        email_after = CASE WHEN email_in_use THEN email_after END,
        sms_before = CASE WHEN mobile_in_use THEN sms_before END,
        sms_after = CASE WHEN mobile_in_use THEN sms_after END
    WHERE is_new AND (email_in_use OR mobile_in_use)
"""

# Rows about people who are not known, taken out of the part.
REMOVE_UNKNOWN = "DELETE FROM import_resolved WHERE is_new RETURNING seq"

# Rows about people whom this import has met in the same list before, except those that end a subscription: nobody's
# wish to leave is lost because he comes twice.
REMOVE_REPEATED = """
    DELETE FROM import_resolved AS x
    WHERE EXISTS (
        SELECT 1 FROM import_seen s
        WHERE s.import_id IN (:import, -:import) AND s.list_id = x.list_id AND s.recipient_id = x.recipient_id
    ) AND NOT x.leaves
    RETURNING seq
"""

# Whom the import has met: who is meant, and whose addresses they are.
REMEMBER = """
    INSERT INTO import_seen (import_id, list_id, recipient_id)
    SELECT :import, list_id, recipient_id FROM import_resolved
    UNION SELECT :import, list_id, email_recipient_id FROM import_resolved WHERE email_after IS NOT NULL
    UNION SELECT :import, list_id, sms_recipient_id FROM import_resolved WHERE sms_after IS NOT NULL
    ON CONFLICT DO NOTHING
"""


_ADOPTABLE = {"email": "r.email IS NULL", "mobile": "r.mobile IS NULL", "external": "r.external_key IS NULL"}


def choose_adoptable(key: str) -> str:
    """Return the condition that a recipient `r` may turn out to be somebody whom a row tells by another key."""
    return _ADOPTABLE[key]


def choose_identity(key: str) -> str:
    """Return the expression for who is meant by a row, with the key `email`, `mobile` or `external`."""
    return _KNOWN[key]
