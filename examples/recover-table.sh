#!/bin/sh
# Gets a dropped table back: a throw-away PostgreSQL server, a page cache beside it,
# a DROP TABLE that somebody regrets, VACUUM and CHECKPOINT after it, and then
# `walplex table recover`, which reads the table's pages as they were just before.
# In the end the table is on the server again, row for row.
#
#   examples/recover-table.sh
#
# WALPLEX names the walplex program (default: ./bin/walplex), PGBIN the directory of
# PostgreSQL's programs (default: found). As root it runs the server as "postgres".
set -eu

here=$(cd "$(dirname "$0")/.." && pwd)
walplex=${WALPLEX:-$here/bin/walplex}
pgbin=${PGBIN:-}
if [ -z "$pgbin" ]; then
	for bin in $(echo "$PATH" | tr : ' ') /usr/lib/postgresql/*/bin; do
		[ ! -x "$bin/initdb" ] || [ ! -x "$bin/psql" ] || pgbin=$bin
	done
fi
[ -x "$pgbin/initdb" ] || { echo "recover-table: PostgreSQL's initdb was not found; set PGBIN" >&2; exit 2; }
[ -x "$walplex" ] || { echo "recover-table: $walplex does not exist; run make build, or set WALPLEX" >&2; exit 2; }

dir=$(mktemp -d /tmp/walplex-recover.XXXXXX)
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

say() { printf '\n# %s\n' "$*"; }
psql() { asPostgres "$pgbin/psql" -h "$dir/pg" -U postgres -X -q -t -A -v ON_ERROR_STOP=1 "$@" postgres; }
# sql shows a statement and runs it.
sql() { printf 'postgres=# %s\n' "$1" && psql -c "$1"; }
# waitFor WHAT COMMAND…: until the command succeeds, a minute at most.
waitFor() {
	what=$1
	shift
	for _ in $(seq 600); do
		! "$@" >/dev/null 2>&1 || return 0
		kill -0 "$host" 2>/dev/null || break
		sleep 0.1
	done
	echo "recover-table: waited in vain: $what; the end of the host's log:" >&2
	tail -n 20 "$dir/host.log" >&2
	exit 1
}

say "A throw-away server in $dir/pg"
asPostgres "$pgbin/initdb" -D "$dir/pg/data" -U postgres -A trust --no-sync >/dev/null
asPostgres "$pgbin/pg_ctl" -D "$dir/pg/data" -w -l "$dir/pg/log" \
	-o "-k $dir/pg -c listen_addresses='' -c fsync=off" start >/dev/null
sql "CREATE TABLE customers AS SELECT g AS id, 'customer ' || g AS name FROM generate_series(1, 1000) g"

say "walplex keeps a page cache of it, which begins with a base backup"
cat >"$dir/walplex.hcl" <<HCL
stream "main" {
  postgres {
    dsn         = "host=$dir/pg user=postgres dbname=postgres"
    slot        = "walplex"
    create_slot = true
  }
  sink "page_cache" "pages" {
    config {
      directory   = "$dir/pages"
      base_backup = true
    }
  }
}
HCL
cat "$dir/walplex.hcl"
"$walplex" run "$dir/walplex.hcl" >"$dir/host.log" 2>&1 &
host=$!
waitFor "the base backup" grep -q "base backup: the sink holds it" "$dir/host.log"

say "The server is at work"
sql "CREATE TABLE orders (id int PRIMARY KEY, customer int, items text[], price numeric(10,2), note text, ordered timestamptz DEFAULT now())"
sql "INSERT INTO orders SELECT g, g % 1000, ARRAY['item ' || g, 'a \"quoted\" one'], g / 7.0, repeat('a long note ', g % 500) FROM generate_series(1, 5000) g"
sql "UPDATE orders SET price = price * 2 WHERE id % 3 = 0"
sql "DELETE FROM orders WHERE id % 10 = 0"
sql "VACUUM orders"
psql -c "COPY (SELECT * FROM orders ORDER BY id) TO STDOUT" >"$dir/before"

say "An accident, and all that makes it final on the server"
moment=$(psql -c "SELECT clock_timestamp()")
sql "DROP TABLE orders"
sql "VACUUM"
sql "CHECKPOINT"
printf 'postgres=# SELECT count(*) FROM orders\n'
! psql -c "SELECT count(*) FROM orders" 2>&1 || exit 1

say "The rows as they were just before the first commit after $moment"
recover() {
	printf '$ walplex table recover'
	for arg in "$@"; do
		case $arg in
		*\ *) printf " '%s'" "$arg" ;;
		*) printf ' %s' "$arg" ;;
		esac
	done
	printf '\n'
	"$walplex" table recover "$@"
}
recover --from "$dir/pages/pages.sock" --database postgres --table orders --before "$moment" --format sql --output "$dir/orders.sql"
sed -n 1,18p "$dir/orders.sql" | cut -c 1-110
echo "..."

say "The table is made and filled again"
echo "\$ psql -f orders.sql"
psql <"$dir/orders.sql"
psql -c "COPY (SELECT * FROM orders ORDER BY id) TO STDOUT" >"$dir/after"
cmp "$dir/before" "$dir/after"
echo "all $(wc -l <"$dir/after") rows of orders are back, byte for byte as they were"

kill -TERM "$host"
wait "$host" || { echo "recover-table: the host failed" >&2; tail -n 20 "$dir/host.log" >&2; exit 1; }
host=
