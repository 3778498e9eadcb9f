package archiveget

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/walplex/walplex/host/internal/archive"
	"github.com/walplex/walplex/sdk/wal"
)

// Options say what to give.
type Options struct {
	Directories []string       // tried in this order
	File        string         // restore_command's %f
	Dest        string         // restore_command's %p; relative to the working directory, which is the server's data directory
	Timeline    wal.TimelineID // recovery_target_timeline, where partial segments of ended timelines are wanted; 0: not known
}

// Served is a file that was given.
type Served struct {
	From     string   // the file in the archive
	End      wal.LSN  // of a partial segment: where its valid WAL ends; else 0
	Warnings []string // what was passed over, and what is not as usual
}

// NotThereError says that no directory has the file.
type NotThereError struct {
	File string
	Why  string // what there is instead, or ""
}

func (e *NotThereError) Error() string {
	if e.Why == "" {
		return e.File + " is not in the archive"
	}
	return fmt.Sprintf("%s is not in the archive: %s", e.File, e.Why)
}

// UsageError says that the options make no sense.
type UsageError struct{ Reason string }

func (e *UsageError) Error() string { return e.Reason }

// attempts is how often the archive is looked at again when a segment may have
// got its final name meanwhile.
const attempts = 3

// Get gives the file. DEST appears whole or not at all. An error that is neither
// a [*NotThereError] nor a [*UsageError] means that it is not known whether the
// file exists, or that it could not be given.
func Get(ctx context.Context, o Options) (Served, error) {
	f, ok := archive.ParseName(o.File)
	if !ok || f.Suffix != "" || f.Kind == archive.Partial {
		return Served{}, &UsageError{fmt.Sprintf("%q is neither a WAL segment nor a timeline history file nor a backup history file: give restore_command's %%f", o.File)}
	}
	if len(o.Directories) == 0 || o.Dest == "" {
		return Served{}, &UsageError{"a directory to get from and a file to write are required"}
	}
	for try := 1; ; try++ {
		s := search{o: o, kind: f.Kind, tli: f.Timeline()}
		served, err := s.get(ctx)
		served.Warnings = s.warnings
		var hole *holeError
		if !errors.As(err, &hole) || try == attempts {
			return served, err
		}
	}
}

// search is one look at the archive.
type search struct {
	o    Options
	kind archive.Kind
	tli  wal.TimelineID

	warnings []string
	faults   []error // why it is not known that the file is not there
}

func (s *search) get(ctx context.Context) (Served, error) {
	for _, dir := range s.o.Directories {
		if err := checkDirectory(dir); err != nil {
			s.fault(err)
			continue
		}
		for _, name := range archive.Names(s.o.File) {
			path := filepath.Join(dir, name)
			err := s.give(ctx, path)
			switch {
			case err == nil:
				return Served{From: path}, nil
			case errors.Is(err, fs.ErrNotExist) && !isDest(err):
			case isDest(err) || ctx.Err() != nil:
				return Served{}, err
			default:
				s.fault(err)
			}
		}
	}
	if len(s.faults) > 0 {
		return Served{}, errors.Join(s.faults...)
	}
	if s.kind == archive.Segment {
		return s.partial(ctx)
	}
	return Served{}, &NotThereError{File: s.o.File}
}

// fault notes why the file cannot be had from one place. It is a warning if
// another place has it.
func (s *search) fault(err error) {
	s.faults = append(s.faults, err)
	s.warnings = append(s.warnings, err.Error())
}

// checkDirectory tells a directory that does not hold the file from one that
// cannot be looked into.
func checkDirectory(dir string) error {
	st, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("the archive cannot be looked into: %w; mount it, or correct --from in restore_command", err)
	}
	if !st.IsDir() {
		return fmt.Errorf("the archive %s is not a directory; correct --from in restore_command", dir)
	}
	return nil
}

// give gives the file at path if it is whole.
func (s *search) give(ctx context.Context, path string) error {
	c, err := archive.OpenFile(path)
	if err != nil {
		return err
	}
	defer c.Close()
	st, err := c.File().Stat()
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", path)
	}
	if s.kind == archive.Segment {
		err = s.giveSegment(ctx, c, st.Size())
	} else {
		err = s.giveSmall(ctx, c)
	}
	if err != nil && !isDest(err) && ctx.Err() == nil {
		return fmt.Errorf("%s: %w; put a whole copy of it there, and see what else is wrong with: walplex archive verify %s", path, err, filepath.Dir(path))
	}
	return err
}

// laterSegment is a segment of the timeline behind the one asked for, the first
// that any directory holds, or "".
func (s *search) laterSegment() (later string, any bool, err error) {
	for _, dir := range s.o.Directories {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return "", any, err
		}
		for _, e := range entries {
			f, ok := archive.ParseName(e.Name())
			if !ok || f.Kind != archive.Segment && f.Kind != archive.Partial {
				continue
			}
			any = true
			if strings.HasPrefix(f.Base, s.o.File[:8]) && f.Base > s.o.File && (later == "" || f.Base < later) {
				later = f.Base
			}
		}
	}
	return later, any, nil
}
