package pageclient

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/walplex/walplex/sdk/pagepb"
	"github.com/walplex/walplex/sdk/wal"
)

// PageName names a page of a relation's fork.
type PageName struct {
	Rel   wal.RelFileLocator
	Fork  wal.ForkNumber
	Block wal.BlockNumber
}

// each receives a stream's parts until it ends.
func each[T any](c *Client, cancel context.CancelFunc, stream grpc.ServerStreamingClient[T], err error, f func(*T) error) error {
	defer cancel()
	if err != nil {
		return c.explain(err)
	}
	for {
		part, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return c.explain(err)
		}
		if err := f(part); err != nil {
			return err
		}
	}
}

// Pages reads the named pages as of one LSN, at most 4096, and calls f with some
// at a time, in their order, borrowed until f returns. An error of f ends the call
// and is returned.
func (c *Client) Pages(ctx context.Context, names []PageName, at AsOf, f func(*pagepb.GetPagesResponse) error) error {
	req := &pagepb.GetPagesRequest{Lsn: uint64(at.LSN), WaitMs: milliseconds(at.Wait), Pages: make([]*pagepb.PageRef, len(names))}
	for i, n := range names {
		req.Pages[i] = &pagepb.PageRef{Relation: relation(n.Rel), Fork: uint32(n.Fork), Block: uint32(n.Block)}
	}
	return c.getPages(ctx, req, f)
}

// Range reads count blocks of a relation's fork from first on, as of one LSN; all
// that there are when count is 0. It calls f as Pages does.
func (c *Client) Range(ctx context.Context, first PageName, count uint32, at AsOf, f func(*pagepb.GetPagesResponse) error) error {
	return c.getPages(ctx, &pagepb.GetPagesRequest{
		Lsn: uint64(at.LSN), WaitMs: milliseconds(at.Wait),
		Relation: relation(first.Rel), Fork: uint32(first.Fork), FirstBlock: uint32(first.Block), Count: count,
	}, f)
}

// getPages receives all parts into one message, whose memory is used again.
func (c *Client) getPages(ctx context.Context, req *pagepb.GetPagesRequest, f func(*pagepb.GetPagesResponse) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.pages.GetPages(ctx, req, grpc.ForceCodecV2(newCodec()))
	if err != nil {
		return c.explain(err)
	}
	for part := new(pagepb.GetPagesResponse); ; {
		err := stream.RecvMsg(part)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return c.explain(err)
		case len(part.Pages) != len(part.EndLsns)*wal.BlockSize:
			return &Error{codes.Internal, fmt.Sprintf("the sink at %s answered %d bytes for %d pages", c.where, len(part.Pages), len(part.EndLsns))}
		}
		if err := f(part); err != nil {
			return err
		}
	}
}

// List names every fork of every relation that exists: of all databases, or, where
// db is given, of that one. It calls f with each.
func (c *Client) List(ctx context.Context, db *wal.OID, at AsOf, f func(lsn wal.LSN, fork *pagepb.RelFork) error) error {
	req := &pagepb.ListRequest{All: db == nil, Lsn: uint64(at.LSN), WaitMs: milliseconds(at.Wait)}
	if db != nil {
		req.Database = uint32(*db)
	}
	ctx, cancel := context.WithCancel(ctx)
	stream, err := c.pages.List(ctx, req)
	return each(c, cancel, stream, err, func(part *pagepb.ListResponse) error {
		for _, fork := range part.Forks {
			if err := f(wal.LSN(part.Lsn), fork); err != nil {
				return err
			}
		}
		return nil
	})
}

// HistoryRequest names the records of a page's history.
type HistoryRequest struct {
	Page    PageName
	From    wal.LSN // records that end after it; 0: from the horizon on
	To      AsOf    // records that end at or before it
	Records bool    // with the records' bytes
}

// History calls f with each record that touched a page, in the order of the WAL.
func (c *Client) History(ctx context.Context, r HistoryRequest, f func(*pagepb.HistoryRecord) error) error {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := c.pages.History(ctx, &pagepb.HistoryRequest{
		Relation: relation(r.Page.Rel), Fork: uint32(r.Page.Fork), Block: uint32(r.Page.Block),
		FromLsn: uint64(r.From), Lsn: uint64(r.To.LSN), WaitMs: milliseconds(r.To.Wait), Records: r.Records,
	})
	return each(c, cancel, stream, err, func(part *pagepb.HistoryResponse) error {
		for _, rec := range part.Records {
			if err := f(rec); err != nil {
				return err
			}
		}
		return nil
	})
}
