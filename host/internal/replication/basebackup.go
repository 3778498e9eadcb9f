package replication

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/walplex/walplex/sdk/wal"
)

// BaseBackupOptions say what BASE_BACKUP is to send. A manifest is always asked
// for. WAL is not: an archive has it. The server does not wait for its own
// archive_command (NOWAIT).
type BaseBackupOptions struct {
	Label             string // at most MaxBackupLabel bytes, without line breaks
	Fast              bool   // checkpoint at once and not at the next one's leisure
	MaxRate           int    // kB/s, MinBackupRate to MaxBackupRate; 0: as fast as it goes
	ManifestChecksums string // SHA256 or CRC32C
	TablespaceMap     bool   // the data directory's archive has a tablespace_map, which the server makes links of

	// Warning is told of the server's warnings while the backup runs, in its
	// language; nil: nobody is.
	Warning func(text string)
}

// Limits of BASE_BACKUP (backup/basebackup.c and MAXPGPATH of pg_config_manual.h).
const (
	MinBackupRate  = 32
	MaxBackupRate  = 1 << 20
	MaxBackupLabel = 1024
)

// BackupPosition is where a backup begins or ends.
type BackupPosition struct {
	LSN      wal.LSN
	Timeline wal.TimelineID
}

// BackupTablespace is a tablespace that a backup has. The data directory is one
// without OID and location.
type BackupTablespace struct {
	OID      uint32
	Location string // where its files lie on the server
	Size     int64  // bytes, as estimated before the backup; -1 unknown
}

// BackupPart is one of the files that a backup is sent as.
type BackupPart struct {
	Name       string           // base.tar, OID.tar or backup_manifest
	Manifest   bool             // not an archive but the manifest, which comes last
	Tablespace BackupTablespace // of an archive
}

// BaseBackup is a backup that a server sends, from [Conn.BaseBackup]. It belongs
// to the goroutine that owns the connection. Each part is read to its end, then
// the next; a backup that is given up leaves the connection of no use but to be
// closed.
type BaseBackup struct {
	c           *Conn
	ctx         context.Context // of the call that began it: Read has none of its own
	o           BaseBackupOptions
	start, end  BackupPosition
	tablespaces []BackupTablespace

	one   bool   // one COPY for all (PG15), with a letter before each piece
	next  int    // of tablespaces, where each has a COPY of its own
	open  bool   // a part may be read
	ahead []byte // the message that begins the next part
	rest  []byte // of the message read last
	done  bool
}

// backupParts are the archives' names.
const (
	baseArchive  = "base.tar"
	manifestName = "backup_manifest"
)

// BaseBackup runs BASE_BACKUP and answers when the server begins to send, which
// may take as long as a checkpoint. The backup ends with ctx.
func (c *Conn) BaseBackup(ctx context.Context, o BaseBackupOptions) (*BaseBackup, error) {
	const op = "BASE_BACKUP"
	version, err := c.serverVersion(ctx)
	if err != nil {
		return nil, err
	}
	b := &BaseBackup{c: c, ctx: ctx, o: o, one: version >= 150000}
	if c.state != idle {
		return nil, &Error{Op: op, Server: c.server, Message: "the connection is in use or closed", Permanent: true}
	}
	if strings.ContainsAny(o.Label, "\r\n\x00") || len(o.Label) > MaxBackupLabel {
		return nil, &Error{Op: op, Permanent: true, Message: fmt.Sprintf("a label has at most %d bytes and no line break", MaxBackupLabel)}
	}
	query, err := (&pgproto3.Query{String: o.command(b.one)}).Encode(nil)
	if err != nil {
		return nil, c.protocolError(op, err)
	}
	c.op, c.begun, c.state = op, true, backingUp
	if err := c.write(ctx, op, query); err != nil {
		return nil, c.lost(err)
	}
	// A checkpoint takes its time: only TCP's keepalive tells of a dead server.
	if err := b.header(time.Time{}); err != nil {
		return nil, err
	}
	return b, nil
}

// command is BASE_BACKUP with what follows it; the form with parentheses is
// PG15's (replication/repl_gram.y).
func (o BaseBackupOptions) command(parentheses bool) string {
	label := "LABEL '" + strings.ReplaceAll(o.Label, "'", "''") + "'"
	words := []string{label, "PROGRESS", "MANIFEST 'yes'", "MANIFEST_CHECKSUMS '" + o.ManifestChecksums + "'"}
	if parentheses {
		words = append(words, "WAIT 0")
		if o.Fast {
			words = append(words, "CHECKPOINT 'fast'")
		}
	} else {
		words = append(words, "NOWAIT")
		if o.Fast {
			words = append(words, "FAST")
		}
	}
	if o.MaxRate > 0 {
		words = append(words, "MAX_RATE "+strconv.Itoa(o.MaxRate))
	}
	if o.TablespaceMap {
		words = append(words, "TABLESPACE_MAP")
	}
	if parentheses {
		return "BASE_BACKUP (" + strings.Join(words, ", ") + ")"
	}
	return "BASE_BACKUP " + strings.Join(words, " ")
}

// Start is where the WAL begins that the backup needs.
func (b *BaseBackup) Start() BackupPosition { return b.start }

// End is where the WAL ends that the backup needs; known after Next's io.EOF.
func (b *BaseBackup) End() BackupPosition { return b.end }

// Tablespaces are those of the backup, the data directory last.
func (b *BaseBackup) Tablespaces() []BackupTablespace { return b.tablespaces }

// header reads the two result sets that come first: the start position, and the
// tablespaces.
func (b *BaseBackup) header(deadline time.Time) error {
	rows, err := b.rows(deadline)
	if err != nil {
		return err
	}
	if b.start, err = parsePosition(rows); err != nil {
		return b.c.lost(b.c.protocolError(b.c.op, err))
	}
	if rows, err = b.rows(b.deadline()); err != nil {
		return err
	}
	for _, row := range rows {
		t, err := parseTablespace(row)
		if err != nil {
			return b.c.lost(b.c.protocolError(b.c.op, err))
		}
		b.tablespaces = append(b.tablespaces, t)
	}
	if len(rows) == 0 || b.tablespaces[len(rows)-1].OID != 0 {
		return b.c.lost(b.c.protocolError(b.c.op, errUnexpectedAnswer))
	}
	return nil
}

// rows reads a result set. Values are copied.
func (b *BaseBackup) rows(deadline time.Time) (rows [][]string, err error) {
	for {
		msg, err := b.receive(deadline)
		if err != nil {
			return nil, err
		}
		switch m := msg.(type) {
		case *pgproto3.RowDescription:
		case *pgproto3.DataRow:
			row := make([]string, len(m.Values))
			for i, v := range m.Values {
				row[i] = string(v)
			}
			if len(rows) == maxTablespaces {
				return nil, b.unexpected(msg)
			}
			rows = append(rows, row)
		case *pgproto3.CommandComplete:
			return rows, nil
		default:
			return nil, b.unexpected(msg)
		}
		deadline = b.deadline()
	}
}

// maxTablespaces bounds what is believed of a server.
const maxTablespaces = 1 << 20

func parsePosition(rows [][]string) (p BackupPosition, err error) {
	if len(rows) != 1 || len(rows[0]) != 2 {
		return p, errUnexpectedAnswer
	}
	if p.LSN, err = wal.ParseLSN(rows[0][0]); err != nil {
		return p, err
	}
	tli, err := strconv.ParseUint(rows[0][1], 10, 32)
	if err != nil || tli == 0 {
		return p, fmt.Errorf("the backup's timeline is %q", rows[0][1])
	}
	p.Timeline = wal.TimelineID(tli)
	return p, nil
}

// parseTablespace reads a row (spcoid, spclocation, size in kB); the data
// directory's has NULL in the first two.
func parseTablespace(row []string) (t BackupTablespace, err error) {
	if len(row) != 3 {
		return t, errUnexpectedAnswer
	}
	t.Size, t.Location = -1, row[1]
	if row[0] != "" {
		oid, err := strconv.ParseUint(row[0], 10, 32)
		if err != nil || oid == 0 {
			return t, fmt.Errorf("a tablespace's OID is %q", row[0])
		}
		t.OID = uint32(oid)
	}
	if row[2] != "" {
		kb, err := strconv.ParseInt(row[2], 10, 53)
		if err != nil || kb < 0 {
			return t, fmt.Errorf("a tablespace's size is %q", row[2])
		}
		t.Size = kb << 10
	}
	return t, nil
}

func (t BackupTablespace) archive() string {
	if t.OID == 0 {
		return baseArchive
	}
	return strconv.FormatUint(uint64(t.OID), 10) + ".tar"
}

// Next goes to the next part; what is left of the one before it is read and
// thrown away. After the last, the manifest, it answers io.EOF, and End is known.
func (b *BaseBackup) Next() (BackupPart, error) {
	if b.done {
		return BackupPart{}, io.EOF
	}
	if b.open {
		if _, err := io.Copy(io.Discard, b); err != nil {
			return BackupPart{}, err
		}
	}
	if b.one {
		return b.nextOfOne()
	}
	return b.nextOfMany()
}

// nextOfMany begins a COPY of its own for each part (PG14).
func (b *BaseBackup) nextOfMany() (p BackupPart, err error) {
	if b.next > len(b.tablespaces) {
		return p, b.finish()
	}
	if err := b.copyOut(); err != nil {
		return p, err
	}
	if b.next == len(b.tablespaces) {
		p = BackupPart{Name: manifestName, Manifest: true}
	} else {
		t := b.tablespaces[b.next]
		p = BackupPart{Name: t.archive(), Tablespace: t}
	}
	b.next++
	b.open = true
	return p, nil
}

// copyOut reads the message that begins a COPY.
func (b *BaseBackup) copyOut() error {
	msg, err := b.receive(b.deadline())
	if err != nil {
		return err
	}
	if _, ok := msg.(*pgproto3.CopyOutResponse); !ok {
		return b.unexpected(msg)
	}
	return nil
}

// nextOfOne finds the next part's first message in the one COPY (PG15):
//
//	'n' archive's name NUL tablespace's path NUL
//	'm'
func (b *BaseBackup) nextOfOne() (p BackupPart, err error) {
	if b.next == 0 {
		b.next = 1
		if err := b.copyOut(); err != nil {
			return p, err
		}
		if err := b.piece(); err != nil && !errors.Is(err, io.EOF) {
			return p, err
		}
		if b.ahead == nil {
			return p, b.c.lost(b.c.protocolError(b.c.op, errUnexpectedAnswer))
		}
	}
	if b.ahead == nil {
		return p, b.finish()
	}
	first := b.ahead
	b.ahead, b.open = nil, true
	if first[0] == 'm' {
		return BackupPart{Name: manifestName, Manifest: true}, nil
	}
	name, _, _ := strings.Cut(string(first[1:]), "\x00")
	for _, t := range b.tablespaces {
		if t.archive() == name {
			return BackupPart{Name: name, Tablespace: t}, nil
		}
	}
	return p, b.c.lost(b.c.protocolError(b.c.op, fmt.Errorf("the server sends an archive %q of no tablespace", name)))
}

// Read reads from the part to which Next went.
func (b *BaseBackup) Read(p []byte) (int, error) {
	if !b.open {
		return 0, io.EOF
	}
	for len(b.rest) == 0 {
		if err := b.piece(); err != nil {
			if errors.Is(err, io.EOF) {
				b.open = false
			}
			return 0, err
		}
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// piece reads the next piece of the part into rest; io.EOF at its end.
func (b *BaseBackup) piece() error {
	msg, err := b.receive(b.deadline())
	if err != nil {
		return err
	}
	switch m := msg.(type) {
	case *pgproto3.CopyDone:
		return io.EOF
	case *pgproto3.CopyData:
		if !b.one {
			b.rest = m.Data
			return nil
		}
		if len(m.Data) == 0 {
			return b.unexpected(msg)
		}
		switch m.Data[0] {
		case 'd':
			b.rest = m.Data[1:]
			return nil
		case 'p': // bytes done, which are counted here anyway
			return nil
		case 'n', 'm':
			b.ahead = append([]byte(nil), m.Data...)
			return io.EOF
		}
		return b.c.lost(b.c.protocolError(b.c.op, fmt.Errorf("a piece of the backup begins with %q", m.Data[0])))
	}
	return b.unexpected(msg)
}

// finish reads the end position and what follows up to ReadyForQuery, and answers
// io.EOF.
func (b *BaseBackup) finish() error {
	rows, err := b.rows(b.deadline())
	if err != nil {
		return err
	}
	if b.end, err = parsePosition(rows); err != nil {
		return b.c.lost(b.c.protocolError(b.c.op, err))
	}
	for {
		msg, err := b.receive(b.deadline())
		if err != nil {
			return err
		}
		switch msg.(type) {
		case *pgproto3.CommandComplete:
		case *pgproto3.ReadyForQuery:
			b.done = true
			b.c.idle()
			return io.EOF
		default:
			return b.unexpected(msg)
		}
	}
}

func (b *BaseBackup) deadline() time.Time { return time.Now().Add(b.c.cfg.ReceiverTimeout) }

// receive reads the next message that is not a notice. Any error ends the backup
// and the connection.
func (b *BaseBackup) receive(deadline time.Time) (pgproto3.BackendMessage, error) {
	c := b.c
	if c.state != backingUp {
		return nil, &Error{Op: c.op, Server: c.server, Message: "the connection is closed"}
	}
	for {
		msg, err := c.read(b.ctx, deadline)
		switch {
		case err == nil:
		case b.ctx.Err() != nil:
			return nil, c.lost(contextError(c.op, c.server, b.ctx))
		case errors.Is(err, errDeadline):
			return nil, c.lost(c.silence(c.op))
		default:
			return nil, c.lost(err)
		}
		switch m := msg.(type) {
		case *pgproto3.NoticeResponse:
			if pg := pgconn.ErrorResponseToPgError((*pgproto3.ErrorResponse)(m)); pg.SeverityUnlocalized == "WARNING" && b.o.Warning != nil {
				b.o.Warning(pg.Message)
			}
		case *pgproto3.ParameterStatus, *pgproto3.NotificationResponse:
		case *pgproto3.ErrorResponse:
			return nil, c.lost(serverError(c.op, c.server, pgconn.ErrorResponseToPgError(m), inCommand, c.inRecovery()))
		default:
			return msg, nil
		}
	}
}

// unexpected gives the connection up over a message that has no place here.
func (b *BaseBackup) unexpected(msg pgproto3.BackendMessage) error {
	return b.c.lost(b.c.protocolError(b.c.op, fmt.Errorf("unexpected message %T in the backup", msg)))
}
