package sinktest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/fstest"

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/durable"
	"github.com/walplex/walplex/sdk/sinktest"
	"github.com/walplex/walplex/sdk/sinktest/conform"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

// beginner is a list that begins with a base backup, of which it keeps the sizes of
// files, in one more file.
type beginner struct {
	*list
	start wal.Position
	sizes bytes.Buffer
	left  int64
}

func beginnerDefinition(fsys durable.FS, bug string) *sdk.Definition {
	wishes := func(*listConfig) bool { return bug != "wishes in secret" }
	return sdk.Define("beginner", func(c *listConfig) sdk.Sink {
		return &beginner{list: &list{fs: fsys, dir: c.Directory, bug: bug}}
	}, sdk.Records(), sdk.MaxRecord(0), sdk.Rewinds(), sdk.BaseBackup(wishes))
}

func (b *beginner) Open(ctx context.Context, req *sdk.OpenRequest) (sdk.OpenResult, error) {
	res, err := b.list.Open(ctx, req)
	if err != nil {
		return res, err
	}
	res.WantsBackup = res.New
	if !res.New {
		if text, err := readAll(b.fs, b.name("sizes")); err != nil || !bytes.Contains(text, []byte("base/1/114 655360\n")) {
			return res, sdk.Permanentf("the backup is not there: %v, %s", err, text)
		}
	}
	return res, nil
}

func (b *beginner) BeginBackup(_ context.Context, s *sdk.BackupStart) error {
	b.start = s.Start
	if b.bug == "keeps half a backup" {
		return b.EndBackup(context.Background(), s.Start)
	}
	return nil
}

func (b *beginner) BackupFile(_ context.Context, f *sdk.BackupFile) error {
	if b.left != 0 {
		return fmt.Errorf("%d bytes are missing before %s", b.left, f.Name)
	}
	b.left = f.Size
	fmt.Fprintf(&b.sizes, "%s %d\n", f.Name, f.Size)
	return nil
}

func (b *beginner) BackupData(_ context.Context, p []byte) error {
	b.left -= int64(len(p))
	return nil
}

func (b *beginner) EndBackup(context.Context, wal.Position) error {
	text := b.sizes.Bytes()
	if b.bug == "keeps half a backup" {
		text = []byte("base/1/114 655360\n")
	}
	b.to, b.tli = b.start.LSN, b.start.Timeline
	if b.bug == "forgets its backup" {
		return nil
	}
	return errors.Join(durable.WriteFileAtomic(b.fs, b.name("sizes"), text, 0o600), b.keep())
}

func (b *beginner) Flush(ctx context.Context) (wal.LSN, error) {
	if b.bug == "forgets its backup" {
		return b.to, nil
	}
	return b.list.Flush(ctx)
}

// TestGoodSinkWithBackup: every check works for a sink that begins with a backup.
func TestGoodSinkWithBackup(t *testing.T) {
	sinktest.Run(t, func() *sdk.Definition { return beginnerDefinition(durable.OS{}, "") }, sinktest.Holds(held),
		sinktest.WithFS(func(fsys durable.FS) *sdk.Definition { return beginnerDefinition(fsys, "") }))
}

// TestSessionBackup: a session gives a backup, and WAL from its start on.
func TestSessionBackup(t *testing.T) {
	w := waltest.Random(1, waltest.Options{Version: wal.PG17}, 64<<10)
	o := w.Options()
	start := w.Records()[5].Start
	def := beginnerDefinition(durable.OS{}, "")
	s, err := sinktest.Open(t.Context(), def, map[string]string{"directory": t.TempDir()},
		sdk.System{ID: o.SystemID, Timeline: o.Timeline, SegmentSize: o.SegmentSize, ServerVersion: 170000}, sinktest.Options{Start: o.Start})
	if err != nil {
		t.Fatal(err)
	}
	at := wal.Position{Timeline: o.Timeline, LSN: start}
	files := fstest.MapFS{"base/1/114": {Data: make([]byte, 655360), Mode: 0o600}, "PG_VERSION": {Data: []byte("17\n"), Mode: 0o600}}
	if err := s.Backup(t.Context(), files, at, at); err != nil {
		t.Fatal(err)
	}
	if err := s.Deliver(t.Context(), w.Bytes()[s.Next()-o.Start:]); err != nil {
		t.Fatal(err)
	}
	if lsn, err := s.Flush(t.Context()); err != nil || lsn != w.End() {
		t.Errorf("the sink is at %s, %v", lsn, err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestBackupOfRawWAL: one of raw WAL is at the start of the backup's segment.
func TestBackupOfRawWAL(t *testing.T) {
	sinktest.Run(t, func() *sdk.Definition {
		return sdk.Define("raw", func(c *listConfig) sdk.Sink { return &rawBeginner{dir: c.Directory} }, sdk.RawWAL(), sdk.BaseBackup[listConfig](nil))
	}, sinktest.Only("base backup", "deliver", "kill"))
}

// rawBeginner keeps nothing but a position.
type rawBeginner struct {
	dir   string
	file  *sdk.PositionFile[struct{}]
	start wal.Position
	at    wal.Position
	size  wal.SegmentSize
}

func (r *rawBeginner) Open(ctx context.Context, req *sdk.OpenRequest) (res sdk.OpenResult, err error) {
	if r.file, err = sdk.OpenPositionFile[struct{}](ctx, durable.OS{}, r.dir, req); err != nil {
		return res, err
	}
	r.size = req.System.SegmentSize
	res = r.file.Result()
	r.at, res.WantsBackup = res.Position, res.New
	return res, nil
}

func (r *rawBeginner) BeginBackup(_ context.Context, s *sdk.BackupStart) error {
	r.start = s.Start
	return nil
}
func (r *rawBeginner) BackupFile(context.Context, *sdk.BackupFile) error { return nil }
func (r *rawBeginner) BackupData(context.Context, []byte) error          { return nil }
func (r *rawBeginner) EndBackup(context.Context, wal.Position) error {
	r.at = wal.Position{Timeline: r.start.Timeline, LSN: r.size.Start(r.start.LSN)}
	return r.file.Save(r.at)
}

func (r *rawBeginner) Write(_ context.Context, b *sdk.Batch) error {
	if b.From() != r.at.LSN {
		return fmt.Errorf("WAL from %s follows %s", b.From(), r.at)
	}
	r.at = wal.Position{Timeline: b.Timeline(), LSN: b.To()}
	return nil
}
func (r *rawBeginner) Flush(context.Context) (wal.LSN, error) { return r.at.LSN, r.file.Save(r.at) }
func (r *rawBeginner) Close(context.Context) error            { return r.file.Close() }

// Each bad sink that begins with a backup fails for its own reason.
func TestBadBackups(t *testing.T) {
	for _, c := range []struct{ bug, rule, text string }{
		{"keeps half a backup", conform.RuleSent, "was sent WAL up to 0/0 only"},
		{"forgets its backup", conform.RuleDurable, "says that it is new"},
		{"wishes in secret", conform.RuleBackup, "Validate tells: false"},
	} {
		t.Run(c.bug, func(t *testing.T) {
			t.Parallel()
			failed := 0
			for _, r := range sinktest.Results(t, func() *sdk.Definition { return beginnerDefinition(durable.OS{}, c.bug) }, sinktest.Only("base backup")) {
				failed++
				var v *conform.Violation
				if !errors.As(r.Err, &v) || v.Rule != c.rule || !bytes.Contains([]byte(r.Err.Error()), []byte(c.text)) {
					t.Errorf("%s: %v\nwant the rule %q: %s", r.Form, r.Err, c.rule, c.text)
				}
			}
			if failed == 0 {
				t.Error("the check finds nothing")
			}
		})
	}
}
