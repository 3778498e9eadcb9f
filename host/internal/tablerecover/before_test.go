package tablerecover

import (
	"testing"
	"time"
)

func TestParseBefore(t *testing.T) {
	at := time.Date(2026, 1, 2, 15, 4, 5, 678_900_000, time.UTC)
	for _, tt := range []struct {
		in   string
		want Before
	}{
		{"16/B374D848", Before{LSN: 0x16B374D848}},
		{"xid:745", Before{XID: 745}},
		{"xid:4294968041", Before{XID: 745}}, // with its epoch
		{"2026-01-02T15:04:05.6789Z", Before{Time: at}},
		{"2026-01-02T17:04:05.6789+02:00", Before{Time: at}},
		{"2026-01-02 15:04:05.6789+00", Before{Time: at}},
		{"2026-01-02 15:04:05.6789 UTC", Before{Time: at}},
		{"2026-01-02 20:34:05.6789+05:30", Before{Time: at}},
		{"2026-01-02 10:04:05.6789-0500", Before{Time: at}},
	} {
		got, err := ParseBefore(tt.in)
		if err != nil || got.LSN != tt.want.LSN || got.XID != tt.want.XID || !got.Time.Equal(tt.want.Time) {
			t.Errorf("%s: %+v, %v, want %+v", tt.in, got, err, tt.want)
		}
	}
	for _, in := range []string{"", "0/0", "xid:", "xid:2", "xid:-1", "xid:4294967296", "2026-01-02 15:04:05", "2026-01-02", "now", "16/"} {
		if got, err := ParseBefore(in); err == nil {
			t.Errorf("%q: %+v", in, got)
		}
	}
}
