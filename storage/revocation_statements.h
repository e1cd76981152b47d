/*
 * revocation_statements.h - every SQL text of the admin API about revocations.
 *
 * They run as admin_statements.h says.
 */
#ifndef STORAGE_REVOCATION_STATEMENTS_H
#define STORAGE_REVOCATION_STATEMENTS_H

#define SQL_REVOCATION_LIST                                              \
	"SELECT json_build_object('id', revocation_id, 'suspended', "    \
	"suspended, 'target', target, 'label', label, 'quarantine', "    \
	"quarantine, 'reason', reason, 'advisory', advisory, 'author', " \
	"author, 'epoch', epoch, 'created_at', us_time(created_us), "    \
	"'in_force_at', us_time(in_force_us), 'lifted_at', "             \
	"us_time(lifted_us)), revocation_id FROM revocation "            \
	"WHERE revocation_id > $1::bigint ORDER BY revocation_id LIMIT $2::int"

/* Who is affected is found out by the nodes, afterwards. */
#define SQL_REVOCATION_ADD                                               \
	"INSERT INTO revocation (domain_id, target, component, digest, " \
	"components, label, reason, advisory, author, epoch, "           \
	"created_us, digests, first_sequence, last_sequence, signer, "   \
	"deadline_us, spread_done, replacement, suspended, class, "      \
	"quarantine) VALUES ($1::int, $2, $3::bytea, $4::bytea, "        \
	"$5::bytea[], $6, $7, $8, $9, $10, $11, $12::bytea[], "          \
	"$13::int8, $14::int8, $15, $16::int8, false, $17::bytea, "      \
	"$18::int <> 0, $19, $20::int <> 0) RETURNING revocation_id"

/* The active one that does the same: names the same and takes the same. */
#define SQL_REVOCATION_SAME                                                   \
	"SELECT revocation_id FROM revocation WHERE lifted_us IS NULL AND "   \
	"target = $1 AND component IS NOT DISTINCT FROM $2::bytea AND "       \
	"digest IS NOT DISTINCT FROM $3::bytea AND components = $4::bytea[] " \
	"AND first_sequence IS NOT DISTINCT FROM $5::int8 AND "               \
	"last_sequence IS NOT DISTINCT FROM $6::int8 AND "                    \
	"signer IS NOT DISTINCT FROM $7 AND class IS NOT DISTINCT FROM $8 "   \
	"AND quarantine = ($9::int <> 0) AND "                                \
	"replacement IS NOT DISTINCT FROM $10::bytea AND "                    \
	"suspended = ($11::int <> 0) ORDER BY revocation_id LIMIT 1"

/* --- the blast radius ---------------------------------------------------------------- */

/*
 * Who is affected, who has an Update under way that brings the target, and
 * how old that knowledge is.  $1 is now, $2 a label to count by, or ''; the
 * first %s says who holds the target, the second what an Update o brings:
 * a pair of the below, with parameters from $3 on.
 */
#define SQL_REVOCATION_RADIUS                                             \
	"WITH h AS NOT MATERIALIZED (%s), "                               \
	"u AS (SELECT DISTINCT o.device_id FROM outstanding_update o "    \
	" WHERE o.state = 'committed' AND %s), "                          \
	"k AS MATERIALIZED (SELECT d.class, count(*) AS n, "              \
	" count(*) FILTER (WHERE s.seen_us = 0) AS never, "               \
	" count(*) FILTER (WHERE s.seen_us > 0 AND s.seen_us < "          \
	"  $1::int8 - 604800000000) AS old, "                             \
	" min(nullif(s.seen_us, 0)) AS oldest FROM h "                    \
	" JOIN device d USING (device_id) "                               \
	" JOIN device_seen s USING (domain_id, device_id) "               \
	" GROUP BY d.class), "                                            \
	"l AS (SELECT v.value, count(*) AS n FROM h JOIN device_label v " \
	" ON v.device_id = h.device_id AND v.key = $2 WHERE $2 <> '' "    \
	" GROUP BY v.value ORDER BY n DESC LIMIT 100) "                   \
	"SELECT json_build_object("                                       \
	"'affected', (SELECT coalesce(sum(n), 0) FROM k), "               \
	"'update_under_way', (SELECT count(*) FROM u), "                  \
	"'by_class', (SELECT coalesce(json_object_agg(class, n "          \
	" ORDER BY n DESC), '{}') FROM k), "                              \
	"'by_label', (SELECT coalesce(json_object_agg(value, n "          \
	" ORDER BY n DESC), '{}') FROM l), "                              \
	"'never_seen', (SELECT coalesce(sum(never), 0) FROM k), "         \
	"'not_seen_for_7d', (SELECT coalesce(sum(old), 0) FROM k), "      \
	"'oldest_contact', (SELECT us_time(min(oldest)) FROM k), "        \
	"'active_devices', (SELECT count(*) FROM device "                 \
	" WHERE status = 'active'))"

/* Any image of the component $3: an index knows. */
#define SQL_RADIUS_HOLDS_ONE                        \
	"SELECT device_id FROM device_component c " \
	"WHERE c.component = $3::bytea"
/* Some images of it, $4; who does not tell is taken to hold one. */
#define SQL_RADIUS_HOLDS_IMAGES                                \
	"SELECT device_id FROM device_component c "            \
	"WHERE c.component = $3::bytea AND (c.digest IS NULL " \
	"OR c.digest = ANY ($4::bytea[]))"
#define SQL_RADIUS_BRINGS_ONE "o.adds && ARRAY[$3::bytea]"

/* $3 are all components, $4 those of which any image is meant, $5 the others
 * with the image behind the id. */
#define SQL_RADIUS_HOLDS                                                      \
	"SELECT DISTINCT device_id FROM device_component c "                  \
	"WHERE c.component = ANY ($3::bytea[]) AND (c.component = "           \
	"ANY ($4::bytea[]) OR c.digest IS NULL OR c.component || c.digest = " \
	"ANY ($5::bytea[]))"
#define SQL_RADIUS_BRINGS   "o.adds && $3::bytea[]"

/* Devices of the class $3, whatever they hold. */
#define SQL_RADIUS_IN_CLASS "SELECT device_id FROM device c WHERE c.class = $3"
#define SQL_RADIUS_BRINGS_CLASS                             \
	"EXISTS (SELECT FROM device x WHERE x.domain_id = " \
	"o.domain_id AND x.device_id = o.device_id AND x.class = $3)"

/* --- how far it is --------------------------------------------------------------------- */

/* Of n answers, how long the fastest so many took. */
#define SQL_TTR(name, part)                                                   \
	"'" name "', (SELECT (d.verified_us - r.created_us) / 1000 FROM "     \
	"revocation_device d WHERE d.domain_id = r.domain_id AND "            \
	"d.revocation_id = r.revocation_id AND d.verified_us IS NOT "         \
	"NULL ORDER BY d.verified_us OFFSET greatest(ceil(t.verified * " part \
	") - 1, 0)::bigint LIMIT 1)"

#define SQL_REVOCATION_TALLY(name, mask, is) \
	"coalesce(sum(n) FILTER (WHERE mask & " mask " = " is "), 0) AS " name

/* $2 is now.  What is verified was shown gone by an answer to a question
 * newer than all that was done to the device; attested, if it proved itself
 * then. */
#define SQL_REVOCATION_GET                                                               \
	"SELECT json_build_object('id', r.revocation_id, 'suspended', "                  \
	"r.suspended, 'quarantine', r.quarantine, 'replacement', "                       \
	"encode(r.replacement, 'hex'), 'target', r.target, 'label', "                    \
	"r.label, 'first_sequence', r.first_sequence, 'last_sequence', "                 \
	"r.last_sequence, 'reason', r.reason, 'advisory', r.advisory, "                  \
	"'author', r.author, 'epoch', r.epoch, 'created_at', "                           \
	"us_time(r.created_us), 'in_force_at', us_time(r.in_force_us), "                 \
	"'in_force_ms', (r.in_force_us - r.created_us) / 1000, "                         \
	"'lifted_at', us_time(r.lifted_us), 'deadline', "                                \
	"us_time(r.deadline_us), 'counting', NOT r.spread_done, "                        \
	"'affected', t.affected, 'offered', t.offered, 'acknowledged', "                 \
	"t.acknowledged, 'verified', t.verified, 'attested', t.attested, "               \
	"'reported', t.verified - t.attested, 'overdue', CASE WHEN "                     \
	"r.deadline_us < $2::int8 THEN t.affected - t.verified ELSE 0 END, "             \
	"'unconfirmed', (SELECT count(*) FROM device_seen s "                            \
	" JOIN device v USING (domain_id, device_id) WHERE v.status = "                  \
	" 'active' AND s.stamp_epoch < r.epoch AND NOT EXISTS (SELECT "                  \
	" FROM revocation_device x WHERE x.domain_id = s.domain_id AND "                 \
	" x.revocation_id = r.revocation_id AND "                                        \
	" x.device_id = s.device_id)), "                                                 \
	"'ttr_ms', json_build_object(" SQL_TTR("p50",                                    \
	    "0.5") ", " SQL_TTR("p90", "0.9") ", " SQL_TTR("p99",                        \
	    "0.99") ", " SQL_TTR("max",                                                  \
	    "1") ")) "                                                                   \
	         "FROM revocation r, LATERAL (SELECT coalesce(sum(n), 0) AS "            \
	         "affected, " SQL_REVOCATION_TALLY("offered", "1",                       \
	             "1") ", " SQL_REVOCATION_TALLY("acknowledged", "2",                 \
	             "2") ", " SQL_REVOCATION_TALLY("verified", "4",                     \
	             "4") ", " SQL_REVOCATION_TALLY("attested", "8",                     \
	             "8") " "                                                            \
	                  "FROM revocation_count c WHERE c.domain_id = r.domain_id AND " \
	                  "c.revocation_id = r.revocation_id) t "                        \
	                  "WHERE r.revocation_id = $1::bigint"

/* Devices of a revocation that are not verified, with their last contact. */
#define SQL_REVOCATION_OPEN                                             \
	"SELECT json_build_object('device', d.name, 'class', d.class, " \
	"'status', d.status, 'state', CASE WHEN r.acknowledged_us IS "  \
	"NOT NULL THEN 'acknowledged' WHEN r.offered_us IS NOT NULL "   \
	"THEN 'offered' ELSE 'affected' END, 'last_seen', "             \
	"us_time(s.seen_us)), d.name FROM revocation_device r "         \
	"JOIN device d USING (domain_id, device_id) "                   \
	"JOIN device_seen s USING (domain_id, device_id) "              \
	"WHERE r.revocation_id = $1::bigint AND r.verified_us IS NULL " \
	"AND d.name > $2 ORDER BY d.name LIMIT $3::int"

/* Whether a label ($2) of this sort ($1) is one that something has; $3 are its
 * components. */
#define SQL_REVOCATION_IS_KNOWN                                               \
	"SELECT (CASE WHEN $1 IN ('component', 'range') THEN EXISTS (SELECT " \
	"FROM manifest_component WHERE component = ANY ($3::bytea[])) OR "    \
	"EXISTS (SELECT FROM device_component WHERE component = ANY "         \
	"($3::bytea[])) OR EXISTS (SELECT FROM manifest WHERE component = "   \
	"$2) WHEN $1 = 'signer' THEN EXISTS (SELECT FROM trust_anchor "       \
	"WHERE name = $2) OR EXISTS (SELECT FROM manifest WHERE signer = "    \
	"$2) WHEN $1 = 'class' THEN EXISTS (SELECT FROM device WHERE class "  \
	"= $2) ELSE true END)::int"

/* Some of the known ones, as text or as component ids. */
#define SQL_REVOCATION_NAMES                                              \
	"(SELECT component AS name, NULL::bytea AS id FROM manifest "     \
	" WHERE $1 IN ('component', 'range') "                            \
	" UNION SELECT NULL, component FROM manifest_component "          \
	" WHERE $1 IN ('component', 'range') "                            \
	" UNION SELECT name, NULL FROM trust_anchor WHERE $1 = 'signer' " \
	" UNION SELECT class, NULL FROM device WHERE $1 = 'class') "      \
	"LIMIT 1000"

#define SQL_REVOCATION_LIFTED \
	"SELECT us_time(lifted_us) FROM revocation WHERE revocation_id = $1::bigint"

#define SQL_REVOCATION_LIFT                             \
	"UPDATE revocation SET lifted_us = $2::bigint " \
	"WHERE revocation_id = $1::bigint AND lifted_us IS NULL"

#endif
