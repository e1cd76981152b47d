#!/bin/bash
# Kills at named points: what was acknowledged is in the rows.
set -euo pipefail
work=$build/tests/work/test_crash
# shellcheck source=tests/support/node.sh
. "$top/tests/support/node.sh"
trap end_world EXIT

kills=${TAM_TEST_KILLS:-20}
agents=40
seed=${TAM_TEST_SEED:-1}
RANDOM=$seed
make_world
start_node 1
draft_policy
enrol $agents --keys mix
stop_node 1
export TAMCTL_SERVER=
port_keep=$port
: >"$work/journal"

# Each round: tamd with a fault at a random passage of a random point, or a
# backend of PostgreSQL killed; a fleet that must come through; new work.
points=(before_commit after_commit before_flush backend)
killed=0
round=0
while [ $killed -lt "$kills" ]; do
	round=$((round + 1))
	point=${points[$((round % 4))]}
	port=$port_keep
	export TAMCTL_SERVER=
	if [ "$point" = backend ] || [ "$point" = before_flush ]; then
		start_node 1
	else
		TAM_FAULT=$point:$((RANDOM % 30 + 1)) start_node 1
	fi
	pid=$pid_1
	# New work for every device.
	put_policy base "$(make_component vendor/round 1$round "text $round")"
	fleet_exec --agents $agents --rounds 3 --http mix --concurrency 16 --tries 60 \
	    --journal "$work/journal" >"$work/fleet.out" 2>&1 &
	fleet_pid=$!
	case $point in
	backend)
		sleep 0.1
		for b in $(sql "SELECT pid FROM pg_stat_activity WHERE application_name = '' AND pid <> pg_backend_pid() AND backend_type = 'client backend'" | shuf -n 1 --random-source=<(yes $round)); do
			cluster_as kill -TERM "$b" 2>/dev/null || true
		done
		killed=$((killed + 1))
		;;
	before_flush)
		sleep 0.1
		kill -KILL "$pid"
		;;
	esac
	# A killed node is started again, without a fault, while agents retry.
	while kill -0 $fleet_pid 2>/dev/null; do
		if ! kill -0 "$pid" 2>/dev/null; then
			wait "$pid" 2>/dev/null || true
			killed=$((killed + 1))
			start_node 1
			pid=$pid_1
		fi
		sleep 0.05
	done
	wait $fleet_pid || { cat "$work/fleet.out"; die "round $round ($point): a session ended wrongly"; }
	# The fault may strike last of all, while nothing is under way any more.
	status=0
	kill -TERM "$pid" 2>/dev/null || true
	wait "$pid" || status=$?
	case $status in
	0) ;;
	137) killed=$((killed + 1)) ;;
	*) die "round $round ($point): tamd ended with $status" ;;
	esac
	[ $round -lt $((kills * 6 + 20)) ] || die "only $killed kills in $round rounds"
done

# The journal against the rows: an Update that was received is committed, a
# Success that got its 204 is written.  A token's bytes 20 to 27 are the id.
sql "CREATE TABLE journal (line text)" >/dev/null
psql -X -q -h "$pg/socket" -U tam -d tam -c "\\copy journal FROM '$work/journal'"
lost=$(sql "WITH j AS (SELECT split_part(line, ' ', 1) AS kind, decode(split_part(line, ' ', 2), 'hex') AS key,
	('x' || substr(split_part(line, ' ', 3), 41, 16))::bit(64)::bigint AS id FROM journal)
	SELECT count(*) FROM j LEFT JOIN device_key k ON k.thumbprint = j.key
	LEFT JOIN outstanding_update u ON u.update_id = j.id AND u.device_id = k.device_id
	WHERE u.update_id IS NULL OR (kind = 'S' AND u.success IS NOT TRUE)")
lines=$(sql "SELECT count(*) FROM journal")
[ "$lines" -gt 0 ] || die "the journal is empty"
[ "$lost" = 0 ] || die "$lost of $lines acknowledged things are lost"
echo "$killed kills in $round rounds, $lines journal lines, nothing lost (TAM_TEST_SEED=$seed)"
