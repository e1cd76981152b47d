/*
 * statements.h - every SQL text of the device path and of the control thread,
 * with its name.  What administrators ask stands in admin_statements.h.
 *
 * The device path's statements take arrays, one element per device of a
 * batch, and answer with the element's number in column 0.
 */
#ifndef STORAGE_STATEMENTS_H
#define STORAGE_STATEMENTS_H

/* domain, thumbprint -> who this is and what is known about it */
#define SQL_WIRE_LOAD                                                         \
	"SELECT e.n, k.device_id, d.status, d.class, k.curve, k.public_key, " \
	"s.stamp_epoch, s.stamp_us, s.version, s.inventory_hash, "            \
	"s.open_work::int::int8, s.numbering::int8, "                         \
	"array(SELECT unnest(ARRAY[l.key, l.value]) FROM device_label l "     \
	" WHERE l.domain_id = k.domain_id AND l.device_id = k.device_id "     \
	" ORDER BY l.key), "                                                  \
	"array(SELECT c.component FROM device_component c "                   \
	" WHERE c.domain_id = k.domain_id AND c.device_id = k.device_id "     \
	" ORDER BY c.component), "                                            \
	"array(SELECT coalesce(c.digest, '\\x') FROM device_component c "     \
	" WHERE c.domain_id = k.domain_id AND c.device_id = k.device_id "     \
	" ORDER BY c.component), "                                            \
	"u.update_id, u.content, u.state, u.success::int::int8, "             \
	"u.err_code::int8, u.attempt::int8, u.failures::int8, u.offered_us, " \
	"u.closed_us, u.expires_us, coalesce(d.update_bytes, 0)::int8, "      \
	"d.certified::int::int8, d.name, array(SELECT o.thumbprint FROM "     \
	" device_key o WHERE o.domain_id = k.domain_id AND "                  \
	" o.device_id = k.device_id), (extract(epoch FROM d.enrolled_at) * "  \
	" 1000000)::int8, s.seen_us, a.result, a.verifier, a.oemid, a.ueid, " \
	"a.hwmodel, a.hwversion, a.tier::int8, a.at_us, d.bucket::int8, "     \
	"array(SELECT unnest(ARRAY[p.rollout_id, p.stage, p.back::int, "      \
	" CASE p.state WHEN 'retry' THEN 0 WHEN 'offered' THEN 1 "            \
	" WHEN 'acknowledged' THEN 2 WHEN 'verified' THEN 3 ELSE 4 END]) "    \
	" FROM rollout_device p WHERE p.domain_id = k.domain_id AND "         \
	" p.device_id = k.device_id), s.reason, "                             \
	"array(SELECT q.component FROM device_request q WHERE q.domain_id = " \
	" k.domain_id AND q.device_id = k.device_id), "                       \
	"coalesce(s.wire_id, -1)::int8 "                                      \
	"FROM unnest($1::int8[], $2::int8[], $3::bytea[]) "                   \
	" AS e (n, domain, thumbprint) "                                      \
	"JOIN device_key k ON k.domain_id = e.domain::int "                   \
	" AND k.thumbprint = e.thumbprint "                                   \
	"JOIN device d USING (domain_id, device_id) "                         \
	"JOIN device_seen s USING (domain_id, device_id) "                    \
	"LEFT JOIN device_attestation a USING (domain_id, device_id) "        \
	"LEFT JOIN LATERAL (SELECT * FROM outstanding_update o "              \
	" WHERE o.domain_id = k.domain_id AND o.device_id = k.device_id "     \
	" ORDER BY o.committed_us DESC LIMIT 1) u ON true"

/* domain -> the thumbprints to try for a message without a kid; when there
 * are more than a few, only the first, and one too many */
#define SQL_WIRE_CANDIDATES                                                  \
	"SELECT e.n, array(SELECT k.thumbprint FROM device_key k "           \
	" WHERE k.domain_id = e.domain::int ORDER BY k.thumbprint LIMIT 9) " \
	"FROM unnest($1::int8[], $2::int8[]) AS e (n, domain)"

/*
 * Answers that changed nothing.  The rows returned are those that differ from
 * what the node believed: nothing was written for them.
 */
#define SQL_WIRE_OBSERVE                                                       \
	"WITH e AS (SELECT * FROM unnest($1::int8[], $2::int8[], $3::int8[], " \
	" $4::int8[], $5::int8[], $6::int8[], $7::int8[], $8::bytea[]) "       \
	" AS e (n, domain, device, epoch, us, now_us, version, hash)), "       \
	"u AS (UPDATE device_seen s SET stamp_epoch = e.epoch, "               \
	" stamp_us = e.us, seen_us = greatest(s.seen_us, e.now_us) FROM e "    \
	" WHERE s.domain_id = e.domain::int AND s.device_id = e.device "       \
	" AND (e.epoch, e.us) > (s.stamp_epoch, s.stamp_us) "                  \
	" AND s.inventory_hash = e.hash AND s.version = e.version "            \
	" AND NOT s.open_work) "                                               \
	"SELECT e.n FROM e JOIN device_seen s ON s.domain_id = e.domain::int " \
	" AND s.device_id = e.device WHERE s.inventory_hash IS DISTINCT FROM " \
	" e.hash OR s.version <> e.version OR s.open_work"

#define SQL_WIRE_ANSWER_QUERY                                                  \
	"SELECT e.n, r.verdict, r.version FROM unnest($1::int8[], "            \
	" $2::int8[], $3::int8[], $4::int8[], $5::int8[], $6::int8[], "        \
	" $7::int8[], $8::int8[], $9::int8[], $10::int8[], $11::bytea[], "     \
	" $12::text[], $13::text[], $14::text[], $15::text[], $16::int8[], "   \
	" $17::int8[], $18::bytea[], $19::bytea[], $20::text[], $21::text[], " \
	" $22::text[], $23::text[], $24::int8[], $25::int8[], $26::text[], "   \
	" $27::text[], $28::text[], $29::text[], $30::int8[], $31::text[]) "   \
	" AS e (n, a, b, c, d, e, f, g, h, i, j, k, l, m, o, p, q, r, s, t, "  \
	" u, v, w, x, y, z, aa, bb, cc, dd, ee), LATERAL "                     \
	"wire_query_answered(a::int, b, c, d, e.e, f, g, h, i::int2, j, "      \
	" k::bytea[], l::bytea[], m::int8[], o, p, q, e.r, e.s, "              \
	" t::bytea[], u::bytea[], v::bytea[], w::bytea[], x, y <> 0, "         \
	" z::int8[], aa::int[], bb::int[], cc::int[], dd <> 0, "               \
	" nullif(ee, '')::bytea[]) r"

#define SQL_WIRE_ANSWER_UPDATE                                                \
	"SELECT e.n, r.verdict, r.version, r.had_revocations::int::int8 "     \
	"FROM unnest($1::int8[], $2::int8[], $3::int8[], $4::int8[], "        \
	" $5::int8[], $6::int8[], $7::int8[], $8::int8[], $9::int8[], "       \
	" $10::int8[], $11::text[]) AS e (n, a, b, c, d, f, g, h, i, j, k), " \
	"LATERAL wire_answer_update(a::int, b, c, d, f, g, h, i <> 0, "       \
	" j::int, k) r"

#define SQL_WIRE_PAYLOAD                                            \
	"SELECT e.n, p.bytes FROM unnest($1::int8[], $2::int8[], "  \
	" $3::bytea[]) AS e (n, domain, digest) JOIN payload p ON " \
	" p.domain_id = e.domain::int AND p.digest = e.digest"

/*
 * The last appraisal; an older answer does not overwrite a newer one.  An
 * identity that was affirmed is this device's from then on.
 */
#define SQL_WIRE_ATTESTED                                                                                  \
	"WITH x AS (SELECT * FROM unnest($1::int8[], "                                                     \
	" $2::int8[], $3::int8[], $4::int8[], $5::int8[], $6::int8[], "                                    \
	" $7::text[], $8::text[], $9::text[], $10::int8[], $11::bytea[], "                                 \
	" $12::bytea[], $13::bytea[], $14::text[]) "                                                       \
	"AS x (n, a, b, c, e, f, g, h, i, j, k, l, m, o)), "                                               \
	"identity AS (INSERT INTO device_identity SELECT a::int, k, l, b "                                 \
	" FROM x WHERE g = 'affirmed' AND k <> '' AND l <> '' "                                            \
	" ON CONFLICT DO NOTHING), " /* Policies may ask what was found: a decision that rested on other \
	 * findings is made again. */ \
	"moved AS (UPDATE device_seen s SET version = s.version + 1 FROM x "                               \
	" LEFT JOIN device_attestation o ON o.domain_id = a::int "                                         \
	" AND o.device_id = b WHERE s.domain_id = a::int AND s.device_id = b "                             \
	" AND (o.result, o.verifier, o.tier, o.oemid, o.ueid, o.hwmodel, "                                 \
	" o.hwversion) IS DISTINCT FROM (g, i, j::int, k, l, m, x.o)) "                                    \
	"INSERT INTO device_attestation AS d SELECT a::int, b, c, e, f, g, "                               \
	" h, i, j::int, k, l, m, o FROM x "                                                                \
	"ON CONFLICT (domain_id, device_id) DO UPDATE SET "                                                \
	"stamp_epoch = EXCLUDED.stamp_epoch, stamp_us = EXCLUDED.stamp_us, "                               \
	"at_us = EXCLUDED.at_us, result = EXCLUDED.result, "                                               \
	"reason = EXCLUDED.reason, verifier = EXCLUDED.verifier, "                                         \
	"tier = EXCLUDED.tier, oemid = EXCLUDED.oemid, ueid = EXCLUDED.ueid, "                             \
	"hwmodel = EXCLUDED.hwmodel, hwversion = EXCLUDED.hwversion "                                      \
	"WHERE (d.stamp_epoch, d.stamp_us) < "                                                             \
	" (EXCLUDED.stamp_epoch, EXCLUDED.stamp_us)"

/* The wire profile a device came by: explain and dry run go by its limits. */
#define SQL_WIRE_CAME_BY                                                      \
	"UPDATE device_seen s SET wire_id = e.wire_id FROM "                  \
	"unnest($1::int8[], $2::int8[], $3::int8[], $4::int8[]) "             \
	" AS e (n, domain, device, wire_id) WHERE s.domain_id = "             \
	"e.domain::int AND s.device_id = e.device AND s.wire_id IS DISTINCT " \
	"FROM e.wire_id"

#define SQL_WIRE_ENROL                                                    \
	"SELECT e.n, r.verdict FROM unnest($1::int8[], $2::int8[], "      \
	" $3::text[], $4::text[], $5::bytea[], $6::text[], $7::bytea[], " \
	" $8::bytea[], $9::bytea[], $10::int8[]) "                        \
	" AS e (n, a, i, j, b, c, d, f, g, h), LATERAL "                  \
	"wire_enrol_as(a::int, i, j, b, c, d, f, g, h) r"

/* --- the control thread ---------------------------------------------------- */

/* The database's clock, and cluster time. */
#define SQL_CLOCK "SELECT database_us(), cluster_us()"

#define SQL_DOMAINS                                                               \
	"SELECT domain_id, name, incarnation, epoch, "                            \
	"(SELECT coalesce(sum(hashint8(mint_from_us + key_id)), 0) "              \
	" FROM token_key), teep_profile, "                                        \
	"enrol, passport_s, (suspended IS NOT NULL)::int, audit_seq, audit_hash " \
	"FROM domain "                                                            \
	"ORDER BY domain_id"

#define SQL_INCARNATION_FOLLOWS \
	"SELECT incarnation_follows($1::int, $2::int8, $3::int8)::int"

/* 1 when the domain's chain of events does not have this head: it ends before
 * it, or has another event in its place.  An event whose month was dropped is
 * not asked for. */
#define SQL_HEAD_LOST                                                          \
	"SELECT (d.audit_seq < $2::int8 OR EXISTS (SELECT FROM audit_event e " \
	" WHERE e.domain_id = d.domain_id AND e.seq = $2::int8 AND "           \
	" e.hash <> decode($3, 'hex')))::int FROM domain d "                   \
	"WHERE d.domain_id = $1::int"

#define SQL_ADMISSION                                                       \
	"SELECT EXISTS (SELECT FROM admission)::int, "                      \
	"coalesce(max(expires_us), 0) FROM node_lease WHERE node_id <> $1 " \
	"AND expires_us > (SELECT cluster_us())"

#define SQL_ADMISSION_CLOSE "DELETE FROM admission"

#define SQL_ENDORSEMENTS                                      \
	"SELECT curve, public_key, hwmodel FROM endorsement " \
	"WHERE domain_id = $1::int ORDER BY thumbprint"

#define SQL_REFERENCE_VALUES                                           \
	"SELECT hwmodel, hwversion, dbgstat, oemboot::int, "           \
	"(SELECT coalesce(string_agg(encode(m, 'hex'), ''), '') FROM " \
	" unnest(manifests) m) FROM reference_value "                  \
	"WHERE domain_id = $1::int ORDER BY name"

#define SQL_DEVICE_CAS \
	"SELECT domain_id, name, pem, crl, purpose FROM device_ca ORDER BY 1, 2"

#define SQL_VERIFIERS                                                      \
	"SELECT domain_id, name, curve, public_key, worst_tier, "          \
	"unbound::int, max_age_s, url, ca, "                               \
	"array_to_string(media_types, ' '), pass_back::int FROM verifier " \
	"ORDER BY domain_id, name"

#define SQL_WIRE_PROFILES                                                       \
	"SELECT domain_id, name, is_default::int, wire_id, numbering, opener, " \
	"algorithms, kid, ask, always_token::int, verify_after_update, "        \
	"update_bytes, suit_profiles FROM wire_profile "                        \
	"ORDER BY domain_id, wire_id"

#define SQL_TAM_KEYS                                                      \
	"SELECT domain_id, thumbprint, uri, use, curve, public_key FROM " \
	"tam_key WHERE use <> 'next' "                                    \
	"ORDER BY domain_id, created_at, thumbprint"

#define SQL_TOKEN_KEYS \
	"SELECT key_id, wrapped, mint_from_us, retire_us FROM token_key"

#define SQL_TOKEN_KEY_ADD \
	"INSERT INTO token_key VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING"

/* Retired ones, and those that a wrong clock made for a time far ahead; none
 * while no other key mints. */
#define SQL_TOKEN_KEY_DROP                                                  \
	"DELETE FROM token_key k USING (SELECT cluster_us() AS now) t "     \
	"WHERE (k.retire_us < t.now OR k.mint_from_us > t.now + $1::int8) " \
	"AND EXISTS (SELECT FROM token_key o WHERE o.key_id <> k.key_id "   \
	"AND o.mint_from_us <= t.now AND o.retire_us > t.now)"

/* Cluster time; the newest key that mints by $1 from now; whether one mints
 * now; a free id, NULL when there is none; whether other nodes serve. */
#define SQL_TOKEN_KEY_STATE                                               \
	"SELECT t.now, (SELECT coalesce(max(mint_from_us), 0) FROM "      \
	" token_key WHERE mint_from_us <= t.now + $1::int8), "            \
	"(EXISTS (SELECT FROM token_key WHERE mint_from_us <= t.now AND " \
	" retire_us > t.now))::int, (SELECT min(i) FROM "                 \
	" generate_series(0, 15) i WHERE i NOT IN (SELECT key_id FROM "   \
	" token_key)), (EXISTS (SELECT FROM node_lease WHERE "            \
	" expires_us > t.now))::int FROM (SELECT cluster_us() AS now) t"

#define SQL_MANIFESTS_OF                                               \
	"SELECT domain_id, digest, component_id, sequence, envelope, " \
	"signer "                                                      \
	"FROM manifest WHERE domain_id = $1 ORDER BY component_id, sequence"

#define SQL_CHANNELS \
	"SELECT name, digest FROM channel WHERE domain_id = $1::int"

#define SQL_POLICIES                                                    \
	"SELECT domain_id, name, revision, document::text FROM policy " \
	"WHERE domain_id = $1 ORDER BY name"

#define SQL_REVOCATIONS                                               \
	"SELECT revocation_id, component, digest, first_sequence, "   \
	"last_sequence, signer, replacement, class, quarantine::int " \
	"FROM revocation WHERE domain_id = $1 AND lifted_us IS NULL " \
	"ORDER BY revocation_id"

/* A number for the renewals of one run of a node: above all that were used,
 * also when a failover lost the last ones. */
#define SQL_NODE_RUN                                   \
	"SELECT greatest(nextval('node_run_seq'), "    \
	"(SELECT coalesce(max(renewal >> 32), 0) + 1 " \
	" FROM node_lease WHERE node_id = $1)) & 2147483647"

/* Changes a row for each domain, or none: a newer renewal was there before.
 * Cluster time is never behind it from then on. */
#define SQL_LEASE                                                           \
	"WITH tick AS (UPDATE cluster_clock SET last_us = "                 \
	" greatest(last_us, cluster_us()), db_us = database_us() "          \
	" RETURNING last_us) "                                              \
	"INSERT INTO node_lease AS l (domain_id, node_id, epoch, "          \
	" expires_us, renewal) SELECT d, $1, e, t.last_us + $4::int8, "     \
	" $5::int8 FROM unnest($2::int[], $3::int8[]) AS x (d, e), tick t " \
	"ON CONFLICT (domain_id, node_id) DO UPDATE "                       \
	"SET epoch = EXCLUDED.epoch, expires_us = EXCLUDED.expires_us, "    \
	" renewal = EXCLUDED.renewal WHERE l.renewal < EXCLUDED.renewal"

#define SQL_LEASE_END "DELETE FROM node_lease WHERE node_id = $1"

/* A revocation is in force once no unexpired lease is older than it. */
#define SQL_IN_FORCE                                                                                 \
	"WITH t AS (SELECT cluster_us() AS now) UPDATE revocation r SET in_force_us = t.now FROM t " \
	"WHERE r.in_force_us IS NULL AND NOT EXISTS (SELECT FROM node_lease l "                      \
	" WHERE l.domain_id = r.domain_id AND l.expires_us > t.now "                                 \
	" AND l.epoch < r.epoch) AND EXISTS (SELECT FROM node_lease l "                              \
	" WHERE l.domain_id = r.domain_id AND l.expires_us > t.now)"

/*
 * Changes in the order of (transaction id, change).  $1, $2: the last one that
 * was read.  Transactions below xmin have ended, and none that begins later has
 * an id below it; the ids of changes are in no order of commits.  One row at
 * least: xmin, and NULLs when there is no change.
 */
#define SQL_DEVICE_CHANGES                                                   \
	"SELECT pg_snapshot_xmin(s.now), c.txid, c.change_id, c.domain_id, " \
	"c.device_id FROM (SELECT pg_current_snapshot() AS now) s "          \
	"LEFT JOIN LATERAL (SELECT * FROM device_change d WHERE "            \
	" (d.txid, d.change_id) > ($1::xid8, $2::int8) "                     \
	" AND d.txid < pg_snapshot_xmin(s.now) "                             \
	" ORDER BY d.txid, d.change_id LIMIT 10000) c ON true"

/* Where a node begins to read changes: it knows no device yet. */
#define SQL_DEVICE_CHANGES_START \
	"SELECT pg_snapshot_xmin(pg_current_snapshot())"

#define SQL_CHORE_LOCK        "SELECT pg_try_advisory_xact_lock(20000 + $1::int)::int"

#define SQL_SPREAD_REVOCATION "SELECT revocation_spread_step($1::int8)::int"

#define SQL_TALLY_REVOCATIONS "SELECT revocation_tally_add()"

#define SQL_EXPIRE_UPDATES                                                 \
	"UPDATE outstanding_update SET state = 'expired', closed_us = $1 " \
	"WHERE state = 'committed' AND expires_us < $1::int8"

#define SQL_TEND_EVENTS "SELECT event_tend()"

#define SQL_SEAL_LAG    "SELECT device_event_lag_us()"

#define SQL_SEAL_EVENTS "SELECT device_event_seal_step($1::int)::int"

#endif
