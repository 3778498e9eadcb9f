# Three sinks on one stream: an archive, a page cache of the whole cluster that sees
# nothing which the archive has not flushed, and an audit trail of some records that
# may fall behind.

variable "dsn" {
  description = "connection string of the server, libpq's keywords or a URL"
  default     = env("WALPLEX_DSN")
  sensitive   = true
}

variable "data" {
  description = "directory under which the sinks keep their files"
  default     = "/var/lib/walplex"
}

variable "database" {
  description = "OID of the database whose changes are audited: SELECT oid FROM pg_database WHERE datname = …"
  default     = 16384
}

# What a running host shows: walplex status and walplex reload ask the socket,
# Prometheus the address (/metrics, /healthz, /readyz).
host {
  control = "${var.data}/control.sock"
  http    = "127.0.0.1:9187"
}

stream "main" {
  postgres {
    dsn              = var.dsn
    slot             = "walplex"
    create_slot      = true
    status_interval  = "10s"
    receiver_timeout = "60s"
  }

  # Who may have WAL that the server has removed.
  fallback {
    directory = "${var.data}/wal-of-before"
  }

  sink "segment_file" "archive" {
    config {
      directory   = "${var.data}/archive"
      compression = "zstd"

      # Without it, all segments stay.
      retention {
        age = "30d"
      }
    }
  }

  sink "page_cache" "pages" {
    after = [sink.archive]
    config {
      directory = "${var.data}/pages"

      # When new, it begins with a base backup: then every page of the cluster can be
      # read as of any LSN since, and so can the rows of a table that was dropped
      # (walplex table recover).
      base_backup = true

      # What is older than both goes; without them, all stays.
      retain     = "100GiB" # of WAL
      retain_age = "7d"
    }
  }

  sink "audit" "trail" {
    required = false

    # Ends of transactions, and what changes tables of one database. A relation may
    # be named as well: record.relation == "shop.public.orders".
    filter = record.rmgr == "Transaction" || contains(["Heap", "Heap2"], record.rmgr) && record.database == var.database

    # It is served beside the stream when it falls a gigabyte behind.
    on_lag  = "catch_up"
    max_lag = "1GiB"

    config {
      directory    = "${var.data}/audit"
      rotate_bytes = "64MiB"
    }
  }
}
