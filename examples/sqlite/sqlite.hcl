# Build first: go build -o walplex-sink-sqlite .

plugin "sqlite" {
  path = "walplex-sink-sqlite"
}

stream "main" {
  postgres {
    dsn         = env("WALPLEX_DSN")
    slot        = "sqlite"
    create_slot = true
  }

  sink "sqlite" "database" {
    # filter = record.rmgr == "Heap" # all records without it
    config {
      file = "wal.db"
    }
  }
}
