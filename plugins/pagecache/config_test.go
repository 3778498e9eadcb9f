package pagecache

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"google.golang.org/grpc/codes"

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/pageclient"
	"github.com/walplex/walplex/sdk/sinktest"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

func TestValidateSettings(t *testing.T) {
	tests := []struct {
		c    Config
		path string // of the only error, "" for none
		says string
	}{
		{Config{}, "directory", ""},
		{Config{Directory: "/d"}, "", ""},
		{Config{Directory: "/d", Listen: "/" + strings.Repeat("x", 108)}, "listen", "109 bytes"},
		{Config{Directory: "/d", ListenTCP: ":7000", TLSCert: "c", TLSKey: "k", TLSClientCA: "a"}, "", ""},
		{Config{Directory: "/d", ListenTCP: ":7000", TLSCert: "c", TLSKey: "k"}, "listen_tcp", "Set tls_client_ca"},
		{Config{Directory: "/d", ListenTCP: "7000", TLSCert: "c", TLSKey: "k", TLSClientCA: "a"}, "listen_tcp", "missing port"},
		{Config{Directory: "/d", TLSKey: "k"}, "tls_key", "Set listen_tcp"},
		{Config{Directory: "/d", Retain: -1}, "retain", "below zero"},
		{Config{Directory: "/d", RetainAge: "7d", Retain: 1 << 30}, "", ""},
		{Config{Directory: "/d", RetainAge: "soon"}, "retain_age", "soon"},
		{Config{Directory: "/d", RetainInterval: -1}, "retain_interval", "such as 1m"},
		{Config{Directory: "/d", MaxReplay: -1}, "max_replay", "below zero"},
		{Config{Directory: "/d", Databases: []string{"5", "16384"}, Relations: []string{"1663/5/16384"}}, "", ""},
		{Config{Directory: "/d", Databases: []string{"postgres"}}, "databases", `"postgres" is not a database's OID`},
		{Config{Directory: "/d", Relations: []string{"16384"}}, "relations", `"16384" is not a relation`},
	}
	for _, tt := range tests {
		got := tt.c.Validate()
		switch {
		case tt.path == "" && len(got) > 0:
			t.Errorf("%+v: %v", tt.c, got)
		case tt.path != "" && (len(got) != 1 || fmt.Sprint(got[0].Path) != "["+tt.path+"]" || !strings.Contains(got[0].Detail, tt.says)):
			t.Errorf("%+v: got %v, want one at %s with %q", tt.c, got, tt.path, tt.says)
		}
	}
}

// TestFiltered refuses a filter of the host's.
func TestFiltered(t *testing.T) {
	_, err := newSink(&Config{Directory: "/pages"}, vfs.NewMem()).Open(t.Context(), &sdk.OpenRequest{Sink: "pages", System: testSystem, Filtered: true})
	if !sdk.IsPermanent(err) || !strings.Contains(err.Error(), `sink "pages" has a filter`) || !strings.Contains(err.Error(), "databases or relations") {
		t.Errorf("got %v", err)
	}
}

// TestKeeps stores one database and one relation of another.
func TestKeeps(t *testing.T) {
	rel := func(db, rel wal.OID) wal.RelFileLocator { return wal.RelFileLocator{Spc: 1663, DB: db, Rel: rel} }
	kept := []wal.RelFileLocator{rel(5, 16384), rel(5, 16385), rel(6, 16384), {Spc: 1664, Rel: 1262}, rel(8, 16384)}
	others := []wal.RelFileLocator{rel(6, 16385), rel(7, 16384), rel(1, 16384)}
	w := waltest.New(waltest.Options{})
	for _, r := range append(append([]wal.RelFileLocator(nil), kept...), others...) {
		w.Append(waltest.FullPageImage(r, 0, waltest.HeapPage(100, 1)))
	}
	first := w.End()
	copyOf := func(to, from wal.OID) waltest.Record {
		main := make([]byte, 16)
		for i, v := range []wal.OID{to, 1663, from, 1663} {
			main[4*i] = byte(v)
			main[4*i+1] = byte(v >> 8)
		}
		return waltest.Record{Rmgr: wal.RmgrDatabase, Main: main}
	}
	w.Append(copyOf(8, 7))
	w.Append(copyOf(9, 7)) // which nobody keeps

	fsys := vfs.NewMem()
	config := Config{Directory: "/pages", Databases: []string{"5", "8"}, Relations: []string{"1663/6/16384"}}
	open := func(c Config) (*life, error) {
		c.Listen = shortDir(t) + "/s"
		return beginSink(t, newSink(&c, fsys), w)
	}
	read := func(l *life, rel wal.RelFileLocator, says string) {
		t.Helper()
		_, err := l.client().Page(t.Context(), pageclient.PageRequest{Rel: rel})
		if says == "" && err != nil {
			t.Errorf("%s: %v", rel, err)
		}
		if says != "" {
			if !pageclient.IsNotKept(err) {
				t.Errorf("%s: got %v", rel, err)
			} else {
				wantCode(t, err, codes.NotFound, says)
			}
		}
	}
	l, err := open(config)
	if err != nil {
		t.Fatal(err)
	}
	l.deliver(first)
	l.flush()
	for _, r := range kept {
		read(l, r, "")
	}
	for _, r := range others {
		read(l, r, "relation "+r.String()+" is not among those of the sink's settings databases = [5 8], relations = [1663/6/16384]")
	}
	if n := l.sink.store.Visible().LastRecord; n == first {
		t.Error("all records were stored")
	}
	l.all()
	l.close()

	// Once more, from the file: the copy is remembered.
	l, err = open(config)
	if err != nil {
		t.Fatal(err)
	}
	read(l, rel(8, 16384), "database 8 was made by copying the files of database 7")
	read(l, rel(5, 16384), "")
	l.close()

	for says, c := range map[string]Config{
		"now ask for everything":             {},
		"now ask for database 7":             {Databases: []string{"5", "7"}},
		"now ask for relation 1663/6/16385":  {Relations: []string{"1663/6/16385"}},
		"stores only databases = [5 8], rel": {Databases: []string{"7"}},
	} {
		c.Directory, c.Listen = "/pages", shortDir(t)+"/s"
		_, err := sinktest.OpenSink(t.Context(), Definition(), newSink(&c, fsys), testSystem, sinktest.Options{})
		if !sdk.IsPermanent(err) || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want a permanent error with %q", err, says)
		}
	}
	// Less is no problem, and stays so.
	config.Databases = []string{"5"}
	if l, err = open(config); err != nil {
		t.Fatal(err)
	}
	read(l, rel(8, 16384), "is not among those")
	l.close()
	config.Databases = []string{"5", "8"}
	if _, err = open(config); !sdk.IsPermanent(err) {
		t.Errorf("more again: %v", err)
	}
}
