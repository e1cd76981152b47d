#!/bin/bash
# Two persons: what is hard to take back waits for another, wherever it was
# asked for; and what one does alone is seen.
set -euo pipefail
work=$build/tests/work/test_two
# shellcheck source=tests/support/node.sh
. "$top/tests/support/node.sh"
trap end_world EXIT

make_world
start_node 1
draft_policy
cd "$work"
rm -f ./*.pem ./*.pub
"$tamctl" suit keygen --curve p256 --key k.pem --public k.pub
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -keyout ca.key -out ca.crt -subj /CN=ca 2>/dev/null
for who in 'bob security' 'sam security' 'carol policy-admin' 'dave viewer' 'oscar operator' 'olga operator'; do
	name=${who% *}
	(umask 077; echo "tam_$name" >"keys/$name")
	sql "INSERT INTO principal VALUES (1, '$name', '${who#* }', sha256('tam_$name'))" >/dev/null
done
# Another domain, whose people are nobody here.
sql "INSERT INTO domain (name, incarnation) VALUES ('other', 1);
     INSERT INTO principal SELECT domain_id, 'eve', 'admin', sha256('tam_eve') FROM domain WHERE name = 'other'" >/dev/null
(umask 077; echo tam_eve >keys/eve)
as() { # NAME COMMAND...
	local name=$1
	shift
	TAMCTL_TOKEN_FILE=keys/$name "$tamctl" "$@"
}
state() { sql "SELECT state FROM proposal WHERE proposal_id = $1"; }
world() { # all that two persons guard
	sql "SELECT md5(concat((SELECT string_agg(t::text, '' ORDER BY name) FROM trust_anchor t),
		(SELECT string_agg(concat(label, lifted_us), '' ORDER BY revocation_id) FROM revocation),
		(SELECT string_agg(v::text, '' ORDER BY name) FROM verifier v), (SELECT string_agg(c::text, '' ORDER BY name) FROM device_ca c),
		(SELECT string_agg(e::text, '' ORDER BY thumbprint) FROM endorsement e),
		(SELECT string_agg(concat(name, state, opened), '' ORDER BY name) FROM rollout), (SELECT two_persons || enrol || rekey FROM domain WHERE domain_id = 1)))"
}

# What is guarded is told by the API itself, and is this.
guarded=$(get "$admin_1" /openapi.json | tr -d ' \n' | sed 's/"operationId":/\n/g' |
	awk -F'"' '/"x-two-persons":true/ { print $2 }' | sort | tr '\n' ' ')
[ "$guarded" = 'anchor_delete anchor_put device_ca_delete device_ca_put domain_patch endorsement_delete endorsement_put revocation_create revocation_lift rollout_advance rollout_resume rollout_start verifier_delete verifier_put ' ] ||
	die "guarded: $guarded"

# The database knows the same roles.
guarded=$(get "$admin_1" /openapi.json | tr -d ' \n' | sed 's/"operationId":"/\n/g' | grep -E '"x-two-persons(-for)?":' |
	sed 's/^\([a-z_]*\)".*"x-roles":\[\([^]]*\)\].*/\1 {\2}/; s/"//g' | sort)
[ "$(wc -l <<<"$guarded")" = 23 ] || die "guarded, or where the domain says so: $guarded"
while read -r route roles; do
	[ "$(sql "SELECT route_roles('$route')")" = "$roles" ] || die "the roles of $route: $roles, not $(sql "SELECT route_roles('$route')")"
done <<<"$guarded"

# Without the rule one person does; the rule itself is taken back by two.
"$tamctl" verifier put v public_key=@k.pub >/dev/null
"$tamctl" device-ca put ca certificates=@ca.crt >/dev/null
"$tamctl" endorsement put e public_key=@k.pub >/dev/null
first=$("$tamctl" -o json revocation create component=vendor/x reason=test | json_number id)
for i in 1 2 3; do
	echo "{\"policy\": \"r$i\", \"document\": {\"components\": [{\"component\": \"vendor/r$i\", \"state\": \"absent\"}]}, \"stages\": [{}, {}]}" >r.json
	"$tamctl" rollout create r$i r.json >/dev/null
	[ $i = 1 ] || "$tamctl" rollout start r$i reason=test anyway=true >/dev/null
done
"$tamctl" rollout pause r3 reason=test >/dev/null
"$tamctl" domain set two_persons=true >/dev/null
before=$(world)
wanted=0
proposes() { # COMMAND...: 202, its own exit status, and nothing else happens
	local status=0
	"$tamctl" -o json "$@" >answer.text 2>answer.err || status=$?
	[ $status = 6 ] || die "$*: status $status: $(cat answer.err)"
	tr -d ' \n' <answer.text >answer.json
	[ "$(cat answer.err)" = "tamctl: waits for a second person: tamctl proposal approve $(json_number id <answer.text)" ] ||
		die "$*: $(cat answer.err)"
	wanted=$((wanted + 1))
	grep -q '"state":"pending"' answer.json || die "$*: done: $(cat answer.json)"
	[ "$(world)" = "$before" ] || die "$*: something changed"
}
proposes domain set two_persons=false
proposes trust-anchor put new public_key=@k.pub
proposes trust-anchor delete draft
proposes verifier put v2 public_key=@k.pub
proposes verifier delete v
proposes device-ca put ca2 certificates=@ca.crt
proposes device-ca delete ca
proposes endorsement put e2 public_key=@k.pub
proposes endorsement delete "$("$tamctl" -o name endorsement list | head -n 1)"
proposes revocation lift "$first" reason=test
proposes rollout start r1 reason=test
proposes rollout advance r2 reason=test
proposes rollout resume r3 reason=test
proposes revocation create component=vendor/y reason=test
[ "$(sql "SELECT count(*) FROM proposal WHERE state = 'pending'")" = $wanted ] || die "proposals are missing"
[ $wanted = 14 ] || die "$wanted are guarded here"
# A dry run does nothing, and needs nobody; what is wrong is not even proposed.
"$tamctl" -o json revocation create component=vendor/y reason=test dry_run=true | grep -q affected || die "a dry run waits"
if "$tamctl" revocation create component=vendor/y 2>/dev/null; then die "without a reason"; fi
if as dave revocation create component=vendor/y reason=x 2>bad.err; then die "a viewer proposes"; fi
grep -q 403 bad.err || die "a viewer: $(cat bad.err)"
[ "$(sql 'SELECT count(*) FROM proposal')" = $wanted ] || die "a proposal too many"

# Who may not decide: the same person, one without the role, one of another
# domain, nobody in particular.
last=$wanted
refused() { # WHO TEXT ID
	if as "$1" proposal approve "$3" 2>bad.err; then die "$1 approved"; fi
	grep -q -- "$2" bad.err || die "$1: $(cat bad.err)"
}
refused token same_person "$last"
refused dave forbidden "$last"
refused carol forbidden "$last"
refused eve not_found "$last"
refused bob not_found 999
refused bob not_found 1x
[ "$(world)" = "$before" ] || die "something changed"
if sql "UPDATE proposal SET decider = author WHERE proposal_id = $last" 2>/dev/null; then die "the database takes one person for two"; fi

# Another person: it is done once, in the name of who asked for it.
as bob -o json proposal approve "$last" >answer.json || die "bob may not"
grep -q '"label" *: *"vendor/y"' answer.json || die "approved: $(cat answer.json)"
[ "$(state "$last")" = approved ] || die "state: $(state "$last")"
[ "$(sql "SELECT author FROM revocation WHERE label = 'vendor/y'")" = admin ] || die "author"
[ "$(sql "SELECT string_agg(actor || ' ' || action, ',' ORDER BY seq) FROM audit_event WHERE seq > (SELECT max(seq) FROM audit_event) - 2")" = \
    'bob proposal_approve,admin revocation_create' ] || die "audit: $(sql 'SELECT actor, action FROM audit_event ORDER BY seq DESC LIMIT 3')"
refused bob 'decided.*approved' "$last"
as carol -o json proposal approve $((last - 1)) >answer.json || die "carol may not resume"
[ "$(sql "SELECT state FROM rollout WHERE name = 'r3'")" = running ] || die "approved, and not resumed"
# Refused, and too late.
as bob proposal reject 1 reason=no >/dev/null
[ "$(state 1)" = rejected ] || die "rejected"
refused bob 'decided.*rejected' 1
sql 'UPDATE proposal SET expires_us = 1 WHERE proposal_id = 2' >/dev/null
refused bob 'expired' 2
"$tamctl" proposal list | grep -q '^2.*expired' || die "list: $("$tamctl" proposal list)"
# What meanwhile cannot be done any more fails whole, and stays open.
proposed "$tamctl" trust-anchor delete "$("$tamctl" -o name trust-anchor list | head -n 1)" >/dev/null 2>&1
sql "DELETE FROM device_ca WHERE name = 'ca'" >/dev/null
if as bob proposal approve 7 2>bad.err; then die "what is not there was deleted"; fi
[ "$(state 7)" = pending ] || die "what failed is $(state 7)"

# The database holds to it, whoever speaks to it as the API does: it knows
# persons by their tokens.
below() { # SQL
	psql -X -q -A -t -h "$pg/socket" -U tam -d tam -v ON_ERROR_STOP=1 -c "BEGIN; SET LOCAL ROLE tam_admin; SET LOCAL tam.domain = '1'; $1; COMMIT"
}
as_person() { echo "SELECT actor_bind(sha256('tam_$1'))"; }
proposal="INSERT INTO proposal (domain_id, route, params, query, body, author, state, reason, created_us, expires_us)
	VALUES (1, 'revocation_lift', '{$first}', '', '', 'nobody'"
approve="UPDATE proposal SET state = 'approved', decider = 'somebody', decided_us = 1 WHERE state = 'pending' AND author = 'bob'"
lift="UPDATE revocation SET lifted_us = 1 WHERE revocation_id = $first"
others="UPDATE revocation SET lifted_us = 1 WHERE revocation_id <> $first"
below "$(as_person bob); $proposal, 'pending', '', 1, 4102444800000000)" || die "a proposal as bob"
[ "$(sql "SELECT count(*) FROM proposal WHERE author = 'bob'")" = 1 ] || die "in whose name?"
held() { # TEXT SQL
	if below "$2" 2>held.err; then die "taken: $2"; fi
	grep -q -- "$1" held.err || die "$2: $(cat held.err)"
}
held 'takes two persons' "$lift"
held 'takes two persons' "$(as_person bob); $lift"
held 'takes two persons' 'DELETE FROM trust_anchor'
held 'takes two persons' "UPDATE verifier SET worst_tier = 'warning'"
held 'takes two persons' "INSERT INTO device_ca (domain_id, name, pem, crl) VALUES (1, 'x', '', '')"
held 'takes two persons' 'DELETE FROM endorsement'
held 'takes two persons' "UPDATE rollout SET state = 'running' WHERE state = 'draft'"
held 'takes two persons' 'UPDATE rollout SET opened = 2'
held 'takes two persons' 'UPDATE domain SET two_persons = false'
held 'takes two persons' "UPDATE domain SET enrol = 'ca'"
held 'takes two persons' 'UPDATE domain SET preconditions = NOT preconditions'
held 'only a draft' "UPDATE rollout SET document = '{}'"
held 'only a draft' "INSERT INTO rollout (domain_id, name, document, state, author, created_us) VALUES (1, 'x', '{}', 'running', 'x', 1)"
held 'no person signed in' "$proposal, 'pending', '', 1, 2)"
held 'no person signed in' "$(as_person bob); $proposal, 'approved', '', 1, 2)"
held 'no person signed in' "$(as_person bob); $proposal, 'alone', '', 1, 2)"
held 'no person signed in' "SELECT actor_bind(sha256('tam_who')); $approve; $lift"
held 'no person signed in' "$approve; $lift"
held 'check constraint' "$(as_person bob); $approve; $lift"
held 'role of carol may not' "$(as_person carol); $approve; $lift"
held 'takes two persons' "$(as_person sam); $approve; DELETE FROM trust_anchor" # something else was approved
held 'takes two persons' "$(as_person sam); $approve; $others"
held 'role of dave may not' "$(as_person dave); $proposal, 'pending', '', 1, 4102444800000000)"
held 'role of bob may not' "$(as_person bob); ${proposal//revocation_lift/policy_put}, 'pending', '', 1, 4102444800000000)"
held 'role of bob may not' "$(as_person bob); ${proposal//revocation_lift/proposal_approve}, 'pending', '', 1, 4102444800000000)"
# What it acts on moved, or its author is somebody else now: not by SQL either.
sql "UPDATE revocation SET reason = 'another' WHERE revocation_id = $first"
held "changed since it was proposed: revocation $first" "$(as_person sam); $approve; $lift"
sql "UPDATE revocation SET reason = 'test' WHERE revocation_id = $first; UPDATE principal SET role = 'viewer' WHERE name = 'bob'"
held 'bob, who proposed it, may not' "$(as_person sam); $approve; $lift"
sql "UPDATE principal SET role = 'security', expires_at = '2001-01-01' WHERE name = 'bob'"
held 'bob, who proposed it, may not' "$(as_person sam); $approve; $lift"
sql "UPDATE principal SET expires_at = NULL WHERE name = 'bob'; UPDATE proposal SET expires_us = 1 WHERE author = 'bob' AND state = 'pending'"
held 'not decided in time' "$(as_person sam); $approve; $lift"
sql "UPDATE proposal SET expires_us = 4102444800000000 WHERE author = 'bob' AND state = 'pending'"
for secret in 'SELECT token_hash FROM principal' "INSERT INTO principal VALUES (1, 'mallory', 'admin', sha256('x'))" 'TABLE request_actor' \
    "INSERT INTO request_actor VALUES (pg_current_xact_id(), 1, 'carol')"; do
	held 'permission denied' "$secret"
done
[ "$(sql 'SELECT count(*) FROM revocation WHERE lifted_us IS NOT NULL')" = 0 ] || die "something was lifted"
below "$(as_person sam); $approve; $lift" || die "two persons"
[ "$(sql "SELECT decider FROM proposal WHERE author = 'bob'")" = sam ] || die "by whom?"
[ "$(sql "SELECT lifted_us FROM revocation WHERE revocation_id = $first")" = 1 ] || die "not lifted"
held 'takes two persons' 'UPDATE revocation SET lifted_us = NULL' # what was approved is done once

# Alone: at once, with a reason, seen by all, reviewed by another.
if "$tamctl" -q alone= revocation create component=vendor/z reason=test 2>bad.err; then die "alone without a reason"; fi
grep -q 'at /alone' bad.err || die "alone: $(cat bad.err)"
"$tamctl" -q alone=it%20spreads revocation create component=vendor/z reason=test >/dev/null || die "alone"
alone=$(sql "SELECT max(proposal_id) FROM proposal")
[ "$(state "$alone") $(sql "SELECT reason FROM proposal WHERE proposal_id = $alone")" = 'alone it spreads' ] || die "alone: $(state "$alone")"
grep -q 'level=error.*event=done_alone.*actor=admin.*action=revocation_create' node1/log || die "nobody heard of it"
refused token same_person "$alone"
as bob proposal approve "$alone" >/dev/null
[ "$(state "$alone")" = reviewed ] || die "review: $(state "$alone")"
[ "$(sql "SELECT count(*) FROM revocation WHERE label = 'vendor/z'")" = 1 ] || die "a review did it again"

# --- approval is of content: what was seen is what is done -----------------------
"$tamfleet" keys --agents 3 --keys p256 --seed t --prefix t >t.ndjson
head -n 2 t.ndjson >known.ndjson
"$tamctl" -q alone=setup device import known.ndjson >/dev/null
d0=$(sql 'SELECT min(name) FROM device')
"$tamctl" channel put stable "manifest=$draft_digest" >/dev/null
echo '{"components": [{"channel": "stable"}]}' >p.json
"$tamctl" policy put p p.json >/dev/null
as bob reference-value put rv hwmodel=00 >/dev/null
second=$(as bob -q alone=setup -o json revocation create component=vendor/w reason=test | json_number id)
for name in v ca e; do
	case $name in v) sort=verifier-put ;; ca) sort=device-ca-put ;; e) sort=endorsement-put ;; esac
	case $name in ca) file=certificates=@ca.crt ;; *) file=public_key=@k.pub ;; esac
	# shellcheck disable=SC2086
	as bob -q alone=setup ${sort%-put} put $name $file >/dev/null
done
rekey="INSERT INTO device_rekey SELECT 1, sha256('new'), device_id, 'ed25519', sha256('new'), 1 FROM device WHERE name = '$d0'"
sql "$rekey"
new_key=$(sql "SELECT encode(sha256('new'), 'hex')")
everything=policy,channel,reference,rekey,import
"$tamctl" -q alone=setup domain set "two_persons_for=[\"${everything//,/\",\"}\"]" >/dev/null
if "$tamctl" -q alone=setup domain set 'two_persons_for=["devices"]' 2>bad.err; then die "guarded: devices"; fi
grep -q 422 bad.err || die "two_persons_for: $(cat bad.err)"
"$tamctl" -o json domain get | tr -d ' \n' | grep -q '"two_persons_for":\["channel","import","policy","reference","rekey"\]' || die "domain get"
echo '{"channel": "stable", "manifest": "'"$draft_digest"'", "stages": [{}]}' >r.json
"$tamctl" rollout create moves r.json >/dev/null
echo '{"policy": "q", "document": {"components": [{"component": "vendor/q", "state": "absent"}]}, "stages": [{}, {}]}' >q.json
"$tamctl" rollout create moves2 q.json >/dev/null

last_proposal() { sql 'SELECT max(proposal_id) FROM proposal'; }
# Who proposes | what | what moves meanwhile | as what the approver is told
moves=0
while IFS='|' read -r who command move told; do
	# shellcheck disable=SC2086
	proposed as "$who" $command >/dev/null 2>proposed.err
	id=$(last_proposal)
	[ "$(state "$id")" = pending ] || die "$command: $(state "$id")"
	"$tamctl" -o json proposal get "$id" | tr -d '\n' | grep -q '"moved" *: *null' || die "$command: moved at once: $("$tamctl" -o json proposal get "$id")"
	sql "$move" >/dev/null
	refused token "409.*changed since it was proposed: $told" "$id"
	[ "$(state "$id")" = pending ] || die "$command moved, and is $(state "$id")"
	"$tamctl" -o json proposal get "$id" | tr -d '\n' | grep -q "\"moved\" *: *\"$told" || die "$command: not said: $told"
	moves=$((moves + 1))
done <<END
carol|rollout start moves reason=x|UPDATE rollout SET document = jsonb_set(document, '{soak_s}', '1') WHERE name = 'moves'|the document of rollout moves
carol|rollout start moves reason=x|DELETE FROM rollout WHERE name = 'moves'; INSERT INTO rollout (domain_id, name, document, author, created_us) SELECT 1, 'moves', document, 'x', 1 FROM rollout WHERE name = 'moves2'|channel stable, policy q, the document of rollout moves
carol|rollout start moves reason=x|UPDATE rollout SET state = 'aborted' WHERE name = 'moves'|the state of rollout moves
carol|rollout start moves2 reason=x|INSERT INTO policy VALUES (1, 'q', 1, '{}')|policy q
carol|rollout start r1 reason=x|INSERT INTO policy VALUES (1, 'r1', 1, '{}')|policy r1
carol|policy put p p.json|UPDATE policy SET revision = revision + 1 WHERE name = 'p'|policy p
carol|policy delete p|UPDATE policy SET document = '{}' WHERE name = 'p'|policy p
carol|policy rollback p revision=1 reason=x|DELETE FROM policy WHERE name = 'p'|policy p
carol|policy put new p.json|INSERT INTO policy VALUES (1, 'new', 1, '{}')|policy new
carol|channel put stable manifest=$draft_digest|UPDATE channel SET revision = revision + 1 WHERE name = 'stable'|channel stable
carol|channel delete stable|DELETE FROM channel WHERE name = 'stable'|channel stable
bob|trust-anchor delete draft|UPDATE trust_anchor SET prefixes = '{x}' WHERE name = 'draft'|trust anchor draft
bob|trust-anchor put draft public_key=@k.pub|UPDATE trust_anchor SET thumbprint = sha256('y') WHERE name = 'draft'|trust anchor draft
bob|revocation create signer=draft reason=x|UPDATE trust_anchor SET thumbprint = sha256('x') WHERE name = 'draft'|trust anchor draft
bob|revocation lift $second reason=x|UPDATE revocation SET lifted_us = 1 WHERE revocation_id = $second|revocation $second
bob|verifier put v public_key=@k.pub|UPDATE verifier SET unbound = NOT unbound WHERE name = 'v'|Verifier v
bob|verifier delete v|DELETE FROM verifier WHERE name = 'v'|Verifier v
bob|device-ca delete ca|UPDATE device_ca SET crl = 'x' WHERE name = 'ca'|device CA ca
bob|endorsement delete e|UPDATE endorsement SET hwmodel = 'x' WHERE name = 'e'|endorsement e
bob|reference-value put rv hwmodel=01|UPDATE reference_value SET hwversion = '2' WHERE name = 'rv'|reference value rv
bob|reference-value delete rv|DELETE FROM reference_value WHERE name = 'rv'|reference value rv
bob|domain set enrol=ca|UPDATE domain SET rekey = 'pending' WHERE domain_id = 1|the settings of the domain
bob|device rekey $d0 thumbprint=$new_key take=true reason=x|UPDATE device SET status = 'quarantined' WHERE name = '$d0'|device $d0
bob|device rekey $d0 thumbprint=$new_key take=true reason=x|DELETE FROM device_rekey|the key that waits
oscar|device import known.ndjson|UPDATE device SET status = 'active' WHERE name = '$d0'|the devices it names
oscar|device import known.ndjson|UPDATE domain SET rekey = 'refuse' WHERE domain_id = 1|rekey of the domain
END
[ $moves = 26 ] || die "$moves things moved"

# What did not move is done: canonical, whole, and as the author named it.
printf '  \n {"components" : [ {"state" : "absent", "component":"vendor/c"} ],\n"priority":3}' >blank.json
proposed as carol policy put c blank.json >/dev/null 2>&1
id=$(last_proposal)
want='{"components":[{"component":"vendor/c","state":"absent"}],"priority":3}'
[ "$(sql "SELECT convert_from(body, 'UTF8') FROM proposal WHERE proposal_id = $id")" = "$want" ] || die "kept: $(sql "SELECT body FROM proposal WHERE proposal_id = $id")"
"$tamctl" -o json proposal get "$id" | tr -d ' \n' | grep -qF "\"request\":$want" || die "what began with a blank is not shown"
"$tamctl" -o json proposal get "$id" | tr -d ' \n' | grep -qF "\"sha256\":\"$(printf %s "$want" | sha256sum | cut -d' ' -f1)\"" || die "its hash"
refused carol same_person "$id"
refused oscar forbidden "$id"
"$tamctl" proposal approve "$id" >/dev/null
[ "$(sql "SELECT document->>'priority' FROM policy WHERE name = 'c'")" = 3 ] || die "approved, and not put"
proposed as oscar -o json device import t.ndjson >/dev/null 2>&1
id=$(last_proposal)
"$tamctl" -o json proposal get "$id" | tr -d ' \n' | grep -q '"request":\[{"class":' || die "an import is not shown"
refused bob forbidden "$id"
as olga proposal approve "$id" >/dev/null
[ "$(sql 'SELECT count(*) FROM device')" = 3 ] || die "approved, and not imported"
# A precondition that does not hold is refused before anybody is asked, and one
# that held is looked at again when it is done.
id=$(last_proposal)
conditional() { # IF-MATCH
	curl -sS --cacert keys/tls.crt -H "Authorization: Bearer $(cat keys/carol)" -H "If-Match: $1" -X PUT -d @p.json \
	    "https://localhost:$admin_1/v1/policies/c"
}
conditional '"7"' | grep -q changed_meanwhile || die "a precondition that does not hold is proposed"
[ "$(last_proposal)" = "$id" ] || die "a precondition that does not hold is proposed"
conditional '"9", "1"' >/dev/null
[ "$(last_proposal)" != "$id" ] || die "a precondition that holds is not proposed"
"$tamctl" proposal reject "$(last_proposal)" reason=x >/dev/null

# Who proposed must still be one who may.
for change in "DELETE FROM principal WHERE name = 'bob'" "UPDATE principal SET role = 'viewer' WHERE name = 'bob'" \
    "UPDATE principal SET expires_at = clock_timestamp() WHERE name = 'bob'"; do
	proposed as bob revocation create component=vendor/gone reason=x >/dev/null 2>&1
	sql "$change"
	refused token '409.*bob, who proposed this, may not do it any more' "$(last_proposal)"
	sql "DELETE FROM principal WHERE name = 'bob'; INSERT INTO principal VALUES (1, 'bob', 'security', sha256('tam_bob'))"
done
[ "$(sql "SELECT count(*) FROM revocation WHERE label = 'vendor/gone'")" = 0 ] || die "a proposal outlived its author"
"$tamctl" proposal approve "$(last_proposal)" >/dev/null || die "bob is back"

# A dry run needs nobody; nothing large is kept, and a list carries no bodies.
as carol policy delete c dry_run=true | grep -q considered || die "a dry run of a deletion waits"
{ printf '{"components": [{"manifest": "%s"}], "x": "' "$draft_digest" && head -c 1100000 /dev/zero | tr '\0' x && printf '"}'; } >large.json
before=$(last_proposal)
if as carol policy put c large.json 2>bad.err; then die "1.1 MB were kept"; fi
grep -q 413 bad.err || die "large: $(cat bad.err)"
printf '{"components": []}\n{' >cut.json
if as carol policy put c cut.json 2>bad.err; then die "a cut document was kept"; fi
[ "$(last_proposal)" = "$before" ] || die "a proposal of nothing"
{ printf '{"component": "vendor/big", "advisory": "%s", "reason": "x"}' "$(head -c 1000 /dev/zero | tr '\0' a)"; } >big.json
for _ in 1 2 3; do
	curl -sS --cacert keys/tls.crt -H "Authorization: Bearer $(cat keys/bob)" -d @big.json "https://localhost:$admin_1/v1/revocations" >/dev/null
done
curl -sS --cacert keys/tls.crt -H "Authorization: Bearer $(cat keys/bob)" "https://localhost:$admin_1/v1/proposals?limit=2" >page.json
grep -q aaaa page.json && die "a list carries bodies"
[ "$(grep -o '"action"' page.json | wc -l)" = 2 ] || die "a page of two"
grep -q '"cursor"' page.json || die "no next page"

# Where the domain does not say so, these take one; where it does, the database
# holds to it.
held 'takes two persons' "INSERT INTO policy VALUES (1, 'z', 1, '{}')"
held 'takes two persons' 'DELETE FROM policy'
held 'takes two persons' "UPDATE policy SET document = '{}'"
held 'takes two persons' "INSERT INTO channel SELECT 1, 'z', 1, digest FROM manifest LIMIT 1"
held 'takes two persons' "INSERT INTO reference_value (domain_id, name, hwmodel) VALUES (1, 'z', 'x')"
held 'takes two persons' "INSERT INTO device (domain_id, name) VALUES (1, 'z')"
held 'takes two persons' "$(as_person bob); DELETE FROM device_key WHERE device_id = (SELECT min(device_id) FROM device)"
held 'takes two persons' "$(as_person bob); INSERT INTO device_key SELECT 1, sha256('z'), min(device_id), 'ed25519', sha256('z') FROM device"
held 'takes two persons' "$(as_person bob); UPDATE device_key SET public_key = sha256('z')"
held 'takes two persons' "UPDATE domain SET two_persons_for = '{}'"
"$tamctl" -q alone=done domain set 'two_persons_for=[]' >/dev/null
as carol policy put one p.json 2>bad.err || grep -q channel bad.err || die "policy: $(cat bad.err)"
as carol policy put one blank.json >/dev/null || die "a policy takes two"
[ "$(sql "SELECT count(*) FROM policy WHERE name = 'one'")" = 1 ] || die "a policy waits"
as bob reference-value put one hwmodel=00 >/dev/null
as oscar device import known.ndjson >/dev/null
[ "$(sql "SELECT count(*) FROM proposal WHERE state = 'pending' AND route IN ('policy_put', 'device_import') AND proposal_id > $before")" = 0 ] || die "something waits"
"$tamctl" db verify --database "$db" --migrations "$top/migrations" >/dev/null 2>&1 || die "the migrations"
stop_node 1
