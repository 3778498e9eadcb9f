package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/walplex/walplex/config"
	"github.com/walplex/walplex/sdk/wire"
)

func TestSettings(t *testing.T) {
	schema := &wire.Schema{Attributes: []*wire.Attribute{
		{Name: "directory", TypeJson: []byte(`"string"`), Format: "path", Required: true},
		{Name: "size", TypeJson: []byte(`"number"`), Format: "bytes", DefaultJson: []byte(`"1KiB"`)},
	}}
	dir := t.TempDir()
	path := filepath.Join(dir, "settings.hcl")
	for text, want := range map[string]string{
		`directory = "${var.directory}/x"`:                 `{"directory":"/d/x","size":1024}`,
		"config {\n directory = \"rel\"\n size = \"2\"\n}": `{"directory":"` + dir + `/rel","size":2}`,
		`size = 1`:      "missing required attribute",
		`directry = ""`: `unknown attribute "directry"`,
		`directory = `:  "settings.hcl:1",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, diags := config.Settings(path, map[string]string{"directory": "/d"}, "x", schema)
		var said strings.Builder
		if err := diags.WriteText(&said); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(got)+said.String(), want) || diags.HasErrors() == strings.HasPrefix(want, "{") {
			t.Errorf("%s\n%s\n%s\nwant %s", text, got, said.String(), want)
		}
	}
	if _, diags := config.Settings("", nil, "x", schema); !diags.HasErrors() {
		t.Error("nothing is required without a file")
	}
	if _, diags := config.Settings(path+"x", nil, "x", schema); !diags.HasErrors() {
		t.Error("a file that is not there was read")
	}
}
