package tablerecover

import (
	"context"
	"errors"
	"fmt"

	"github.com/walplex/walplex/host/internal/tablerecover/pgtext"
	"github.com/walplex/walplex/sdk/wal"
)

// toastTable reads values that lie out of line, of one TOAST table.
type toastTable struct {
	oid   wal.OID
	table wal.RelFileLocator
	index wal.RelFileLocator
	snap  *snapshot
	cache *pageCache
}

// toastColumns are those of every TOAST table (catalog/toasting.c).
func toastColumns() []column {
	return []column{
		{name: "chunk_id", len: 4, align: 'i'},
		{name: "chunk_seq", len: 4, align: 'i'},
		{name: "chunk_data", len: -1, align: 'i'},
	}
}

// fetch puts a value together from its chunks.
func (t *toastTable) fetch(ctx context.Context, ext pgtext.External) ([]byte, error) {
	if t == nil || ext.ToastRelID != t.oid {
		return nil, fmt.Errorf("value %d lies in the TOAST table %d, which is not the table's", ext.ValueID, ext.ToastRelID)
	}
	data := make([]byte, 0, ext.Size)
	chunks := map[int32][]byte{}
	cols, vals := toastColumns(), make([][]byte, 3)
	err := t.lookUp(ctx, ext.ValueID, func(tup []byte) error {
		if err := deform(tup, cols, vals); err != nil {
			return err
		}
		if len(vals[0]) != 4 || len(vals[1]) != 4 || vals[2] == nil {
			return errors.New("a chunk has a NULL")
		}
		chunk, err := pgtext.Inline(vals[2])
		if err != nil {
			return err
		}
		seq := int32(le32(vals[1]))
		if wal.OID(le32(vals[0])) != ext.ValueID {
			return nil // the index's entry is older than what now lies there
		}
		if chunks[seq] != nil {
			return fmt.Errorf("chunk %d is there twice", seq)
		}
		chunks[seq] = append([]byte{}, chunk...)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("value %d of the TOAST table %d: %w", ext.ValueID, t.oid, err)
	}
	for seq := range int32(len(chunks)) {
		chunk, ok := chunks[seq]
		if !ok {
			return nil, fmt.Errorf("value %d of the TOAST table %d lacks its chunk %d", ext.ValueID, t.oid, seq)
		}
		data = append(data, chunk...)
	}
	if len(data) != ext.Size {
		return nil, fmt.Errorf("value %d of the TOAST table %d has %d bytes in %d chunks, want %d", ext.ValueID, t.oid, len(data), len(chunks), ext.Size)
	}
	return data, nil
}

// lookUp calls f for every visible tuple that the index names for the value.
func (t *toastTable) lookUp(ctx context.Context, value wal.OID, f func(tup []byte) error) error {
	tids, err := t.search(ctx, value)
	if err != nil {
		return err
	}
	for _, tid := range tids {
		p, err := t.cache.page(ctx, t.table, tid.block)
		if err != nil {
			return err
		}
		if isNew, err := checkPage(p); err != nil || isNew {
			return errors.Join(err, fmt.Errorf("block %d of relation %s does not have what its index says", tid.block, t.table))
		}
		if int(tid.item) > items(p) {
			continue // an entry older than the page's last VACUUM
		}
		tup, err := item(p, int(tid.item))
		if err != nil {
			return err
		}
		if tup == nil {
			continue
		}
		seen, err := t.snap.visible(ctx, tup)
		if err != nil {
			return err
		}
		if seen {
			if err := f(tup); err != nil {
				return err
			}
		}
	}
	return nil
}
