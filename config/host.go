package config

import (
	"cmp"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

var hostShape = &shape{name: "host", attrs: []string{"control", "http", "plugin_dirs", "ring", "dev_overrides"}}

// maxSocketPath is how long the path of a Unix socket can be, bytes (sun_path
// less its final NUL).
const maxSocketPath = 107

// Limits of the shared ring, bytes. Less than the least does not keep a few sinks
// busy; more than the most is a misprint.
const (
	minRing = 16 << 20
	maxRing = 64 << 30
)

func (l *loader) loadHost() {
	l.config.Host.Ring = DefaultRing
	for i, b := range l.hosts {
		if i > 0 {
			l.rep.error(b.DefRange(), "second host block", "the first is at "+place(l.hosts[0].DefRange())+"; a configuration has one")
		}
		l.checkShape(hostShape, b.Body)
		attrs := attributesOf(l, b)
		h := Host{
			Range:             b.DefRange(),
			ControlRange:      attrs.at("control"),
			HTTPRange:         attrs.at("http"),
			PluginDirsRange:   attrs.at("plugin_dirs"),
			Ring:              DefaultRing,
			RingRange:         attrs.at("ring"),
			DevOverridesRange: attrs.at("dev_overrides"),
		}
		h.Control, _ = attrs.path("control")
		if len(h.Control) > maxSocketPath {
			l.rep.errorf(h.ControlRange, "choose a shorter directory", "path of a Unix socket longer than %d bytes", maxSocketPath)
		}
		h.HTTP = attrs.hostPort("http")
		h.PluginDirs = attrs.paths("plugin_dirs")
		h.DevOverrides = l.devOverrides(attrs)
		if n, ok := attrs.size("ring"); ok {
			h.Ring = n
			if n != 0 && (n < minRing || n > maxRing) {
				attrs.bad("ring", &plainError{"must be 0, or from 16MiB to 64GiB", `write a size such as "64MiB", or 0 to serve every sink over its socket`})
			}
		}
		if i == 0 {
			l.config.Host = h
		}
	}
}

// devOverrides are paths by sink types.
func (l *loader) devOverrides(attrs attributes) map[string]string {
	v, ok := attrs.value("dev_overrides", cty.Map(cty.String), use{})
	if !ok {
		return nil
	}
	out := map[string]string{}
	for name, path := range v.AsValueMap() {
		switch {
		case slices.Contains(l.options.Builtins, name):
			attrs.bad("dev_overrides", &plainError{"has the built-in sink type " + quote(name), "only types that are programs of their own can be overridden"})
		case path.IsNull() || path.AsString() == "":
			attrs.bad("dev_overrides", &plainError{"has no path for " + quote(name), `write dev_overrides = { TYPE = "PATH" }`})
		default:
			out[name], _ = attrs.resolve("dev_overrides", path.AsString())
		}
	}
	return out
}

var pluginShape = &shape{name: "plugin", attrs: []string{"path", "sha256", "args", "env", "auto_mtls", "trusted"}}

func (l *loader) loadPlugin(b *hclsyntax.Block) {
	l.checkShape(pluginShape, b.Body)
	attrs := attributesOf(l, b)
	p := &Plugin{
		Type:        b.Labels[0],
		AutoMTLS:    true,
		Trusted:     true,
		Range:       b.DefRange(),
		TypeRange:   b.LabelRanges[0],
		PathRange:   attrs.at("path"),
		SHA256Range: attrs.at("sha256"),
	}
	if v, ok := attrs.required("path", cty.String, use{}, "write the path of the sink's program, relative to the directory of this file or absolute"); ok {
		p.Path, _ = attrs.resolve("path", v.AsString())
	}
	if sum, ok := attrs.text("sha256"); ok {
		p.SHA256 = strings.ToLower(sum)
		if raw, err := hex.DecodeString(sum); err != nil || len(raw) != 32 {
			attrs.bad("sha256", &plainError{"not a SHA-256 sum", "write 64 hexadecimal digits, as sha256sum prints them"})
		}
	}
	p.Args = attrs.texts("args")
	p.Env = attrs.secretTexts("env")
	if v, ok := attrs.flag("auto_mtls"); ok {
		p.AutoMTLS = v
	}
	if v, ok := attrs.flag("trusted"); ok {
		p.Trusted = v
	}
	l.checkEnvNames(attrs, p)
	l.config.Plugins = append(l.config.Plugins, p)
}

// checkEnvNames does not repeat a name that is wrong: it may be a value.
func (l *loader) checkEnvNames(attrs attributes, p *Plugin) {
	for name := range p.Env {
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.ContainsRune(p.Env[name].Reveal(), 0) {
			attrs.bad("env", &plainError{"not an environment", `write env = { NAME = "value" }, without = or NUL in the name`})
			return
		}
	}
}

func (l *loader) checkPlugins() {
	seen := map[string]*Plugin{}
	for _, p := range l.config.Plugins {
		first := seen[p.Type]
		switch {
		case slices.Contains(l.options.Builtins, p.Type):
			l.rep.error(p.TypeRange, quote(p.Type)+" is a built-in sink type", "choose another name for the plugin")
		case first != nil:
			l.rep.error(p.TypeRange, "plugin "+quote(p.Type)+" is declared twice", "the first is at "+place(cmp.Or(first.TypeRange, first.Range)))
		default:
			seen[p.Type] = p
		}
	}
}
