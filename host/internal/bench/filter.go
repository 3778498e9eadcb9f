package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// filterTable is what a filter costs.
func filterTable(ctx context.Context, b *bench) (*report, error) {
	g, err := b.gotest(ctx, "host/internal/filter")
	if err != nil {
		return nil, err
	}
	var order []string
	all := map[string][]float64{}
	for i := range b.n + 1 {
		b.say("filter, run %d of %d", i, b.n)
		list, err := g.run(ctx, "Match", "200ms")
		if err != nil {
			return nil, err
		}
		for _, r := range list {
			if i == 0 {
				order = append(order, r.name)
				continue
			}
			all[r.name] = append(all[r.name], r.units["ns/op"])
		}
	}
	r := &report{
		title: "Filters",
		method: "Records of a mixed load, one after the other through a compiled filter, the reading of the record's decoded header included " +
			"(`go test -bench Match ./host/internal/filter`, which has the filters' texts).",
		columns: []string{"filter", "per record"},
	}
	slices.Sort(order) // benchmarks of a map come in any order
	for _, name := range order {
		_, short, _ := strings.Cut(name, "/")
		r.rows = append(r.rows, []string{strings.ReplaceAll(short, "_", " "), fmt.Sprintf("%.1f ns", middle(all[name]))})
	}
	return r, nil
}
