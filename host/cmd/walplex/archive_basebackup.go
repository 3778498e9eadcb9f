package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/walplex/walplex/config"
	"github.com/walplex/walplex/host/internal/archiveverify"
	"github.com/walplex/walplex/host/internal/basebackup"
	"github.com/walplex/walplex/host/internal/replication"
)

const (
	// envDSN has the connection string where neither --dsn nor a configuration does.
	envDSN = "WALPLEX_DSN"
	// backupSilence is how long a server may send nothing in the middle of a backup.
	backupSilence = 5 * time.Minute
	// backupLogInterval is how often the log says how far a backup is.
	backupLogInterval = 10 * time.Second
)

// baseBackupFlags are the command line as it was typed.
type baseBackupFlags struct {
	config     configFlags
	o          basebackup.Options
	stream     string
	dsn        string
	checkpoint string
	rate       string
	mapping    []string
	asJSON     bool
	quiet      bool
}

func archiveBaseBackupCommand() *cobra.Command {
	f := &baseBackupFlags{}
	cmd := &cobra.Command{
		Use:   "base-backup --to DIR [PATH…]",
		Short: "Take a base backup, to restore from with an archive",
		Long: `base-backup takes a base backup through the replication protocol from the server of
a stream of the configuration PATH…, or from that of --dsn or $` + envDSN + `.
Every file is held against the server's manifest while it comes. The backup has no
WAL: restore it with an archive that has it, and restore_command =
'walplex archive get --from ARCHIVE %f %p' and an empty file recovery.signal.

DIR is a data directory (plain), or has base.tar, and OID.tar for each tablespace
(tar). It gets its name when all of it is durable; DIR.tmp is not a backup, and the
next run for the same DIR removes it. DIR.backup.json says what the backup is and
which WAL it needs.

With --archive, the backup history file is written there, which keeps retention from
the backup's WAL, and the command ends when the archive holds that WAL.

The role needs REPLICATION. A standby can be backed up too.

Exit status: 0 the backup is whole (and the archive has its WAL), 1 there is none, or
the archive lacks its WAL: the text says which; 2 the command line or the
configuration is wrong.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return f.run(ctx, cmd, args)
		},
	}
	f.add(cmd)
	return cmd
}

func (f *baseBackupFlags) add(cmd *cobra.Command) {
	f.config.add(cmd)
	fl := cmd.Flags()
	fl.StringVar(&f.stream, "stream", "", "`NAME` of the stream, where the configuration has several")
	fl.StringVar(&f.dsn, "dsn", "", "connection `STRING` instead of a configuration; others can see it in the list of processes: better $"+envDSN)
	fl.StringVar(&f.o.To, "to", "", "`DIR` that the backup becomes; missing or empty")
	fl.StringVar(&f.o.Format, "format", basebackup.Plain, "`FORM`: plain or tar")
	fl.StringVar(&f.o.Compression, "compress", "none", "`METHOD` for tar archives: none, gzip, zstd or lz4")
	fl.StringVar(&f.checkpoint, "checkpoint", "spread", "`PACE` of the checkpoint at the beginning: fast or spread")
	fl.StringVar(&f.o.Label, "label", "", "the backup's `LABEL`; walplex and the time if empty")
	fl.StringVar(&f.rate, "max-rate", "", "at most `RATE` kB/s, or with the suffix M MB/s")
	fl.StringVar(&f.o.Checksums, "manifest-checksums", basebackup.SHA256, "`ALGORITHM` of the manifest: SHA256 or CRC32C")
	fl.StringArrayVar(&f.mapping, "tablespace-mapping", nil, "put the tablespace that lies at OLD on the server to NEW, as `OLD=NEW`; may be repeated; plain only")
	fl.StringVar(&f.o.Archive, "archive", "", "`DIR` of the archive that receives the server's WAL")
	fl.DurationVar(&f.o.Wait, "archive-wait", 10*time.Minute, "wait so long for the archive; 0: without end")
	fl.BoolVar(&f.asJSON, "json", false, "write the summary as JSON")
	fl.BoolVar(&f.quiet, "quiet", false, "show no progress on a terminal")
	_ = cmd.MarkFlagRequired("to")
}

func (f *baseBackupFlags) run(ctx context.Context, cmd *cobra.Command, paths []string) error {
	bar := !f.quiet && isTerminal(cmd.ErrOrStderr())
	if bar && f.config.log.level == "info" {
		f.config.log.level = "warn" // a bar and log lines write over each other
	}
	log, err := f.config.log.logger(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	if err := f.options(); err != nil {
		return statusError{exitUsage, fmt.Errorf("archive base-backup: %w", err)}
	}
	if f.o.Server.DSN, err = f.server(cmd.ErrOrStderr(), paths); err != nil {
		return err
	}
	f.o.Server.ReceiverTimeout = backupSilence
	f.o.Progress, f.o.Log = new(basebackup.Progress), log
	finish := showBackup(cmd.ErrOrStderr(), f.o.Progress, bar, log)
	s, err := basebackup.Take(ctx, f.o)
	finish()
	if err != nil {
		return baseBackupError(err)
	}
	if !f.asJSON {
		return failed(s.WriteText(cmd.OutOrStdout()))
	}
	json, err := s.JSON()
	if err == nil {
		_, err = cmd.OutOrStdout().Write(json)
	}
	return failed(err)
}

func baseBackupError(err error) error {
	var usage *basebackup.UsageError
	var server *replication.Error
	status := exitFailed
	if errors.As(err, &usage) {
		status = exitUsage
	}
	err = fmt.Errorf("archive base-backup: %w", err)
	if errors.As(err, &server) && !server.Permanent {
		err = fmt.Errorf("%w; nothing is kept, run it again", err)
	}
	return statusError{status, err}
}

// options makes options of what was typed.
func (f *baseBackupFlags) options() error {
	switch f.checkpoint {
	case "fast":
		f.o.Fast = true
	case "spread":
	default:
		return fmt.Errorf("--checkpoint %q: write fast or spread", f.checkpoint)
	}
	if f.o.Label == "" {
		f.o.Label = "walplex " + time.Now().UTC().Format("2006-01-02T15:04:05Z")
	}
	if len(f.o.Label) > replication.MaxBackupLabel || strings.ContainsAny(f.o.Label, "\r\n\x00") {
		return fmt.Errorf("--label: at most %d bytes, and no line break", replication.MaxBackupLabel)
	}
	f.o.Checksums = strings.ToUpper(f.o.Checksums)
	var err error
	if f.o.MaxRate, err = parseRate(f.rate); err != nil {
		return err
	}
	f.o.Mapping = map[string]string{}
	for _, m := range f.mapping {
		old, new, ok := strings.Cut(m, "=")
		if !ok || old == "" || new == "" {
			return fmt.Errorf("--tablespace-mapping %q: write OLD=NEW", m)
		}
		f.o.Mapping[old] = new
	}
	return nil
}

// parseRate reads kB/s, or MB/s with the suffix M, as pg_basebackup does.
func parseRate(s string) (int, error) {
	if s == "" {
		return 0, nil
	}
	unit := 1
	digits, mega := strings.CutSuffix(s, "M")
	if mega {
		unit = 1 << 10
	} else {
		digits = strings.TrimSuffix(s, "k")
	}
	n, err := strconv.Atoi(digits)
	if err != nil || n <= 0 || n > replication.MaxBackupRate {
		return 0, fmt.Errorf("--max-rate %q: write kB/s as a number, or MB/s as a number with M", s)
	}
	return n * unit, nil
}

// server is the connection string: of --dsn, the configuration, or the environment.
func (f *baseBackupFlags) server(w io.Writer, paths []string) (string, error) {
	wrong := func(text string) error {
		return statusError{exitUsage, errors.New("archive base-backup: " + text)}
	}
	switch {
	case f.dsn != "" && len(paths) > 0:
		return "", wrong("give a configuration or --dsn, not both")
	case f.dsn != "":
		return f.dsn, nil
	case len(paths) == 0 && os.Getenv(envDSN) != "":
		return os.Getenv(envDSN), nil
	case len(paths) == 0:
		return "", wrong("which server? Give a configuration, --dsn or $" + envDSN)
	}
	cfg, diags, err := f.config.read(paths)
	if err != nil {
		return "", err
	}
	if cfg == nil || diags.HasErrors() {
		_ = diags.WriteText(w)
		return "", statusError{status: exitUsage}
	}
	s, err := streamWithServer(cfg.Streams, f.stream)
	if err != nil {
		return "", wrong(err.Error())
	}
	return s.Postgres.DSN.Reveal(), nil
}

// streamWithServer is the stream of this name, or the only one of a server.
func streamWithServer(streams []*config.Stream, name string) (*config.Stream, error) {
	var found []*config.Stream
	var names []string
	for _, s := range streams {
		if s.Archive != nil {
			continue
		}
		names = append(names, s.Name)
		if name == "" || s.Name == name {
			found = append(found, s)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case name != "":
		return nil, fmt.Errorf("no stream %q has a server; those that have are: %s", name, strings.Join(names, ", "))
	case len(names) == 0:
		return nil, errors.New("no stream of the configuration has a server")
	}
	return nil, fmt.Errorf("the configuration has several streams: give --stream, one of %s", strings.Join(names, ", "))
}

// showBackup shows how far a backup is until finish is called: a bar on a
// terminal, else log lines.
func showBackup(w io.Writer, p *basebackup.Progress, bar bool, log *slog.Logger) (finish func()) {
	began := time.Now()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	every := backupLogInterval
	if bar {
		every = progressInterval
	}
	wg.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			done, total := p.Done()
			took := time.Since(began)
			switch {
			case bar && total == 0:
				fmt.Fprintf(w, "\rwaiting for the server's checkpoint, %d s\x1b[K", int(took.Seconds()))
			case bar:
				fmt.Fprintf(w, "\r%s\x1b[K", progressBar(done, max(total, done), took))
			case total > 0:
				log.Info("base backup: so far", "bytes", done, "percent", done*100/max(total, done, 1), "rate", archiveverify.Size(perSecond(done, took))+"/s")
			}
		}
	})
	return func() {
		close(stop)
		wg.Wait()
		if bar {
			fmt.Fprint(w, "\r\x1b[K")
		}
	}
}
