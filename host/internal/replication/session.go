package replication

import (
	"context"
	"errors"
	"reflect"

	"github.com/jackc/pgx/v5/pgconn"
)

// sessionAttrs replaces pgconn's checks of target_session_attrs: they run
// queries that a walsender refuses. Like libpq since PG14, it goes by what the
// server reports by itself. pgconn keeps only the function of a check, so that is
// what is compared.
func sessionAttrs(validate pgconn.ValidateConnectFunc) (pgconn.ValidateConnectFunc, error) {
	same := func(f pgconn.ValidateConnectFunc) bool {
		return reflect.ValueOf(validate).Pointer() == reflect.ValueOf(f).Pointer()
	}
	switch {
	case validate == nil:
		return nil, nil
	case same(pgconn.ValidateConnectTargetSessionAttrsPrimary):
		return refuse(isStandby, pgconn.ErrStandbyConnection), nil
	case same(pgconn.ValidateConnectTargetSessionAttrsStandby):
		return refuse(isPrimary, pgconn.ErrPrimaryConnection), nil
	case same(pgconn.ValidateConnectTargetSessionAttrsReadWrite):
		return refuse(isReadOnly, pgconn.ErrReadOnlyConnection), nil
	case same(pgconn.ValidateConnectTargetSessionAttrsReadOnly):
		return refuse(isReadWrite, pgconn.ErrReadWriteConnection), nil
	}
	return nil, errors.New("target_session_attrs=prefer-standby is not supported: list the standbys first, or write standby")
}

func isStandby(pg *pgconn.PgConn) bool { return pg.ParameterStatus("in_hot_standby") == "on" }
func isPrimary(pg *pgconn.PgConn) bool { return !isStandby(pg) }

func isReadOnly(pg *pgconn.PgConn) bool {
	return isStandby(pg) || pg.ParameterStatus("default_transaction_read_only") == "on"
}
func isReadWrite(pg *pgconn.PgConn) bool { return !isReadOnly(pg) }

// refuse makes a check that fails for a server of the wrong kind.
func refuse(wrong func(*pgconn.PgConn) bool, err error) pgconn.ValidateConnectFunc {
	return func(_ context.Context, pg *pgconn.PgConn) error {
		if wrong(pg) {
			return err
		}
		return nil
	}
}
