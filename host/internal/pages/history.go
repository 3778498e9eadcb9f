package pages

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/walplex/walplex/sdk/pageclient"
	"github.com/walplex/walplex/sdk/pagepb"
	"github.com/walplex/walplex/sdk/wal"
)

// HistoryRecord is a record of a page's history as JSON has it.
type HistoryRecord struct {
	StartLSN    wal.LSN `json:"start_lsn"`
	EndLSN      wal.LSN `json:"end_lsn"`
	XID         uint32  `json:"xid"`
	Rmgr        string  `json:"rmgr"`
	Operation   string  `json:"operation"`
	Description string  `json:"description"`
	Length      uint32  `json:"length"`   // xl_tot_len, bytes
	BlockID     uint32  `json:"block_id"` // of the page among the record's references
	Init        bool    `json:"init,omitempty"`
	Image       bool    `json:"image,omitempty"`
	Implied     bool    `json:"implied,omitempty"` // the record does not name the page
}

// History writes the records that touched a page, one a line: for people, or each
// a JSON object.
func History(ctx context.Context, w io.Writer, c *pageclient.Client, r pageclient.HistoryRequest, asJSON bool) error {
	n := 0
	enc := json.NewEncoder(w)
	err := c.History(ctx, r, func(h *pagepb.HistoryRecord) error {
		n++
		if asJSON {
			return enc.Encode(HistoryRecord{
				StartLSN: wal.LSN(h.StartLsn), EndLSN: wal.LSN(h.EndLsn), XID: h.Xid, Rmgr: h.RmgrName, Operation: h.Operation,
				Description: h.Description, Length: h.Length, BlockID: h.BlockId, Init: h.Init, Image: h.Image, Implied: h.Implied,
			})
		}
		_, err := fmt.Fprintf(w, "rmgr: %-11s len: %6d, tx: %10d, lsn: %s, end: %s, desc: %s %s%s\n",
			h.RmgrName, h.Length, h.Xid, wal.LSN(h.StartLsn), wal.LSN(h.EndLsn), h.Operation, h.Description, does(h))
		return err
	})
	if err == nil && n == 0 && !asJSON {
		_, err = fmt.Fprintf(w, "no record touched block %d of %s\n", r.Page.Block, Fork{r.Page.Rel, r.Page.Fork})
	}
	return err
}

// does says what a record does to the page, besides changing it.
func does(h *pagepb.HistoryRecord) string {
	switch {
	case h.Image:
		return " [image]"
	case h.Init:
		return " [init]"
	case h.Implied:
		return " [implied]"
	}
	return ""
}
