// Package config reads Walplex's configuration: HCL files in, typed settings
// and diagnostics out. It is the only package that parses HCL.
//
// # Files
//
// A configuration is one or more PATHs: files, or directories, of which every
// *.hcl file is read (sorted by name, hidden files and subdirectories left
// out). All files together are one configuration; their order has no meaning.
// A file holds at most 1 MiB.
//
// # Blocks
//
//	variable "NAME" {            # read as var.NAME
//	  default     = VALUE        # absent: --var NAME=VALUE must be given. No reference to other variables
//	  sensitive   = false        # true: refused where a setting is shown in logs and status
//	  description = ""
//	}
//
//	host {                       # optional, at most one
//	  control     = "PATH"       # Unix socket for `walplex status`
//	  http        = "HOST:PORT"  # /metrics, /healthz and /readyz, on a loopback address
//	  plugin_dirs = ["PATH"]     # where programs named walplex-sink-TYPE are looked for
//	  dev_overrides = { TYPE = "PATH" }  # programs under development: neither sha256 nor the lock hold for them
//	  ring        = "64MiB"      # memory that a stream's sinks share with the host: 16MiB to 64GiB, 0 for none
//	}
//
//	plugin "TYPE" {              # a sink type that is a program of its own
//	  path      = "PATH"         # required
//	  sha256    = "HEX"          # 64 digits; the program is refused when it differs
//	  args      = ["…"]
//	  env       = { NAME = "VALUE" }  # beside PATH, HOME, TZ and the like, which it inherits
//	  auto_mtls = true           # false only for programs whose gRPC lacks P-521
//	  trusted   = true           # of sinks of the type that do not say it themselves
//	}
//
//	stream "NAME" {              # at least one
//	  postgres {                 # exactly one, or an archive
//	    dsn              = "…"   # required; libpq's URL or keyword=value form. Never printed
//	    slot             = ""    # a physical replication slot: 1 to 63 of a-z 0-9 _
//	    create_slot      = false # make the slot when it is missing
//	    status_interval  = "10s" # between status messages to the server
//	    receiver_timeout = "60s" # silence after which the connection is given up
//	    start            = "0/0" # LSN to begin at where neither a sink nor a slot has a position
//	  }
//
//	  archive {                  # instead of postgres: a directory of WAL segments
//	    directory = "PATH"       # required; .partial, .gz, .lz4 and .zst files are read too
//	    timeline  = 1            # else the highest that is there
//	    start     = "0/0"        # LSN to begin at, else the first segment
//	    end       = "0/0"        # LSN to end at, else where the WAL ends
//	    follow    = false        # wait for more at the end
//	  }
//
//	  fallback {                 # any number, tried in order: who may have WAL that the source has removed
//	    directory = "PATH"       # of WAL segments, or
//	    dsn       = "…"          # another server of the same cluster
//	  }
//
//	  sink "TYPE" "NAME" {       # at least one that is required; NAME is unique in the stream
//	    required = true          # its flushed position holds WAL back on the server
//	    after    = [sink.OTHER]  # sees a record only when those sinks have flushed it
//	    filter   = EXPR          # the records that it is sent; absent: all
//	    on_lag   = "catch_up"    # when it falls behind, see below
//	    max_lag  = "1GiB"        # how far behind that is; absent: when it would hold up the stream
//	    trusted  = true          # false: no shared memory, and nothing but the records that it subscribes to
//	    config { … }             # what the sink's own schema says; may be left out
//	  }
//	}
//
// TYPE and NAME begin with a letter, go on with letters, digits, _ and -, and
// have at most 63 characters. A required sink cannot come after one that is
// not, and sinks cannot wait for each other in a circle. Two streams cannot
// share one slot of one dsn.
//
// A sink that falls behind is waited for (on_lag = "block", the default of a
// required sink), served beside the stream from what another sink or the server
// has kept ("catch_up", the default of all others), or off until the next reload
// ("detach"; not of a required sink). max_lag says nothing for "block".
//
// A relative path, in path, plugin_dirs, control, file() and in a sink's
// settings of format path, starts at the directory of the file that holds it.
//
// # Expressions
//
// HCL's strings, numbers, lists, maps, templates, operators and conditionals;
// not its for expressions. The only names are var.NAME, and record.NAME in a
// filter. Functions:
//
//	env(NAME[, DEFAULT])   an environment variable; unset without DEFAULT is an error
//	file(PATH)             the text of a file, at most 1 MiB of UTF-8
//	bytes("16MiB")         a number of bytes; units B, KiB, MiB, GiB, TiB
//	duration("1h30m")      a checked duration; units ns, us, ms, s, m, h
//	lsn("16/B374D848")     a checked LSN
//	chomp coalesce concat contains format join length lower replace split
//	substr title trim trimprefix trimspace trimsuffix upper
//
// # Filters
//
// A filter is made of comparisons of a record's attributes with constants,
// joined by &&, || and !, with HCL's precedence and parentheses:
//
//	filter = record.rmgr == "Transaction" || record.rmgr == "Heap" && record.database == 16384
//	filter = contains(["public.orders", "public.items"], record.relation) && !record.has_image
//
// Attributes are compared by == != < <= > >= and by contains(LIST,
// record.NAME). A constant is made with all that the language has, at load;
// arithmetic, conditionals, templates and other functions cannot have a record's
// attribute in them. [Filter] is the expression as a tree; what attributes there
// are and how each compares is described in host/internal/filter, which compiles
// it.
//
// # Sink settings
//
// A sink's program declares what its config block may hold, as a
// [wire.Schema]; [Sink.Decode] reads the block as it stands in the file
// against that schema, so that every error names a line of the file, and
// [Sink.Diagnose] does the same for what the sink itself objects to. The
// attributes' formats say how a value is read and what the sink gets:
//
//	format      in the file                       a string type gets     a number type gets
//	duration    "90s" (not negative)              "1m30s"                nanoseconds
//	bytes       "16MiB", "512", bytes("…"), 512   "16777216"             bytes
//	lsn         "16/B374D848"                     "16/B374D848"          the LSN
//	path        "data", "/var/lib/x"              the absolute path      –
//
// In lists and maps the format holds for every element. The JSON object has
// every attribute of the schema: with its default or null where the file has
// none. A nested block is an object or null where the schema allows one, else
// a list.
//
// # Secrets
//
// Diagnostics hold no evaluated value, only source text, and of that only what
// cannot hold a secret: the value of an attribute is shown as … unless the
// attribute is known, is not sensitive, and its expression has no part in
// env(), file() or a variable that is sensitive or flows to a dsn. Where a file
// cannot be parsed nothing of it is shown. Text that others wrote (a sink's
// own objections, a server's errors) goes through [Config.Redact]. A [Secret]
// does not print itself; every other setting is public, whatever it is made of,
// and refuses a variable that is sensitive.
package config
