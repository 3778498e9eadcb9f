package postgres

import "context"

// Restore makes a cluster whose data directory comes from a backup: fill makes it,
// complete and owned by the server's user, at [Cluster.DataDir], which is missing.
// Programs run as that user through Cluster.Tool. What the options say is added to
// the backup's own configuration. It is not started yet.
func Restore(ctx context.Context, opt Options, fill func(context.Context, *Cluster) error) (*Cluster, error) {
	return newCluster(ctx, opt, fill)
}
