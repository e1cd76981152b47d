#!/bin/bash
# The admin API: who may, what is wrong with the input, what changes.
set -euo pipefail
work=$build/tests/work/test_api
# shellcheck source=tests/support/node.sh
. "$top/tests/support/node.sh"
trap end_world EXIT

make_world
start_node 1
api() { # METHOD PATH CURL-OPTION... ; status in $code, body in $work/body
	local method=$1 path=$2
	shift 2
	code=$(curl -sS --cacert "$work/keys/tls.crt" -X "$method" -o "$work/body" -D "$work/head" -w '%{http_code}' \
	    -H "Authorization: Bearer $(cat "$work/keys/token")" "$@" "https://localhost:$admin_1$path")
}
expect() { # STATUS CODE [POINTER]
	[ "$code" = "$1" ] || die "status $code, not $1: $(cat "$work/body")"
	[ -z "${2:-}" ] || grep -q "\"code\":\"$2\"" "$work/body" || die "no code $2: $(cat "$work/body")"
	[ -z "${3:-}" ] || grep -q "\"pointer\":\"$3\"" "$work/body" || die "no pointer $3: $(cat "$work/body")"
	[ "$1" -lt 400 ] || grep -qi '^content-type: application/problem+json' "$work/head" || die "not problem+json"
}

code=$(curl -sS --cacert "$work/keys/tls.crt" -o "$work/body" -D "$work/head" -w '%{http_code}' "https://localhost:$admin_1/v1/devices")
expect 401 unauthenticated
code=$(curl -sS --cacert "$work/keys/tls.crt" -o "$work/body" -D "$work/head" -w '%{http_code}' -H 'Authorization: Bearer tam_no' "https://localhost:$admin_1/v1/devices")
expect 401 unauthenticated

# A viewer may look and not touch.
sql "INSERT INTO principal VALUES (1, 'eve', 'viewer', sha256('tam_eve'))" >/dev/null
eve() {
	code=$(curl -sS --cacert "$work/keys/tls.crt" -X "$1" -o "$work/body" -D "$work/head" -w '%{http_code}' \
	    -H 'Authorization: Bearer tam_eve' ${3:+-d "$3"} "https://localhost:$admin_1$2")
}
eve GET /v1/policies
expect 200
eve PUT /v1/policies/p {}
expect 403 forbidden
eve POST /v1/revocations {}
expect 403 forbidden

draft_policy
api PUT /v1/policies/bad -d '{'
expect 422 invalid_policy
api PUT /v1/policies/bad -d '{"componets": []}'
expect 422 invalid_policy /componets
api PUT /v1/policies/bad -d '{"selector": "class = 1", "components": []}'
expect 422 invalid_policy /selector
api PUT /v1/policies/bad -d "{\"components\": [{\"manifest\": \"$(printf '0%.0s' $(seq 64))\"}]}"
expect 422 invalid_policy /components/0
api GET /v1/policies/bad
expect 404 not_found
api PUT /v1/policies/base -H 'If-Match: "9"' -d "{\"components\": [{\"manifest\": \"$draft_digest\"}]}"
expect 412 changed_meanwhile
api PUT /v1/policies/base -H 'If-Match: "1"' -d "{\"components\": [{\"manifest\": \"$draft_digest\"}]}"
expect 200
grep -qi '^etag: "2"' "$work/head" || die "no ETag"

api POST /v1/revocations -d '{"component": "a/b"}'
expect 422 missing_field /reason
api POST /v1/revocations -d '{"component": "a b", "reason": "x"}'
expect 422 invalid_value /component
api POST /v1/revocations -d '{"reason": "x"}'
expect 422 missing_field /component
api POST /v1/revocations -d '{"component": "a", "reason": "x", "force": true}'
expect 422 unknown_field /force
api POST /v1/revocations -d '{"component": 7, "reason": "x"}'
expect 422 wrong_type /component
api POST /v1/revocations -d "{\"manifest\": \"$(printf 'ab%.0s' $(seq 32))\", \"reason\": \"x\"}"
expect 422 unknown_manifest /manifest
api PUT /v1/trust-anchors/x -d '{"public_key": "nonsense"}'
expect 422 bad_key /public_key
# A Verifier: its key, its URL, and nothing of it after a refusal.
pub=$(awk '{ printf "%s\\n", $0 }' "$work/keys/signer.pub")
api PUT /v1/verifiers/v -d '{}'
expect 422 missing_field /public_key
api PUT /v1/verifiers/v -d '{"public_key": "nonsense"}'
expect 422 bad_key /public_key
for url in http://a ftp://a https:// https:///x 'https://a b' 'https://u@h' 'https://a?b'; do
	api PUT /v1/verifiers/v -d "{\"public_key\": \"$pub\", \"url\": \"$url\"}"
	expect 422 invalid_value /url
done
api PUT /v1/verifiers/v -d "{\"public_key\": \"$pub\", \"worst_tier\": \"none\"}"
expect 422
api GET /v1/verifiers/v
expect 404 not_found
api PUT /v1/verifiers/v -d "{\"public_key\": \"$pub\", \"url\": \"https://verifier.example:8443\"}"
expect 200
api DELETE /v1/verifiers/v
expect 200
api GET /v1/tam-keys
expect 200
[ "$(grep -o '"use" : "agree"' "$work/body" | wc -l)" = 2 ] || die "no keys to encrypt to: $(cat "$work/body")"
api PUT /v1/policies/p -d '{"attestation": "maybe", "components": []}'
expect 422 invalid_policy /attestation
api PUT /v1/wire-profiles/x -d '{"numbering": "newest"}'
expect 422 invalid_value
api PUT /v1/wire-profiles/x -d '{"ask": "perhaps"}'
expect 422
api GET /v1/wire-profiles/x
expect 404 not_found
# As many as there is room for; one that is there can always be changed.
sql "INSERT INTO wire_profile (domain_id, name, wire_id) SELECT 1, 'full-' || i, i FROM generate_series(0, 255) i
	ON CONFLICT DO NOTHING" >/dev/null
api PUT /v1/wire-profiles/more -d '{}'
expect 409 limit_reached
grep -q 'at most 256 wire profiles' "$work/body" || die "the limit is not named: $(cat "$work/body")"
api PUT /v1/wire-profiles/full-200 -d '{"ask": "attest"}'
expect 200
sql "DELETE FROM wire_profile WHERE name = 'full-77'" >/dev/null
api PUT /v1/wire-profiles/more -d '{}'
expect 200
[ "$(sql "SELECT wire_id FROM wire_profile WHERE name = 'more'")" = 77 ] || die "not the number that was free"
sql "DELETE FROM wire_profile WHERE name LIKE 'full-%' OR name = 'more'" >/dev/null
long=$(printf '%0300d' 1)
api PUT /v1/reference-values/r -d "{\"hwmodel\": \"00\", \"hwversion\": \"$long\"}"
expect 422 invalid_value /hwversion
api PATCH /v1/domain -d "{\"teep_profile\": \"$long\"}"
expect 422 invalid_value /teep_profile
pub65=$(sed ':a;N;$!ba;s/\n/\\n/g' "$work/keys/signer.pub")
sql "INSERT INTO trust_anchor (domain_id, name, curve, public_key, thumbprint) SELECT 1, 'full-' || i, 'p256', '', decode(lpad(to_hex(i), 64, '0'), 'hex') FROM generate_series(1, 64) i" >/dev/null
api PUT /v1/trust-anchors/more -d "{\"public_key\": \"$pub65\"}"
expect 409 limit_reached
sql "DELETE FROM trust_anchor WHERE name LIKE 'full-%'" >/dev/null
[ "$(sql 'SELECT count(*) FROM revocation')" = 0 ] || die "a refused revocation left something"

# Uploads: every bad envelope says why and leaves nothing.
for file in suit-manifest/example1_signed suit-manifest/example1_unsigned suit-encryption/suit-manifest-aes-kw; do
	api POST /v1/manifests --data-binary "@$top/tests/vectors/$file.cbor"
	[ "$code" = 422 ] || die "$file: $code"
done
api POST /v1/manifests --data-binary "@$work/keys/signer.pub"
expect 422
api POST /v1/manifests --data-binary "@$top/tests/vectors/teep-suit/suit_uri.cbor"
expect 201
[ "$(sql 'SELECT count(*) FROM manifest')" = 1 ] || die "not one manifest"
"$tamctl" manifest download "$draft_digest" >"$work/downloaded"
cmp "$work/downloaded" "$top/tests/vectors/teep-suit/suit_uri.cbor" || die "download differs"
# Another manifest of the same id and sequence number (U11).
api POST /v1/manifests --data-binary "@$top/tests/vectors/teep-suit/suit_integrated.cbor"
expect 409 suit_sequence
"$tamctl" trust-anchor delete demo >/dev/null
"$tamctl" trust-anchor put narrow "public_key=@$work/keys/signer.pub" 'prefixes=["vendor/one"]' >/dev/null
if make_component vendor/two 1 text >/dev/null 2>"$work/err"; then die "a signer wrote beyond its prefix"; fi
grep -q suit_prefix "$work/err" || die "$(cat "$work/err")"
make_component vendor/one/a 1 text >/dev/null || die "a signer may write below its prefix"
if make_component vendor/oneself 1 text >/dev/null 2>&1; then die "a prefix ends with a segment"; fi

# A key of the TAM is published, used, and the one before retired.
signed_by() { # KEY: the opener of /tam
	curl -sS --cacert "$work/keys/tls.crt" -X POST -H 'Accept: */*' "https://localhost:$port/tam" -o "$work/opener"
	"$tamctl" inspect --key "$1" "$work/opener" >/dev/null
}
export TAMCTL_DATABASE=$db
signed_by "$work/keys/tam-p256.pub" || die "the first key does not sign"
rm -f "$work/keys/next.pem"
"$tamctl" key add --key "$work/keys/next.pem" --curve p256 2>/dev/null
openssl pkey -in "$work/keys/next.pem" -pubout -out "$work/keys/next.pub" 2>/dev/null
settle
signed_by "$work/keys/tam-p256.pub" || die "a key signs before it is used"
next=$("$tamctl" -o json tam-key list | tr '{' '\n' | sed -n 's/.*"use" : "next".*"thumbprint" : "\([0-9a-f]*\)".*/\1/p')
[ ${#next} = 64 ] || die "the next key is not published: $("$tamctl" -o json tam-key list)"
"$tamctl" key use "$next"
settle
signed_by "$work/keys/next.pub" || die "the next key does not sign"
if "$tamctl" key retire 00 2>/dev/null; then die "a key nobody has was retired"; fi
first=$("$tamctl" -o json tam-key list | tr '{' '\n' | grep p256 | grep '"sign"' | grep -v "$next" |
	sed 's/.*"thumbprint" : "\([0-9a-f]*\)".*/\1/')
"$tamctl" key retire "$first"
if "$tamctl" key retire "$next" 2>/dev/null; then die "the last key that signs was retired"; fi
settle
signed_by "$work/keys/next.pub" || die "the key does not sign after the other was retired"

# Import: a verdict per line, the good ones are kept.
{
	"$tamfleet" keys --agents 2
	echo 'not json'
	echo '{"name": "x", "key": {"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA"}}'
	echo '{"name": "y", "key": {"kty": "RSA"}}'
	"$tamfleet" keys --agents 1 --prefix other
} >"$work/import"
api POST /v1/devices/import --data-binary "@$work/import"
expect 200
[ "$(grep -c '"status":"created"' "$work/body")" = 2 ] || die "$(cat "$work/body")"
[ "$(grep -c '"status":"error"' "$work/body")" = 4 ] || die "$(cat "$work/body")"
grep -q 'another device has this key' "$work/body" || die "a key of two devices"
enrol 120
"$tamctl" -o name -q limit=50 device list >"$work/page1"
[ "$(wc -l <"$work/page1")" = 50 ] || die "a page of 50"
cursor=$("$tamctl" -o json -q limit=50 device list | tr -d '\n' | sed 's/.*"cursor":"\([^"]*\)".*/\1/')
"$tamctl" -o name -q "limit=50&cursor=$cursor" device list >"$work/page2"
[ "$(cat "$work/page1" "$work/page2" | sort -u | wc -l)" = 100 ] || die "pages overlap"

# Every change is an event, and the chain holds.
[ "$("$tamctl" -q limit=500 event list | grep -c policy_put)" = 2 ] || die "policy events"
broken=$(sql "WITH c AS (SELECT seq, hash, prev_hash, lag(hash) OVER (ORDER BY seq) AS last,
	audit_hash(prev_hash, seq, at, actor, action, object, reason, request_id, before, after) AS want
	FROM audit_event) SELECT count(*) FROM c WHERE hash <> want OR (seq > 1 AND prev_hash <> last)")
[ "$broken" = 0 ] || die "the audit chain is broken"

# Row-level security: without a domain tam_admin sees nothing, and it may not
# change the past.
[ "$(sql "SET ROLE tam_admin; SELECT count(*) FROM device")" = 0 ] || die "rows without a domain"
if sql "SET ROLE tam_admin; SET tam.domain = '1'; DELETE FROM audit_event" 2>/dev/null; then die "the past was changed"; fi
if sql "SET ROLE tam_wire; UPDATE audit_event SET actor = 'x'" 2>/dev/null; then die "the past was changed"; fi

# Migrations.
export TAMCTL_DATABASE="$db"
"$tamctl" db status --migrations "$top/migrations" >/dev/null || die "db status"
[ -z "$("$tamctl" db plan --migrations "$top/migrations")" ] || die "db plan"
"$tamctl" db verify --migrations "$top/migrations" >/dev/null || die "db verify"
cp -r "$top/migrations" "$work/changed"
chmod -R u+w "$work/changed"
echo '-- changed' >>"$work/changed/0001_core.sql"
if "$tamctl" db verify --migrations "$work/changed" >/dev/null; then die "a changed file was not noticed"; fi
rm -rf "$work/changed"

[[ $(get "$admin_1" /openapi.json) == *'"openapi": "3.1.0"'* ]] || die "openapi"
stop_node 1
