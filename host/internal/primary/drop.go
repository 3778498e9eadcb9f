package primary

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/walplex/walplex/host/internal/replication"
)

// Limits of a forced drop.
const (
	// dropTries is how often a user of the slot is ended: one that comes back at
	// once may take it again.
	dropTries = 10
	dropPause = 100 * time.Millisecond
	// endTimeout is how long one process may take to end, milliseconds.
	endTimeout = "5000"
)

// ErrNoSlot says that there is nothing to drop.
var ErrNoSlot = errors.New("the slot does not exist")

// ActiveError says that somebody uses the slot.
type ActiveError struct {
	PID         int    // of the server's process, 0 where it is not told
	Application string // of its client; empty where this role may not see it
}

func (e *ActiveError) Error() string {
	return fmt.Sprintf("the slot is in use by %s", e.User())
}

// User names the process and its application.
func (e *ActiveError) User() string {
	switch {
	case e.PID == 0:
		return "a process that the server does not name"
	case e.Application == "":
		return fmt.Sprintf("the server's process %d", e.PID)
	}
	return fmt.Sprintf("the server's process %d, application %q", e.PID, e.Application)
}

// UserOf is who uses a slot, nil for nobody.
func UserOf(ctx context.Context, o *replication.Ordinary, s *Sample) (*ActiveError, error) {
	if !s.Active {
		return nil, nil
	}
	user := &ActiveError{PID: s.PID}
	rows, err := o.Query(ctx, "read pg_stat_replication", "SELECT application_name FROM pg_stat_replication WHERE pid = $1::int", strconv.Itoa(s.PID))
	if err != nil {
		return nil, err
	}
	if len(rows) == 1 {
		user.Application = rows[0][0]
	}
	return user, nil
}

// Drop drops a slot. One that is in use is an [*ActiveError], unless force ends
// whoever uses it first. One that does not exist is [ErrNoSlot].
func Drop(ctx context.Context, o *replication.Ordinary, slot string, force bool) error {
	var last *ActiveError
	for range dropTries {
		s, err := Read(ctx, o, slot, 0)
		if err != nil {
			return err
		}
		if !s.Exists {
			return ErrNoSlot
		}
		if last, err = UserOf(ctx, o, &s); err != nil {
			return err
		}
		if last != nil && !force {
			return last
		}
		if last != nil {
			if _, err := o.Query(ctx, "end the process that uses slot "+slot, "SELECT pg_terminate_backend($1::int, "+endTimeout+")", strconv.Itoa(last.PID)); err != nil {
				return err
			}
		}
		_, err = o.Query(ctx, "drop slot "+slot, "SELECT pg_drop_replication_slot($1)", slot)
		var e *replication.Error
		if err == nil || !errors.As(err, &e) || !e.SlotActive || !force {
			return err
		}
		if err := pause(ctx, dropPause); err != nil {
			return err
		}
	}
	if last == nil { // it was taken between two looks
		last = &ActiveError{}
	}
	return fmt.Errorf("%w, which comes back each time that it is ended: stop that program first", last)
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
