package workload

import (
	"context"
	"errors"

	"github.com/walplex/walplex/host/internal/postgres"
)

// Play runs a script of the caller's own on a started cluster. It knows the
// directives \session, \close, \since, \before, \conf, \restart and \crash; what
// an error calls workload.sql is the script.
func Play(ctx context.Context, c *postgres.Cluster, script string) error {
	r := &runner{c: c, session: mainSession}
	err := r.play(ctx, script)
	return errors.Join(err, r.closeAll(ctx))
}
