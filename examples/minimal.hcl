# An archive of the WAL: the files of pg_wal, each fsynced before PostgreSQL is told.

stream "main" {
  postgres {
    dsn         = env("WALPLEX_DSN")
    slot        = "walplex"
    create_slot = true
  }

  sink "segment_file" "archive" {
    config {
      directory = "archive"
    }
  }
}
