#!/bin/bash
# Policies as administrators keep them: revisions, rollback, channels, and what
# contradicts when it is saved.
set -euo pipefail
work=$build/tests/work/test_policy
# shellcheck source=tests/support/node.sh
. "$top/tests/support/node.sh"
trap end_world EXIT

make_world
start_node 1
draft_policy
cd "$work"
enrol 4 --keys p256
one=$(make_component vendor/app 1 one)
two=$(make_component vendor/app 2 two)
three=$(make_component vendor/app 3 three)
settle
put() { # NAME JSON [QUERY...]
	local name=$1
	echo "$2" >p.json
	shift 2
	"$tamctl" "$@" policy put "$name" p.json
}
refused() { # TEXT NAME JSON
	if put "$2" "$3" >out 2>&1; then die "$3 was taken"; fi
	grep -q -- "$1" out || die "$3: $(cat out)"
}
play() { fleet --agents 4 --keys p256 --signer keys/signer.pub "$@" -o json >fleet.out 2>&1 || die "$*: $(cat fleet.out)"; }
holds() { # DIGEST of the manifest whose image all hold
	[ "$(sql "SELECT count(*) FROM device_component c JOIN manifest_component m ON m.component = c.component AND m.image = c.digest
		WHERE m.digest = '\\x$1'")" = 4 ] || die "not all hold $1"
}

# Channels: a name for a manifest, with its history.
refused 'no such channel' app '{"components": [{"channel": "stable"}]}'
if "$tamctl" channel put stable manifest=00 2>bad.err; then die "a short digest"; fi
grep -q /manifest bad.err || die "a short digest: $(cat bad.err)"
if "$tamctl" channel put stable "manifest=$(printf '%064d' 1)" 2>bad.err; then die "no such manifest"; fi
grep -q 'unknown_manifest at /manifest' bad.err || die "no such manifest: $(cat bad.err)"
"$tamctl" channel put stable "manifest=$one" reason=first >/dev/null
refused 'not both' app "{\"components\": [{\"channel\": \"stable\", \"manifest\": \"$one\"}]}"
put app '{"components": [{"channel": "stable"}]}' -q reason=start >/dev/null
settle
play --expect vendor/app
holds "$one"
"$tamctl" channel put stable "manifest=$two" reason=second >/dev/null
settle
play --expect vendor/app
holds "$two"
[ "$("$tamctl" -o name channel history stable | tr '\n' ' ')" = '2 1 ' ] || die "history: $("$tamctl" channel history stable)"
"$tamctl" channel history stable | grep -q "second.*$two" || die "history: $("$tamctl" channel history stable)"
if "$tamctl" channel delete stable 2>bad.err; then die "a channel in use was deleted"; fi
grep -q 'in_use.*policy app' bad.err || die "in use: $(cat bad.err)"
"$tamctl" channel put other "manifest=$one" >/dev/null
"$tamctl" channel delete other >/dev/null
if "$tamctl" channel delete other 2>/dev/null; then die "deleted twice"; fi
"$tamctl" channel put other "manifest=$one" >/dev/null
[ "$("$tamctl" -o name channel history other | tr '\n' ' ')" = '3 2 1 ' ] || die "a deleted channel's history"
"$tamctl" channel delete other >/dev/null

# Revisions: who, when, why and what; and back.
put app "{\"components\": [{\"manifest\": \"$three\"}]}" -q reason=pinned >/dev/null
put app '{"components": [{"component": "vendor/app", "state": "absent"}]}' >/dev/null
[ "$("$tamctl" -o name policy history app | tr '\n' ' ')" = '3 2 1 ' ] || die "history: $("$tamctl" policy history app)"
"$tamctl" policy history app | grep -q "^2.*pinned.*$three" || die "history: $("$tamctl" policy history app)"
"$tamctl" policy rollback app revision=2 reason=back >/dev/null
settle
play --expect vendor/app
holds "$three"
[ "$(sql "SELECT revision || ' ' || reason FROM policy_revision WHERE name = 'app' ORDER BY revision DESC LIMIT 1")" = '4 back' ] ||
	die "a rollback is no revision"
for bad in revision=0 revision=99; do
	if "$tamctl" policy rollback app $bad reason=x 2>bad.err; then die "rollback to $bad"; fi
	grep -q '404 not_found at /revision' bad.err || die "$bad: $(cat bad.err)"
done
# Two people at once: the second is told.
etag=$(curl -sS --cacert keys/tls.crt -H "Authorization: Bearer $(cat keys/token)" -D - -o /dev/null \
    "https://localhost:$admin_1/v1/policies/app" | tr -d '\r' | awk 'tolower($1) == "etag:" { print $2 }')
api() { # METHOD PATH IF-MATCH BODY -> status
	curl -sS --cacert keys/tls.crt -H "Authorization: Bearer $(cat keys/token)" -H "If-Match: $3" -H 'Content-Type: application/json' \
	    -X "$1" -d "$4" -o answer.json -w '%{http_code}' "https://localhost:$admin_1/v1/$2"
}
[ "$(api POST policies/app/rollback "$etag" '{"revision": 1, "reason": "mine"}')" = 200 ] || die "mine: $(cat answer.json)"
[ "$(api POST policies/app/rollback "$etag" '{"revision": 2, "reason": "late"}')" = 412 ] || die "late: $(cat answer.json)"
[ "$(api PUT policies/app "$etag" '{"components": [{"component": "x", "state": "absent"}]}')" = 412 ] || die "late: $(cat answer.json)"

# Never back to what is revoked, by a policy or a channel.
"$tamctl" revocation create "manifest=$three" reason=bad >/dev/null
settle
if "$tamctl" policy rollback app revision=2 reason=x 2>bad.err; then die "back to what is revoked"; fi
grep -q '409 suit_revoked at /revision' bad.err || die "revoked: $(cat bad.err)"
if "$tamctl" channel put stable "manifest=$three" 2>bad.err; then die "a channel to what is revoked"; fi
grep -q '409 suit_revoked at /manifest' bad.err || die "revoked: $(cat bad.err)"

# What a change would do, before it is made.
dry() { # NAME JSON
	echo "$2" >p.json
	"$tamctl" -o json policy dry-run "$1" p.json | tr -d ' \n' >dry.json || die "dry run of $2"
}
says() { grep -qF -- "$1" dry.json || die "the dry run does not say $1: $(cat dry.json)"; }
"$tamctl" revocation lift "$("$tamctl" -o name revocation list | head -n 1)" reason=oops >/dev/null
echo "{\"components\": [{\"manifest\": \"$two\"}]}" >p.json
"$tamctl" policy put app p.json >/dev/null
settle
play --expect vendor/app
before=$(sql "SELECT md5(string_agg(p::text, '' ORDER BY name)) FROM policy p")
dry app "{\"components\": [{\"manifest\": \"$two\"}]}" # as it is
says '"considered":4,"devices":0'
dry app "{\"components\": [{\"manifest\": \"$three\"}]}"
says '"considered":4,"devices":4,"changes":{"send":4,"unlink":0,"stop":0,"keep":0,"attest":0},"by_class":{"cam":4}'
says '"not_seen_for_7d":0'
dry app "{\"selector\": \"labels.shard == \\\"1\\\"\", \"components\": [{\"component\": \"vendor/app\", \"state\": \"absent\"}]}"
says '"devices":1,"changes":{"send":0,"unlink":1,'
dry fresh "{\"selector\": \"labels.shard in (\\\"1\\\", \\\"2\\\")\", \"attestation\": \"required\", \"components\": [{\"component\": \"vendor/y\", \"state\": \"absent\"}]}"
says '"considered":2,"devices":2,"changes":{"send":0,"unlink":0,"stop":0,"keep":0,"attest":2}'
dry high "{\"priority\": 9, \"components\": [{\"component\": \"vendor/app\", \"state\": \"absent\"}]}"
says '"unlink":4'
says '"sample":[{"device":"agent-000000","changes":["unlink"]}'
# Of what is no document too: deleting, going back, another manifest for a channel.
"$tamctl" -o json -q dry_run=true policy delete app | tr -d ' \n' >dry.json || die "dry deletion"
says '"considered":4,"devices":0' # it stays where it is, and nobody wants it
dry gone "{\"components\": [{\"component\": \"vendor/z\", \"state\": \"absent\"}]}"
says '"devices":0'
"$tamctl" -o json policy rollback app revision=1 dry_run=true reason=x | tr -d ' \n' >dry.json || die "dry rollback"
says '"considered":4,"devices":'
for bad in '-q dry_run=true policy delete nobody' 'policy rollback nobody revision=1 reason=x dry_run=true' 'policy rollback app revision=99 reason=x dry_run=true' \
    "channel put stable manifest=$(printf '%064d' 1) dry_run=true" 'channel put stable manifest=1 dry_run=true'; do
	# shellcheck disable=SC2086  # fields
	if "$tamctl" $bad 2>bad.err; then die "dry: $bad"; fi
	grep -qE ' (404|422) ' bad.err || die "$bad: $(cat bad.err)"
done
"$tamctl" channel put stable "manifest=$two" >/dev/null
[ "$("$tamctl" policy show app)" = "$("$tamctl" policy get app)" ] || die "show is not get"
if "$tamctl" revocation show 99 2>bad.err; then die "a revocation that there is not"; fi
grep -q '404 not_found' bad.err || die "show is not status: $(cat bad.err)"
echo '{"components": [{"channel": "stable"}]}' >p.json
"$tamctl" policy put app p.json >/dev/null
before=$(sql "SELECT md5(string_agg(p::text, '' ORDER BY name)) FROM policy p")
channels=$(sql "SELECT md5(string_agg(c::text, '' ORDER BY name)) FROM channel c")
"$tamctl" -o json channel put stable "manifest=$three" dry_run=true | tr -d ' \n' >dry.json || die "dry channel"
says '"considered":4,"devices":4,"changes":{"send":4,'
"$tamctl" -o json channel put stable "manifest=$two" dry_run=true | tr -d ' \n' >dry.json || die "dry channel"
says '"devices":0'
[ "$(sql "SELECT md5(string_agg(c::text, '' ORDER BY name)) FROM channel c")" = "$channels" ] || die "a dry run moved a channel"

# Files beside what there is: what differs, and only that is put.
mkdir -p policies
echo '{"components": [{"channel": "stable"}]}' >policies/app.json
"$tamctl" policy diff policies/app.json >diff.txt || die "the same differs: $(cat diff.txt)"
[ ! -s diff.txt ] || die "the same differs: $(cat diff.txt)"
echo '{"priority": 7, "components": [{"component": "vendor/q", "state": "absent"}]}' >policies/queue.json
status=0
"$tamctl" policy diff policies/app.json policies/queue.json >diff.txt || status=$?
[ $status = 1 ] || die "diff: $status"
grep -q '^+++ policies/queue.json' diff.txt || die "diff: $(cat diff.txt)"
grep -q '^+  "priority": 7' diff.txt || die "diff: $(cat diff.txt)"
"$tamctl" policy apply policies/app.json policies/queue.json >apply.txt || die "apply: $(cat apply.txt)"
[ "$(cat apply.txt)" = "$(printf 'app unchanged\nqueue revision 1')" ] || die "apply: $(cat apply.txt)"
sed -i 's/7/8/' policies/queue.json
status=0
"$tamctl" policy diff policies/queue.json >diff.txt || status=$?
[ $status = 1 ] || die "diff: $status"
[ "$(grep -c '^[-+] ' diff.txt)" = 2 ] || die "diff: $(cat diff.txt)"
[ "$("$tamctl" policy apply policies/queue.json)" = 'queue revision 2' ] || die "applied: $("$tamctl" policy get queue)"
echo '{' >policies/bad.json
for bad in 'diff policies/bad.json' 'apply policies/none.json' 'apply' 'diff' 'apply policies/'; do
	status=0
	# shellcheck disable=SC2086  # fields
	"$tamctl" policy $bad >/dev/null 2>&1 || status=$?
	[ $status = 2 ] || die "policy $bad: $status"
done
echo '{"selector": "class =="}' >policies/bad.json
status=0
"$tamctl" policy apply policies/app.json policies/bad.json >apply.txt 2>bad.err || status=$?
[ "$status $(cat apply.txt)" = '1 app unchanged' ] || die "apply: $status $(cat apply.txt)"
grep -q 'policies/bad.json: 422 invalid_policy at /selector' bad.err || die "apply: $(cat bad.err)"
"$tamctl" policy delete queue >/dev/null
echo "{\"components\": [{\"manifest\": \"$two\"}]}" >p.json
"$tamctl" policy put app p.json >/dev/null
"$tamctl" channel put stable "manifest=$one" >/dev/null
before=$(sql "SELECT md5(string_agg(p::text, '' ORDER BY name)) FROM policy p")
echo '{"selector": "class ==", "components": []}' >p.json
if "$tamctl" policy dry-run app p.json 2>bad.err; then die "a bad document"; fi
grep -q 'at /selector: /selector: column 9' bad.err || die "a bad document: $(cat bad.err)"
[ "$(sql "SELECT md5(string_agg(p::text, '' ORDER BY name)) FROM policy p")" = "$before" ] || die "a dry run changed a policy"
"$tamctl" revocation create "manifest=$three" reason=bad >/dev/null

# What contradicts another policy is told when it is saved, not on a device.
put eu "{\"selector\": \"labels.region == \\\"eu\\\"\", \"priority\": 5, \"components\": [{\"manifest\": \"$one\"}]}" >/dev/null
refused 'policy_conflict at /components/0: .*contradicts policy eu' both \
    "{\"priority\": 5, \"components\": [{\"manifest\": \"$two\"}]}"
refused 'contradicts policy eu' both '{"selector": "class == \"cam\"", "priority": 5, "components": [{"component": "vendor/app", "state": "absent"}]}'
refused 'contradicts policy eu' both "{\"selector\": \"labels.region in (\\\"eu\\\", \\\"us\\\")\", \"priority\": 5, \"components\": [{\"component\": \"x\", \"state\": \"absent\"}, {\"manifest\": \"$two\"}]}"
[ "$("$tamctl" -o name policy list | tr '\n' ' ')" = 'app base eu ' ] || die "kept: $("$tamctl" -o name policy list)"
# No device can match both; another priority; the same content: no contradiction.
put us "{\"selector\": \"labels.region == \\\"us\\\"\", \"priority\": 5, \"components\": [{\"manifest\": \"$two\"}]}" >/dev/null
put high "{\"priority\": 6, \"components\": [{\"manifest\": \"$two\"}]}" >/dev/null
put same "{\"selector\": \"labels.region == \\\"eu\\\" and class == \\\"cam\\\"\", \"priority\": 5, \"components\": [{\"manifest\": \"$one\"}]}" >/dev/null
put mend "{\"selector\": \"labels.region == \\\"eu\\\"\", \"attestation\": \"repair\", \"priority\": 5, \"components\": [{\"manifest\": \"$two\"}]}" >/dev/null
stop_node 1
