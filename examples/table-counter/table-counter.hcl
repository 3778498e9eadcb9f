# Build first: go build -o table-counter .

plugin "table_counter" {
  path = "table-counter"
}

stream "main" {
  postgres {
    dsn         = env("WALPLEX_DSN")
    slot        = "table_counter"
    create_slot = true
  }

  sink "table_counter" "counts" {
    config {
      directory = "counts"
      listen    = "127.0.0.1:9188"
    }
  }
}
