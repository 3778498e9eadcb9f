# Three sinks on one stream: an archive, a page cache that sees nothing which the
# archive has not flushed, and an audit trail that may fall behind.

variable "dsn" {
  description = "connection string of the server, libpq's keywords or a URL"
  default     = env("WALPLEX_DSN")
  sensitive   = true
}

variable "data" {
  description = "directory under which the sinks keep their files"
  default     = "/var/lib/walplex"
}

stream "main" {
  postgres {
    dsn              = var.dsn
    slot             = "walplex"
    create_slot      = true
    status_interval  = "10s"
    receiver_timeout = "60s"
  }

  sink "segment_file" "archive" {
    config {
      directory = "${var.data}/archive"
    }
  }

  sink "page_cache" "pages" {
    after = [sink.archive]
    config {
      directory = "${var.data}/pages"
    }
  }

  sink "audit" "trail" {
    required = false
    config {
      directory    = "${var.data}/audit"
      rotate_bytes = "64MiB"
    }
  }
}
