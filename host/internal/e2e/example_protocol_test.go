package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/hashicorp/go-plugin"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wire"
)

// TestProtocolPage: the page for authors in other languages names what the code
// has. Its block layout is proved by the sink in TypeScript.
func TestProtocolPage(t *testing.T) {
	b, err := os.ReadFile("../../../sdk/wire/PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	page, digits := string(b), strings.ReplaceAll(string(b), ",", "")
	h := wire.Handshake()
	for _, want := range []string{
		h.MagicCookieKey, h.MagicCookieValue, wire.LivenessEnv, wire.RingEnv, plugin.EnvUnixSocketDir,
		fmt.Sprintf("\n%d|%d|unix|", plugin.CoreProtocolVersion, wire.ProtocolVersion), fmt.Sprintf(" %d bytes", wire.MaxMessage),
		wire.Sink_ServiceDesc.ServiceName, "`" + wire.TransportGRPC + "`", "-2147483648", fmt.Sprintf("above %d MiB", wire.MaxWhole>>20),
	} {
		if !strings.Contains(digits, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	for _, c := range []string{wire.CapApplied, wire.CapBackup, wire.CapDrain, wire.CapRead, wire.CapRewind, wire.CapRecords, wire.CapRing, wire.CapWAL} {
		if !strings.Contains(page, "`"+c+"`") {
			t.Errorf("the page does not name the capability %q", c)
		}
	}
	for _, m := range wire.Sink_ServiceDesc.Methods {
		if !strings.Contains(page, m.MethodName) {
			t.Errorf("the page does not name the call %s", m.MethodName)
		}
	}
	for v := wal.PG14; v <= wal.PG18; v++ {
		if !strings.Contains(page, fmt.Sprintf("| %04X |", v.Magic())) && !strings.Contains(page, fmt.Sprintf(" %04X ", v.Magic())) {
			t.Errorf("the page does not name the magic number of %s", v)
		}
	}
	for flag, name := range map[wal.BlockFlags]string{wal.BlockWillInit: "initialises", wal.BlockHasImage: "has an image", wal.BlockHasData: "has data",
		wal.BlockImageApply: "applies", wal.BlockImageHole: "hole", wal.BlockImagePGLZ: "pglz", wal.BlockImageLZ4: "LZ4", wal.BlockImageZSTD: "Zstandard", wal.BlockSameRel: "named the relation before"} {
		row, _, _ := strings.Cut(page[strings.Index(page, fmt.Sprintf("| 0x%02X |", uint16(flag)))+1:], "\n")
		if !strings.Contains(row, name) {
			t.Errorf("the page does not say of flag %#x %q", uint16(flag), name)
		}
	}
}
