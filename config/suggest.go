package config

import (
	"slices"
	"strings"
)

// maxSuggestLen bounds the names that are compared, in bytes.
const maxSuggestLen = 64

// Nearest is the candidate that the name is probably a misspelling of; empty:
// none is near.
func Nearest(name string, candidates []string) string {
	best, bestDistance := "", 0
	if len(name) > maxSuggestLen {
		return ""
	}
	for _, c := range candidates {
		if c == name || len(c) > maxSuggestLen {
			continue
		}
		limit := max(1, min(len(c), len(name))/3)
		d := editDistance(strings.ToLower(name), strings.ToLower(c))
		if d <= limit && (best == "" || d < bestDistance) {
			best, bestDistance = c, d
		}
	}
	return best
}

func didYouMean(name string) string { return "did you mean " + quote(name) + "?" }

// suggest is the hint of a misspelt name: the near one, else all there are.
func suggest(name string, candidates []string) string {
	if near := Nearest(name, candidates); near != "" {
		return didYouMean(near)
	}
	if len(candidates) == 0 {
		return "nothing can be set here"
	}
	return "known here: " + listNames(candidates)
}

func listNames(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	names = slices.Clone(names)
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ", ")
}

// editDistance counts the insertions, deletions, replacements and swaps of
// neighbours (optimal string alignment) that make b of a, in bytes.
func editDistance(a, b string) int {
	before, prev := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, prev = prev, row
	}
	return prev[len(b)]
}
