package replication

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
	"golang.org/x/sys/unix"

	"github.com/walplex/walplex/sdk/wal"
)

// script is what a server sends while it streams: the bytes, the WAL in them, and
// the other messages.
type script struct {
	bytes, wal []byte
	others     int
}

func newScript(rnd *rand.Rand) *script {
	s := &script{}
	put := func(typ byte, body []byte) {
		s.bytes = append(s.bytes, typ)
		s.bytes = append(binary.BigEndian.AppendUint32(s.bytes, uint32(len(body)+4)), body...)
	}
	for range 60 {
		switch rnd.IntN(5) {
		case 0:
			put('d', append([]byte("k"), make([]byte, 17)...))
			s.others++
		case 1:
			put('S', []byte("name\x00"+string(bytes.Repeat([]byte("v"), rnd.IntN(40_000)))+"\x00"))
			s.others++
		default:
			wal := make([]byte, rnd.IntN([]int{10, 9000, 40_000, 131_073}[rnd.IntN(4)]))
			for i := range wal {
				wal[i] = byte(rnd.Uint32())
			}
			body := binary.BigEndian.AppendUint64([]byte("w"), uint64(len(s.wal)))
			body = append(body, make([]byte, 16)...)
			put('d', append(body, wal...))
			s.wal = append(s.wal, wal...)
		}
	}
	put('c', nil)
	return s
}

// pieces is a reader that gives a few bytes at a time.
type pieces struct {
	r   io.Reader
	rnd *rand.Rand
}

func (p pieces) Read(b []byte) (int, error) {
	return p.r.Read(b[:min(len(b), 1+p.rnd.IntN([]int{3, 100, 20_000}[p.rnd.IntN(3)]))])
}

// follow reads the script up to its end, into memory of random sizes.
func (s *script) follow(in *reader, f *pgproto3.Frontend, rnd *rand.Rand) error {
	var wal []byte
	others := 0
	for {
		if in.wal == 0 {
			m, ok, err := in.nextIsWAL()
			if err != nil {
				return err
			}
			if !ok {
				msg, err := f.Receive()
				if err != nil {
					return err
				}
				if _, done := msg.(*pgproto3.CopyDone); done {
					break
				}
				others++
				continue
			}
			if m.WALStart != at(wal) {
				return fmt.Errorf("WAL at %s, want it at %s", m.WALStart, at(wal))
			}
			if in.wal == 0 {
				continue
			}
		}
		p := make([]byte, 1+rnd.IntN([]int{10, 3000, 300_000}[rnd.IntN(3)]))
		n, err := in.readWAL(p)
		if err != nil {
			return err
		}
		wal = append(wal, p[:n]...)
	}
	if !bytes.Equal(wal, s.wal) || others != s.others {
		return fmt.Errorf("%d bytes of WAL, want %d; %d other messages, want %d", len(wal), len(s.wal), others, s.others)
	}
	return nil
}

func at(b []byte) wal.LSN { return wal.LSN(len(b)) }

// However a stream is cut, by the network and by the memory that WAL is read into:
// every byte arrives once, at its place, read from a socket or past one.
func TestReader(t *testing.T) {
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		s := newScript(rnd)
		var made frontends
		f := made.build(pieces{bytes.NewReader(s.bytes), rnd}, io.Discard)
		if err := s.follow(made.made[0].r, f, rnd); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
}

func TestReaderOfSocket(t *testing.T) {
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		s := newScript(rnd)
		server, client := socketPair(t)
		raw, err := client.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			rnd := rand.New(rand.NewPCG(seed, 3))
			for b := s.bytes; len(b) > 0; {
				n := min(len(b), 1+rnd.IntN(30_000))
				if _, err := server.Write(b[:n]); err != nil {
					return // the reader's error says more
				}
				b = b[n:]
			}
			server.Close()
		}()
		var made frontends
		f := made.build(client, io.Discard)
		in := made.made[0].r
		in.raw = raw
		if err := s.follow(in, f, rnd); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
		if !in.past {
			t.Errorf("seed %d: the socket was never read by itself", seed)
		}
		if _, _, err := in.nextIsWAL(); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("seed %d: after the end: %v", seed, err)
		}
	}
}

// Whoever ends a stream in the middle of WAL gets the message behind it.
func TestReaderSkipsRest(t *testing.T) {
	s := &script{bytes: append(append([]byte("d\x00\x00\x00\x3dw"), make([]byte, 24+32)...), "c\x00\x00\x00\x04"...)}
	var made frontends
	f := made.build(bytes.NewReader(s.bytes), io.Discard)
	in := made.made[0].r
	if _, ok, err := in.nextIsWAL(); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if n, err := in.readWAL(make([]byte, 7)); n != 7 || err != nil {
		t.Fatal(n, err)
	}
	if msg, err := f.Receive(); err != nil {
		t.Fatal(err)
	} else if _, ok := msg.(*pgproto3.CopyDone); !ok {
		t.Errorf("%T", msg)
	}
}

func socketPair(t *testing.T) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	var conns [2]*net.UnixConn
	for i, fd := range fds {
		file := os.NewFile(uintptr(fd), "socket")
		c, err := net.FileConn(file)
		if err != nil {
			t.Fatal(err)
		}
		file.Close()
		conns[i] = c.(*net.UnixConn)
		t.Cleanup(func() { conns[i].Close() })
	}
	return conns[0], conns[1]
}
