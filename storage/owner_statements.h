/*
 * owner_statements.h - what tamctl says to the database itself, as its owner.
 */
#ifndef STORAGE_OWNER_STATEMENTS_H
#define STORAGE_OWNER_STATEMENTS_H

/* With the first domain a node without memory may begin. */
#define SQL_BOOTSTRAP_DOMAIN                                                   \
	"WITH a AS (INSERT INTO admission (why) SELECT 'bootstrap' WHERE NOT " \
	"EXISTS (SELECT FROM domain) ON CONFLICT DO NOTHING) "                 \
	"INSERT INTO domain (name, incarnation) VALUES ($1, $2) "              \
	"ON CONFLICT (name) DO NOTHING RETURNING domain_id"

#define SQL_BOOTSTRAP_PROFILES                                                \
	"INSERT INTO wire_profile (domain_id, name, is_default, wire_id, "    \
	"numbering, algorithms) VALUES ($1::int, 'final', true, 0, 'final', " \
	"'current'), ($1::int, 'legacy', false, 1, 'legacy', 'current')"

#define SQL_BOOTSTRAP_PEERS "SELECT wire_profiles_of_peers($1::int)"

#define SQL_BOOTSTRAP_KEY                                                      \
	"INSERT INTO tam_key (domain_id, thumbprint, curve, public_key, uri, " \
	"use) VALUES ($1::int, $2::bytea, $3, $4::bytea, $5, $6)"

/* A node tries each of them on what was encrypted without a kid. */
#define SQL_KEYS_TO_AGREE                                         \
	"SELECT count(*) FROM tam_key WHERE domain_id = $1::int " \
	"AND use = 'agree'"

#define SQL_KEY_DOMAIN "SELECT domain_id FROM domain WHERE name = $1"

/* The newest signs: from now on this one. */
#define SQL_KEY_USE                                                         \
	"UPDATE tam_key SET use = 'sign', created_at = clock_timestamp() "  \
	"WHERE domain_id = $1::int AND encode(thumbprint, 'hex') = $2 AND " \
	"use IN ('next', 'sign')"

/* Never the last that signs on its curve. */
#define SQL_KEY_RETIRE                                                 \
	"DELETE FROM tam_key k WHERE domain_id = $1::int AND "         \
	"encode(thumbprint, 'hex') = $2 AND (use <> 'sign' OR EXISTS " \
	"(SELECT FROM tam_key o WHERE o.domain_id = k.domain_id AND "  \
	"o.curve = k.curve AND o.use = 'sign' AND "                    \
	"o.thumbprint <> k.thumbprint))"

#define SQL_KEY_EPOCH \
	"UPDATE domain SET epoch = epoch + 1 WHERE domain_id = $1::int"

#define SQL_KEY_AUDIT \
	"SELECT audit_append($1::int, 'tamctl', $2, $3, '', '', NULL, NULL)"

#define SQL_BOOTSTRAP_PRINCIPAL                                                  \
	"INSERT INTO principal (domain_id, name, role, token_hash, expires_at) " \
	"VALUES ($1::int, $2, 'admin', $3::bytea, "                              \
	"clock_timestamp() + interval '90 days')"

/* --- tamctl audit ------------------------------------------------------------- */

#define SQL_AUDIT_HEADS                                                 \
	"SELECT domain_id, name, audit_seq, encode(audit_hash, 'hex') " \
	"FROM domain WHERE $1 = '' OR name = $1 ORDER BY domain_id"

#define SQL_AUDIT_VERIFY                                            \
	"SELECT seq, problem FROM audit_verify($1::int, $2::int8, " \
	"decode($3, 'hex'))"

#define SQL_AUDIT_RETENTION \
	"SELECT coalesce(months::text, 'all') FROM event_retention"

/* $1: a number of months, or 'all'. */
#define SQL_AUDIT_RETAIN                                                   \
	"WITH r AS (UPDATE event_retention SET months = nullif($1, 'all')" \
	"::integer) SELECT audit_append(domain_id, 'tamctl', "             \
	"'audit_retain', 'events', '', '', NULL, "                         \
	"jsonb_build_object('months', $1)) FROM domain ORDER BY domain_id"

/* --- tamctl db accept-restore -------------------------------------------------- */

#define SQL_RESTORE_ACCEPT "SELECT domain, epoch, event FROM restore_accept()"

/* How a domain's chain of events stands to a head that was kept elsewhere. */
#define SQL_RESTORE_LOST                                               \
	"SELECT d.audit_seq, (SELECT e.hash = decode($3, 'hex') FROM " \
	"audit_event e WHERE e.domain_id = d.domain_id AND e.seq = "   \
	"$2::int8)::int FROM domain d WHERE d.name = $1"

/* --- tamctl suspend, resume ----------------------------------------------------- */

#define SQL_DOMAIN_SUSPEND                                                \
	"WITH d AS (UPDATE domain SET suspended = $2 WHERE name = $1 "    \
	" RETURNING domain_id) SELECT epoch_raise(domain_id), "           \
	"audit_append(domain_id, 'tamctl', 'domain_' || $3, $1, $4, '', " \
	"NULL, NULL) FROM d"

#endif
