package replication

// remedy is what to do about a SQLSTATE. Those without one need no more than
// another try, or say all themselves.
func remedy(sqlstate string) string {
	switch sqlstate {
	case codeInvalidPassword:
		return "give the right password in the connection string, PGPASSWORD or a password file"
	case codeInvalidAuthorization:
		return "give a role that exists, may log in and has the REPLICATION attribute"
	case codeInsufficientPrivilege:
		return "give the role the REPLICATION attribute: ALTER ROLE … REPLICATION"
	case codeInvalidCatalogName:
		return "name a database that exists in the connection string"
	case codeInvalidName:
		return "a slot's name has 1 to 63 lower-case letters, digits and underscores"
	case codeDuplicateObject:
		return "use the slot that is there, or give another name"
	case codeTooManyConnections:
		return "raise max_wal_senders if it stays so"
	case codeConfigurationLimit:
		return "raise max_replication_slots or drop a slot that is not used"
	case codeObjectNotInState:
		return "set wal_level to replica and max_replication_slots above 0 and restart the server; a slot that was invalidated must be dropped and made again"
	case codeObjectInUse:
		return "stop the other client of this slot if it stays so; pg_replication_slots names its process"
	}
	return ""
}

const (
	remedyHBA        = "add a line for database \"replication\", this role and this client to the server's pg_hba.conf and reload it"
	remedyHistory    = "this position belongs to another history: check that this is the right server, and that what is stored was not written beyond a timeline switch"
	remedyAhead      = "what is stored is ahead of this server: on a standby wait until it has caught up; else check that this is the right server and that it was not restored to an earlier point"
	remedyClientCert = "give a client certificate that the server accepts (sslcert, sslkey)"
	remedyTLS        = "check sslmode, sslrootcert and the name in the server's certificate"
	remedyNoTLS      = "switch ssl on in the server, or choose another sslmode"
	remedyNoSlot     = "make the slot (create_slot = true, or SELECT pg_create_physical_replication_slot('…', true)) or name another"
	remedyGap        = "the server no longer has this WAL: take it from an archive, or begin anew from a base backup; a replication slot keeps the server from removing it"
)
