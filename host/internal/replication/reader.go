package replication

import (
	"encoding/binary"
	"io"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"golang.org/x/sys/unix"
)

// reader stands between a connection and pgproto3's Frontend. It never gives the
// Frontend more than the message that it reads, so that between two messages all
// that has come is here, and WAL can be read past the Frontend, straight into the
// memory of a block:
//
//	socket ─▶ reader ─▶ Frontend      all messages but those with WAL
//	             └────▶ the block     WAL
//
// The Frontend copies WAL twice on its way.
type reader struct {
	r    io.Reader       // pgconn's
	raw  syscall.RawConn // the socket, where it can be read past r; nil: it cannot, such as under TLS
	buf  []byte
	at   int // buf[at:end] has come and was not taken
	end  int
	left int  // bytes of the message that the Frontend has begun to read
	wal  int  // bytes of the WAL that was begun to be read
	past bool // r has nothing that was read ahead: raw may be read
}

const (
	// readBuffer is what is read at once when it is not known what comes, in bytes.
	readBuffer = 16 << 10
	// pgconnBuffer is what pgconn's own reader may have read ahead.
	pgconnBuffer = 8 << 10
	// msgHeader is the type and the length of a message.
	msgHeader = 5
	// walHeader is what comes before the WAL of a CopyData, header included.
	walHeader = msgHeader + 25
)

// frontends are the Frontends that were made for the tries to connect.
type frontends struct{ made []madeFrontend }

type madeFrontend struct {
	f *pgproto3.Frontend
	r *reader
}

// build is for pgconn's Config.
func (s *frontends) build(r io.Reader, w io.Writer) *pgproto3.Frontend {
	in := &reader{r: r, buf: make([]byte, readBuffer)}
	f := pgproto3.NewFrontend(in, w)
	s.made = append(s.made, madeFrontend{f, in})
	return f
}

// of is the reader of a connection.
func (s *frontends) of(pg *pgconn.PgConn) *reader {
	for _, m := range s.made {
		if m.f == pg.Frontend() {
			return m.r
		}
	}
	return nil
}

// Read is the Frontend's.
func (r *reader) Read(p []byte) (int, error) {
	for r.wal > 0 { // nobody wants the rest of it
		if err := r.need(1); err != nil {
			return 0, err
		}
		n := min(r.wal, r.end-r.at)
		r.at, r.wal = r.at+n, r.wal-n
	}
	if r.left == 0 {
		if err := r.need(msgHeader); err != nil {
			return 0, err
		}
		// A length below 4 is for the Frontend to refuse.
		r.left = 1 + max(4, int(int32(binary.BigEndian.Uint32(r.buf[r.at+1:]))))
	}
	p = p[:min(len(p), r.left)]
	n := copy(p, r.buf[r.at:r.end])
	r.at += n
	if n == 0 {
		var err error
		if n, err = r.r.Read(p); err != nil {
			return n, err
		}
	}
	r.left -= n
	return n, nil
}

// need reads until n bytes are there, at most readBuffer.
func (r *reader) need(n int) error {
	for r.end-r.at < n {
		if r.at > 0 {
			r.end = copy(r.buf, r.buf[r.at:r.end])
			r.at = 0
		}
		got, err := r.read(r.buf[r.end:])
		r.end += got
		if err != nil && r.end-r.at < n {
			return err
		}
	}
	return nil
}

// nextIsWAL reads up to where WAL begins, and takes what comes before it. It
// answers false where the next message has none, and is the Frontend's.
func (r *reader) nextIsWAL() (Message, bool, error) {
	if r.left > 0 {
		return Message{}, false, nil
	}
	if err := r.need(msgHeader); err != nil {
		return Message{}, false, err
	}
	h := r.buf[r.at:r.end]
	size := int(int32(binary.BigEndian.Uint32(h[1:]))) + 1
	if h[0] != 'd' || size < walHeader {
		return Message{}, false, nil
	}
	if err := r.need(walHeader); err != nil {
		return Message{}, false, err
	}
	if r.buf[r.at+msgHeader] != 'w' {
		return Message{}, false, nil
	}
	m := parseWALHeader(r.buf[r.at+msgHeader+1:])
	r.at += walHeader
	r.wal = size - walHeader
	return m, true, nil
}

// readWAL reads some of the WAL that nextIsWAL has found into p, and answers how
// much.
func (r *reader) readWAL(p []byte) (n int, err error) {
	p = p[:min(len(p), r.wal)]
	if n = copy(p, r.buf[r.at:r.end]); n > 0 {
		r.at += n
	} else if len(p) < r.wal {
		n, err = r.read(p)
	} else {
		// What comes before the WAL of the next message comes along.
		r.at, r.end = 0, 0
		if n, err = r.read(p, r.buf[:walHeader]); n > len(p) {
			r.end, n = n-len(p), len(p)
		}
	}
	r.wal -= n
	return n, err
}

// read reads from the socket, where it may, else into the first buffer alone.
func (r *reader) read(into ...[]byte) (n int, err error) {
	if r.raw != nil && r.past {
		return readSocket(r.raw, into)
	}
	if n, err = r.r.Read(into[0]); n == 0 && (err == nil || err == io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	r.past = r.past || len(into[0]) >= pgconnBuffer
	return n, err
}

// readSocket reads what has come, and waits if that is nothing. Deadlines hold as
// for net.Conn. (To wait in a blocking system call for what is known to come takes
// more CPU and time, not less: the runtime takes the processor away meanwhile.)
func readSocket(raw syscall.RawConn, into [][]byte) (n int, err error) {
	failed := raw.Read(func(fd uintptr) bool {
		for {
			if n, err = unix.Readv(int(fd), into); err != unix.EINTR {
				return err != unix.EAGAIN
			}
		}
	})
	switch {
	case failed != nil:
		return 0, failed
	case err != nil:
		return 0, err
	case n == 0:
		return 0, io.ErrUnexpectedEOF
	}
	return n, nil
}
