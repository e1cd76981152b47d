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
for who in 'bob security' 'carol policy-admin' 'dave viewer'; do
	name=${who% *}
	echo "tam_$name" >"keys/$name"
	sql "INSERT INTO principal VALUES (1, '$name', '${who#* }', sha256('tam_$name'))" >/dev/null
done
# Another domain, whose people are nobody here.
sql "INSERT INTO domain (name, incarnation) VALUES ('other', 1);
     INSERT INTO principal SELECT domain_id, 'eve', 'admin', sha256('tam_eve') FROM domain WHERE name = 'other'" >/dev/null
echo tam_eve >keys/eve
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

# Without the rule one person does; the rule itself is taken back by two.
"$tamctl" verifier put v public_key=@k.pub >/dev/null
"$tamctl" device-ca put ca certificates=@ca.crt >/dev/null
"$tamctl" endorsement put e public_key=@k.pub >/dev/null
first=$("$tamctl" -o json revocation create component=vendor/x reason=test | json_number id)
for i in 1 2 3; do
	echo "{\"policy\": \"r$i\", \"document\": {\"components\": [{\"component\": \"vendor/r$i\", \"state\": \"absent\"}]}, \"stages\": [{}, {}]}" >r.json
	"$tamctl" rollout create r$i r.json >/dev/null
	[ $i = 1 ] || "$tamctl" rollout start r$i reason=test >/dev/null
done
"$tamctl" rollout pause r3 reason=test >/dev/null
"$tamctl" domain set two_persons=true >/dev/null
before=$(world)
wanted=0
proposes() { # COMMAND...: 202, and nothing else happens
	"$tamctl" -o json "$@" | tr -d ' \n' >answer.json || die "$*: refused"
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
"$tamctl" trust-anchor delete "$("$tamctl" -o name trust-anchor list | head -n 1)" >/dev/null # a proposal
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
	VALUES (1, 'revocation_create', '{}', '', '', 'nobody'"
approve="UPDATE proposal SET state = 'approved', decider = 'somebody', decided_us = 1 WHERE state = 'pending' AND author = 'bob'"
lift='UPDATE revocation SET lifted_us = 1'
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
held 'only a draft' "UPDATE rollout SET document = '{}'"
held 'only a draft' "INSERT INTO rollout (domain_id, name, document, state, author, created_us) VALUES (1, 'x', '{}', 'running', 'x', 1)"
held 'no person signed in' "$proposal, 'pending', '', 1, 2)"
held 'no person signed in' "$(as_person bob); $proposal, 'approved', '', 1, 2)"
held 'no person signed in' "$(as_person bob); $proposal, 'alone', '', 1, 2)"
held 'no person signed in' "SELECT actor_bind(sha256('tam_who')); $approve; $lift"
held 'no person signed in' "$approve; $lift"
held 'check constraint' "$(as_person bob); $approve; $lift"
held 'takes two persons' "$(as_person carol); $approve; DELETE FROM trust_anchor" # something else was approved
for secret in 'SELECT token_hash FROM principal' "INSERT INTO principal VALUES (1, 'mallory', 'admin', sha256('x'))" 'TABLE request_actor' \
    "INSERT INTO request_actor VALUES (pg_current_xact_id(), 1, 'carol')"; do
	held 'permission denied' "$secret"
done
[ "$(sql 'SELECT count(*) FROM revocation WHERE lifted_us IS NOT NULL')" = 0 ] || die "something was lifted"
below "$(as_person carol); $approve; $lift" || die "two persons"
[ "$(sql "SELECT decider FROM proposal WHERE author = 'bob'")" = carol ] || die "by whom?"
[ "$(sql 'SELECT count(*) FROM revocation WHERE lifted_us IS NULL')" = 0 ] || die "not lifted"
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
"$tamctl" db verify --database "$db" --migrations "$top/migrations" >/dev/null 2>&1 || die "the migrations"
stop_node 1
