package demo

import (
	"context"
	"fmt"
	"strconv"

	"github.com/walplex/walplex/host/internal/pages"
)

// countBlocks asks the server for the least number of pages that it will leave:
// those of the logged relations of one of its databases.
func (d *demo) countBlocks(ctx context.Context) (int64, error) {
	n, err := d.cluster.QueryString(ctx, "SELECT sum(pg_relation_size(oid)) / current_setting('block_size')::int FROM pg_class WHERE relpersistence = 'p'")
	if err != nil {
		return 0, err
	}
	blocks, err := strconv.ParseFloat(n, 64) // the sum is numeric
	return int64(blocks), err
}

// provePages compares every page of the stopped server with the page cache's:
// walplex page verify.
func (d *demo) provePages(ctx context.Context) (string, error) {
	r, err := d.verifyPages(ctx, d.cluster.DataDir())
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if err != nil {
		return d.proved(pagesClaim, "", err)
	}
	return d.proved(pagesClaim, fmt.Sprintf("%s pages, %d different", group(r.Pages), r.Different), nil)
}

func (d *demo) verifyPages(ctx context.Context, dataDir string) (*pages.Report, error) {
	client, err := d.pages()
	if err != nil {
		return nil, err
	}
	defer client.Close() // nothing is in flight any more
	r, err := pages.Verify(ctx, pages.VerifyOptions{Client: client, DataDir: dataDir})
	if err != nil {
		return nil, err
	}
	return r, judgePages(r, d.blocks)
}

// judgePages says what is wrong with a comparison, which has to be of more pages
// than the server was known to have.
func judgePages(r *pages.Report, atLeast int64) error {
	switch {
	case !r.Equal() && len(r.Differences) > 0:
		return fmt.Errorf("%s of %s pages differ, first %s", group(r.Different), group(r.Pages), &r.Differences[0])
	case !r.Equal():
		return fmt.Errorf("%s of %s pages differ", group(r.Different), group(r.Pages))
	case r.Pages < max(atLeast, 1):
		return fmt.Errorf("only %s pages were compared, and the server has %s or more", group(r.Pages), group(atLeast))
	}
	return nil
}
