# Build first: npm ci && npm run build

plugin "transactions" {
  path = "walplex-sink-transactions"
}

stream "main" {
  postgres {
    dsn         = env("WALPLEX_DSN")
    slot        = "transactions"
    create_slot = true
  }

  sink "transactions" "ended" {
    config {
      directory = "transactions"
    }
  }
}
