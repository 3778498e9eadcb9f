package sdk_test

import (
	"context"
	"fmt"

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/sinktest"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/rmgrdesc"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

// printer prints what commits. It keeps nothing, and so begins anew each time.
type printer struct{ to wal.LSN }

type printerConfig struct {
	Prefix string `walplex:"prefix" default:"> " doc:"what each line begins with"`
}

func (p *printer) Open(context.Context, *sdk.OpenRequest) (sdk.OpenResult, error) {
	return sdk.OpenResult{New: true}, nil
}

func (p *printer) Write(_ context.Context, b *sdk.Batch) error {
	for rec := range b.Records() {
		fmt.Printf("%s %s: %s\n", rec.RmgrID, rec.Operation(), rmgrdesc.Append(nil, rec))
	}
	p.to = b.To()
	return nil
}

func (p *printer) Flush(context.Context) (wal.LSN, error) { return p.to, nil }
func (p *printer) Close(context.Context) error            { return nil }

func newPrinter(*printerConfig) sdk.Sink { return &printer{} }

// A sink's program is one call.
func ExampleServe() {
	main := func() { sdk.Serve(sdk.Define("printer", newPrinter, sdk.Records(wal.RmgrTransaction))) }
	_ = main
	fmt.Println("started by walplex")
	// Output: started by walplex
}

// Records of a resource manager, with the description that pg_waldump prints.
func ExampleBatch_Records() {
	w := waltest.New(waltest.Options{})
	w.LogicalMessage("no transaction", 10)
	w.Append(waltest.Commit(731, wal.TimestampTime(0)))
	o := w.Options()
	def := sdk.Define("printer", newPrinter, sdk.Records(wal.RmgrTransaction))
	ctx := context.Background()
	s, err := sinktest.Open(ctx, def, printerConfig{}, sdk.System{ID: o.SystemID, Timeline: 1, SegmentSize: o.SegmentSize}, sinktest.Options{Start: o.Start})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(s.Deliver(ctx, w.Bytes()))
	// Output:
	// Transaction COMMIT: 2000-01-01 00:00:00.000000 UTC
	// <nil>
}
