#!/bin/bash
# Answers are ordered by the stamp they answer: replays, delays, tokens of others.
set -euo pipefail
work=$build/tests/work/test_order
# shellcheck source=tests/support/node.sh
. "$top/tests/support/node.sh"
trap end_world EXIT
peer=$build/tests/support/peer

make_world
start_node 1 query_life_s=60
start_node 2 query_life_s=60
draft_policy
enrol 5 --keys p256
ta=$draft_component=8cf71ac86af31be184ec7a05a411a8c3a14fd9b77a30d046397481469468ece8

# post PORT IN OUT [PATH]: status in $code.  The nodes share a port: which one
# answers is the kernel's choice.
post() {
	code=$(curl -sS --cacert "$work/keys/tls.crt" -X POST -H 'Accept: application/teep+cbor' \
	    -H 'Content-Type: application/teep+cbor' --data-binary "@$2" -o "$3" -w '%{http_code}' \
	    "https://localhost:$1${4:-/tam}") || die "curl"
}
opener() { # PORT OUT [PATH]
	: >"$work/empty"
	post "$1" "$work/empty" "$2" "${3:-/tam}"
	[ "$code" = 200 ] || die "no opener: $code"
}
drops() { # REASON: at both nodes
	local n=0 v
	for a in $admin_1 $admin_2; do
		v=$(get "$a" /metrics | awk -v k="tam_messages_dropped_total{reason=\"$1\"}" '$1 == k { print $2 }')
		n=$((n + ${v:-0}))
	done
	echo $n
}
counted() { # REASON WHAT: the last post was dropped for it
	local now
	[ "$code" = 204 ] || die "$2: $code"
	now=$(drops "$1")
	eval "was=\${seen_$1:-0}"
	[ "$now" = $((was + 1)) ] || die "$2: $1 counted $now times, not $((was + 1)): $(get "$admin_1" /metrics | grep dropped; get "$admin_2" /metrics | grep dropped)"
	eval "seen_$1=$now"
	[ "$(rows)" = "$before" ] || die "$2: something changed: $(rows) was $before"
}
rows() {
	sql "SELECT md5(string_agg(x::text, '' ORDER BY x::text)) FROM (
		SELECT row(s.device_id, stamp_epoch, stamp_us, version, inventory_hash, open_work)::text AS x FROM device_seen s
		UNION ALL SELECT row(device_id, component, digest)::text FROM device_component
		UNION ALL SELECT row(update_id, state, attempt, success)::text FROM outstanding_update) r"
}
cd "$work"

# A session from opener to Success.
opener "$port" o1
opener "$port" o2
"$peer" --agent 0 query-response o1 a1
"$peer" --agent 0 query-response o2 a2
post "$port" a2 u2
[ "$code" = 200 ] || die "no Update: $code"
before=$(rows)

post "$port" a2 x
counted replayed "the same answer again"
for _ in 1 2 3 4 5 6; do post "$port" a2 x; done # on whichever node
seen_replayed=$(drops replayed)
[ "$(rows)" = "$before" ] || die "a replay changed something"
post "$port" a1 x
counted stale_answer "an answer to an older question"

"$peer" --agent 1 success u2 s_other
post "$port" s_other x
counted unknown_update "the Success of another device"
"$peer" --agent 0 --token-of o1 success u2 s_kind
post "$port" s_kind x
counted token_foreign "a Success with the token of a question"
"$peer" --agent 0 --token-of u2 query-response o2 q_kind
post "$port" q_kind x
counted token_foreign "an answer with the token of an Update"
"$peer" --agent 0 --bad-signature success u2 s_bad
post "$port" s_bad x
counted bad_signature "a Success with a bad signature"
"$peer" --agent 0 --nonce 1234567890 success u2 s_nonce
post "$port" s_nonce x
counted report_nonce "a report with another nonce"
post "$port" o1 x
counted wrong_direction "the TAM's own QueryRequest"
"$peer" --agent 0 --no-token success u2 s_none
post "$port" s_none x
counted token_missing "a Success without a token"
"$peer" --agent 9 --seed stranger query-response o1 q_stranger
post "$port" q_stranger x
counted unknown_key "an unknown device"
# Without a kid the few keys of the domain are tried (CONFORMANCE P3).
opener "$port" o_kid
"$peer" --agent 4 --no-kid query-response o_kid a_kid
post "$port" a_kid u_kid
[ "$code" = 200 ] || die "an answer without a kid: $code"
before=$(rows)
opener "$port" o_kid
"$peer" --agent 4 --seed stranger --no-kid query-response o_kid a_kid
post "$port" a_kid x
seen_unknown_key=${seen_unknown_key:-0}
counted unknown_key "a stranger without a kid"

# Guessing keys with one token: three tries, then the token is dead.
opener "$port" o_guess
for guess in 10 11 12; do
	"$peer" --agent $guess --seed stranger query-response o_guess q_guess
	post "$port" q_guess x
done
seen_unknown_key=$(drops unknown_key)
dead() { # on whichever node answers
	for _ in 1 2 3 4 5 6 7 8; do post "$port" q_guess x; done
	[ "$(drops token_burnt)" -ge 1 ]
}
dead || die "a token may be tried for ever"
[ "$(rows)" = "$before" ] || die "guessing changed something"
seen_unknown_key=$(drops unknown_key)
head -c 100 a1 >short
post "$port" short x
counted truncated "a truncated message"
printf '\x00' | cat a1 - >long
post "$port" long x
counted trailing_bytes "a message with a tail"

# The signature was bad, so the token is still good: it is consumed by the
# first valid one (CONFORMANCE T18), once.
"$peer" --agent 0 success u2 s2
post "$port" s2 x
[ "$code" = 204 ] || die "Success: $code"
[ "$(sql "SELECT state, success FROM outstanding_update JOIN device USING (device_id) WHERE name = 'agent-000000'")" = 'answered|t' ] || die "the outcome was not written"
before=$(rows)
post "$port" s2 x
counted update_closed "the same Success again"

# An old Success after a newer observation closes its row and no more.
"$tamctl" policy delete base >/dev/null
put_policy base "$draft_digest"
opener "$port" o3
"$peer" --agent 2 query-response o3 a3
post "$port" a3 u3
[ "$code" = 200 ] || die "no Update for agent 2: $code"
opener "$port" o4
"$peer" --agent 2 query-response o4 a4
post "$port" a4 x
[ "$code" = 204 ] || die "an Update is under way: $code"
[ "$(sql "SELECT reason FROM device_seen JOIN device USING (device_id) WHERE name = 'agent-000002'")" = awaiting_answer ] ||
	die "no reason awaiting_answer"
"$peer" --agent 2 success u3 s3
post "$port" s3 x
[ "$code" = 204 ] || die "Success of agent 2: $code"
[ "$(sql "SELECT count(*) FROM device_component c JOIN device d USING (device_id) WHERE d.name = 'agent-000002'")" = 0 ] ||
	die "an old Success wrote inventory over a newer observation"
[ "$(sql "SELECT count(*) FROM outstanding_update o JOIN device d USING (device_id) WHERE d.name = 'agent-000002' AND state = 'answered'")" = 1 ] ||
	die "an old Success did not close its row"

# Two sessions of one device at once: one Update.
opener "$port" o5
opener "$port" o6
"$peer" --agent 3 query-response o5 a5
"$peer" --agent 3 query-response o6 a6
(post "$port" a5 u5) &
first=$!
(post "$port" a6 u6) &
wait $first $!
[ "$(sql "SELECT count(*) FROM outstanding_update o JOIN device d USING (device_id) WHERE d.name = 'agent-000003' AND state = 'committed'")" = 1 ] ||
	die "two Updates under way for one device"

# A component that is there on request is sent to the device that asks.
extra=$(make_component vendor/extra 1 text)
echo "{\"components\": [{\"manifest\": \"$extra\", \"state\": \"on-request\"}]}" >policy.json
"$tamctl" policy put base policy.json >/dev/null
settle
opener "$port" o11
"$peer" --agent 1 query-response o11 a11
post "$port" a11 x
[ "$code" = 204 ] || die "on-request, not asked for: $code"
opener "$port" o11
"$peer" --agent 1 --request vendor/extra query-response o11 a11
post "$port" a11 u11
[ "$code" = 200 ] || die "on-request, asked for: $code"
put_policy base "$draft_digest"

# A token of another domain, and an old one.
TAMCTL_DATABASE=$db "$tamctl" bootstrap --key-dir "$work/keys" --domain second --token-file "$work/keys/token2" 2>/dev/null
second() { [ "$(curl -sk -o /dev/null -w '%{http_code}' -X POST -H 'Accept: */*' "https://localhost:$port/tam/second")" = 200 ]; }
for _ in 1 2 3 4 5 6 7 8; do try_for 10 second || die "no second domain"; done
opener "$port" o7 /tam/second
"$peer" --agent 1 query-response o7 a7
before=$(rows)
post "$port" a7 x
counted token_forged "a token of another domain"
opener "$port" o8
"$peer" --agent 1 query-response o8 a8
stop_node 2
stop_node 1
export TAMCTL_SERVER=
start_node 1 query_life_s=10
admin_2=$admin_1
sql "SELECT 1" >/dev/null
sleep 11
before=$(rows)
post "$port" a8 x
[ "$code" = 204 ] || die "an old token: $code"
[ "$(drops token_expired)" -ge 1 ] || die "an old token is not counted"
[ "$(rows)" = "$before" ] || die "an old token changed something"

# An unsolicited answer of a known device is asked again and changes nothing.
opener "$port" o9
"$peer" --agent 1 --no-token query-response o9 a9
post "$port" a9 x9
[ "$code" = 200 ] || die "unsolicited: $code"
[ "$(rows)" = "$before" ] || die "an unsolicited answer changed something"

# What a device reports is what the API shows.
opener "$port" o10
"$peer" --agent 1 --tc "$ta" query-response o10 a10
post "$port" a10 x
[ "$code" = 204 ] || die "a compliant device: $code"
[[ $("$tamctl" -o json device get agent-000001) == *'"source":"reported"'* ]] || die "inventory is not shown"
# A version that was not offered is answered with what is wrong.
opener "$port" o_version
"$peer" --agent 3 --selected-version 7 query-response o_version a_version
post "$port" a_version u_version
[ "$code" = 200 ] || die "another version: $code"
"$tamctl" inspect --key keys/tam-p256.pub u_version >version.json || die "$(cat version.json)"
grep -q '"err-name": "unsupported_msg_version"' version.json || die "another version: $(cat version.json)"

# What is too large for the wire profile a device comes by is not too large for
# another one, whatever the node remembers of the device; explain goes by the
# one it came by.
big=$(make_component vendor/big 1 "$(printf '%01500d' 1)")
put_policy base "$big"
"$tamctl" wire-profile put small update_bytes=512 >/dev/null
settle
by_small() { curl -sS --cacert "$work/keys/tls.crt" -X POST -H 'Accept: */*' -o o_small "https://localhost:$port/tam/default/small" && [ -s o_small ]; }
try_for 10 by_small || die "no wire profile small"
reason_of() { sql "SELECT s.reason FROM device_seen s JOIN device USING (device_id) WHERE name = '$1'"; }
for _ in 1 2; do
	opener "$port" o_small /tam/default/small
	"$peer" --agent 4 query-response o_small a_small
	post "$port" a_small x /tam/default/small
	[ "$code" = 204 ] || die "too large for its profile: $code"
done
[ "$(reason_of agent-000004)" = manifest_too_large_for_device ] || die "too large: $(reason_of agent-000004)"
is_explained() {
	"$tamctl" -o json device explain agent-000004 | tr -d ' \n' >why.json
	grep -q '"update_bytes":512' why.json && grep -q '"now":{"offer":false,"reason":"manifest_too_large_for_device"' why.json
}
try_for 10 is_explained || die "explain promises what its profile refuses: $(cat why.json)"
opener "$port" o_large
"$peer" --agent 4 query-response o_large a_large
post "$port" a_large u_large
[ "$code" = 200 ] || die "what fits this profile is not sent: $code"
"$peer" --agent 4 success u_large s_large
post "$port" s_large x

# An observation that the database contradicts is applied later, with the same
# limits: what would be sent is not too large.
sql "UPDATE device SET class = 'other' WHERE name = 'agent-000002'" >/dev/null
differ=$(metric "$admin_1" tam_observations_differ_total)
quiet() {
	opener "$port" o_quiet
	"$peer" --agent 2 query-response o_quiet a_quiet
	post "$port" a_quiet x
	[ "$code" = 204 ]
}
is_quiet() { quiet && [ "$(reason_of agent-000002)" = up_to_date ]; }
try_for 10 is_quiet || die "not quiet: $(reason_of agent-000002)"
quiet
sql "SET session_replication_role = replica; UPDATE device SET class = 'cam' WHERE name = 'agent-000002';
	UPDATE device_seen SET version = version + 1 WHERE device_id = (SELECT device_id FROM device WHERE name = 'agent-000002')" >/dev/null
quiet
is_applied() { [ "$(metric "$admin_1" tam_observations_differ_total)" -gt "$differ" ] && [ "$(reason_of agent-000002)" != up_to_date ]; }
try_for 10 is_applied || die "the observation was not applied"
[ "$(reason_of agent-000002)" = policy ] || die "applied later: $(reason_of agent-000002)"
stop_node 1
