package replication_test

import (
	"strings"
	"testing"

	"github.com/walplex/walplex/host/internal/postgres/pgtest"
	"github.com/walplex/walplex/host/internal/replication"
	"github.com/walplex/walplex/sdk/wal"
)

func TestIdentifySystem(t *testing.T) {
	ctx := testContext(t)
	c := pgtest.Start(t, smallSegments)
	sys, err := connect(t, c, replication.Config{}).IdentifySystem(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if sys.FlushLSN == 0 || sys.FlushLSN > flushLSN(t, c) {
		t.Errorf("flush LSN %s, the server says %s", sys.FlushLSN, flushLSN(t, c))
	}
	if want := query(t, c, "SELECT system_identifier FROM pg_control_system()"); want != uint64String(sys.SystemID) {
		t.Errorf("system identifier %d, want %s", sys.SystemID, want)
	}
	if want := query(t, c, "SHOW server_version_num"); want != uint64String(uint64(sys.ServerVersion)) {
		t.Errorf("version %d, want %s", sys.ServerVersion, want)
	}
	if sys.Timeline != 1 || sys.SegmentSize != 1<<20 || sys.InRecovery {
		t.Errorf("got %+v", sys)
	}
}

func TestApplicationName(t *testing.T) {
	c := pgtest.Start(t)
	for _, tt := range []struct{ dsn, configured, want string }{
		{"", "", "walplex"},
		{"", "mine", "mine"},
		{"application_name=theirs", "mine", "theirs"},
		{"fallback_application_name=fallback", "mine", "fallback"},
		// Parameters of libpq's alone must not reach the server.
		{"keepalives=1 keepalives_idle=10 gssencmode=prefer replication=database", "", "walplex"},
	} {
		conn := connect(t, c, replication.Config{DSN: c.DSN(tt.dsn), ApplicationName: tt.configured})
		start(t, conn, replication.StartOptions{LSN: flushLSN(t, c)})
		waitFor(t, c, "SELECT string_agg(application_name, ',') FROM pg_stat_replication", tt.want)
		if _, err := conn.EndCopy(testContext(t)); err != nil {
			t.Fatal(err)
		}
		if err := conn.Close(testContext(t)); err != nil {
			t.Fatal(err)
		}
		waitFor(t, c, "SELECT count(*) FROM pg_stat_replication", "0")
	}
}

func TestStandbyIsIdentified(t *testing.T) {
	ctx := testContext(t)
	primary := pgtest.Start(t, smallSegments)
	standby := pgtest.Standby(t, primary)
	sys, err := connect(t, standby, replication.Config{}).IdentifySystem(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if !sys.InRecovery || sys.Timeline != 1 || sys.FlushLSN == 0 {
		t.Errorf("got %+v", sys)
	}
	for _, tt := range []struct {
		attrs string
		ok    bool
	}{{"any", true}, {"standby", true}, {"primary", false}, {"read-only", true}, {"read-write", false}} {
		conn, err := replication.Connect(ctx, replication.Config{DSN: standby.DSN("target_session_attrs=" + tt.attrs)})
		if tt.ok {
			if err != nil {
				t.Errorf("%s: %v", tt.attrs, err)
			} else if err := conn.Close(ctx); err != nil {
				t.Error(err)
			}
			continue
		}
		checkError(t, err, wantError{}) // transient: it may be promoted
	}
	// The first server that has the role is taken.
	conn, err := replication.Connect(ctx, replication.Config{DSN: standby.DSN("target_session_attrs=primary host=" + standby.Dir() + "," + primary.Dir())})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if !strings.HasPrefix(conn.Server(), primary.Dir()) {
		t.Errorf("connected to %s", conn.Server())
	}
}

func TestTimelineHistory(t *testing.T) {
	ctx := testContext(t)
	primary := pgtest.Start(t, smallSegments)
	standby := pgtest.Standby(t, primary)
	if err := standby.Promote(ctx); err != nil {
		t.Fatal(err)
	}
	conn := connect(t, standby, replication.Config{})
	name, content, err := conn.TimelineHistory(ctx, 2)
	if err != nil || name != "00000002.history" || !strings.HasPrefix(string(content), "1\t0/") {
		t.Errorf("got %q, %q, %v", name, content, err)
	}
	name, content, err = conn.TimelineHistory(ctx, 1)
	if err != nil || name != "00000001.history" || len(content) != 0 {
		t.Errorf("timeline 1: %q, %q, %v", name, content, err)
	}
	// A missing history file is not a gap in the WAL.
	_, _, err = conn.TimelineHistory(ctx, 7)
	checkError(t, err, wantError{code: "58P01"})
	if _, err := conn.IdentifySystem(ctx); err != nil {
		t.Errorf("after an error: %v", err)
	}
}

func TestSlotLife(t *testing.T) {
	ctx := testContext(t)
	c := pgtest.Start(t, smallSegments)
	conn := connect(t, c, replication.Config{})

	info, err := conn.Slot(ctx, "walplex")
	if err != nil || info.Exists {
		t.Fatalf("a slot that was never made: %+v, %v", info, err)
	}
	info, err = conn.CreateSlot(ctx, "walplex")
	if err != nil {
		t.Fatal(err)
	}
	if !info.Exists || !info.Physical || info.RestartLSN == 0 || info.RestartLSN != restartLSN(t, c, "walplex") {
		t.Errorf("a new slot: %+v; the server says %s", info, restartLSN(t, c, "walplex"))
	}
	if query(t, c, "SHOW server_version_num") >= "150000" && info.RestartTimeline != 1 {
		t.Errorf("restart timeline %d", info.RestartTimeline)
	}
	_, err = conn.CreateSlot(ctx, "walplex")
	checkError(t, err, wantError{code: "42710", permanent: true, slotExists: true})
	for _, name := range []string{`bad"; DROP`, "Upper", "", "a b", "x\x00", strings.Repeat("x", 64)} {
		_, err = conn.CreateSlot(ctx, name)
		checkError(t, err, wantError{permanent: true})
	}
	if _, err = conn.CreateSlot(ctx, "physical"); err != nil { // a keyword, quoted
		t.Error(err)
	}

	info, err = conn.SlotDetails(ctx, "walplex")
	if err != nil || !info.DetailsKnown || info.Active || info.WALStatus != "reserved" {
		t.Errorf("an unused slot: %+v, %v", info, err)
	}
	start(t, conn, replication.StartOptions{Slot: "walplex", LSN: info.RestartLSN})
	other := connect(t, c, replication.Config{DSN: c.DSN("dbname=nonesuch")})
	info, err = other.SlotDetails(ctx, "walplex")
	if err != nil || !info.Active || info.ActivePID == 0 {
		t.Errorf("a used slot: %+v, %v", info, err)
	}
	_, err = other.StartPhysical(ctx, replication.StartOptions{Slot: "walplex", LSN: info.RestartLSN})
	checkError(t, err, wantError{code: "55006", slotActive: true})
	checkError(t, other.DropSlot(ctx, "walplex"), wantError{code: "55006", slotActive: true})
	if _, err := conn.EndCopy(ctx); err != nil {
		t.Fatal(err)
	}
	if err := other.DropSlot(ctx, "walplex"); err != nil {
		t.Fatal(err)
	}
	checkError(t, other.DropSlot(ctx, "walplex"), wantError{code: "42704", permanent: true})
	_, err = other.StartPhysical(ctx, replication.StartOptions{Slot: "walplex", LSN: info.RestartLSN})
	e := checkError(t, err, wantError{code: "42704", permanent: true})
	if !strings.Contains(e.Error(), "create_slot") || !strings.Contains(e.Error(), info.RestartLSN.String()) {
		t.Errorf("neither the remedy nor the LSN: %v", e)
	}
}

func TestLogicalSlotIsNotPhysical(t *testing.T) {
	ctx := testContext(t)
	c := pgtest.Start(t, func(o *pgOptions) { o.Conf = map[string]string{"wal_level": "logical"} })
	pgtest.Exec(t, c, "SELECT pg_create_logical_replication_slot('l', 'pgoutput')")
	info, err := connect(t, c, replication.Config{}).Slot(ctx, "l")
	if err != nil || !info.Exists || info.Physical {
		t.Errorf("got %+v, %v", info, err)
	}
}

// Whoever gives commands to a stream, or streams without a start, is told so.
func TestWrongState(t *testing.T) {
	ctx := testContext(t)
	c := pgtest.Start(t)
	conn := connect(t, c, replication.Config{})
	_, err := conn.Receive(ctx)
	checkError(t, err, wantError{permanent: true})
	_, err = conn.EndCopy(ctx)
	checkError(t, err, wantError{permanent: true})
	checkError(t, conn.SendStatus(ctx, replication.Status{}), wantError{})
	start(t, conn, replication.StartOptions{LSN: flushLSN(t, c)})
	_, err = conn.IdentifySystem(ctx)
	checkError(t, err, wantError{permanent: true})
	if err := conn.Close(ctx); err != nil {
		t.Fatal(err)
	}
	_, err = conn.IdentifySystem(ctx)
	checkError(t, err, wantError{})
	checkError(t, conn.SendStatus(ctx, replication.Status{Write: wal.LSN(1)}), wantError{})
}
