#!/bin/bash
# A revocation of a large fleet: known before it is made, in force at once, and
# counted afterwards, whoever dies meanwhile.
set -euo pipefail
work=$build/tests/work/test_revoke
# shellcheck source=tests/support/node.sh
. "$top/tests/support/node.sh"
trap end_world EXIT

make_world
start_node 1
draft_policy
cd "$work"
rm -f ./*.pem ./*.pub
enrol 4 --keys p256
lib=$(make_component vendor/lib 1 lib)
other=$(make_component vendor/other 1 other)
put_policy base "$lib" "$other"
fleet --agents 4 --keys p256 --expect vendor/lib >fleet.out 2>&1 || die "fleet: $(cat fleet.out)"
# A fleet of rows beside it: half of them hold the target, some another image
# of it, one does not say which; a few never came, many not for long.
sql "INSERT INTO device (domain_id, name, class) SELECT 1, 'r' || lpad(i::text, 6, '0'), 'c' || i % 2
	FROM generate_series(1, 40000) i;
     INSERT INTO device_seen (domain_id, device_id, seen_us, stamp_epoch)
	SELECT 1, device_id, CASE WHEN device_id % 10 = 0 THEN 0 WHEN device_id % 10 < 5 THEN 1 ELSE 4102444800000000 END, 0
	FROM device WHERE name LIKE 'r%';
     INSERT INTO device_label SELECT 1, 'region', 'eu', device_id FROM device WHERE name LIKE 'r%' AND device_id % 4 = 0;
     INSERT INTO device_component SELECT 1, device_id, component_cbor('vendor/lib'),
	CASE WHEN name = 'r000002' THEN NULL WHEN name = 'r000004' THEN sha256('older') ELSE sha256('lib') END, 'reported', 1
	FROM device WHERE name LIKE 'r%' AND class = 'c0';
     INSERT INTO outstanding_update (domain_id, update_id, device_id, opener, content, manifests, adds, add_digests, removes,
	revocations, epoch, reason, committed_us, offered_us, expires_us)
	SELECT 1, 7, device_id, 'x', '', '{}', ARRAY[component_cbor('vendor/lib')], '{}', '{}', '{}', 1, 'policy', 1, 1, 4102444800000000
	FROM device WHERE name = 'r000001';
     ANALYZE" >/dev/null
total=$(sql "SELECT count(*) FROM device_component WHERE component = component_cbor('vendor/lib')")
[ "$total" = 20004 ] || die "$total hold it"

# The blast radius; nothing is revoked by asking.
radius() { "$tamctl" -o json revocation create "$@" reason=test dry_run=true | tr -d ' \n' >radius.json || die "radius of $*"; }
says() { grep -qF -- "$1" radius.json || die "not said: $1 in $(cat radius.json)"; }
radius component=vendor/lib label=region
says '"affected":20004,"update_under_way":1'
says "\"by_class\":{\"c0\":20000,\"cam\":4}"
says "\"by_label\":{\"eu\":$(sql "SELECT count(*) FROM device_label l JOIN device_component c USING (domain_id, device_id) WHERE key = 'region' AND component = component_cbor('vendor/lib')")}"
says "\"never_seen\":$(sql "SELECT count(*) FROM device_seen s JOIN device_component c USING (domain_id, device_id) WHERE seen_us = 0 AND component = component_cbor('vendor/lib')")"
says "\"not_seen_for_7d\":$(sql "SELECT count(*) FROM device_seen s JOIN device_component c USING (domain_id, device_id) WHERE seen_us = 1 AND component = component_cbor('vendor/lib')")"
radius "manifest=$lib"
says '"affected":20003,' # not the one with another image
radius component=vendor/nothing
says '"affected":0,"update_under_way":0'
[ "$(sql 'SELECT count(*) FROM revocation')" = 0 ] || die "a dry run revoked"
if "$tamctl" revocation create component=vendor/lib dry_run=true reason= 2>/dev/null; then die "without a reason"; fi

# In force at once; who is affected is counted afterwards, also when the node
# that counts is killed and another goes on.
start_node 2
begin=$SECONDS
id=$("$tamctl" -o json revocation create component=vendor/lib reason=test | json_number id)
[ $((SECONDS - begin)) -le 5 ] || die "a revocation waits for the fleet"
kill -KILL "$pid_1"
wait "$pid_1" 2>/dev/null || true
export TAMCTL_SERVER=localhost:$admin_2
status() { "$tamctl" -o json revocation status "$id" | tr -d ' \n' >status.json; }
counted() { status && grep -q '"counting":false' status.json; }
try_for 60 counted || die "never counted: $(cat status.json)"
grep -q '"affected":20005,' status.json || die "affected: $(cat status.json)"
[ "$(sql "SELECT count(*) FROM revocation_device r JOIN device_seen s USING (domain_id, device_id) WHERE NOT s.open_work")" = 0 ] ||
	die "a device affected could be answered without a look at it"
in_force() { status && ! grep -q '"in_force_at":null' status.json; }
try_for 30 in_force || die "not in force: $(cat status.json)"

# The funnel is counted as it moves: what is counted is what there is.
sums_up() {
	[ "$(sql "SELECT count(*) FROM (
		(SELECT revocation_id, mask, n FROM revocation_count WHERE n <> 0 EXCEPT
		 SELECT revocation_id, revocation_mask(r), count(*) FROM revocation_device r GROUP BY 1, 2) UNION ALL
		(SELECT revocation_id, revocation_mask(r), count(*) FROM revocation_device r GROUP BY 1, 2 EXCEPT
		 SELECT revocation_id, mask, n FROM revocation_count)) x")" = 0 ] || die "counted: $(sql 'SELECT * FROM revocation_count')"
}
sums_up

# A device that answers proves it; the others stay open.
sql "DELETE FROM node_lease WHERE node_id = 'node1'" >/dev/null # it has expired
settle
fleet --agents 4 --keys p256 --rounds 3 --absent vendor/lib --expect vendor/other >fleet.out 2>&1 || die "fleet: $(cat fleet.out)"
status
grep -q '"verified":4,"attested":0,"reported":4,"overdue":0,' status.json || die "verified: $(cat status.json)"
grep -q '"unconfirmed":19999,' status.json || die "unconfirmed: $(cat status.json)"
[ "$("$tamctl" -o name revocation devices "$id" limit=200 | wc -l)" = 200 ] || die "the stragglers are not listed"
status=0
"$tamctl" revocation wait "$id" deadline=1 2>wait.err || status=$?
[ $status = 7 ] || die "waited with $status"
grep -q 'in force, affected 20005, verified 4, unconfirmed 19999' wait.err || die "wait: $(cat wait.err)"
# Devices that were never seen do not hold up --for verified.
unseen=$("$tamctl" -o json revocation create component=vendor/nobody reason=test | json_number id)
"$tamctl" revocation wait "$unseen" --for verified deadline=60 2>wait.err || die "wait: $(cat wait.err)"
status=0
"$tamctl" revocation wait --for=confirmed "$unseen" deadline=1 2>/dev/null || status=$?
[ $status = 2 ] || die "an option before the number: $status"
status=0
"$tamctl" revocation wait "$unseen" --for=confirmed deadline=1 2>wait.err || status=$?
[ $status = 7 ] || die "waited with $status"
grep -q 'have not answered since the revocation; --for verified does not wait' wait.err || die "wait: $(cat wait.err)"
"$tamctl" revocation lift "$unseen" reason=test >/dev/null
for bad in x -1 '' 7x; do
	status=0
	"$tamctl" revocation wait "$bad" 2>/dev/null || status=$?
	[ $status = 2 ] || die "waited for '$bad' with $status"
done
status=0
"$tamctl" revocation wait 99 2>/dev/null || status=$?
[ $status = 1 ] || die "waited for nothing with $status"
"$tamctl" -o csv revocation devices "$id" limit=2 | tr -d '\r' >devices.csv
[ "$(head -n 2 devices.csv | cut -d, -f1-4 | tr '\n' ' ')" = 'device,class,status,state r000001,c1,active,affected ' ] ||
	die "csv: $(cat devices.csv)"
"$tamctl" revocation devices "$id" limit=1 | grep -q '^r000001.*affected' || die "stragglers: $("$tamctl" revocation devices "$id" limit=1)"

# A range of sequence numbers: those manifests, their images, and what is
# uploaded into it later.
"$tamctl" revocation lift "$id" reason=done >/dev/null
sql "DELETE FROM device_component; DELETE FROM outstanding_update; DELETE FROM revocation_device; DELETE FROM device_label WHERE device_id IN
	(SELECT device_id FROM device WHERE name LIKE 'r%'); DELETE FROM device_seen WHERE device_id IN (SELECT device_id FROM device
	WHERE name LIKE 'r%'); DELETE FROM device WHERE name LIKE 'r%';
     UPDATE device_seen SET inventory_hash = NULL, open_work = false, version = version + 1" >/dev/null
make_component vendor/app 2 two >/dev/null
three=$(make_component vendor/app 3 three)
five=$(make_component vendor/app 5 five)
put_policy base "$three"
fleet --agents 4 --keys p256 --expect vendor/app >fleet.out 2>&1 || die "fleet: $(cat fleet.out)"
for bad in 'first_sequence=4 last_sequence=3' 'first_sequence=-1' 'signer=x first_sequence=1' 'deadline_s=0' 'manifest=00' 'signer=x'; do
	args=(component=vendor/app)
	case $bad in signer=*) args=() ;; esac
	case $bad in 'signer=x') args=(component=vendor/app) ;; esac
	# shellcheck disable=SC2086  # fields
	if "$tamctl" revocation create "${args[@]}" $bad reason=x dry_run=true 2>bad.err; then die "$bad was taken"; fi
	grep -q ' 422 .* at /' bad.err || die "$bad: $(cat bad.err)"
done
radius component=vendor/app first_sequence=3 last_sequence=4
says '"affected":4,'
radius component=vendor/app last_sequence=2
says '"affected":0,'
id=$("$tamctl" -o json revocation create component=vendor/app first_sequence=2 last_sequence=4 deadline_s=1 reason=range | json_number id)
settle
if make_component vendor/app 4 four 2>bad.err; then die "what is revoked was uploaded"; fi
grep -q suit_revoked bad.err || die "upload: $(cat bad.err)"
put_policy base "$five"
fleet --agents 4 --keys p256 --rounds 3 --expect vendor/app >fleet.out 2>&1 || die "fleet: $(cat fleet.out)"
[ "$(sql "SELECT count(*) FROM device_component c JOIN manifest_component m ON m.component = c.component AND m.image = c.digest
	WHERE m.digest = '\\x$five'")" = 4 ] || die "not all have what is beyond the range"
gone() { status && grep -q '"verified":4,' status.json && grep -q '"overdue":0,' status.json && grep -q '"unconfirmed":0,' status.json; }
try_for 10 gone || die "range: $(cat status.json)"
grep -q '"target":"range"' status.json || die "range: $(cat status.json)"
[ "$("$tamctl" -o name revocation devices "$id" | wc -l)" = 0 ] || die "stragglers of what is done"
# It can be lifted, and then it is not revoked.
"$tamctl" revocation lift "$id" reason=mistake >/dev/null
settle
make_component vendor/app 6 four >/dev/null || die "lifted, and still refused"

# One manifest, and what those who hold it get in its place.
bad=$(make_component vendor/app 7 seven)
good=$(make_component vendor/app 8 eight)
put_policy base "$bad"
for wrong in 00 "$(printf '%064d' 1)" "$bad"; do
	if "$tamctl" revocation create "manifest=$bad" "replacement=$wrong" reason=x 2>bad.err; then die "replaced by $wrong"; fi
	grep -q ' at /replacement' bad.err || die "$wrong: $(cat bad.err)"
done
if "$tamctl" revocation create component=vendor/app "replacement=$good" reason=x 2>bad.err; then die "replaced by what is revoked"; fi
grep -q '409 suit_revoked at /replacement' bad.err || die "replacement: $(cat bad.err)"
fleet_exec --agents 4 --keys p256 --rounds 0 --interval 0.3 --expect vendor/app >fleet.out 2>&1 &
fleet_pid=$!
holders() { [ "$(sql "SELECT count(*) FROM device_component c JOIN manifest_component m ON m.component = c.component AND m.image = c.digest
	WHERE m.digest = '\\x$1'")" = 4 ]; }
try_for 90 holders "$bad" || die "nobody holds it"
id=$("$tamctl" -o json revocation create "manifest=$bad" "replacement=$good" suspend=true reason=fixed | json_number id)
try_for 60 gone || die "replaced: $(cat status.json)"
try_for 30 holders "$good" || die "not all have the replacement"
"$tamctl" -o json revocation list | tr -d ' \n' | grep -q "\"id\":$id,\"suspended\":true" || die "suspended: $("$tamctl" -o json revocation list)"
kill -TERM $fleet_pid
wait $fleet_pid || die "the fleet: $(tail -n 3 fleet.out)"
"$tamctl" revocation lift "$id" reason=over >/dev/null
put_policy base "$five"
sql "UPDATE outstanding_update SET state = 'superseded' WHERE state <> 'superseded'" >/dev/null # no pause behind what came before

# Quarantine: who holds it keeps it, and gets nothing else until it is lifted.
new=$(make_component vendor/new 1 new)
for bad in "replacement=$new quarantine=true component=vendor/app" 'class=cam quarantine=false' 'class=' 'class=cam component=vendor/app' "class=cam replacement=$new" 'class=cam last_sequence=7'; do
	# shellcheck disable=SC2086  # fields
	if "$tamctl" revocation create $bad reason=x dry_run=true 2>bad.err; then die "$bad was taken"; fi
	grep -q ' 422 .* at /' bad.err || die "$bad: $(cat bad.err)"
done
fleet_exec --agents 4 --keys p256 --rounds 0 --interval 0.3 --expect vendor/app --expect vendor/new >fleet.out 2>&1 &
fleet_pid=$!
try_for 60 holders "$five" || die "nobody holds it"
id=$("$tamctl" -o json revocation create component=vendor/app quarantine=true reason=look | json_number id)
settle
put_policy base "$five" "$new"
quarantined() { [ "$(sql "SELECT count(*) FROM device_seen WHERE reason = 'quarantined'")" = 4 ]; }
try_for 30 quarantined || die "reasons: $(sql 'SELECT reason, count(*) FROM device_seen GROUP BY 1')"
sleep 1
holders "$five" || die "it was taken"
[ "$(sql "SELECT count(*) FROM device_component WHERE component = component_cbor('vendor/new')")" = 0 ] || die "in quarantine, and something was sent"
status
grep -q '"affected":4,"offered":0,"acknowledged":0,"verified":0,' status.json || die "quarantine: $(cat status.json)"
"$tamctl" -o json device explain agent-000000 | tr -d ' \n' | grep -q '"reason":"quarantined"' || die "explain: $("$tamctl" -o json device explain agent-000000)"
"$tamctl" revocation lift "$id" reason=looked >/dev/null
try_for 30 holders "$new" || die "lifted, and still nothing is sent"
kill -TERM $fleet_pid
wait $fleet_pid || die "the fleet: $(tail -n 3 fleet.out)"

# A class of devices gets nothing any more, those that come later neither; who
# is of another class is free.
radius class=cam
says '"affected":4,'
id=$("$tamctl" -o json revocation create class=cam reason=broken | json_number id)
settle
newer=$(make_component vendor/newer 1 newer)
put_policy base "$five" "$new" "$newer"
enrol 5 --keys p256
fleet --agents 5 --keys p256 --rounds 2 --absent vendor/newer >fleet.out 2>&1 || die "a revoked class: $(cat fleet.out)"
try_for 30 counted || die "never counted"
status
grep -q '"target":"class","label":"cam"' status.json || die "class: $(cat status.json)"
grep -q '"affected":5,"offered":0,"acknowledged":0,"verified":0,' status.json || die "class: $(cat status.json)"
"$tamctl" device set agent-000004 class=other reason=mended >/dev/null
settle
fleet --agents 5 --keys p256 >fleet.out 2>&1 || die "fleet: $(cat fleet.out)"
status
grep -q '"affected":5,"offered":0,"acknowledged":0,"verified":1,' status.json || die "class left: $(cat status.json)"
"$tamctl" revocation lift "$id" reason=mended >/dev/null
"$tamctl" device set agent-000004 status=decommissioned reason=over >/dev/null
settle
sums_up

# All that one signer published.
"$tamctl" suit keygen --curve p256 --key stolen.pem --public stolen.pub
"$tamctl" trust-anchor put stolen public_key=@stolen.pub >/dev/null
printf evil >evil.payload
"$tamctl" suit create --key stolen.pem --component vendor/evil --sequence 1 --vendor "$vendor" --class "$class_id" \
    --payload evil.payload --out evil.suit
evil=$("$tamctl" -o name manifest upload evil.suit)
put_policy base "$five" "$evil"
fleet --agents 4 --keys p256 --signer stolen.pub --expect vendor/evil >fleet.out 2>&1 || die "fleet: $(cat fleet.out)"
radius signer=stolen
says '"affected":4,'
id=$("$tamctl" -o json revocation create signer=stolen reason=stolen | json_number id)
settle
try_for 30 counted || die "who is affected is not written down"
fleet --agents 4 --keys p256 --signer stolen.pub --rounds 3 --absent vendor/evil --expect vendor/app >fleet.out 2>&1 ||
	die "what a stolen key signed is still sent: $(cat fleet.out)"
"$tamctl" suit create --key stolen.pem --component vendor/more --sequence 1 --vendor "$vendor" --class "$class_id" \
    --payload evil.payload --out evil.suit
if "$tamctl" manifest upload evil.suit 2>bad.err; then die "a stolen key's manifest was taken"; fi
grep -q suit_revoked bad.err || die "stolen: $(cat bad.err)"
"$tamctl" revocation wait "$id" deadline=20 2>wait.err || die "wait: $(cat wait.err)"
gone || die "signer: $(cat status.json)"
sums_up

# What is revoked, signed, for others: what was lifted is not in it.
export TAMCTL_DATABASE=$db
"$tamctl" suit keygen --curve ed25519 --key list.pem --public list.pub
"$tamctl" revocation create component=vendor/gone first_sequence=3 last_sequence=4 reason=why advisory=https://example.com/1 suspend=true >/dev/null
for key in list.pem keys/signer.pem; do
	"$tamctl" revocation-list publish --key $key --out list.cbor || die "publish with $key"
	"$tamctl" revocation-list show --key ${key%.pem}.pub list.cbor | tr -d ' \n' >list.txt || die "show"
	grep -q '^{1:"default",2:[0-9]*,3:[0-9]*,4:[0-9]*,5:\[{1:[0-9]*,2:"signer",3:"stolen",8:"stolen",9:"",10:false,11:[0-9]*,12:false},' list.txt || die "list: $(cat list.txt)"
	grep -q '2:"range",3:"vendor/gone",4:.*,6:3,7:4,8:"why",9:"https://example.com/1",10:true,11:[0-9]*,12:false}\]}$' list.txt || die "list: $(cat list.txt)"
	if grep -q vendor/app list.txt; then die "what was lifted is listed"; fi
done
if "$tamctl" revocation-list show --key list.pub list.cbor >/dev/null 2>&1; then die "signed by another key"; fi
# Nodes publish the same, at once.
settle
listed() {
	curl -sS --cacert keys/tls.crt -o node.cbor "https://localhost:$port/published/default/revocations" &&
		"$tamctl" revocation-list show --key keys/tam-p256.pub node.cbor 2>&1 | tr -d ' \n' >node.txt &&
		[ "$(sed 's/.*,5:\[/[/' node.txt)" = "$(sed 's/.*,5:\[/[/' list.txt)" ]
}
try_for 10 listed || die "published: $(cat node.txt)"
printf x | dd of=list.cbor bs=1 seek=60 conv=notrunc status=none
if "$tamctl" revocation-list show --key keys/signer.pub list.cbor >/dev/null 2>&1; then die "changed, and shown"; fi
if "$tamctl" revocation-list publish --domain nobody --key list.pem --out nobody.cbor 2>/dev/null || [ -e nobody.cbor ]; then die "a list of nobody"; fi
for bad in 'publish --key list.pem' 'show list.cbor' 'publish --key list.pem --out x --life 0' 'list --key list.pem' ''; do
	status=0
	# shellcheck disable=SC2086  # fields
	"$tamctl" revocation-list $bad >/dev/null 2>&1 || status=$?
	[ $status = 2 ] || die "revocation-list $bad: $status"
done

# The shell completes what the table has.
"$tamctl" completion bash >completion.bash
complete_() { # WORD... -> what may follow
	# shellcheck source=/dev/null
	(. ./completion.bash && COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) && _tamctl && echo "${COMPREPLY[*]}")
}
[ "$(complete_ tamctl revo)" = "revocation revocation-list" ] || die "completion: $(complete_ tamctl revo)"
[ "$(complete_ tamctl revocation w)" = wait ] || die "completion: $(complete_ tamctl revocation w)"
[ "$(complete_ tamctl device set update)" = update_bytes= ] || die "completion: $(complete_ tamctl device set update)"
[ "$(complete_ tamctl key r)" = retire ] || die "completion: $(complete_ tamctl key r)"
"$tamctl" completion zsh 2>&1 | grep -q bashcompinit || die "no completion for zsh"
if "$tamctl" completion fish 2>/dev/null; then die "completion for fish"; fi
if "$tamctl" -o xml device list 2>/dev/null; then die "an output nobody knows"; fi
stop_node 2
