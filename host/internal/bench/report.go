package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"github.com/walplex/walplex/host/internal/postgres"
)

// report is a table that is done.
type report struct {
	title   string
	method  string // what was run on what, beyond what stands in the header; a paragraph
	columns []string
	rows    [][]string
}

// print writes the table as Markdown.
func (r *report) print(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "\n### %s\n\n%s\n\n", r.title, r.method)
	line := func(cells []string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	line(r.columns)
	rule := make([]string, len(r.columns))
	for i := range rule {
		rule[i] = "---:"
	}
	rule[0] = "---"
	line(rule)
	for _, cells := range r.rows {
		line(cells)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// printMachine writes the header: on what is measured, and how.
func printMachine(ctx context.Context, w io.Writer, pairs int) error {
	in, err := postgres.Find(ctx)
	if err != nil {
		return err
	}
	kernel, err := exec.CommandContext(ctx, "uname", "-sr").Output()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "Machine: %s, %d cores, %s; PostgreSQL %d.%d, %s.\nMethod: medians of %d pairs of runs in alternating order, after one pair that does not count; a ratio is that of each pair.\n",
		processor(), runtime.NumCPU(), strings.TrimSpace(string(kernel)), in.Major(), in.Version%10000, runtime.Version(), pairs)
	return err
}

// processor is the CPU's name, where the system says it.
func processor() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	fields := map[string]string{}
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(line, ":")
		fields[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	name, ok := fields["model name"]
	if !ok {
		return runtime.GOARCH
	}
	if strings.HasSuffix(name, " Processor") && fields["model"] != "" { // as hypervisors hide it
		name += fmt.Sprintf(" (family %s, model %s)", fields["cpu family"], fields["model"])
	}
	return name
}
