# Fills a new audit trail from an archive, without a server: a small sample of
# WAL lies beside this file.
#
#   walplex run examples/replay.hcl
#
# The trail is written to the directory that WALPLEX_TRAIL names, or to ./trail
# beside this file.

stream "replay" {
  archive {
    directory = "wal"
  }

  sink "audit" "trail" {
    config {
      directory = env("WALPLEX_TRAIL", "trail")
    }
  }
}
