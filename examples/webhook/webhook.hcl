# Build first: go build -o walplex-sink-webhook .

plugin "webhook" {
  path = "walplex-sink-webhook"
}

stream "main" {
  postgres {
    dsn         = env("WALPLEX_DSN")
    slot        = "webhook"
    create_slot = true
  }

  sink "webhook" "changes" {
    # PostgreSQL keeps the WAL until the receiver has taken it: the sink is required,
    # which is the default.
    filter = record.rmgr == "Transaction" || record.rmgr == "Heap"

    config {
      url           = env("WEBHOOK_URL")
      token         = env("WEBHOOK_TOKEN", "")
      batch_records = 500
    }
  }
}
