package plugins

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// ProgramPrefix begins the name of a sink's program in a plugin directory; the
// type follows.
const ProgramPrefix = "walplex-sink-"

// Found is a program that was found in a plugin directory.
type Found struct {
	Type string
	Path string
}

// Find lists the sinks' programs in plugin directories, sorted by type. Of two for
// one type the one counts whose directory comes first. A directory that is not
// there holds none.
func Find(dirs []string) []Found {
	var out []Found
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			name, ok := strings.CutPrefix(e.Name(), ProgramPrefix)
			known := slices.ContainsFunc(out, func(f Found) bool { return f.Type == name })
			if ok && name != "" && !e.IsDir() && !known {
				out = append(out, Found{name, filepath.Join(dir, e.Name())})
			}
		}
	}
	slices.SortFunc(out, func(a, b Found) int { return strings.Compare(a.Type, b.Type) })
	return out
}
