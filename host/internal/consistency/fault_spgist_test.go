package consistency

import "github.com/walplex/walplex/sdk/wal"

// Where fields of SpGistPageOpaqueData lie on a page, in bytes
// (access/spgist_private.h), and the states of a tuple.
const (
	spgFlags        = 8184
	spgRedirections = 8186
	spgPlaceholders = 8188

	spgRedirect    = 1
	spgDead        = 2
	spgPlaceholder = 3
)

// spgistFaults are mistakes in the redo of SP-GiST.
var spgistFaults = []fault{
	{"ADD_LEAF, skipped", wal.RmgrSPGist, 0x10, 0, skipped},
	{"ADD_LEAF, not in its chain", wal.RmgrSPGist, 0x10, 0, keptItems(4, 2)},
	{"ADD_LEAF, the placeholder is still counted", wal.RmgrSPGist, 0x10, 0, kept(spgPlaceholders, 2)},
	{"ADD_LEAF, the page's flags", wal.RmgrSPGist, 0x10, 0, flipped(spgFlags, 4)},
	{"ADD_LEAF, its parent's link", wal.RmgrSPGist, 0x10, 1, skipped},
	{"MOVE_LEAFS, not deleted", wal.RmgrSPGist, 0x20, 0, skipped},
	{"MOVE_LEAFS, the redirection's target", wal.RmgrSPGist, 0x20, 0, inState(spgRedirect, 6, 6)},
	{"MOVE_LEAFS, the redirection's XID", wal.RmgrSPGist, 0x20, 0, inState(spgRedirect, 12, 4)},
	{"MOVE_LEAFS, the redirection is not counted", wal.RmgrSPGist, 0x20, 0, kept(spgRedirections, 2)},
	{"MOVE_LEAFS, placeholders are not counted", wal.RmgrSPGist, 0x20, 0, kept(spgPlaceholders, 2)},
	{"MOVE_LEAFS, not added", wal.RmgrSPGist, 0x20, 1, skipped},
	{"MOVE_LEAFS, one too few", wal.RmgrSPGist, 0x20, 1, lastIDLost},
	{"MOVE_LEAFS, the parent's link", wal.RmgrSPGist, 0x20, 2, skipped},
	{"ADD_NODE, not replaced", wal.RmgrSPGist, 0x30, 0, skipped},
	{"ADD_NODE, no redirection", wal.RmgrSPGist, 0x30, 0, inState(spgRedirect, 0, 1)},
	{"ADD_NODE, the redirection is not counted", wal.RmgrSPGist, 0x30, 0, kept(spgRedirections, 2)},
	{"ADD_NODE, not moved", wal.RmgrSPGist, 0x30, 1, skipped},
	{"ADD_NODE, the parent's link elsewhere", wal.RmgrSPGist, 0x30, 2, skipped},
	{"SPLIT_TUPLE, no prefix", wal.RmgrSPGist, 0x40, 0, skipped},
	{"SPLIT_TUPLE, no postfix", wal.RmgrSPGist, 0x40, 0, keptLower},
	{"SPLIT_TUPLE, no postfix elsewhere", wal.RmgrSPGist, 0x40, 1, skipped},
	{"PICKSPLIT, not deleted", wal.RmgrSPGist, 0x50, 0, skipped},
	{"PICKSPLIT, the redirection's target", wal.RmgrSPGist, 0x50, 0, inState(spgRedirect, 6, 6)},
	{"PICKSPLIT, placeholders are not counted", wal.RmgrSPGist, 0x50, 0, kept(spgPlaceholders, 2)},
	{"PICKSPLIT, not added", wal.RmgrSPGist, 0x50, 1, skipped},
	{"PICKSPLIT, one too few", wal.RmgrSPGist, 0x50, 1, lastIDLost},
	{"PICKSPLIT, a leaf is none", wal.RmgrSPGist, 0x50, 1, flipped(spgFlags, 4)},
	{"PICKSPLIT, no inner tuple", wal.RmgrSPGist, 0x50, 2, skipped},
	{"PICKSPLIT, the root's link", wal.RmgrSPGist, 0x50, 2, exchanged(-1, -2)},
	{"PICKSPLIT, the parent's link", wal.RmgrSPGist, 0x50, 3, skipped},
	{"VACUUM_LEAF, skipped", wal.RmgrSPGist, 0x60, 0, skipped},
	{"VACUUM_LEAF, dead heads are placeholders", wal.RmgrSPGist, 0x60, 0, inState(spgDead, 0, 1)},
	{"VACUUM_LEAF, placeholders are not counted", wal.RmgrSPGist, 0x60, 0, kept(spgPlaceholders, 2)},
	{"VACUUM_LEAF, chains as they were", wal.RmgrSPGist, 0x60, 0, keptItems(4, 2)},
	{"VACUUM_ROOT, skipped", wal.RmgrSPGist, 0x70, 0, skipped},
	{"VACUUM_ROOT, one too many", wal.RmgrSPGist, 0x70, 0, lastIDLost},
	{"VACUUM_REDIRECT, skipped", wal.RmgrSPGist, 0x80, 0, skipped},
	{"VACUUM_REDIRECT, redirections are still counted", wal.RmgrSPGist, 0x80, 0, kept(spgRedirections, 2)},
	{"VACUUM_REDIRECT, the target remains", wal.RmgrSPGist, 0x80, 0, inState(spgPlaceholder, 6, 6)},
	{"VACUUM_REDIRECT, placeholders at the end remain", wal.RmgrSPGist, 0x80, 0, keptLower},
}

// inState: bytes of tuples that are in the state, n from an offset on, are zero.
func inState(state byte, at, n int) spoil {
	return everyItem(func(item []byte) {
		if len(item) == 16 && item[0]&3 == state {
			clear(item[at : at+n])
		}
	})
}

// keptItems: bytes of tuples, n from an offset on, were left as they were, where
// the tuple was of the same size.
func keptItems(at, n int) spoil {
	return func(page, before []byte) {
		for i := 1; idBytes(page, i) != nil; i++ {
			now, was := itemBytes(page, i), itemBytes(before, i)
			if len(now) == len(was) && len(now) >= at+n {
				copy(now[at:at+n], was[at:at+n])
			}
		}
	}
}
