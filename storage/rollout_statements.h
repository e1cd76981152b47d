/*
 * rollout_statements.h - every SQL text about rollouts: the controller's, as
 * tam_wire for one domain at a time, and the admin API's, as
 * admin_statements.h has it.
 */
#ifndef STORAGE_ROLLOUT_STATEMENTS_H
#define STORAGE_ROLLOUT_STATEMENTS_H

/* --- the controller ---------------------------------------------------------- */

#define SQL_ROLLOUT_IS_LIVE  "state IN ('running', 'paused', 'rolling_back')"
/* What nodes have to know of. */
#define SQL_ROLLOUT_IS_KNOWN "(" SQL_ROLLOUT_IS_LIVE " OR settling)"

#define SQL_ROLLOUTS                                                         \
	"SELECT rollout_id, name, document::text, state, opened, stage_us, " \
	"met_us, window_open::int, window_us, settling::int FROM rollout "   \
	"WHERE domain_id = $1::int AND " SQL_ROLLOUT_IS_KNOWN " "            \
	"ORDER BY rollout_id"

/* Where it is, whether a window is open now, and the sizes of its stages. */
#define SQL_ROLLOUT_AT                                                 \
	"SELECT r.name, r.state, r.opened, r.stage_us, r.met_us, "     \
	"r.window_open::int, r.window_us, r.version, w.is_open::int, " \
	"w.until_us, r.settling::int, array_to_string(r.sizes, ',') "  \
	"FROM rollout r, "                                             \
	"rollout_window(r.document->'windows', $3::int8) w "           \
	"WHERE r.domain_id = $1::int AND r.rollout_id = $2::int8 "     \
	"AND " SQL_ROLLOUT_IS_KNOWN

/* Devices on the way back that are out of use, or silent since it began and
 * longer than $3: the next part of them. */
#define SQL_ROLLOUT_LOOK \
	"SELECT rollout_look($1::int, $2::int8, $3::int8, $4::int8)"

#define SQL_ROLLOUT_ADD_UP "SELECT rollout_tally_add($1::int, $2::int8)"

/* Who did not answer, or did not show it, in time; of those to be offered it
 * again if nobody will ($5).  Who answers just now is left for later. */
#define SQL_ROLLOUT_NO_ANSWER                                               \
	"UPDATE rollout_device d SET state = CASE WHEN (SELECT y.status = " \
	" 'active' FROM device y WHERE y.domain_id = d.domain_id AND "      \
	" y.device_id = d.device_id) THEN 'no_answer' ELSE 'away' END, "    \
	"changed_us = $4::int8 FROM (SELECT device_id FROM rollout_device " \
	" WHERE domain_id = $1::int AND rollout_id = $2::int8 AND "         \
	" state IN ('offered', 'acknowledged', 'retry') AND "               \
	" (state <> 'retry' OR $5 = '1') AND changed_us < $3::int8 "        \
	" ORDER BY changed_us LIMIT 10000 FOR UPDATE SKIP LOCKED) x "       \
	"WHERE d.domain_id = $1::int AND d.rollout_id = $2::int8 AND "      \
	"d.device_id = x.device_id"

#define SQL_ROLLOUT_COUNTS                                      \
	"SELECT stage, back::int, state, n FROM rollout_count " \
	"WHERE domain_id = $1::int AND rollout_id = $2::int8"

/* Compares the version and sets; no row: somebody was faster. */
#define SQL_ROLLOUT_MOVE                                                  \
	"UPDATE rollout SET state = $4, reason = CASE WHEN $5 = '' THEN " \
	"reason ELSE $5 END, opened = $6::int, stage_us = $7::int8, "     \
	"met_us = $8::int8, window_open = $9::int <> 0, "                 \
	"window_us = $10::int8, version = version + 1, ended_us = "       \
	"CASE WHEN $4 IN ('rolled_back', 'cancelled') THEN $11::int8 "    \
	"ELSE ended_us END, settling = $12::int <> 0 "                    \
	"WHERE domain_id = $1::int AND rollout_id = $2::int8 AND "        \
	"version = $3::int8"

#define SQL_ROLLOUT_COMPLETE \
	"SELECT rollout_complete($1::int, $2::int8, $3::int8, $4::int8, $5)::int"

#define SQL_ROLLOUT_AUDIT                                                   \
	"SELECT audit_append($1::int, 'controller', $2, $3, $4, '', NULL, " \
	"NULL), epoch_raise($1::int)"

#define SQL_ROLLOUT_RAISE "SELECT epoch_raise($1::int)"

/* --- the admin API --------------------------------------------------------------- */

#define SQL_ROLLOUT_LIST                                            \
	"SELECT json_build_object('name', name, 'state', state, "   \
	"'opened', opened, 'stages', jsonb_array_length(document->" \
	"'stages'), 'reason', reason, 'author', author), name "     \
	"FROM rollout WHERE name > $1 ORDER BY name LIMIT $2::int"

#define SQL_ROLLOUT_N(state) \
	"coalesce(sum(c.n) FILTER (WHERE NOT c.back AND c.state " state "), 0)"

#define SQL_ROLLOUT_MS(us) \
	"CASE WHEN " us " > 0 THEN to_timestamp(" us " / 1e6) END"

/* As rollout_plan.c has it. */
#define SQL_SOAK_DEFAULT_S "'600'"

/* How many devices a rollout waits for, and some of their names; the same of
 * those it does not wait for. */
#define SQL_ROLLOUT_NAMES(where)                                         \
	"(SELECT coalesce(json_agg(y.name ORDER BY y.name), '[]') FROM " \
	"(SELECT d.name FROM rollout_device p JOIN device d USING "      \
	"(domain_id, device_id) WHERE p.domain_id = r.domain_id AND "    \
	"p.rollout_id = r.rollout_id AND " where " LIMIT 10) y)"
#define SQL_ROLLOUT_WAITED                                                                                     \
	"CASE r.state WHEN 'rolling_back' THEN json_build_object("                                             \
	"'devices', t.reached - t.returned - t.away, 'names', " SQL_ROLLOUT_NAMES(                             \
	    "NOT (p.back AND p.state IN ('verified', "                                                         \
	    "'away')) AND p.state <> 'away'") ") WHEN 'running' THEN json_build_object('devices', t.waiting, " \
	                                      "'names', " SQL_ROLLOUT_NAMES(                                   \
	                                          "p.state IN ('offered', "                                    \
	                                          "'acknowledged', 'retry')") ") END"
#define SQL_ROLLOUT_AWAY                                                    \
	"json_build_object('devices', t.away, 'names', " SQL_ROLLOUT_NAMES( \
	    "p.state = 'away'") ")"

/* What a rollout under way waits for; $2 is now. */
#define SQL_ROLLOUT_GET                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                        \
	"SELECT json_build_object('name', r.name, 'state', r.state, "                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                          \
	"'reason', r.reason, 'opened', r.opened, 'waits_for', CASE "                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                           \
	" WHEN r.state <> 'running' THEN NULL "                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                \
	" WHEN NOT r.window_open THEN 'window' "                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                               \
	" WHEN r.met_us = 0 THEN 'devices' "                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                   \
	" WHEN r.met_us + g.soak_us > $2::int8 THEN 'soak' "                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                   \
	" WHEN g.gate = 'manual' AND r.opened < jsonb_array_length(r.document->'stages') THEN 'gate' END, 'until', CASE "                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                      \
	" WHEN r.state <> 'running' THEN NULL WHEN NOT r.window_open THEN " SQL_ROLLOUT_MS("r.window_us") " WHEN r.met_us > 0 AND "                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                            \
	                                                                                                  " r.met_us + g.soak_us > $2::int8 THEN " SQL_ROLLOUT_MS(                                                                                                                                                                                                                                                                                                                                                                                                                                                                                             \
	                                                                                                      "(r.met_us + g.soak_us)") " END, "                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                               \
	                                                                                                                                "'window_open', r.window_open, 'warnings', r.warnings, 'waiting_for', " SQL_ROLLOUT_WAITED                                                                                                                                                                                                                                                                                                                                                                                                                             \
	                                                                                                                                ", 'away', " SQL_ROLLOUT_AWAY                                                                                                                                                                                                                                                                                                                                                                                                                                                                                          \
	                                                                                                                                ", 'reached', t.reached, 'returned', "                                                                                                                                                                                                                                                                                                                                                                                                                                                                                 \
	                                                                                                                                "t.returned, 'stages', t.stages, 'author', r.author, 'created_at', " SQL_ROLLOUT_MS("r.created_us") ", 'started_at', " SQL_ROLLOUT_MS(                                                                                                                                                                                                                                                                                                                                                                                 \
	                                                                                                                                    "r.started_us") ", 'ended_at', " SQL_ROLLOUT_MS("r.ended_us") ", 'document', r.document), r.version "                                                                                                                                                                                                                                                                                                                                                                                                              \
	                                                                                                                                                                                                  "FROM rollout r, LATERAL (SELECT coalesce(s->>'soak_s', "                                                                                                                                                                                                                                                                                                                                                                                            \
	                                                                                                                                                                                                  " r.document->>'soak_s', " SQL_SOAK_DEFAULT_S                                                                                                                                                                                                                                                                                                                                                                                                        \
	                                                                                                                                                                                                  ")::int8 * 1000000 AS soak_us, "                                                                                                                                                                                                                                                                                                                                                                                                                     \
	                                                                                                                                                                                                  " coalesce(s->>'gate', r.document->>'gate', 'auto') AS gate FROM "                                                                                                                                                                                                                                                                                                                                                                                   \
	                                                                                                                                                                                                  " (SELECT r.document->'stages'->greatest(r.opened - 1, 0) AS s) x) g, "                                                                                                                                                                                                                                                                                                                                                                              \
	                                                                                                                                                                                                  "LATERAL (SELECT sum(x.reached) AS reached, sum(x.away) AS away, sum(x.waiting) AS waiting, sum(x.returned) AS "                                                                                                                                                                                                                                                                                                                                     \
	                                                                                                                                                                                                  " returned, json_agg(x.doc ORDER BY x.n) AS stages FROM "                                                                                                                                                                                                                                                                                                                                                                                            \
	                                                                                                                                                                                                  " (SELECT s.n, coalesce(sum(c.n), 0) AS reached, "                                                                                                                                                                                                                                                                                                                                                                                                   \
	                                                                                                                                                                                                  "  coalesce(sum(c.n) FILTER (WHERE c.back AND c.state = 'verified'), "                                                                                                                                                                                                                                                                                                                                                                               \
	                                                                                                                                                                                                  "   0) AS returned, coalesce(sum(c.n) FILTER (WHERE c.state = 'away'), 0) AS away, "                                                                                                                                                                                                                                                                                                                                                                 \
	                                                                                                                                                                                                  "  coalesce(sum(c.n) FILTER (WHERE c.state IN ('offered', 'acknowledged', 'retry')), 0) AS waiting, "                                                                                                                                                                                                                                                                                                                                                \
	                                                                                                                                                                                                  "  json_build_object('stage', s.n, 'of', r.sizes[s.n], 'name', "                                                                                                                                                                                                                                                                                                                                                                                     \
	                                                                                                                                                                                                  "   s.doc->>'name', 'open', s.n <= r.opened, 'offered', " SQL_ROLLOUT_N(                                                                                                                                                                                                                                                                                                                                                                             \
	                                                                                                                                                                                                      "= 'offered'") ", 'acknowledged', " SQL_ROLLOUT_N("= 'acknowledged'") ", 'verified', " SQL_ROLLOUT_N("= 'verified'") ", 'retry', " SQL_ROLLOUT_N("= 'retry'") ", 'failed', json_build_object("                                                                                                                                                                                                                                                   \
	                                                                                                                                                                                                                                                                                                                                                                    "'refused', " SQL_ROLLOUT_N("= 'refused'") ", "                                                                                                                                                                                                                                    \
	                                                                                                                                                                                                                                                                                                                                                                                                               "'manifest_failed', " SQL_ROLLOUT_N(                                                                                                                                                                                                    \
	                                                                                                                                                                                                                                                                                                                                                                                                                   "= 'manifest_failed'") ", "                                                                                                                                                                                                         \
	                                                                                                                                                                                                                                                                                                                                                                                                                                          "'attestation_failed', " SQL_ROLLOUT_N("= 'attestation_failed'") ", "                                                                                                                                        \
	                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                           "'no_answer', " SQL_ROLLOUT_N("= 'no_answer'") ", "                                                                                         \
	                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                          "'not_effective', " SQL_ROLLOUT_N(                                                           \
	                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                              "= 'not_effective'") "), "                                                               \
	                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                   "'back', coalesce(sum(c.n) FILTER (WHERE c.back), 0)) AS doc FROM " \
	                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                   "  jsonb_array_elements(r.document->'stages') WITH ORDINALITY "     \
	                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                   "   AS s (doc, n) LEFT JOIN rollout_count c ON c.domain_id = "      \
	                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                   "   r.domain_id AND c.rollout_id = r.rollout_id AND "               \
	                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                   "   c.stage = s.n - 1 GROUP BY s.n, s.doc) x) t WHERE r.name = $1"

/* Locked until the request ends. */
#define SQL_ROLLOUT_OLD                                               \
	"SELECT rollout_id, state, opened, version, document::text, " \
	"jsonb_array_length(document->'stages'), "                    \
	"(document ? 'rollback')::int FROM rollout WHERE name = $1 "  \
	"FOR UPDATE"

#define SQL_ROLLOUT_PUT                                                 \
	"INSERT INTO rollout AS r (domain_id, name, document, author, " \
	"created_us) VALUES ($1::int, $2, $3::jsonb, $4, $5::int8) "    \
	"ON CONFLICT (domain_id, name) DO UPDATE SET document = "       \
	"EXCLUDED.document, author = EXCLUDED.author, revision = "      \
	"r.revision + 1, version = r.version + 1"

#define SQL_ROLLOUT_SIZE                                     \
	"UPDATE rollout SET sizes = $2::int8[], warnings = " \
	"$3::jsonb WHERE name = $1"

#define SQL_ROLLOUT_DELETE "DELETE FROM rollout WHERE name = $1"

#define SQL_ROLLOUT_SET                                                                      \
	"UPDATE rollout r SET state = $2, settling = $2 = 'aborted', "                       \
	"reason = $3, opened = $4::int, "                                                    \
	"stage_us = CASE WHEN $4::int > r.opened OR $2 = 'rolling_back' THEN $5::int8 ELSE " \
	"r.stage_us END, met_us = 0, version = r.version + 1, "                              \
	"started_us = CASE WHEN r.state = 'draft' THEN $5::int8 ELSE "                       \
	"r.started_us END, ended_us = CASE WHEN $2 = 'aborted' THEN "                        \
	"$5::int8 END, window_open = w.is_open, window_us = w.until_us "                     \
	"FROM (SELECT document->'windows' AS windows FROM rollout "                          \
	" WHERE name = $1) d, rollout_window(d.windows, $5::int8) w "                        \
	"WHERE r.name = $1"

#define SQL_ROLLOUT_RETRY "SELECT rollout_retry($1::int, $2::int8, $3::int8)"

#define SQL_ROLLOUT_DEVICES                                                                                       \
	"SELECT json_build_object('device', d.name, 'class', d.class, "                                           \
	"'stage', x.stage + 1, 'back', x.back, 'state', x.state, "                                                \
	"'attempts', x.attempts, 'changed_at', " SQL_ROLLOUT_MS("x.changed_us") ", 'last_seen', " SQL_ROLLOUT_MS( \
	    "s.seen_us") "), d.name FROM rollout r "                                                              \
	                 "JOIN rollout_device x USING (domain_id, rollout_id) "                                   \
	                 "JOIN device d USING (domain_id, device_id) "                                            \
	                 "JOIN device_seen s USING (domain_id, device_id) "                                       \
	                 "WHERE r.name = $3 AND d.name > $1 AND ($4 = '' OR x.state = $4) "                       \
	                 "ORDER BY d.name LIMIT $2::int"

#define SQL_ROLLOUT_EXISTS "SELECT 1 FROM rollout WHERE name = $1"

/* Which rollout under way changes a policy or a channel ($1 says which). */
#define SQL_ROLLOUT_OF                                       \
	"SELECT name FROM rollout WHERE document->>$1 = $2 " \
	"AND " SQL_ROLLOUT_IS_LIVE " LIMIT 1"

/* Names that are no time zones. */
#define SQL_NO_ZONE                                                     \
	"SELECT n - 1 FROM jsonb_array_elements($1::jsonb->'windows') " \
	"WITH ORDINALITY AS w (doc, n) WHERE NOT EXISTS (SELECT FROM "  \
	"pg_timezone_names z WHERE z.name = w.doc->>'zone') LIMIT 1"

#endif
