// Package postgres runs throwaway PostgreSQL clusters: real servers for tests
// and for the demonstration, made in about a second and gone afterwards.
//
// A cluster lives in one short directory, because a Unix socket's path holds at
// most 107 bytes:
//
//	/tmp/walplex-pg-1234567/            mode 0700, owned by the server's user
//	    .s.PGSQL.5432                   the socket
//	    data/                           PGDATA
//	    server.log                      what the server wrote to stderr
//
// PostgreSQL refuses to run as root. When this process is root, every program
// of PostgreSQL's runs as the operating system's user postgres, or nobody where
// there is none; otherwise as ourselves.
//
// The server never outlives this process: a small shell that waits on a pipe of
// ours stops it and removes the directory, even after a kill -9; on Linux the
// kernel's parent-death signal stops it as well.
//
// Nothing here is durable: initdb runs without sync and the server with fsync
// off, unless Conf says otherwise. Authentication is trust on a socket that only
// the server's user and root can reach.
package postgres
