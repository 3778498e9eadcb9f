package pageclient

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/walplex/walplex/sdk/wal"
)

// GetOptions are what a user says of a page, in the form in which it is typed.
type GetOptions struct {
	From     string        // the sink's socket, or tcp://host:port
	TLS      TLSOptions    // with tcp
	Relation string        // tablespace/database/relation file number
	Fork     string        // main, fsm, vm or init; "" is main
	Block    uint32        // from 0
	LSN      string        // as PostgreSQL writes it; "" is the last WAL that the sink can read
	Wait     time.Duration // how long to wait for the LSN; 0 is [DefaultWait]
}

// DefaultWait is how long [GetPage] waits for an LSN that the sink has not
// reached.
const DefaultWait = 30 * time.Second

// GetPage writes the page to w, 8192 bytes as they lie in a relation's file, and
// nothing else.
func GetPage(ctx context.Context, w io.Writer, o GetOptions) error {
	page, _, err := ReadPage(ctx, o)
	if err != nil {
		return err
	}
	_, err = w.Write(page)
	return err
}

// ReadPage reads the page, 8192 bytes, and says as of which LSN it is.
func ReadPage(ctx context.Context, o GetOptions) ([]byte, wal.LSN, error) {
	c, err := DialFrom(o.From, o.TLS)
	if err != nil {
		return nil, 0, err
	}
	defer c.Close() // nothing is in flight any more
	req, err := o.request()
	if err != nil {
		return nil, 0, err
	}
	res, err := c.Page(ctx, req)
	if err != nil {
		return nil, 0, err
	}
	page := res.GetImage().GetPage()
	if len(page) != wal.BlockSize {
		return nil, 0, fmt.Errorf("the sink at %s answered a page of %d bytes, want %d", o.From, len(page), wal.BlockSize)
	}
	return page, wal.LSN(res.Lsn), nil
}

func (o *GetOptions) request() (r PageRequest, err error) {
	r.Block, r.Wait = wal.BlockNumber(o.Block), o.Wait
	if r.Wait == 0 {
		r.Wait = DefaultWait
	}
	if r.Rel, err = ParseRelation(o.Relation); err != nil {
		return r, err
	}
	if r.Fork, err = ParseFork(o.Fork); err != nil {
		return r, err
	}
	if o.LSN != "" {
		r.LSN, err = wal.ParseLSN(o.LSN)
	}
	return r, err
}

// ParseRelation reads tablespace/database/relation file number, as pg_waldump
// prints a relation.
func ParseRelation(s string) (r wal.RelFileLocator, err error) {
	parts := strings.Split(s, "/")
	var n [3]uint64
	for i := range n {
		if err == nil && i < len(parts) {
			n[i], err = strconv.ParseUint(parts[i], 10, 32)
		}
	}
	if len(parts) != len(n) || err != nil || n[2] == 0 {
		return r, fmt.Errorf("%q is not a relation: write TABLESPACE/DATABASE/RELATION in numbers, such as 1663/5/16384 (pg_relation_filepath tells the last two)", s)
	}
	return wal.RelFileLocator{Spc: wal.OID(n[0]), DB: wal.OID(n[1]), Rel: wal.OID(n[2])}, nil
}

// ParseFork reads a fork's name; "" is the main fork.
func ParseFork(s string) (wal.ForkNumber, error) {
	if s == "" {
		return wal.MainFork, nil
	}
	for f := wal.MainFork; f <= wal.InitFork; f++ {
		if f.String() == s {
			return f, nil
		}
	}
	return 0, fmt.Errorf("%q is not a fork: write main, fsm, vm or init", s)
}
