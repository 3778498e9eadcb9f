package replication

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/walplex/walplex/sdk/wal"
)

// SlotInfo is the state of a replication slot.
type SlotInfo struct {
	Exists     bool
	Physical   bool
	RestartLSN wal.LSN // 0: it holds no WAL back yet
	// RestartTimeline is the timeline of RestartLSN, 0 where the server does not
	// tell (PG14, and [Conn.SlotDetails]).
	RestartTimeline wal.TimelineID

	// From pg_replication_slots only, see DetailsKnown.
	Active       bool
	ActivePID    int    // of the process that uses it, 0 none
	WALStatus    string // reserved, extended, unreserved or lost; empty for none
	DetailsKnown bool
}

// readSlotVersion is the first server with READ_REPLICATION_SLOT: PG15.
const readSlotVersion = 150000

// Slot reads a slot's state; one that does not exist is no error. Since PG15 the
// walsender answers it, without saying whether the slot is in use; before,
// pg_replication_slots is asked as SlotDetails does.
func (c *Conn) Slot(ctx context.Context, name string) (SlotInfo, error) {
	version, err := c.serverVersion(ctx)
	if err != nil {
		return SlotInfo{}, err
	}
	if version < readSlotVersion {
		return c.SlotDetails(ctx, name)
	}
	quoted, err := quoteSlot(name)
	if err != nil {
		return SlotInfo{}, c.badSlotName("READ_REPLICATION_SLOT", err)
	}
	var info SlotInfo
	err = c.command(ctx, "READ_REPLICATION_SLOT "+name, func(ctx context.Context) error {
		row, err := c.query(ctx, "READ_REPLICATION_SLOT "+quoted, 3)
		var pg *pgconn.PgError
		switch {
		case errors.As(err, &pg) && pg.Code == codeFeatureNotSupported: // a logical slot
			info.Exists = true
			return nil
		case err != nil || row[0] == nil:
			return err
		}
		info.Exists, info.Physical = true, string(row[0]) == "physical"
		if row[1] != nil {
			if info.RestartLSN, err = wal.ParseLSN(string(row[1])); err != nil {
				return err
			}
		}
		if row[2] != nil {
			tli, err := strconv.ParseUint(string(row[2]), 10, 32)
			info.RestartTimeline = wal.TimelineID(tli)
			return err
		}
		return nil
	})
	return info, err
}

// maxSlotName is NAMEDATALEN without the closing NUL (pg_config_manual.h), bytes.
const maxSlotName = 63

// quoteSlot quotes a slot's name for the replication grammar, where a name can
// also be a keyword. A name that ReplicationSlotValidateName (replication/slot.c)
// refuses is refused here: the grammar has no way to quote a quote, and it cuts a
// name that is too long, which then is another slot's.
func quoteSlot(name string) (string, error) {
	if name == "" || len(name) > maxSlotName || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
		return "", fmt.Errorf("%q is not a slot's name", name)
	}
	return `"` + name + `"`, nil
}

func (c *Conn) badSlotName(op string, err error) *Error {
	return &Error{Op: op, Server: c.server, Permanent: true, Message: err.Error(), Remedy: remedy(codeInvalidName)}
}

// slotQuery reads pg_replication_slots; every role may.
const slotQuery = `SELECT slot_type, active, active_pid, restart_lsn, wal_status FROM pg_catalog.pg_replication_slots WHERE slot_name = $1`

// fallbackDatabase is connected to where the connection string names no database
// that exists.
const fallbackDatabase = "postgres"

// SlotDetails reads a slot's state from pg_replication_slots, with whether and by
// whom it is used. It makes an ordinary connection to a database for that, which
// the server's pg_hba.conf must allow, and may be called while streaming.
func (c *Conn) SlotDetails(ctx context.Context, name string) (SlotInfo, error) {
	op := "read pg_replication_slots for " + name
	ctx, cancel := context.WithTimeout(ctx, c.cfg.ReceiverTimeout)
	defer cancel()
	pg, err := c.info.connectOrdinary(ctx, c.cfg.ApplicationName)
	if err != nil {
		e := connectError(ctx, c.info, err)
		e.Op = op
		return SlotInfo{}, e
	}
	defer pg.Close(ctx)
	result := pg.ExecParams(ctx, slotQuery, [][]byte{[]byte(name)}, nil, nil, nil).Read()
	if result.Err != nil {
		var pgErr *pgconn.PgError
		if errors.As(result.Err, &pgErr) {
			return SlotInfo{}, serverError(op, c.server, pgErr, inCommand, false)
		}
		return SlotInfo{}, networkError(op, c.server, result.Err)
	}
	if len(result.Rows) == 0 {
		return SlotInfo{DetailsKnown: true}, nil
	}
	row := result.Rows[0]
	info := SlotInfo{
		Exists:       true,
		Physical:     string(row[0]) == "physical",
		Active:       string(row[1]) == "t",
		WALStatus:    string(row[4]),
		DetailsKnown: true,
	}
	if row[2] != nil {
		if info.ActivePID, err = strconv.Atoi(string(row[2])); err != nil {
			return SlotInfo{}, c.protocolError(op, err)
		}
	}
	if row[3] != nil {
		if info.RestartLSN, err = wal.ParseLSN(string(row[3])); err != nil {
			return SlotInfo{}, c.protocolError(op, err)
		}
	}
	return info, nil
}

// CreateSlot makes a physical slot that holds back the WAL from the last
// checkpoint on (RESERVE_WAL), and answers its state. Where the name is taken the
// error has SlotExists.
func (c *Conn) CreateSlot(ctx context.Context, name string) (SlotInfo, error) {
	quoted, err := quoteSlot(name)
	if err != nil {
		return SlotInfo{}, c.badSlotName("CREATE_REPLICATION_SLOT", err)
	}
	// PG15's syntax with parentheses is new; this one is understood by 14 to 18.
	err = c.command(ctx, "CREATE_REPLICATION_SLOT "+name, func(ctx context.Context) error {
		_, err := c.query(ctx, "CREATE_REPLICATION_SLOT "+quoted+" PHYSICAL RESERVE_WAL", 1)
		return err
	})
	if err != nil {
		return SlotInfo{}, err
	}
	info, err := c.Slot(ctx, name)
	if err == nil && (!info.Exists || info.RestartLSN == 0) {
		err = c.protocolError("CREATE_REPLICATION_SLOT "+name, fmt.Errorf("the new slot holds no WAL back: %+v", info))
	}
	return info, err
}

// DropSlot removes a slot. An unknown slot is a permanent error (42704), one in
// use a transient one (55006).
func (c *Conn) DropSlot(ctx context.Context, name string) error {
	quoted, err := quoteSlot(name)
	if err != nil {
		return c.badSlotName("DROP_REPLICATION_SLOT", err)
	}
	return c.command(ctx, "DROP_REPLICATION_SLOT "+name, func(ctx context.Context) error {
		_, err := c.pg.Exec(ctx, "DROP_REPLICATION_SLOT "+quoted).ReadAll()
		return err
	})
}
