package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/walplex/walplex/host/internal/pages"
	"github.com/walplex/walplex/sdk/pageclient"
	"github.com/walplex/walplex/sdk/wal"
)

func pageCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "page", Short: "Read pages from a page_cache sink"}
	cmd.AddCommand(pageGetCommand(), pageHistoryCommand(), pageDiffCommand(), pageExportCommand(), pageVerifyCommand())
	return cmd
}

// pageSource is the sink that a command reads from.
type pageSource struct {
	from string
	tls  pageclient.TLSOptions
}

func (s *pageSource) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&s.from, "from", "", "`SOCKET` of the sink, or tcp://HOST:PORT")
	f.StringVar(&s.tls.CA, "tls-ca", "", "with tcp: `FILE` of the authority of the sink's certificate")
	f.StringVar(&s.tls.Cert, "tls-cert", "", "with tcp: `FILE` of our certificate")
	f.StringVar(&s.tls.Key, "tls-key", "", "with tcp: `FILE` of its key")
	f.StringVar(&s.tls.ServerName, "tls-server-name", "", "with tcp: `NAME` in the sink's certificate; without it, the host's")
	_ = cmd.MarkFlagRequired("from")
}

func (s *pageSource) dial() (*pageclient.Client, error) { return pageclient.DialFrom(s.from, s.tls) }

// pageName is a page that a command is about, as it is typed.
type pageName struct {
	relation, fork string
	block          uint32
}

func (n *pageName) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&n.relation, "relation", "", "tablespace, database and file number of the relation, as `SPC/DB/REL`")
	f.StringVar(&n.fork, "fork", "main", "`FORK` of the relation: main, fsm, vm or init")
	f.Uint32Var(&n.block, "block", 0, "`NUMBER` of the block, from 0")
	_ = cmd.MarkFlagRequired("relation")
	_ = cmd.MarkFlagRequired("block")
}

func (n *pageName) parse() (p pageclient.PageName, err error) {
	if p.Rel, err = pageclient.ParseRelation(n.relation); err != nil {
		return p, err
	}
	p.Block = wal.BlockNumber(n.block)
	p.Fork, err = pageclient.ParseFork(n.fork)
	return p, err
}

// parseLSN reads an LSN that may be left out.
func parseLSN(s string) (wal.LSN, error) {
	if s == "" {
		return 0, nil
	}
	return wal.ParseLSN(s)
}

func pageGetCommand() *cobra.Command {
	var source pageSource
	var name pageName
	var o pageclient.GetOptions
	var decode bool
	cmd := &cobra.Command{
		Use:   "get --from SOCKET --relation SPC/DB/REL --block N",
		Short: "Write a page as of an LSN to standard output, 8192 raw bytes",
		Long: `get reads the page as it was at --lsn. An LSN that the sink has not reached is
waited for. The page is made of its last image, or of the record that initialised it,
and of all records after that. Hint bits that were never logged are not in it, and its
checksum is of no use. Of a sink that began without a base backup, a page that was
changed since and has had no image cannot be read yet: the first change after a
checkpoint brings one.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.From, o.TLS, o.Relation, o.Fork, o.Block = source.from, source.tls, name.relation, name.fork, name.block
			if !decode {
				return failed(pageclient.GetPage(cmd.Context(), cmd.OutOrStdout(), o))
			}
			page, lsn, err := pageclient.ReadPage(cmd.Context(), o)
			if err != nil {
				return failed(err)
			}
			fork, err := pageclient.ParseFork(name.fork)
			if err != nil {
				return failed(err)
			}
			return failed(pages.Describe(cmd.OutOrStdout(), page, fork, wal.BlockNumber(name.block), lsn))
		},
	}
	source.flags(cmd)
	name.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.LSN, "lsn", "", "as of this `LSN`; without it, of the last that the sink has")
	f.DurationVar(&o.Wait, "wait", pageclient.DefaultWait, "how long to wait for the LSN")
	f.BoolVar(&decode, "decode", false, "write the page for people to read: header, line pointers, tuples")
	return cmd
}

// showPages draws a bar on a terminal until finish is called, which writes how fast
// it was.
func showPages(w io.Writer, p *pages.Progress, quiet bool) (finish func(ok bool)) {
	if quiet {
		return func(bool) {}
	}
	began := time.Now()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	bar := isTerminal(w)
	if bar {
		wg.Go(func() {
			tick := time.NewTicker(progressInterval)
			defer tick.Stop()
			for {
				select {
				case <-tick.C:
					done, total := p.Done()
					fmt.Fprintf(w, "\r%s\x1b[K", progressBar(done, total, time.Since(began)))
				case <-stop:
					return
				}
			}
		})
	}
	return func(ok bool) {
		close(stop)
		wg.Wait()
		if bar {
			fmt.Fprint(w, "\r\x1b[K")
		}
		if done, _ := p.Done(); ok && bar {
			took := time.Since(began)
			fmt.Fprintf(w, "%d pages in %.1f s, %.0f pages/s\n", done/wal.BlockSize, took.Seconds(), float64(done/wal.BlockSize)/max(took.Seconds(), 1e-6))
		}
	}
}
