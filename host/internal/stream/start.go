package stream

import (
	"fmt"

	"github.com/walplex/walplex/host/internal/replication"
	"github.com/walplex/walplex/sdk/wal"
)

// opened is a sink's answer to Open.
type opened struct {
	name     string
	required bool
	records  bool
	applied  bool
	rewinds  bool // it follows a switch of timelines
	isNew    bool
	wishes   bool // for a base backup before the WAL; only with isNew
	systemID uint64
	position wal.Position
}

// startFrom is S of the start rule: the least position of the required sinks
// that have one, else the slot's, else the configured one, else the server's end.
func startFrom(sinks []opened, slotRestart, configured, serverFlush wal.LSN) wal.LSN {
	var s wal.LSN
	for _, o := range sinks {
		if o.required && !o.isNew && (s == 0 || o.position.LSN < s) {
			s = o.position.LSN
		}
	}
	for _, lsn := range []wal.LSN{slotRestart, configured, serverFlush} {
		if s == 0 {
			s = lsn
		}
	}
	return s
}

// beginOf is where delivery to a sink begins when the stream starts from s: at
// its own position, or, for a new one, at s; raw WAL at the start of s's segment,
// so that the archive holds whole segments.
func beginOf(o opened, s wal.LSN, size wal.SegmentSize) wal.LSN {
	switch {
	case !o.isNew:
		return o.position.LSN
	case o.records:
		return s
	}
	return size.Start(s)
}

// checkIdentity compares what a sink holds with the server. An error stops the
// stream before anything is written. history is the server's own, empty on
// timeline 1.
func checkIdentity(o opened, sys replication.System, history wal.History) error {
	if o.isNew {
		return nil
	}
	if o.systemID != sys.SystemID {
		return faultf("sink %q holds WAL of the cluster with system identifier %d, but this server is %d: another cluster, or the same after initdb, restore or pg_upgrade. "+
			"Nothing was written. Correct the connection string; or, after pg_upgrade, give the sink a new directory (the old one stays valid for the old cluster) and let it begin anew, with a new base backup",
			o.name, o.systemID, sys.SystemID)
	}
	at := o.position
	_, ancestor := history.SwitchPoint(at.Timeline)
	switch {
	case at.Timeline == sys.Timeline:
		return nil
	case at.Timeline < sys.Timeline && ancestor && o.rewinds:
		return nil // what it holds beyond the switch point, it leaves there
	case at.Timeline < sys.Timeline && history.Contains(at):
		return faultf("sink %q is at %s, but the server is on timeline %d: it was promoted, and this sink does not follow a switch of timelines. "+
			"Nothing was written. Give the sink a new directory, or whatever it keeps its data in, to begin on the new timeline; what it holds stays valid up to its position", o.name, at, sys.Timeline)
	}
	return faultf("sink %q is at %s, which is not in the history of the server (timeline %d): the two have diverged. "+
		"Nothing was written. Connect to the server whose WAL this is, or give the sink a new directory", o.name, at, sys.Timeline)
}

// checkAhead refuses a server that has less WAL than a sink. A standby may only
// be behind. A primary has, also after a crash, all WAL that it has ever sent.
func checkAhead(name string, at wal.LSN, sys replication.System) error {
	switch {
	case at <= sys.FlushLSN:
		return nil
	case sys.InRecovery:
		return fmt.Errorf("sink %q is at %s, ahead of this standby, which has WAL only up to %s", name, at, sys.FlushLSN)
	}
	return faultf("sink %q is at %s, ahead of the server, which has WAL only up to %s: the server was restored to an earlier point, or has lost WAL that it had called durable. "+
		"Nothing was written. Connect to the server whose WAL this is, or give the sink a new directory", name, at, sys.FlushLSN)
}
