#!/bin/bash
# A story: three domains, both HTTP versions, a rollout that stops by itself and
# goes on, a revocation in its midst, a quarantine, two persons, and a node
# killed in the middle of each.  At the end the database, the devices' own
# state, the counters and the chain of events say the same.
set -euo pipefail
work=$build/tests/work/test_story
# shellcheck source=tests/support/node.sh
. "$top/tests/support/node.sh"
trap end_world EXIT

total=${TAM_TEST_STORY:-1000}
a=$((total / 2)) bad=$((total / 20)) b=$((total * 3 / 10)) c=$((total * 3 / 20))
patience=${TAM_TEST_PATIENCE:-400} # seconds; nothing rests on how long it takes
make_world
cd "$work"
rm -f ./*.account ./*.json
hold_clock
start_node 1
start_node 2
for d in b c; do
	mkdir -p keys/$d
	TAMCTL_DATABASE=$db "$tamctl" bootstrap --domain $d --key-dir "$work/keys/$d" --master-key "$work/keys/master.key" \
	    --token-file keys/$d.token 2>bootstrap2.out || die "domain $d: $(cat bootstrap2.out)"
	for k in p256 ed25519; do openssl pkey -in keys/$d/$d-$k.pem -pubout -out keys/$d-$k.pub 2>/dev/null; done
done
cp keys/token keys/a.token
domain() { # DOMAIN COMMAND...
	local who=$1
	shift
	TAMCTL_TOKEN_FILE=keys/$who.token "$tamctl" "$@"
}
begun=$SECONDS
say() { printf '%4d s  %s\n' $((SECONDS - begun)) "$*"; }

# --- what there is ------------------------------------------------------------------
component() { # DOMAIN ID SEQUENCE TEXT
	printf '%s' "$4" >c.payload
	"$tamctl" suit create --key keys/signer.pem --component "$2" --sequence "$3" --vendor "$vendor" --class "$class_id" \
	    --payload c.payload --out c.suit
	domain "$1" -o name manifest upload c.suit
}
for d in a b c; do
	domain $d trust-anchor put demo public_key=@keys/signer.pub >/dev/null
	app=$(component $d vendor/app 1 one)
	codec=$(component $d vendor/codec 1 codec)
	domain $d channel put stable "manifest=$app" >/dev/null
	echo "{\"components\": [{\"channel\": \"stable\"}, {\"manifest\": \"$codec\"}]}" >p.json
	domain $d policy put base p.json >/dev/null
done
two=$(component a vendor/app 2 two)
sql "INSERT INTO principal SELECT domain_id, 'bob', 'admin', sha256('tam_bob') FROM domain WHERE name = 'default'" >/dev/null
(umask 077; echo tam_bob >keys/bob.token)
domain a domain set two_persons=true >/dev/null
enrol_in() { # DOMAIN AGENTS SEED PREFIX
	"$tamfleet" keys --agents "$2" --seed "$3" --prefix "$4" --keys mix >"$4.ndjson"
	domain "$1" -o json device import "$4.ndjson" >imported.txt || die "import $4"
	[ "$(grep -c '"created"' imported.txt)" = "$2" ] || die "import $4: $(grep -v '"created"' imported.txt | head -n 3)"
}
enrol_in a "$a" a a
enrol_in a "$bad" bad bad
enrol_in b "$b" b b
enrol_in c "$c" c c
[ "$(sql 'SELECT count(*) FROM device')" = $((a + bad + b + c)) ] || die "devices: $(sql 'SELECT count(*) FROM device')"
sql ANALYZE >/dev/null
settle
say "$total devices in three domains"

agents() { # DOMAIN SEED AGENTS KEY-NAME OPTION...: in the background; its pid in pid_SEED
	local uri=$1 seed=$2 n=$3 key=$4
	shift 4
	"$tamfleet" run --server "localhost:$port" --ca keys/tls.crt --agents "$n" --seed "$seed" --keys mix --http mix \
	    --tam-key "keys/$key-p256.pub" --tam-key "keys/$key-ed25519.pub" --signer keys/signer.pub \
	    --uri "/tam/$uri/final=final" --uri "/tam/$uri/legacy=legacy" --vendor-id "$vendor" --class-id "$class_id" \
	    --rounds 0 --interval "$interval" --concurrency 48 --tries 1000 --sources 2000 --account "$seed.account" -o json "$@" \
	    >"$seed.json" 2>"$seed.err" &
	eval "pid_$seed=$!"
}
interval=$((total / 400 + 1))
agents default a "$a" tam --absent vendor/codec --expect vendor/app
agents default bad "$bad" tam --absent vendor/codec --expect vendor/app --play fail-section=20 --play fail-from=2
agents b b "$b" b --expect vendor/app
agents c c "$c" c --expect vendor/app
everybody='a bad b c'

count() { sql "SELECT count(*) FROM $1"; }
hold() { # COMPONENT TEXT: how many hold this image
	count "device_component WHERE component = component_cbor('$1') AND digest = sha256('$2')"
}
comes() { # WHAT CONDITION...: sooner or later
	local what=$1 until=$((SECONDS + patience))
	shift
	until "$@"; do
		[ $SECONDS -lt $until ] || die "not within $patience s: $what; $(sql "SELECT domain_id, reason, count(*) FROM device_seen GROUP BY 1, 2"
			) $(sql "SELECT state, reason, success, count(*) FROM outstanding_update GROUP BY 1, 2, 3") $(sql 'TABLE rollout_count')"
		for f in $everybody; do
			eval "kill -0 \$pid_$f" 2>/dev/null || die "the fleet $f ended: $(tail -n 2 "$f.err")"
		done
		sleep 0.5
	done
	say "$what"
}
kill_node() { # N: at once, and another in its place
	eval "kill -KILL \$pid_$1; wait \$pid_$1 2>/dev/null || true"
	start_node "$1"
	eval "export TAMCTL_SERVER=localhost:\$admin_$1"
	pass_time 601 # what was on its way then is offered again
}
rollout() { domain a -o json rollout "$@" | tr -d ' \n' >rollout.json; }
rollout_is() { rollout status app-2 && grep -qF -- "$1" rollout.json; }
approve() { domain bob -o json proposal approve "$(sql 'SELECT max(proposal_id) FROM proposal')" >approved.json || die "bob may not"; }

all_have_one() { [ "$(hold vendor/app one)" = $((a + bad + b + c)) ] && [ "$(hold vendor/codec codec)" = $((a + bad + b + c)) ]; }
comes 'every device holds version 1' all_have_one

# --- a rollout, which takes two persons, and stops by itself -----------------------------
cat >rollout.doc <<END
{"channel": "stable", "manifest": "$two", "stages": [{"percent": 20}, {"percent": 100, "minimum": $((a * 6 / 10))}], "minimum": $((total / 50)), "soak_s": 0,
 "success_percent": 80, "limits": {"manifest_failed": 3}, "answer_within_s": 604800}
END
domain a rollout create app-2 rollout.doc >/dev/null
proposed domain a rollout start app-2 reason='version 2' >/dev/null 2>&1
rollout_is '"state":"draft"' || die "one person started it: $(cat rollout.json)"
if domain a proposal approve "$(sql 'SELECT max(proposal_id) FROM proposal')" 2>/dev/null; then die "who asked approved"; fi
kill_node 1
approve
some_offered() { [ "$(count 'rollout_device')" -gt $((total / 200)) ]; }
comes 'the rollout has begun' some_offered
kill_node 2
paused() { rollout_is '"state":"paused"'; }
comes 'the rollout stopped: too many fail' paused
grep -qE '"reason":"stage[12]:manifest_failedon' rollout.json || die "why: $(cat rollout.json)"

# --- a revocation in its midst, by two persons, and a quarantine ------------------------------
proposed domain a revocation create component=vendor/codec reason=CVE-2026-0001 deadline_s=86400 >/dev/null 2>&1
[ "$(count revocation)" = 0 ] || die "one person revoked"
kill_node 1
approve
id=$(sql 'SELECT revocation_id FROM revocation')
quarantined=$(domain b -o json device change 'selector=labels.shard == "3"' status=quarantined reason=odd | json_number devices)
[ "$quarantined" -gt 0 ] || die "nobody is quarantined"
some_verified() { [ "$(count 'revocation_device WHERE verified_us > 0')" -gt $((total / 100)) ]; }
comes 'the revocation has begun' some_verified
kill_node 2
[ "$(count "device WHERE status = 'quarantined'")" = "$quarantined" ] || die "the quarantine"

# --- mended, it goes on ---------------------------------------------------------------------------
# shellcheck disable=SC2154
kill -USR1 "$pid_bad"
domain a rollout retry-failed app-2 reason=mended >/dev/null
proposed domain a rollout resume app-2 reason=mended >/dev/null 2>&1
rollout_is '"state":"paused"' || die "one person resumed it"
approve
running() { rollout_is '"state":"running"' || rollout_is '"state":"completed"'; }
running || die "resumed: $(cat rollout.json)"
more_verified() { [ "$(count "rollout_device WHERE state = 'verified'")" -gt $((a / 2)) ]; }
comes 'half of them hold version 2' more_verified
kill_node 1
completed() { rollout_is '"state":"completed"'; }
comes 'the rollout is completed' completed
gone() {
	domain a -o json revocation status "$id" | tr -d ' \n' >revocation.json
	grep -q "\"counting\":false,\"affected\":$((a + bad)),.*\"verified\":$((a + bad)),.*\"overdue\":0,\"unconfirmed\":0," revocation.json
}
comes 'the revoked component is gone' gone
[ "$(count "device_seen s JOIN device d USING (domain_id, device_id) WHERE d.status = 'quarantined' AND s.seen_us > (SELECT created_us FROM revocation) + 1200000000")" = 0 ] ||
	die "who is quarantined was heard"
domain b device change 'selector=status == "quarantined"' status=active reason=fine >/dev/null
pass_time 601
settled() {
	[ "$(count "outstanding_update WHERE state = 'committed'")" = 0 ] && [ "$(hold vendor/app two)" = $((a + bad)) ] &&
		[ "$(count "rollout_device WHERE state = 'verified'")" = "$(count rollout_device)" ] &&
		[ "$(count "device_seen WHERE reason <> 'up_to_date'")" = 0 ]
}
comes 'all is settled' settled

# --- the devices' own account ------------------------------------------------------------------------
for f in $everybody; do
	eval "kill -TERM \$pid_$f; wait \$pid_$f || true" # failures were wanted; what they hold is asked below
	if grep -q 'agents hold' "$f.err"; then grep 'agents hold' "$f.err"; fi
done
for f in a bad; do grep -q "^0 of .* hold vendor/codec" "$f.err" || die "vendor/codec is on a device of $f: $(tail -n 3 "$f.err")"; done
sql 'CREATE TABLE account (us bigint, kind text, thumbprint bytea, component bytea, digest bytea)' >/dev/null
for f in $everybody; do
	psql -X -q -h "$pg/socket" -U tam -d tam -v ON_ERROR_STOP=1 -c "\\copy account FROM '$work/$f.account'" || die "account of $f"
done
sql 'CREATE INDEX ON account (thumbprint, component, us); ANALYZE account' >/dev/null
# What they hold is what the database says.
differ=$(sql "WITH theirs AS (SELECT k.domain_id, k.device_id, x.component, x.digest FROM account x JOIN device_key k USING (thumbprint) WHERE x.kind = '='),
	ours AS (SELECT domain_id, device_id, component, digest FROM device_component)
	SELECT count(*) FROM ((TABLE theirs EXCEPT TABLE ours) UNION ALL (TABLE ours EXCEPT TABLE theirs)) d")
[ "$differ" = 0 ] || die "$differ components differ"
[ "$(count "account WHERE kind = '=' AND digest = sha256('two')")" = $((a + bad)) ] || die "version 2 is not everywhere"
# Who was affected, and when it was gone: not before the device lost it, not
# after it had its answer to what showed that.  Nodes learn of a jump of the
# clock a moment after the devices, so each time is taken back to what the
# unmoved clock showed; and nodes know it to within a round trip to the database.
sql "CREATE FUNCTION unmoved(us bigint) RETURNS bigint LANGUAGE sql AS
	'SELECT us - coalesce((SELECT max(moved_us) FROM clock_jump WHERE us - moved_us > real_us - 5000000), 0)'" >/dev/null
sql "CREATE TABLE remedy AS SELECT r.device_id, r.verified_us, l.us AS lost_us, (SELECT min(d.us) FROM account d WHERE d.thumbprint = k.thumbprint
		AND d.kind = '.' AND d.us > l.us) AS told_us
	FROM revocation_device r JOIN device_key k USING (domain_id, device_id)
	LEFT JOIN LATERAL (SELECT max(us) AS us FROM account x WHERE x.thumbprint = k.thumbprint AND x.kind = '-'
		AND x.component = component_cbor('vendor/codec')) l ON true" >/dev/null
[ "$(count remedy)" = $((a + bad)) ] || die "affected: $(count remedy)"
[ "$(count 'remedy WHERE lost_us IS NULL')" = 0 ] || die "$(count 'remedy WHERE lost_us IS NULL') lost it by no account of theirs"
wrong='remedy WHERE NOT (unmoved(lost_us) < unmoved(verified_us) + 1000000 AND unmoved(verified_us) < unmoved(told_us) + 1000000)'
[ "$(count "$wrong")" = 0 ] || die "$(count "$wrong") of $(count remedy) were verified at another time"
for part in 'p50 0.5' 'p90 0.9' 'p99 0.99' 'max 1'; do
	tam=$(tr -d '\n' <revocation.json | sed "s/.*\"${part% *}\":\([0-9]*\).*/\1/")
	ours=$(sql "SELECT percentile_disc(${part#* }) WITHIN GROUP (ORDER BY verified_us - created_us) / 1000 FROM remedy, revocation")
	[ "$tam" = "$ours" ] || die "time to remediation ${part% *}: $tam, by its rows $ours"
	echo "time to remediation ${part% *}: $tam ms"
done
# What they installed is what was acknowledged, once each.
updates=0
for f in $everybody; do updates=$((updates + $(tr -d '\n' <"$f.json" | sed 's/.*"updates": \([0-9]*\).*/\1/'))); done
[ "$(count 'outstanding_update WHERE success')" = "$updates" ] || die "$updates installed, $(count 'outstanding_update WHERE success') acknowledged"
# The counters are what they count; who the rollout reached, shows it.
[ "$(sql "SELECT sum(n) FROM rollout_count WHERE state = 'verified'")" = "$(count rollout_device)" ] || die "counted: $(sql 'TABLE rollout_count')"
[ "$(count "rollout_device r JOIN device_key k USING (domain_id, device_id) WHERE NOT EXISTS (SELECT FROM account x
	WHERE x.thumbprint = k.thumbprint AND x.kind = '=' AND x.digest = sha256('two'))")" = 0 ] || die "verified, and not there"
[ "$(count "(SELECT stage, back, state, n FROM rollout_count WHERE n <> 0 EXCEPT SELECT stage, back, state, count(*) FROM rollout_device GROUP BY 1, 2, 3) x")" = 0 ] ||
	die "counted: $(sql 'TABLE rollout_count')"
# No step was left out and none was done twice; nobody touched the record.
[ "$(sql "SELECT string_agg(action, ' ' ORDER BY seq) FROM audit_event WHERE object = 'app-2' AND action <> 'rollout_put'")" = \
    "$(sql "SELECT 'rollout_start ' || CASE WHEN opened_first THEN 'rollout_advance rollout_pause rollout_retry rollout_resume ' ELSE 'rollout_pause rollout_retry rollout_resume rollout_advance ' END || 'rollout_complete'
	FROM (SELECT (SELECT seq FROM audit_event WHERE action = 'rollout_advance') < (SELECT seq FROM audit_event WHERE action = 'rollout_pause') AS opened_first) x")" ] ||
	die "told: $(sql "SELECT string_agg(action, ' ' ORDER BY seq) FROM audit_event WHERE object = 'app-2'")"
sealed() { [ "$(count 'device_event e WHERE event_id > (SELECT coalesce(max(last_event), 0) FROM device_event_seal s WHERE s.domain_id = e.domain_id)')" = 0 ]; }
try_for 120 sealed || die "device events are never sealed"
TAMCTL_DATABASE=$db "$tamctl" audit verify || die "the record"
stop_node 1
stop_node 2
say 'the end'
