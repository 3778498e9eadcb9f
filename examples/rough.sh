#!/bin/sh
# Rough treatment: a throw-away PostgreSQL server under load, three sinks that are
# stopped, killed and started again in the middle of it, and the host too; in the
# end both archives must be byte for byte what the server has, and the audit trail
# must have every record once.
#
#   examples/rough.sh [SECONDS]
#
# WALPLEX names the walplex program (default: ./bin/walplex), PGBIN the directory of
# PostgreSQL's programs (default: found). As root it runs the server as "postgres".
set -eu

seconds=${1:-20}
here=$(cd "$(dirname "$0")/.." && pwd)
walplex=${WALPLEX:-$here/bin/walplex}
pgbin=${PGBIN:-}
if [ -z "$pgbin" ]; then
	for bin in $(echo "$PATH" | tr : ' ') /usr/lib/postgresql/*/bin; do
		[ ! -x "$bin/initdb" ] || [ ! -x "$bin/pgbench" ] || [ ! -x "$bin/psql" ] || pgbin=$bin
	done
fi
[ -x "$pgbin/initdb" ] || { echo "rough: PostgreSQL's initdb was not found; set PGBIN" >&2; exit 2; }
[ -x "$walplex" ] || { echo "rough: $walplex does not exist; run make build, or set WALPLEX" >&2; exit 2; }

dir=$(mktemp -d /tmp/walplex-rough.XXXXXX)
chmod 755 "$dir"
mkdir "$dir/pg"
asPostgres() { "$@"; }
if [ "$(id -u)" = 0 ]; then
	chown postgres "$dir/pg"
	asPostgres() { su postgres -s /bin/sh -c 'exec "$0" "$@"' -- "$@"; }
fi
host=
finish() {
	[ -z "$host" ] || kill -9 "$host" 2>/dev/null || :
	asPostgres "$pgbin/pg_ctl" -D "$dir/pg/data" -m immediate -w stop >/dev/null 2>&1 || :
	rm -rf "$dir"
}
trap finish EXIT
trap 'exit 1' INT TERM

asPostgres "$pgbin/initdb" -D "$dir/pg/data" -U postgres -A trust --wal-segsize=1 --no-sync >/dev/null
asPostgres "$pgbin/pg_ctl" -D "$dir/pg/data" -w -l "$dir/pg/log" \
	-o "-k $dir/pg -c listen_addresses='' -c fsync=off -c wal_keep_size=4GB -c max_wal_size=8GB" start >/dev/null
psql() { asPostgres "$pgbin/psql" -h "$dir/pg" -U postgres -X -q -t -A "$@" postgres; }
asPostgres "$pgbin/pgbench" -h "$dir/pg" -U postgres -i -q -s 2 postgres >/dev/null 2>&1

cat >"$dir/rough.hcl" <<HCL
stream "rough" {
  postgres {
    dsn             = "host=$dir/pg user=postgres dbname=postgres"
    slot            = "rough"
    create_slot     = true
    status_interval = "1s"
  }
  sink "segment_file" "archive" {
    config { directory = "$dir/archive" }
  }
  sink "segment_file" "copy" {
    required = false
    config { directory = "$dir/copy" }
  }
  sink "audit" "trail" {
    required = false
    config { directory = "$dir/trail" }
  }
}
HCL
startHost() {
	"$walplex" run "$dir/rough.hcl" >>"$dir/host.log" 2>&1 &
	host=$!
}
say() { printf '%6s s  %s\n' "$(($(date +%s) - began))" "$*"; }
# waitFor COMMAND…: until it answers t, a minute at most.
waitFor() {
	for _ in $(seq 600); do
		[ "$("$@" 2>/dev/null)" != t ] || return 0
		kill -0 "$host" 2>/dev/null || break
		sleep 0.1
	done
	echo "rough: waited in vain; the end of the host's log:" >&2
	tail -n 20 "$dir/host.log" >&2
	exit 1
}

began=$(date +%s)
startHost
waitFor psql -c "SELECT count(*) = 1 FROM pg_replication_slots WHERE active"
asPostgres "$pgbin/pgbench" -h "$dir/pg" -U postgres -n -c 4 -T "$seconds" postgres >"$dir/pgbench" 2>&1 &
load=$!
turn=0
while kill -0 "$load" 2>/dev/null; do
	turn=$((turn + 1))
	sink=$(pgrep -P "$host" | sed -n "$((turn % 3 + 1))p" || :)
	case $((turn % 4)) in
	0)
		say "kill -9 of the host"
		kill -9 "$host"
		wait "$host" 2>/dev/null || :
		startHost
		;;
	1 | 3)
		[ -z "$sink" ] || { say "kill -9 of sink process $sink" && kill -9 "$sink" 2>/dev/null || :; }
		;;
	2)
		[ -z "$sink" ] || { say "sink process $sink is stopped for 2 s" && kill -STOP "$sink" 2>/dev/null && sleep 2 && kill -CONT "$sink" 2>/dev/null || :; }
		;;
	esac
	sleep 1
done
wait "$load"
say "$(sed -n 's/^number of transactions actually processed: /transactions: /p' "$dir/pgbench")"

psql -c "SELECT pg_switch_wal()" >/dev/null
end=$(psql -c "SELECT pg_current_wal_flush_lsn()")
waitFor psql -c "SELECT restart_lsn >= '$end' FROM pg_replication_slots"
# The sinks that are not required may still be catching up.
segment=$(psql -c "SELECT pg_walfile_name('$end'::pg_lsn - 1)")
copied() { if [ -e "$dir/copy/$segment" ] || [ -e "$dir/copy/$segment.partial" ]; then echo t; fi; }
caughtUp() { if "$walplex" audit verify "$dir/trail" 2>/dev/null | grep -q "position *$end"; then echo t; fi; }
waitFor copied
waitFor caughtUp
kill -TERM "$host"
wait "$host" || { echo "rough: the host failed" >&2; tail -n 20 "$dir/host.log" >&2; exit 1; }
host=

segments=0
for a in "$dir"/archive/0*[0-9A-F]; do
	name=$(basename "$a")
	cmp "$a" "$dir/pg/data/pg_wal/$name"
	cmp "$a" "$dir/copy/$name"
	segments=$((segments + 1))
done
say "$segments segments in both archives are byte for byte the server's"
"$walplex" audit verify "$dir/trail"
