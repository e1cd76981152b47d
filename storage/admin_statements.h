/*
 * admin_statements.h - every SQL text of the admin API, but for rollouts and
 * revocations.
 *
 * They run as tam_admin with tam.domain set: row-level security sees to it
 * that no other domain's row is touched, whatever the text says.  Column 0 is
 * JSON, ready to be sent; column 1 of a list is the key of its cursor.
 */
#ifndef STORAGE_ADMIN_STATEMENTS_H
#define STORAGE_ADMIN_STATEMENTS_H

#define SQL_SIGN_IN     "SELECT domain_id, domain, name, role FROM sign_in($1)"

/* Who acts in this transaction, by the hash of a token. */
#define SQL_BIND_ACTOR  "SELECT actor_bind($1::bytea)"

#define SQL_BIND_DOMAIN "SELECT set_config('tam.domain', $1, true)"

#define SQL_AUDIT \
	"SELECT audit_append($1::int, $2, $3, $4, $5, $6, $7::jsonb, $8::jsonb)"

#define SQL_RAISE_EPOCH "SELECT epoch_raise($1::int)"

/* --- requests that are sent again ------------------------------------------- */

/* This key, and some others, when their day is over. */
#define SQL_REQUEST_KEY_FORGET                                               \
	"DELETE FROM request_key WHERE at < now() - interval '1 day' AND "   \
	"domain_id = $1::int AND ((principal = $2 AND key = $3) OR "         \
	"(principal, key) IN (SELECT principal, key FROM request_key WHERE " \
	"at < now() - interval '1 day' ORDER BY at LIMIT 100 "               \
	"FOR UPDATE SKIP LOCKED))"

#define SQL_REQUEST_KEY_TAKE                                            \
	"INSERT INTO request_key (domain_id, principal, key, request) " \
	"VALUES ($1::int, $2, $3, $4::bytea) ON CONFLICT DO NOTHING"

#define SQL_REQUEST_KEY_FIND                                              \
	"SELECT (request = $4::bytea)::int, status, content_type, etag, " \
	"response FROM request_key WHERE domain_id = $1::int AND "        \
	"principal = $2 AND key = $3"

#define SQL_REQUEST_KEY_KEEP                                             \
	"UPDATE request_key SET status = $4::int, content_type = $5, "   \
	"etag = $6, response = $7::bytea WHERE domain_id = $1::int AND " \
	"principal = $2 AND key = $3"

/* --- which state of an object ------------------------------------------------ */

/* All changes of one object wait for each other. */
#define SQL_TAG_LOCK \
	"SELECT pg_advisory_xact_lock($1::int, hashtext($2 || ' ' || $3))"

#define SQL_TAG_POLICY  "SELECT revision FROM policy WHERE name = $1"
#define SQL_TAG_CHANNEL "SELECT revision FROM channel WHERE name = $1"
#define SQL_TAG_ROLLOUT \
	"SELECT rollout_id || '.' || version FROM rollout WHERE name = $1"
#define SQL_TAG_ROW(table) \
	"SELECT md5(t::text) FROM " table " t WHERE name = $1"
#define SQL_TAG_DEVICE                                                      \
	"SELECT md5(row(class, status, update_bytes, (SELECT array_agg("    \
	"row(key, value)::text ORDER BY key) FROM device_label l WHERE "    \
	"l.domain_id = d.domain_id AND l.device_id = d.device_id))::text) " \
	"FROM device d WHERE name = $1"
#define SQL_TAG_DOMAIN                                              \
	"SELECT md5(row(enrol, enrol_status, enrol_class, rekey, "  \
	"two_persons, two_persons_for, preconditions, passport_s, " \
	"teep_profile)::text) "                                     \
	"FROM domain WHERE domain_id = $1::int"

#define SQL_DOMAIN_PRECONDITIONS \
	"SELECT name FROM domain WHERE domain_id = $1::int AND preconditions"

/* --- manifests -------------------------------------------------------------- */

#define SQL_MANIFEST_JSON                                                  \
	"json_build_object('digest', encode(digest, 'hex'), "              \
	"'sequence', sequence, 'component', component, 'signer', signer, " \
	"'bytes', length(envelope), 'components', components, "            \
	"'uploaded_by', uploaded_by, 'uploaded_at', uploaded_at)"

#define SQL_MANIFEST_LIST                                                    \
	"SELECT " SQL_MANIFEST_JSON ", encode(digest, 'hex') FROM manifest " \
	"WHERE encode(digest, 'hex') > $1 ORDER BY encode(digest, 'hex') "   \
	"LIMIT $2::int"

#define SQL_MANIFEST_GET \
	"SELECT " SQL_MANIFEST_JSON " FROM manifest WHERE digest = $1::bytea"

#define SQL_MANIFEST_ENVELOPE \
	"SELECT envelope FROM manifest WHERE digest = $1::bytea"

#define SQL_MANIFEST_NEWEST                                  \
	"SELECT sequence, digest = $2::bytea FROM manifest " \
	"WHERE component = $1 ORDER BY sequence DESC LIMIT 1"

#define SQL_MANIFEST_ADD                                                     \
	"INSERT INTO manifest (domain_id, digest, component, component_id, " \
	"sequence, signer, envelope, components, uploaded_by) "              \
	"VALUES ($1::int, $2::bytea, $3, $4::bytea, $5, $6, $7::bytea, "     \
	"$8::jsonb, $9) ON CONFLICT (domain_id, digest) DO NOTHING"

#define SQL_MANIFEST_COMPONENTS                                            \
	"INSERT INTO manifest_component SELECT $1::int, $2::bytea, t.id, " \
	"nullif(t.image, '\\x'), $5::int8 FROM unnest($3::bytea[], "       \
	"$4::bytea[]) AS t (id, image) ON CONFLICT DO NOTHING"

/* --- trust anchors ----------------------------------------------------------- */

#define SQL_ANCHOR_JSON                                                  \
	"json_build_object('name', name, 'curve', curve, 'thumbprint', " \
	"encode(thumbprint, 'hex'), 'prefixes', to_json(prefixes), "     \
	"'created_at', created_at)"

#define SQL_ANCHOR_LIST                                                       \
	"SELECT " SQL_ANCHOR_JSON ", name FROM trust_anchor WHERE name > $1 " \
	"ORDER BY name LIMIT $2::int"

#define SQL_ANCHOR_GET \
	"SELECT " SQL_ANCHOR_JSON " FROM trust_anchor WHERE name = $1"

#define SQL_ANCHOR_KEYS                                            \
	"SELECT name, curve, public_key, array_to_json(prefixes) " \
	"FROM trust_anchor ORDER BY name"

#define SQL_ANCHOR_OTHERS                                                               \
	"SELECT count(*) FROM trust_anchor WHERE NOT EXISTS (SELECT FROM trust_anchor " \
	"WHERE name = $1)"

#define SQL_ANCHOR_PUT                                                    \
	"INSERT INTO trust_anchor (domain_id, name, curve, public_key, "  \
	"thumbprint, prefixes) VALUES ($1::int, $2, $3, $4::bytea, "      \
	"$5::bytea, array(SELECT jsonb_array_elements_text($6::jsonb))) " \
	"ON CONFLICT (domain_id, name) DO UPDATE SET "                    \
	"curve = EXCLUDED.curve, public_key = EXCLUDED.public_key, "      \
	"thumbprint = EXCLUDED.thumbprint, prefixes = EXCLUDED.prefixes"

#define SQL_ANCHOR_DELETE "DELETE FROM trust_anchor WHERE name = $1"

/* --- policies ------------------------------------------------------------------ */

#define SQL_POLICY_JSON                                                      \
	"json_build_object('name', name, 'revision', revision, 'document', " \
	"document)"

#define SQL_POLICY_LIST                                                 \
	"SELECT " SQL_POLICY_JSON ", name FROM policy WHERE name > $1 " \
	"ORDER BY name LIMIT $2::int"

#define SQL_POLICY_GET \
	"SELECT " SQL_POLICY_JSON ", revision FROM policy WHERE name = $1"

#define SQL_POLICY_OLD                                                 \
	"SELECT document::text, revision FROM policy WHERE name = $1 " \
	"FOR UPDATE"

#define SQL_POLICY_PEEK "SELECT document::text FROM policy WHERE name = $1"

#define SQL_POLICY_PUT                                                         \
	"WITH r AS (SELECT coalesce(max(revision), 0) + 1 AS n "               \
	" FROM policy_revision WHERE name = $2), "                             \
	"h AS (INSERT INTO policy_revision (domain_id, name, revision, "       \
	" document, author, reason) SELECT $1::int, $2, n, $3::jsonb, $4, $5 " \
	" FROM r) "                                                            \
	"INSERT INTO policy SELECT $1::int, $2, n, $3::jsonb FROM r "          \
	"ON CONFLICT (domain_id, name) DO UPDATE SET "                         \
	"revision = EXCLUDED.revision, document = EXCLUDED.document "          \
	"RETURNING " SQL_POLICY_JSON ", revision"

#define SQL_POLICY_DELETE                                                    \
	"WITH d AS (DELETE FROM policy WHERE name = $2 RETURNING revision) " \
	"INSERT INTO policy_revision (domain_id, name, revision, document, " \
	"author, reason) SELECT $1::int, $2, revision + 1, NULL, $3, $4 FROM d"

#define SQL_POLICY_WAS  "SELECT FROM policy_revision WHERE name = $1 LIMIT 1"
#define SQL_CHANNEL_WAS "SELECT FROM channel_revision WHERE name = $1 LIMIT 1"

/* Newest first. */
#define SQL_POLICY_HISTORY                                                    \
	"SELECT json_build_object('revision', revision, 'at', at, 'author', " \
	"author, 'reason', reason, 'document', document), revision "          \
	"FROM policy_revision WHERE name = $1 AND revision < $2::int8 "       \
	"ORDER BY revision DESC LIMIT $3::int"

#define SQL_POLICY_REVISION                           \
	"SELECT document::text FROM policy_revision " \
	"WHERE name = $1 AND revision = $2::int8"

/* --- channels --------------------------------------------------------------------- */

#define SQL_CHANNEL_JSON                                                     \
	"json_build_object('name', name, 'revision', revision, 'manifest', " \
	"encode(digest, 'hex'), 'component', (SELECT component FROM "        \
	"manifest m WHERE m.domain_id = c.domain_id AND m.digest = "         \
	"c.digest), 'sequence', (SELECT sequence FROM manifest m WHERE "     \
	"m.domain_id = c.domain_id AND m.digest = c.digest))"

#define SQL_CHANNEL_LIST                                                    \
	"SELECT " SQL_CHANNEL_JSON ", name FROM channel c WHERE name > $1 " \
	"ORDER BY name LIMIT $2::int"

#define SQL_CHANNEL_GET \
	"SELECT " SQL_CHANNEL_JSON " FROM channel c WHERE name = $1"

#define SQL_CHANNEL_HISTORY                                                   \
	"SELECT json_build_object('revision', revision, 'at', at, 'author', " \
	"author, 'reason', reason, 'manifest', encode(digest, 'hex')), "      \
	"revision FROM channel_revision WHERE name = $1 AND "                 \
	"revision < $2::int8 ORDER BY revision DESC LIMIT $3::int"

#define SQL_CHANNEL_PUT                                                      \
	"WITH r AS (SELECT coalesce(max(revision), 0) + 1 AS n "             \
	" FROM channel_revision WHERE name = $2), "                          \
	"h AS (INSERT INTO channel_revision (domain_id, name, revision, "    \
	" digest, author, reason) SELECT $1::int, $2, n, $3::bytea, $4, $5 " \
	" FROM r) "                                                          \
	"INSERT INTO channel SELECT $1::int, $2, n, $3::bytea FROM r "       \
	"ON CONFLICT (domain_id, name) DO UPDATE SET "                       \
	"revision = EXCLUDED.revision, digest = EXCLUDED.digest"

#define SQL_CHANNEL_USERS                                                 \
	"SELECT name FROM policy WHERE jsonb_path_exists(document, "      \
	"'$.components[*] ? (@.channel == $c)', jsonb_build_object('c', " \
	"$1::text)) ORDER BY name LIMIT 1"

#define SQL_CHANNEL_FORGET                                                   \
	"INSERT INTO channel_revision (domain_id, name, revision, digest, "  \
	"author, reason) SELECT domain_id, name, revision + 1, NULL, $2, ''" \
	" FROM channel WHERE name = $1"

#define SQL_CHANNEL_DELETE "DELETE FROM channel WHERE name = $1"

/* --- wire profiles --------------------------------------------------------------- */

#define SQL_PROFILE_JSON                                                       \
	"json_build_object('name', name, 'is_default', is_default, "           \
	"'numbering', numbering, 'opener', opener, 'algorithms', algorithms, " \
	"'kid', kid, 'ask', ask, 'always_token', always_token, "               \
	"'verify_after_update', verify_after_update, 'update_bytes', "         \
	"update_bytes, 'suit_profiles', suit_profiles)"

#define SQL_PROFILE_LIST                                                       \
	"SELECT " SQL_PROFILE_JSON ", name FROM wire_profile WHERE name > $1 " \
	"ORDER BY name LIMIT $2::int"

#define SQL_PROFILE_GET \
	"SELECT " SQL_PROFILE_JSON " FROM wire_profile WHERE name = $1"

#define SQL_PROFILE_UNDEFAULT \
	"UPDATE wire_profile SET is_default = false WHERE name <> $1"

#define SQL_PROFILE_OTHERS                                                              \
	"SELECT count(*) FROM wire_profile WHERE NOT EXISTS (SELECT FROM wire_profile " \
	"WHERE name = $1)"

/* A missing field keeps its value, or takes the table's default.  The number
 * behind the highest is taken, so that tokens under way keep their meaning;
 * once that is 255, the lowest that is free. */
#define SQL_PROFILE_ADD                                                         \
	"INSERT INTO wire_profile (domain_id, name, wire_id) "                  \
	"SELECT $1::int, $2, CASE WHEN n.next < 256 THEN n.next ELSE (SELECT "  \
	" min(g) FROM generate_series(0, 255) g WHERE NOT EXISTS (SELECT FROM " \
	" wire_profile w WHERE w.wire_id = g)) END FROM (SELECT "               \
	" coalesce(max(wire_id) + 1, 0) AS next FROM wire_profile) n "          \
	"WHERE NOT EXISTS (SELECT FROM wire_profile WHERE name = $2)"

#define SQL_PROFILE_SET                                                      \
	"UPDATE wire_profile p SET "                                         \
	"is_default = coalesce((d->>'is_default')::boolean, is_default), "   \
	"numbering = coalesce(d->>'numbering', numbering), "                 \
	"opener = coalesce(d->>'opener', opener), "                          \
	"algorithms = coalesce(d->>'algorithms', algorithms), "              \
	"kid = coalesce(d->>'kid', kid), ask = coalesce(d->>'ask', ask), "   \
	"always_token = coalesce((d->>'always_token')::boolean, "            \
	" always_token), verify_after_update = "                             \
	"coalesce(d->>'verify_after_update', verify_after_update), "         \
	"update_bytes = coalesce((d->>'update_bytes')::int, update_bytes), " \
	"suit_profiles = coalesce(d->>'suit_profiles', suit_profiles) "      \
	"FROM (SELECT $2::jsonb AS d) x WHERE name = $1 "                    \
	"RETURNING " SQL_PROFILE_JSON

/* --- payloads --------------------------------------------------------------------------- */

#define SQL_PAYLOAD_JSON(domain)                                            \
	"json_build_object('digest', encode(digest, 'hex'), 'size', "       \
	"length(bytes), 'path', '/payload/' || " domain " || '/' || "       \
	"encode(digest, 'hex'), 'note', note, 'uploaded_by', uploaded_by, " \
	"'uploaded_at', uploaded_at)"

#define SQL_PAYLOAD_LIST                                                             \
	"SELECT " SQL_PAYLOAD_JSON(                                                  \
	    "$3") ", encode(digest, 'hex') FROM payload "                            \
	          "WHERE encode(digest, 'hex') > $1 ORDER BY encode(digest, 'hex') " \
	          "LIMIT $2::int"

#define SQL_PAYLOAD_GET                                   \
	"SELECT " SQL_PAYLOAD_JSON("$2") " FROM payload " \
	                                 "WHERE digest = $1::bytea"

#define SQL_PAYLOAD_ADD                                                      \
	"INSERT INTO payload (domain_id, digest, bytes, note, uploaded_by) " \
	"VALUES ($1::int, $2::bytea, $3::bytea, $4, $5) "                    \
	"ON CONFLICT (domain_id, digest) DO NOTHING"

#define SQL_PAYLOAD_DELETE "DELETE FROM payload WHERE digest = $1::bytea"

/* --- the domain ------------------------------------------------------------------------- */

#define SQL_DOMAIN_JSON                                                                                                                                                                                                         \
	"json_build_object('name', name, 'epoch', epoch, 'enrol', enrol, "                                                                                                                                                      \
	"'suspended', suspended, 'two_persons', two_persons, 'two_persons_for', two_persons_for, 'preconditions', preconditions, 'passport_s', passport_s, 'enrol_status', enrol_status, 'enrol_class', enrol_class, 'rekey', " \
	"rekey, 'teep_profile', teep_profile)"

#define SQL_DOMAIN_SUSPENDED \
	"SELECT suspended FROM domain WHERE domain_id = $1::int"

#define SQL_DOMAIN_GET \
	"SELECT " SQL_DOMAIN_JSON " FROM domain WHERE domain_id = $1::int"

#define SQL_DOMAIN_SET                                                 \
	"UPDATE domain SET enrol = coalesce(d->>'enrol', enrol), "     \
	"enrol_status = coalesce(d->>'enrol_status', enrol_status), "  \
	"enrol_class = coalesce(d->>'enrol_class', enrol_class), "     \
	"rekey = coalesce(d->>'rekey', rekey), "                       \
	"two_persons = coalesce((d->>'two_persons')::boolean, "        \
	" two_persons), two_persons_for = CASE WHEN d ? "              \
	" 'two_persons_for' THEN ARRAY(SELECT DISTINCT w FROM "        \
	" jsonb_array_elements_text(d->'two_persons_for') AS w "       \
	" ORDER BY w) ELSE two_persons_for END, "                      \
	"preconditions = coalesce((d->>'preconditions')::boolean, "    \
	" preconditions), "                                            \
	"passport_s = coalesce((d->>'passport_s')::int, passport_s), " \
	"teep_profile = coalesce(d->>'teep_profile', teep_profile) "   \
	"FROM (SELECT $2::jsonb AS d) x WHERE domain_id = $1::int"

#define SQL_DEVICE_REKEY                                                     \
	"SELECT device_rekey_apply(r.domain_id, r.device_id, r.thumbprint, " \
	"r.curve, r.public_key) FROM device_rekey r JOIN device d "          \
	"USING (domain_id, device_id) WHERE d.name = $1 AND "                \
	"encode(r.thumbprint, 'hex') = $2"

/* The keys of a device. */
#define SQL_DEVICE_KEYS                                                   \
	"SELECT json_build_object('keys', coalesce(json_agg(encode("      \
	"k.thumbprint, 'hex') ORDER BY k.thumbprint), '[]'))::text FROM " \
	"device d JOIN device_key k USING (domain_id, device_id) WHERE "  \
	"d.name = $1"

/* Some of these devices, the number, and a hash of the names of all. */
#define SQL_DEVICES_NAMED                                                    \
	"WITH d AS MATERIALIZED (SELECT name, class, status FROM device "    \
	" WHERE device_id = ANY ($1::int8[])) SELECT json_build_object("     \
	"'count', (SELECT count(*) FROM d), 'sha256', (SELECT encode("       \
	"sha256(convert_to(coalesce(string_agg(name || E'\\n', '' ORDER BY " \
	"name), ''), 'UTF8')), 'hex') FROM d), 'devices', (SELECT "          \
	"coalesce(json_agg(x), '[]') FROM (SELECT name, class, status "      \
	"FROM d ORDER BY name LIMIT 100) x))::text"

#define SQL_DEVICE_REKEY_REFUSE                                        \
	"DELETE FROM device_rekey r USING device d WHERE "             \
	"d.domain_id = r.domain_id AND d.device_id = r.device_id AND " \
	"d.name = $1 AND encode(r.thumbprint, 'hex') = $2"

/* --- our own Verifier ---------------------------------------------------------------------- */

#define SQL_ENDORSEMENT_LIST                                              \
	"SELECT json_build_object('name', name, 'curve', curve, "         \
	"'thumbprint', encode(thumbprint, 'hex'), 'hwmodel', "            \
	"encode(hwmodel, 'hex')), name FROM endorsement WHERE name > $1 " \
	"ORDER BY name LIMIT $2::int"

#define SQL_ENDORSEMENT_PUT                                                 \
	"INSERT INTO endorsement VALUES ($1::int, $2, $3, $4::bytea, "      \
	"$5::bytea, decode($6, 'hex')) ON CONFLICT (domain_id, name) DO "   \
	"UPDATE SET curve = EXCLUDED.curve, public_key = "                  \
	"EXCLUDED.public_key, thumbprint = EXCLUDED.thumbprint, hwmodel = " \
	"EXCLUDED.hwmodel"

#define SQL_ENDORSEMENT_DELETE "DELETE FROM endorsement WHERE name = $1"

#define SQL_REFERENCE_LIST                                                        \
	"SELECT json_build_object('name', name, 'hwmodel', "                      \
	"encode(hwmodel, 'hex'), 'hwversion', hwversion, 'dbgstat', dbgstat, "    \
	"'oemboot', oemboot, 'manifests', (SELECT "                               \
	"coalesce(json_agg(encode(m, 'hex')), '[]') FROM unnest(manifests) m)), " \
	"name FROM reference_value WHERE name > $1 ORDER BY name "                \
	"LIMIT $2::int"

#define SQL_REFERENCE_PUT                                                \
	"INSERT INTO reference_value SELECT $1::int, $2, "               \
	"decode(d->>'hwmodel', 'hex'), coalesce(d->>'hwversion', ''), "  \
	"coalesce((d->>'dbgstat')::int, 0), "                            \
	"coalesce((d->>'oemboot')::boolean, false), "                    \
	"array(SELECT decode(m, 'hex') FROM "                            \
	" jsonb_array_elements_text(coalesce(d->'manifests', '[]')) m) " \
	"FROM (SELECT $3::jsonb AS d) x "                                \
	"ON CONFLICT (domain_id, name) DO UPDATE SET hwmodel = "         \
	"EXCLUDED.hwmodel, hwversion = EXCLUDED.hwversion, dbgstat = "   \
	"EXCLUDED.dbgstat, oemboot = EXCLUDED.oemboot, manifests = "     \
	"EXCLUDED.manifests"

#define SQL_REFERENCE_DELETE "DELETE FROM reference_value WHERE name = $1"

/* --- device CAs ----------------------------------------------------------------------------- */

#define SQL_DEVICE_CA_LIST                                                     \
	"SELECT json_build_object('name', name, 'certificates', "              \
	"(length(pem) - length(replace(pem, 'BEGIN CERT', ''))) / 10, "        \
	"'lists', (length(crl) - length(replace(crl, 'BEGIN X509 CRL', ''))) " \
	"/ 14, 'purpose', purpose, 'created_at', created_at), name FROM "      \
	"device_ca "                                                           \
	"WHERE name > $1 ORDER BY name LIMIT $2::int"

#define SQL_DEVICE_CA_PUT                                                 \
	"INSERT INTO device_ca (domain_id, name, pem, crl, purpose) "     \
	"VALUES ($1::int, $2, $3, $4, $5) ON CONFLICT (domain_id, name) " \
	"DO UPDATE SET pem = EXCLUDED.pem, crl = EXCLUDED.crl, "          \
	"purpose = EXCLUDED.purpose"

#define SQL_DEVICE_CA_DELETE "DELETE FROM device_ca WHERE name = $1"

/* --- Verifiers and TAM keys ------------------------------------------------------------- */

#define SQL_VERIFIER_JSON                                                           \
	"json_build_object('name', name, 'curve', curve, 'thumbprint', "            \
	"encode(thumbprint, 'hex'), 'worst_tier', worst_tier, 'unbound', "          \
	"unbound, 'max_age_s', max_age_s, 'url', url, 'media_types', media_types, " \
	"'pass_back', pass_back, 'created_at', created_at)"

#define SQL_VERIFIER_LIST                                                   \
	"SELECT " SQL_VERIFIER_JSON ", name FROM verifier WHERE name > $1 " \
	"ORDER BY name LIMIT $2::int"

#define SQL_VERIFIER_GET \
	"SELECT " SQL_VERIFIER_JSON " FROM verifier WHERE name = $1"

/* A missing field takes the table's default. */
#define SQL_VERIFIER_OTHERS                                                     \
	"SELECT count(*) FROM verifier WHERE NOT EXISTS (SELECT FROM verifier " \
	"WHERE name = $1)"

#define SQL_VERIFIER_PUT                                                  \
	"INSERT INTO verifier (domain_id, name, curve, public_key, "      \
	"thumbprint, worst_tier, unbound, max_age_s, url, ca, "           \
	"media_types, pass_back) "                                        \
	"SELECT $1::int, $2, $3, $4::bytea, $5::bytea, "                  \
	"coalesce(d->>'worst_tier', 'affirming'), "                       \
	"coalesce((d->>'unbound')::boolean, false), "                     \
	"coalesce((d->>'max_age_s')::int, 0), coalesce(d->>'url', ''), "  \
	"coalesce(d->>'ca', ''), array(SELECT "                           \
	" jsonb_array_elements_text(coalesce(d->'media_types', '[]'))), " \
	"coalesce((d->>'pass_back')::boolean, false) "                    \
	"FROM (SELECT $6::jsonb AS d) x "                                 \
	"ON CONFLICT (domain_id, name) DO UPDATE SET "                    \
	"curve = EXCLUDED.curve, public_key = EXCLUDED.public_key, "      \
	"thumbprint = EXCLUDED.thumbprint, worst_tier = "                 \
	"EXCLUDED.worst_tier, unbound = EXCLUDED.unbound, max_age_s = "   \
	"EXCLUDED.max_age_s, url = EXCLUDED.url, ca = EXCLUDED.ca, "      \
	"media_types = EXCLUDED.media_types, pass_back = EXCLUDED.pass_back"

#define SQL_VERIFIER_DELETE "DELETE FROM verifier WHERE name = $1"

#define SQL_TAM_KEY_LIST                                                      \
	"SELECT json_build_object('use', use, 'curve', curve, 'thumbprint', " \
	"encode(thumbprint, 'hex'), 'public_key', "                           \
	"encode(public_key, 'hex'), 'created_at', created_at), "              \
	"encode(thumbprint, 'hex') FROM tam_key "                             \
	"WHERE encode(thumbprint, 'hex') > $1 "                               \
	"ORDER BY encode(thumbprint, 'hex') LIMIT $2::int"

/* --- devices ------------------------------------------------------------------------ */

/* Between these: the rows, and the condition of a selector (%s each). */
#define SQL_DEVICE_LIST                                                                                               \
	"SELECT json_build_object('name', d.name, 'class', d.class, "                                                 \
	"'status', d.status, 'reason', s.reason, 'last_seen', us_time(s.seen_us)), d.name FROM %s WHERE d.name > $1 " \
	"AND ($3 = '' OR d.class = $3) "                                                                              \
	"AND ($4 = '' OR d.status = $4) AND "

#define SQL_DEVICE_LIST_END " ORDER BY d.name LIMIT $2::int"

#define SQL_DEVICE_PREVIEW                                                                    \
	"WITH m AS MATERIALIZED (SELECT d.name, d.class, d.status, "                          \
	"s.seen_us FROM %s WHERE %s) "                                                        \
	"SELECT json_build_object('devices', (SELECT count(*) FROM m), "                      \
	"'by_class', (SELECT coalesce(json_object_agg(class, n ORDER BY n DESC), '{}') FROM " \
	" (SELECT class, count(*) AS n FROM m GROUP BY class ORDER BY n DESC "                \
	" LIMIT 100) c), "                                                                    \
	"'by_status', (SELECT coalesce(json_object_agg(status, n), '{}') "                    \
	" FROM (SELECT status, count(*) AS n FROM m GROUP BY status) c), "                    \
	"'never_seen', (SELECT count(*) FROM m WHERE seen_us = 0), "                          \
	"'not_seen_for_7d', (SELECT count(*) FROM m WHERE seen_us > 0 AND "                   \
	" seen_us < $1::int8 - 604800000000), "                                               \
	"'oldest_contact', (SELECT us_time(min(seen_us)) FROM m "                             \
	" WHERE seen_us > 0), "                                                               \
	"'sample', (SELECT coalesce(json_agg(name), '[]') FROM "                              \
	" (SELECT name FROM m ORDER BY name LIMIT $2::int) x))"

/* Parts of the fleet in the order of device ids, for a dry run: two lists of
 * columns, if anybody asks for them, the rows and the condition. */
#define SQL_DRY_ENROLMENT "(extract(epoch FROM d.enrolled_at) * 1000000)::int8"
#define SQL_DRY_APPRAISAL \
	"a.verifier, a.oemid, a.ueid, a.hwmodel, a.hwversion, a.tier, a.at_us"
#define SQL_DRY_NO_APPRAISAL "NULL, NULL, NULL, NULL, NULL, 0, 0"

#define SQL_DRY_DEVICES                                                                         \
	"DECLARE dry NO SCROLL CURSOR FOR "                                                     \
	"SELECT d.device_id, d.name, d.class, d.status, %s, s.seen_us, "                        \
	"coalesce(d.update_bytes, 0), coalesce(w.update_bytes, p.update_bytes, 1048576), "      \
	"(coalesce(w.ask, p.ask) IS NOT DISTINCT FROM 'attest')::int, a.result, %s, d.bucket, " \
	"s.inventory_hash FROM %s LEFT JOIN wire_profile w ON "                                 \
	"w.domain_id = d.domain_id AND w.wire_id = s.wire_id "                                  \
	"LEFT JOIN wire_profile p ON p.domain_id = d.domain_id AND "                            \
	"p.is_default WHERE d.status = 'active' AND %s ORDER BY d.device_id"

#define SQL_DRY_FETCH   "FETCH 20000 FROM dry"

/* For this transaction: lists in the order of their indexes are merged in half
 * the time that it takes to hash a million rows (tests/bench/million.sh). */
#define SQL_MERGE_LISTS "SELECT set_config('enable_hashjoin', 'off', true)"

#define SQL_DRY_LABELS                                    \
	"SELECT device_id, key, value FROM device_label " \
	"WHERE device_id BETWEEN $1::int8 AND $2::int8 ORDER BY 1"

#define SQL_DRY_COMPONENTS                                        \
	"SELECT device_id, component, coalesce(digest, '') FROM " \
	"device_component WHERE device_id = ANY ($1::int8[]) "    \
	"ORDER BY 1, 2"

#define SQL_DRY_REQUESTS                                   \
	"SELECT device_id, component FROM device_request " \
	"WHERE device_id BETWEEN $1::int8 AND $2::int8 ORDER BY 1"

/* policy.h, PART_* */
#define SQL_PART_STATE(d)                                             \
	"CASE " d ".state WHEN 'retry' THEN 0 WHEN 'offered' THEN 1 " \
	"WHEN 'acknowledged' THEN 2 WHEN 'verified' THEN 3 ELSE 4 END"

#define SQL_DRY_PARTS                                                                   \
	"SELECT device_id, rollout_id, stage, back::int, " SQL_PART_STATE(              \
	    "d") " "                                                                    \
	         "FROM rollout_device d WHERE device_id BETWEEN $1::int8 AND $2::int8 " \
	         "ORDER BY 1"

#define SQL_DRY_KEYS                                    \
	"SELECT device_id, thumbprint FROM device_key " \
	"WHERE device_id BETWEEN $1::int8 AND $2::int8 ORDER BY 1"

/* At most $1 behind $2, how many there are, at most one more, and the last.
 * With a status ($3) not those that only come back by name. */
#define SQL_DEVICE_IDS                                                                                     \
	"SELECT coalesce(ids[1:$1::int], '{}'), coalesce(cardinality(ids), 0), ids[$1::int] FROM (SELECT " \
	"array_agg(device_id ORDER BY device_id) AS ids FROM (SELECT d.device_id FROM %s WHERE %s "        \
	"AND d.device_id > $2::int8 AND ($3::text IS NULL OR d.status <> 'decommissioned') "               \
	"ORDER BY d.device_id LIMIT $1::int + 1) x) y"

/* As an import takes it. */
#define SQL_DEVICE_EXPORT                                                     \
	"SELECT json_strip_nulls(json_build_object('name', d.name, 'class', " \
	"d.class, 'status', d.status, 'update_bytes', d.update_bytes, "       \
	"'labels', (SELECT coalesce(json_object_agg(l.key, l.value), '{}') "  \
	" FROM device_label l WHERE l.domain_id = d.domain_id AND "           \
	" l.device_id = d.device_id), 'key', (SELECT key_jwk(k.curve, "       \
	" k.public_key) FROM device_key k WHERE k.domain_id = d.domain_id "   \
	" AND k.device_id = d.device_id ORDER BY k.thumbprint LIMIT 1))), "   \
	"d.name FROM %s WHERE d.name > $1 AND %s ORDER BY d.name "            \
	"LIMIT $2::int"

#define SQL_DEVICES_CHANGE                                          \
	"SELECT device_change_many($1::int, $2::bigint[], $3, $4, " \
	"$5::int, $6::jsonb)"

#define SQL_DEVICE_GET                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                            \
	"SELECT json_build_object('name', d.name, 'class', d.class, "                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                             \
	"'status', d.status, 'update_bytes', d.update_bytes, 'enrolled_at', d.enrolled_at, 'labels', "                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                            \
	"(SELECT coalesce(json_object_agg(key, value), '{}') FROM "                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                               \
	" device_label l WHERE l.domain_id = d.domain_id AND "                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                    \
	" l.device_id = d.device_id), 'keys', (SELECT json_agg( "                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                 \
	" json_build_object('thumbprint', encode(thumbprint, 'hex'), 'curve', "                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                   \
	" curve)) FROM device_key k WHERE k.domain_id = d.domain_id AND "                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                         \
	" k.device_id = d.device_id), 'last_seen', us_time(s.seen_us), "                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                          \
	"'decision', json_build_object('reason', s.reason, 'at', us_time(s.decided_us)), 'numbering', CASE s.numbering "                                                                                                                                                                                                                                                                                                                                                                                                                                                                                          \
	"WHEN 0 THEN 'legacy' WHEN 1 THEN 'final' END, 'stamp', "                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                 \
	"json_build_object('epoch', s.stamp_epoch, 'us', s.stamp_us), "                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                           \
	"'pending_keys', (SELECT coalesce(json_agg(encode(thumbprint, 'hex')), '[]') FROM device_rekey r WHERE r.domain_id = d.domain_id AND r.device_id = d.device_id), 'attestation', (SELECT json_build_object('result', result, 'reason', reason, 'verifier', verifier, 'tier', tier, 'ueid', encode(ueid, 'hex'), 'oemid', encode(oemid, 'hex'), 'hwmodel', encode(hwmodel, 'hex'), 'hwversion', hwversion, 'at', to_timestamp(at_us / 1e6)) FROM device_attestation a WHERE a.domain_id = d.domain_id AND a.device_id = d.device_id), 'update', (SELECT json_build_object('id', update_id::text, 'state', " \
	" state, 'attempt', attempt, 'reason', reason, 'success', success, "                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                      \
	" 'err_code', err_code, 'detail', err_detail, 'offered_at', us_time(offered_us)) FROM outstanding_update o WHERE "                                                                                                                                                                                                                                                                                                                                                                                                                                                                                        \
	" o.domain_id = d.domain_id AND o.device_id = d.device_id "                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                               \
	" ORDER BY committed_us DESC LIMIT 1)), d.device_id "                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                     \
	"FROM device d JOIN device_seen s USING (domain_id, device_id) "                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                          \
	"WHERE d.name = $1"

/* The wire profile that a device (d, with its row s of device_seen) came by
 * last, or the default one: p. */
#define SQL_CAME_BY                                                          \
	"LEFT JOIN LATERAL (SELECT w.update_bytes, w.ask FROM wire_profile " \
	" w WHERE w.domain_id = d.domain_id AND (w.wire_id = s.wire_id OR "  \
	" w.is_default) ORDER BY w.is_default LIMIT 1) p ON true "

#define SQL_EXPLAIN_DEVICE                                                 \
	"SELECT d.device_id, d.name, d.status, d.class, "                  \
	"(extract(epoch FROM d.enrolled_at) * 1000000)::int8, s.seen_us, " \
	"coalesce(d.update_bytes, 0), coalesce(p.update_bytes, 1048576), " \
	"(p.ask IS NOT DISTINCT FROM 'attest')::int, "                     \
	"(x.suspended IS NOT NULL)::int, a.result, "                       \
	"a.verifier, a.oemid, a.ueid, a.hwmodel, a.hwversion, a.tier, "    \
	"a.at_us, u.update_id, u.content, u.state, u.success::int, "       \
	"u.err_code, u.attempt, "                                          \
	"u.failures, u.offered_us, u.closed_us, u.expires_us, d.bucket "   \
	"FROM device d JOIN device_seen s USING (domain_id, device_id) "   \
	"JOIN domain x USING (domain_id) " SQL_CAME_BY                     \
	"LEFT JOIN device_attestation a ON a.domain_id = d.domain_id AND " \
	"a.device_id = d.device_id "                                       \
	"LEFT JOIN LATERAL (SELECT * FROM outstanding_update o "           \
	" WHERE o.domain_id = d.domain_id AND o.device_id = d.device_id "  \
	" ORDER BY o.committed_us DESC LIMIT 1) u ON true "                \
	"WHERE d.name = $1"

/* The default wire profile's limit, and whether the domain is suspended. */
#define SQL_EXPLAIN_PROFILE                                              \
	"SELECT coalesce((SELECT p.update_bytes FROM wire_profile p "    \
	" WHERE p.domain_id = x.domain_id AND p.is_default), 1048576), " \
	"(x.suspended IS NOT NULL)::int FROM domain x"

#define SQL_EXPLAIN_PARTS                                                 \
	"SELECT 'label', convert_to(key, 'UTF8'), "                       \
	"convert_to(value, 'UTF8') FROM device_label "                    \
	"WHERE device_id = $1::int8 "                                     \
	"UNION ALL SELECT 'key', thumbprint, '' FROM device_key "         \
	"WHERE device_id = $1::int8 "                                     \
	"UNION ALL (SELECT 'component', component, coalesce(digest, '') " \
	"FROM device_component WHERE device_id = $1::int8 "               \
	"ORDER BY component) "                                            \
	"UNION ALL SELECT 'request', component, '' FROM device_request "  \
	"WHERE device_id = $1::int8"

#define SQL_EXPLAIN_ROLLOUTS                                                   \
	"SELECT r.rollout_id, d.stage, d.back::int, " SQL_PART_STATE(          \
	    "d") ", r.name, d.state FROM rollout_device d JOIN rollout r "     \
	         "USING (domain_id, rollout_id) WHERE d.device_id = $1::int8 " \
	         "ORDER BY 1"

#define SQL_EPOCH "SELECT epoch FROM domain WHERE domain_id = $1::int"

#define SQL_DEVICE_COMPONENTS                                                                       \
	"SELECT component, encode(digest, 'hex'), source, us_time(since_us) FROM device_component " \
	"WHERE device_id = $1::bigint ORDER BY component"

#define SQL_DEVICE_IMPORT \
	"SELECT n, status, detail FROM device_import($1::int, $2::jsonb)"

#define SQL_DEVICE_OLD                                                   \
	"SELECT device_id, json_build_object('class', class, 'status', " \
	"status, 'update_bytes', update_bytes)::text FROM device "       \
	"WHERE name = $1 FOR UPDATE"

/* Only events that are final: one that commits later never has a number
 * before one that was shown. */
#define SQL_DEVICE_THERE "SELECT FROM device WHERE name = $1"

#define SQL_DEVICE_EVENTS                                                                                             \
	"SELECT json_build_object('id', event_id, 'at', us_time(at_us), 'kind', kind, 'update_id', update_id::text, " \
	"'detail', detail), event_id FROM device_event WHERE device_id = "                                            \
	"(SELECT device_id FROM device WHERE name = $1) "                                                             \
	"AND event_id > $2::bigint AND event_id <= (SELECT "                                                          \
	"coalesce(max(settled), 0) FROM device_event_horizon) "                                                       \
	"ORDER BY event_id LIMIT $3::int"

#define SQL_FLEET                                                               \
	"SELECT json_build_object('devices', count(*), 'by_status', "           \
	"(SELECT coalesce(json_object_agg(status, n), '{}') FROM (SELECT "      \
	" status, count(*) AS n FROM device GROUP BY status) x), 'by_reason', " \
	"(SELECT coalesce(json_object_agg(reason, n), '{}') FROM (SELECT "      \
	" reason, count(*) AS n FROM device_seen GROUP BY reason) x), "         \
	"'seen', (SELECT count(*) FROM device_seen WHERE seen_us > 0)) "        \
	"FROM device"

/* --- proposals ------------------------------------------------------------------------ */

#define SQL_DOMAIN_TWO_PERSONS                          \
	"SELECT (two_persons AND ($2 = '' OR $2 = ANY " \
	"(two_persons_for)))::int FROM domain WHERE domain_id = $1::int"

/* Every change takes this lock before it commits. */
#define SQL_DOMAIN_LOCK \
	"SELECT FROM domain WHERE domain_id = $1::int FOR NO KEY UPDATE"

#define SQL_PROPOSAL_ADD                                                    \
	"INSERT INTO proposal (domain_id, route, params, query, body, "     \
	"author, state, reason, created_us, expires_us, if_match) "         \
	"SELECT $1::int, $2, array(SELECT convert_from(p, 'UTF8') FROM "    \
	"unnest($3::bytea[]) WITH ORDINALITY AS t (p, n) ORDER BY n), $4, " \
	"$5::bytea, $6, $7, $8, $9::int8, $10::int8, $11 RETURNING "        \
	"proposal_id"

#define SQL_PROPOSAL_HEAD                                                \
	"'id', proposal_id, 'action', route, 'object', "                 \
	"array_to_string(params, '/'), 'author', author, 'state', CASE " \
	"WHEN state = 'pending' AND expires_us < (SELECT "               \
	"cluster_us()) THEN 'expired' ELSE state END, "                  \
	"'reason', reason, 'decider', decider, 'bytes', length(body), "  \
	"'sha256', encode(sha256(body), 'hex'), 'created_at', "          \
	"us_time(created_us), 'expires_at', us_time(expires_us), "       \
	"'decided_at', us_time(decided_us)"

/* Without what is asked for: many may be large. */
#define SQL_PROPOSAL_LIST                                              \
	"SELECT json_build_object(" SQL_PROPOSAL_HEAD "), proposal_id" \
	" FROM proposal WHERE proposal_id > $1::bigint ORDER BY "      \
	"proposal_id LIMIT $2::int"

#define SQL_PROPOSAL_MOVED                                              \
	"proposal_moved(pins, proposal_pins(domain_id, route, params, " \
	"body))"

#define SQL_PROPOSAL_GET                                                    \
	"SELECT json_build_object(" SQL_PROPOSAL_HEAD ", 'query', query, "  \
	"'if_match', if_match, 'acts_on', pins, 'moved', CASE WHEN state "  \
	"= 'pending' THEN " SQL_PROPOSAL_MOVED " END, 'request', CASE "     \
	"WHEN length(body) > 0 THEN convert_from(body, 'UTF8')::json END) " \
	"FROM proposal WHERE proposal_id = $1::bigint"

/* Its route, what was asked for, and by whom; what moved meanwhile, and the
 * roles that author and decider ($3) have now. */
#define SQL_PROPOSAL_TAKE                                                  \
	"SELECT route, query, body, author, state, "                       \
	"(state = 'pending' AND expires_us < $2::int8)::int, "             \
	"convert_to(coalesce(params[1], ''), 'UTF8'), "                    \
	"convert_to(coalesce(params[2], ''), 'UTF8'), if_match, CASE "     \
	"WHEN state = 'pending' THEN " SQL_PROPOSAL_MOVED " END, "         \
	"principal_role(domain_id, author), principal_role(domain_id, $3)" \
	" FROM proposal WHERE proposal_id = $1::bigint FOR UPDATE"

#define SQL_PROPOSAL_DECIDE                                             \
	"UPDATE proposal SET state = $2, decider = $3, decided_us = "   \
	"$4::int8, reason = CASE WHEN $5 = '' THEN reason ELSE $5 END " \
	"WHERE proposal_id = $1::bigint"

/* --- events ------------------------------------------------------------------------------ */

#define SQL_EVENT_LIST                                                         \
	"SELECT json_build_object('seq', seq, 'at', at, 'actor', actor, "      \
	"'action', action, 'object', object, 'reason', reason, 'request_id', " \
	"request_id, 'before', before, 'after', after, 'hash', "               \
	"encode(hash, 'hex')), seq FROM audit_event WHERE seq > $1::bigint "   \
	"ORDER BY seq LIMIT $2::int"

#endif
