package main

import (
	"github.com/spf13/cobra"

	"github.com/walplex/walplex/sdk/pageclient"
)

func pageCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "page", Short: "Read pages from a page_cache sink"}
	var o pageclient.GetOptions
	get := &cobra.Command{
		Use:   "get --from SOCKET --relation SPC/DB/REL --block N",
		Short: "Write a page as of an LSN to standard output, 8192 raw bytes",
		Long: `get reads the page as it was at --lsn. An LSN that the sink has not reached is
waited for. The page is made of its last image, or of the record that initialised it,
and of all records after that. Hint bits that were never logged are not in it, and its
checksum is of no use. A page that was changed since the sink began, and has had no
image since, cannot be read yet: the first change after a checkpoint brings one.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return failed(pageclient.GetPage(cmd.Context(), cmd.OutOrStdout(), o))
		},
	}
	f := get.Flags()
	f.StringVar(&o.From, "from", "", "`SOCKET` of the sink")
	f.StringVar(&o.Relation, "relation", "", "tablespace, database and file number of the relation, as `SPC/DB/REL`")
	f.StringVar(&o.Fork, "fork", "main", "`FORK` of the relation: main, fsm, vm or init")
	f.Uint32Var(&o.Block, "block", 0, "`NUMBER` of the block, from 0")
	f.StringVar(&o.LSN, "lsn", "", "as of this `LSN`; without it, of the last that the sink has")
	f.DurationVar(&o.Wait, "wait", pageclient.DefaultWait, "how long to wait for the LSN")
	for _, name := range []string{"from", "relation", "block"} {
		_ = get.MarkFlagRequired(name)
	}
	cmd.AddCommand(get)
	return cmd
}
