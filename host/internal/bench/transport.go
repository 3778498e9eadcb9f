package main

import (
	"context"
	"fmt"
)

// transportTime is how long one run delivers.
const transportTime = "2s"

// transportTable compares the shared ring with gRPC, blocks coming from memory.
func transportTable(ctx context.Context, b *bench) (*report, error) {
	g, err := b.gotest(ctx, "host/internal/stream")
	if err != nil {
		return nil, err
	}
	const perGiB, host, sinks = "cpu-s/GiB", "host-s/GiB", "sinks-s/GiB"
	all := map[string]map[string][]float64{}
	var ratios []float64
	for i := range b.n + 1 {
		b.say("transport, run %d of %d", i, b.n)
		seen := map[string]float64{}
		for k := range 3 {
			name := []string{"none", "ring", "grpc"}[(i+k)%3]
			list, err := g.run(ctx, "Transport/"+name+"$", transportTime)
			if err != nil {
				return nil, err
			}
			seen[name] = list[0].units[perGiB]
			if i == 0 {
				continue // does not count
			}
			if all[name] == nil {
				all[name] = map[string][]float64{}
			}
			for _, unit := range []string{perGiB, host, sinks} {
				all[name][unit] = append(all[name][unit], list[0].units[unit])
			}
		}
		if i > 0 {
			ratios = append(ratios, seen["grpc"]/seen["ring"])
		}
	}
	r := &report{
		title: "Transport: the shared ring against gRPC",
		method: "Full blocks of 256 KiB of WAL, in records of about 128 bytes, that lie in memory go to three sinks, each a process that reads the header of every record (`go test -bench Transport ./host/internal/stream`). " +
			"CPU seconds of all processes for a GiB of WAL that all three get; without sinks it is the copy of the block into the memory that it is sent from.",
		columns: []string{"transport", "CPU per GiB", "of that the host", "and the sinks", "**gRPC's CPU ÷ the ring's**"},
	}
	for _, row := range []struct{ name, text, last string }{
		{"none", "no sinks", ""}, {"ring", "ring", fmt.Sprintf("**%.1f**", middle(ratios))}, {"grpc", "gRPC", ""},
	} {
		r.rows = append(r.rows, []string{row.text,
			fmt.Sprintf("%.3f s", middle(all[row.name][perGiB])), fmt.Sprintf("%.3f s", middle(all[row.name][host])),
			fmt.Sprintf("%.3f s", middle(all[row.name][sinks])), row.last})
	}
	return r, nil
}
