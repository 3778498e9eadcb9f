package rmgrdesc

import "github.com/walplex/walplex/sdk/wal"

// descGin is gin_desc (access/rmgrdesc/gindesc.c). CREATE_PTREE, VACUUM_PAGE,
// DELETE_PAGE, UPDATE_META_PAGE and INSERT_LISTPAGE have no description.
func descGin(dst []byte, r *wal.Record) []byte {
	return ginOperations.append(dst, r, r.Info>>4)
}

// ginOperations are the structures of access/ginxlog.h. The three bits of flags
// are GIN_INSERT_ISDATA, GIN_INSERT_ISLEAF and GIN_SPLIT_ROOT.
var ginOperations = operations{
	0x2: {{wal.PG14, layout{fields{ // ginxlogInsert
		{"isdata: ", 0, asBit0}, {" isleaf: ", 0, asBit1},
	}, ginInsert}}},
	0x3: {{wal.PG14, layout{fields{ // ginxlogSplit
		{"isrootsplit: ", 24, asBit2}, {" isdata: ", 24, asBit0}, {" isleaf: ", 24, asBit1},
	}, nil}}},
	0x8: {{wal.PG14, layout{fields{{"ndeleted: ", 56, asI32}}, nil}}}, // ginxlogDeleteListPages, after GinMetaPageData
	0x9: {{wal.PG14, layout{nil, ginVacuumDataLeafPage}}},
}

// Flags of ginxlogInsert (access/ginxlog.h).
const (
	ginInsertIsData = 0x01
	ginInsertIsLeaf = 0x02
)

var (
	// ginChildren are the children of an insertion that is not into a leaf: two
	// BlockIdData after ginxlogInsert.
	ginChildren = fields{{" children: ", 2, asBlockID}, {"/", 6, asBlockID}}
	// ginEntry is ginxlogInsertEntry.
	ginEntry = fields{{" isdelete: ", 2, asTruth}}
	// ginDataInternal is ginxlogInsertDataInternal: an offset, and a PostingItem of
	// child_blkno and key.
	ginDataInternal = fields{{" pitem: ", 2, asBlockID}, {"-", 6, asTID}}
)

// ginInsert appends what follows the flags of an INSERT, which are there.
func ginInsert(dst []byte, r *wal.Record) []byte {
	flags := r.MainData()[0]
	whole := true
	if flags&ginInsertIsLeaf == 0 {
		if dst, whole = ginChildren.append(dst, r.MainData()); !whole {
			return append(dst, Truncated...)
		}
	}
	if b := block(r, 0); b != nil && b.HasImage() {
		return appendImageNote(dst, b)
	}
	c, _ := blockData(r, 0)
	switch {
	case flags&ginInsertIsData == 0:
		dst, whole = ginEntry.append(dst, c.buf)
	case flags&ginInsertIsLeaf != 0:
		return appendRecompressLeaf(dst, c)
	default:
		dst, whole = ginDataInternal.append(dst, c.buf)
	}
	if !whole {
		return append(dst, Truncated...)
	}
	return dst
}

// ginVacuumDataLeafPage appends a VACUUM_DATA_LEAF_PAGE: the data of block 0 is a
// ginxlogRecompressDataLeaf.
func ginVacuumDataLeafPage(dst []byte, r *wal.Record) []byte {
	if b := block(r, 0); b != nil && b.HasImage() {
		return appendImageNote(dst, b)
	}
	c, _ := blockData(r, 0)
	return appendRecompressLeaf(dst, c)
}

// appendImageNote says what the image, instead of data, is for.
func appendImageNote(dst []byte, b *wal.BlockRef) []byte {
	if b.ApplyImage() {
		return append(dst, " (full page image)"...)
	}
	return append(dst, " (full page image, for WAL verification)"...)
}

// Actions on a segment of a posting tree's leaf, GIN_SEGMENT_*
// (access/ginxlog.h).
const (
	ginSegmentDelete   = 1
	ginSegmentInsert   = 2
	ginSegmentReplace  = 3
	ginSegmentAddItems = 4
)

// itemPointerSize is the size of ItemPointerData (storage/itemptr.h), in bytes.
const itemPointerSize = 6

// appendRecompressLeaf appends a ginxlogRecompressDataLeaf: the number of actions,
// and of each the segment's number, what is done, and for that an operand.
func appendRecompressLeaf(dst []byte, c cursor) []byte {
	n := c.u16()
	if c.short {
		return c.end(dst)
	}
	dst = appendUint(dst, " ", n)
	dst = append(dst, " segments:"...)
	for range n {
		segment, action := c.u8(), c.u8()
		items := uint16(0)
		switch action {
		case ginSegmentInsert, ginSegmentReplace:
			c.skip(itemPointerSize) // GinPostingList: first, nbytes, bytes to the next even one
			c.skip((int(c.u16()) + 1) &^ 1)
		case ginSegmentAddItems:
			items = c.u16()
			c.skip(int(items) * itemPointerSize)
		}
		if c.short {
			return c.end(dst)
		}
		dst = appendUint(dst, " ", segment)
		switch action {
		case ginSegmentAddItems:
			dst = appendUint(dst, " (add ", items)
			dst = append(dst, " items)"...)
		case ginSegmentDelete:
			dst = append(dst, " (delete)"...)
		case ginSegmentInsert:
			dst = append(dst, " (insert)"...)
		case ginSegmentReplace:
			dst = append(dst, " (replace)"...)
		default:
			dst = appendUint(dst, " unknown action ", action)
			return append(dst, " ???"...) // the length of its operand is not known
		}
	}
	return dst
}
