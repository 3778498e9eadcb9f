// Command basesink is a sink that begins with a base backup, which it stores file by
// file, and then counts records, each exactly once. It waits, or fails, while files
// exist that its configuration names.
//
//	DIR/backup.tmp/    while a backup comes
//	DIR/backup/        a whole one
//	DIR/position.json  with the state of type records
package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/durable"
	"github.com/walplex/walplex/sdk/wal"
)

func main() {
	sdk.Serve(sdk.Define("base", func(c *config) sdk.Sink { return &sink{config: c} }, sdk.Records(), sdk.BaseBackup[config](nil)))
}

type config struct {
	Directory string `walplex:"directory,required" format:"path"`
	Hold      string `walplex:"hold" doc:"while this file exists, no data of a backup is taken"`
	Fail      string `walplex:"fail" doc:"while this file exists, there is no space for data of a backup"`
}

// records is what the sink keeps beside its position.
type records struct {
	Start  string `json:"start"` // of the backup
	End    string `json:"end"`
	Count  int    `json:"count"`  // of records
	First  string `json:"first"`  // StartLSN
	Last   string `json:"last"`   // StartLSN
	Broken string `json:"broken"` // xl_prev that is not the StartLSN of the record before
}

type sink struct {
	config *config
	log    *slog.Logger
	file   *sdk.PositionFile[records]
	at     wal.Position
	last   wal.LSN
	out    *os.File // of the backup
	left   int64
	data   bool // some came
}

func (s *sink) dir(name string) string {
	return filepath.Join(s.config.Directory, filepath.FromSlash(name))
}

func (s *sink) Open(ctx context.Context, req *sdk.OpenRequest) (sdk.OpenResult, error) {
	var err error
	if s.file, err = sdk.OpenPositionFile[records](ctx, durable.OS{}, s.config.Directory, req); err != nil {
		return sdk.OpenResult{}, err
	}
	s.log = req.Logger
	res := s.file.Result()
	s.at = res.Position
	if res.New {
		if err := req.MustHold(s.config.Directory); err != nil {
			return res, errors.Join(err, s.file.Close())
		}
		res.WantsBackup = true
		return res, errors.Join(os.RemoveAll(s.dir("backup.tmp")), os.RemoveAll(s.dir("backup")))
	}
	if s.file.State.Last != "" {
		if s.last, err = wal.ParseLSN(s.file.State.Last); err != nil {
			return res, sdk.Permanent(err)
		}
	}
	return res, nil
}

func (s *sink) BeginBackup(_ context.Context, b *sdk.BackupStart) error {
	s.log.Info("a backup begins", "start", b.Start, "bytes", b.Bytes, "tablespaces", len(b.Tablespaces))
	s.file.State = records{Start: b.Start.LSN.String()}
	s.at = b.Start
	return os.Mkdir(s.dir("backup.tmp"), 0o700)
}

func (s *sink) BackupFile(_ context.Context, f *sdk.BackupFile) (err error) {
	if err := s.closeFile(); err != nil {
		return err
	}
	name := s.dir("backup.tmp/" + f.Name)
	if f.Mode.IsDir() {
		return os.MkdirAll(name, f.Mode.Perm())
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	s.out, err = os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, f.Mode.Perm())
	s.left = f.Size
	return err
}

// closeFile ends a file, which must have got all its bytes.
func (s *sink) closeFile() error {
	if s.out == nil {
		return nil
	}
	f := s.out
	s.out = nil
	if s.left != 0 {
		return sdk.Permanentf("%s lacks %d bytes", f.Name(), s.left)
	}
	return errors.Join(f.Sync(), f.Close())
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return name != "" && err == nil
}

func (s *sink) BackupData(ctx context.Context, p []byte) error {
	if !s.data {
		s.log.Info("data of a backup comes")
		s.data = true
	}
	if exists(s.config.Fail) {
		return &fs.PathError{Op: "write", Path: s.out.Name(), Err: syscall.ENOSPC}
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for exists(s.config.Hold) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.left -= int64(len(p))
	_, err := s.out.Write(p)
	return err
}

func (s *sink) EndBackup(_ context.Context, end wal.Position) error {
	if err := s.closeFile(); err != nil {
		return err
	}
	if err := os.Rename(s.dir("backup.tmp"), s.dir("backup")); err != nil {
		return err
	}
	s.file.State.End = end.LSN.String()
	return s.file.Save(s.at)
}

func (s *sink) Write(_ context.Context, b *sdk.Batch) error {
	st := &s.file.State
	for rec := range b.Records() {
		if st.Count > 0 && rec.PrevLSN != s.last && st.Broken == "" {
			st.Broken = rec.StartLSN.String()
		}
		if st.Count++; st.Count == 1 {
			st.First = rec.StartLSN.String()
		}
		s.last = rec.StartLSN
	}
	if st.Count > 0 {
		st.Last = s.last.String()
	}
	s.at = wal.Position{Timeline: b.Timeline(), LSN: b.To()}
	return nil
}

func (s *sink) Flush(context.Context) (wal.LSN, error) { return s.at.LSN, s.file.Save(s.at) }

func (s *sink) Close(context.Context) error {
	var err error
	if s.out != nil {
		err = s.out.Close()
	}
	return errors.Join(err, s.file.Close())
}
