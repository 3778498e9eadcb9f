package tablerecover

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/host/internal/postgres/pgtest"
	"github.com/walplex/walplex/sdk/wal"
)

// fixture is a server, what COPY said of its tables, and, once it is down, their
// pages.
type fixture struct {
	t       *testing.T
	c       *postgres.Cluster
	version wal.Version
	want    map[string]string // COPY's output by what is copied: a table, with columns or not
	order   []string
	columns map[string][]string // those that are recovered, where it is not all
}

func newFixture(t *testing.T, in postgres.Install) *fixture {
	c := pgtest.Start(t, func(o *postgres.Options) {
		o.Install = in
		o.Conf = map[string]string{"timezone": "UTC", "autovacuum": "off", "max_prepared_transactions": "5", "datestyle": "ISO, MDY"}
	})
	return &fixture{t: t, c: c, version: wal.Version(c.Install().Major()), want: map[string]string{},
		columns: map[string][]string{"pg_namespace": {"oid", "nspname", "nspowner"}, "pg_tablespace": {"oid", "spcname", "spcowner", "spcoptions"}}}
}

func (f *fixture) exec(sql ...string) {
	f.t.Helper()
	pgtest.Exec(f.t, f.c, sql...)
}

// copied notes what COPY gives of a table, or of a query.
func (f *fixture) copied(table, query string) {
	f.t.Helper()
	conn, err := f.c.Connect(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	defer conn.Close(f.t.Context())
	if query == "" {
		query = table
	}
	var b bytes.Buffer
	if _, err := conn.PgConn().CopyTo(f.t.Context(), &b, "COPY "+query+" TO STDOUT"); err != nil {
		f.t.Fatalf("COPY %s: %v", query, err)
	}
	f.want[table] = b.String()
	f.order = append(f.order, table)
}

func (f *fixture) stop() {
	f.t.Helper()
	if err := f.c.Stop(f.t.Context(), postgres.Fast); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) recover(o Options) (string, Summary, error) {
	var b bytes.Buffer
	if o.Database == "" {
		o.Database = "postgres"
	}
	sum, err := Recover(f.t.Context(), dataDir{f.c.DataDir()}, f.version, o, &b)
	return b.String(), sum, err
}

// compare holds what is recovered of every noted table against COPY.
func (f *fixture) compare() (rows int) {
	f.t.Helper()
	for _, table := range f.order {
		got, _, err := f.recover(Options{Table: table, Columns: f.columns[table]})
		if err != nil {
			f.t.Errorf("%s: %v", table, err)
			continue
		}
		rows += f.sameLines(table, got, f.want[table])
	}
	return rows
}

func (f *fixture) sameLines(table, got, want string) int {
	f.t.Helper()
	g, w := strings.SplitAfter(got, "\n"), strings.SplitAfter(want, "\n")
	slices.Sort(g)
	slices.Sort(w)
	if len(g) != len(w) {
		f.t.Errorf("%s: %d rows, want %d", table, len(g)-1, len(w)-1)
	}
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			f.t.Errorf("%s: a row is\n%.400q\nwant\n%.400q", table, g[i], w[i])
			break
		}
	}
	return len(w) - 1
}

// TestTypes: every value's text is the server's own.
func TestTypes(t *testing.T) { testTypes(t, postgres.Install{}) }

func testTypes(t *testing.T, in postgres.Install) {
	f := newFixture(t, in)
	f.exec(typeSQL...)
	names := map[string]string{}
	xml := f.query("SELECT count(*) FROM pg_settings WHERE name = 'xmloption'") == "1" && f.c.Exec(t.Context(), "SELECT '<a/>'::xml") == nil
	for i, ty := range typed {
		if int(f.version) < ty.since || ty.name == "xml" && !xml {
			continue
		}
		table := fmt.Sprintf("t%d", i)
		names[table] = ty.name
		f.exec(fmt.Sprintf("CREATE TABLE %s (n int2, v %s, after text)", table, ty.name))
		for n, v := range append(ty.values, "NULL") {
			f.exec(fmt.Sprintf("INSERT INTO %s VALUES (%d, (%s)::%s, 'end')", table, n, v, ty.name))
		}
		f.copied(table, "")
	}
	f.stop()
	for _, table := range f.order {
		got, _, err := f.recover(Options{Table: table})
		if err != nil {
			t.Errorf("type %s: %v", names[table], err)
			continue
		}
		if want := f.want[table]; got != want {
			g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
			for i := range min(len(g), len(w)) {
				if g[i] != w[i] {
					t.Errorf("type %s:\n%.400s\nwant\n%.400s", names[table], g[i], w[i])
				}
			}
		}
	}
}

func (f *fixture) query(sql string) string {
	f.t.Helper()
	s, err := f.c.QueryString(f.t.Context(), sql)
	if err != nil {
		f.t.Fatal(err)
	}
	return s
}

// TestRandom: values at random; the seed is printed.
func TestRandom(t *testing.T) { testRandom(t, postgres.Install{}) }

func testRandom(t *testing.T, in postgres.Install) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	f := newFixture(t, in)
	f.exec(`CREATE TABLE r (d float8, f float4, n numeric, ts timestamp, dt date, i interval, tz timetz, ip inet, bits varbit, a float8[], v tsvector, js jsonb, m money)`)
	const rows = 3000
	for done := 0; done < rows; {
		var values []string
		for range 500 {
			values = append(values, randomRow(rnd))
			done++
		}
		f.exec("INSERT INTO r VALUES " + strings.Join(values, ", "))
	}
	f.copied("r", "")
	f.stop()
	if n := f.compare(); n != rows {
		t.Errorf("%d rows were compared, want %d", n, rows)
	}
}

func randomRow(r *rand.Rand) string {
	d := randomFloat(r)
	fl := float64(math.Float32frombits(r.Uint32()))
	if r.IntN(3) == 0 { // where numbers lie exactly between two values
		fl = float64(float32(r.IntN(1e9)) * float32(math.Pow(10, float64(r.IntN(11)))))
	}
	num := func(f float64, bits int) string { return "'" + strconv.FormatFloat(f, 'g', -1, bits) + "'" }
	digits := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = "00000123456789999"[r.IntN(17)]
		}
		return string(b)
	}
	numeric := fmt.Sprintf("'%s%s.%s'", []string{"", "-"}[r.IntN(2)], digits(1+r.IntN(40)), digits(1+r.IntN(40)))
	return fmt.Sprintf("(%s, %s, %s, '%s'::timestamp + %d * '1 microsecond'::interval, '2000-01-01'::date + %d, make_interval(%d, %d, 0, %d) + %d * '1 microsecond'::interval, '%02d:%02d:%02d.%06d%+03d:%02d', '%x:%x::%x/%d', '%b', ARRAY[%s, NULL, %s]::float8[], %s, %s, '%d.%02d')",
		num(d, 64), num(fl, 32), numeric,
		[]string{"2000-01-01", "0500-01-01 BC", "1970-01-01"}[r.IntN(3)], r.Int64N(1<<52)*int64(1-2*r.IntN(2)),
		r.IntN(4000000)-700000, r.IntN(2000)-1000, r.IntN(2000)-1000, r.IntN(20000)-10000, r.Int64N(1<<50)-1<<49,
		r.IntN(24), r.IntN(60), r.IntN(60), r.IntN(1e6), r.IntN(29)-14, r.IntN(60),
		r.IntN(2)*r.IntN(65536), r.IntN(2)*r.IntN(65536), r.IntN(65536), r.IntN(129), r.Uint64(),
		num(randomFloat(r), 64), num(randomFloat(r), 64),
		fmt.Sprintf("array_to_tsvector(ARRAY['%s', 'b%s'])", digits(1+r.IntN(9)), digits(2)),
		fmt.Sprintf(`jsonb_build_object('k%s', %s::numeric, 'l', jsonb_build_array(%d, NULL, '%s'))`, digits(3), numeric, r.IntN(1000), digits(r.IntN(300))),
		r.Int64N(1e15)-5e14, r.IntN(100))
}

func randomFloat(r *rand.Rand) float64 {
	switch r.IntN(3) {
	case 0:
		return math.Float64frombits(r.Uint64())
	case 1: // where numbers lie exactly between two values
		return float64(r.Int64N(1e6)) * math.Pow(10, float64(r.IntN(25)))
	}
	return float64(r.Int64N(1<<60)) / 1024
}
