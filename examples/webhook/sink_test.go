package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/durable"
	"github.com/walplex/walplex/sdk/durable/crashfs"
	"github.com/walplex/walplex/sdk/sinktest"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

// receiver is a server that does as it is told: one way for each request, and
// takes everything when none is left.
type receiver struct {
	*httptest.Server
	mu   sync.Mutex
	ways []func(w http.ResponseWriter, r *http.Request)
	keys []string
	got  []record // taken
}

func newReceiver(t *testing.T, ways ...func(http.ResponseWriter, *http.Request)) *receiver {
	t.Helper()
	rc := &receiver{ways: ways}
	rc.Server = httptest.NewServer(http.HandlerFunc(rc.serve))
	t.Cleanup(rc.Close)
	return rc
}

func (rc *receiver) serve(w http.ResponseWriter, r *http.Request) {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	rc.keys = append(rc.keys, r.Header.Get("Idempotency-Key"))
	if len(rc.ways) > 0 {
		way := rc.ways[0]
		rc.ways = rc.ways[1:]
		if way != nil {
			way(w, r)
			return
		}
	}
	var req request
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	rc.got = append(rc.got, req.Records...)
}

func answer(status int) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "not now", status) }
}

// hang holds a request until its client has gone away.
func hang(_ http.ResponseWriter, r *http.Request) {
	// The server notices that only once it has read the request.
	var any json.RawMessage
	_ = json.NewDecoder(r.Body).Decode(&any)
	<-r.Context().Done()
}

func breakOff(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func start(t *testing.T, fsys durable.FS, w *waltest.Writer, url string, change func(*sink)) *sinktest.Session {
	t.Helper()
	o := w.Options()
	made, err := definition(fsys).NewSink(fmt.Appendf(nil, `{"url":%q,"directory":"/webhook","batch_records":20,"timeout":"10s","give_up":"1m","token":"secret"}`, url))
	if err != nil {
		t.Fatal(err)
	}
	s := made.(*sink)
	s.post.pause = time.Millisecond
	if change != nil {
		change(s)
	}
	sys := sdk.System{ID: o.SystemID, Timeline: o.Timeline, SegmentSize: o.SegmentSize, ServerVersion: 150000}
	session, err := sinktest.OpenSink(t.Context(), definition(fsys), s, sys, sinktest.Options{Start: o.Start})
	if err != nil {
		t.Fatal(err)
	}
	s.post.log = slog.New(slog.DiscardHandler)
	return session
}

// deliver hands over the WAL from the session's place up to lsn.
func deliver(t *testing.T, s *sinktest.Session, w *waltest.Writer, lsn wal.LSN) error {
	t.Helper()
	start := w.Options().Start
	return s.Deliver(t.Context(), w.Bytes()[s.Next()-start:lsn-start])
}

// received compares what a receiver that ignores what it has already holds.
func received(t *testing.T, rc *receiver, w *waltest.Writer) {
	t.Helper()
	rc.mu.Lock()
	defer rc.mu.Unlock()
	var last wal.LSN
	list := w.Records()
	for _, r := range rc.got {
		if r.EndLSN <= last {
			continue
		}
		if len(list) == 0 || list[0].Start != r.StartLSN || list[0].End != r.EndLSN {
			t.Fatalf("a record at %s, of %d that were still to come", r.StartLSN, len(list))
		}
		list, last = list[1:], r.EndLSN
	}
	if len(list) > 0 {
		t.Fatalf("%d records are missing, from %s on", len(list), list[0].Start)
	}
}

// A server that fails, hangs, breaks off and comes back gets everything; a batch
// that is sent again has its key again.
func TestRetries(t *testing.T) {
	rc := newReceiver(t, nil, answer(503), answer(429), hang, breakOff, answer(500), nil, hang, nil)
	w := waltest.Random(1, waltest.Options{}, 256<<10)
	s := start(t, crashfs.New(), w, rc.URL, func(s *sink) { s.post.client.Timeout = 300 * time.Millisecond })
	if err := deliver(t, s, w, w.End()); err != nil {
		t.Fatal(err)
	}
	if at, err := s.Flush(t.Context()); err != nil || at != w.Records()[len(w.Records())-1].End {
		t.Fatalf("flushed to %s, %v", at, err)
	}
	received(t, rc, w)
	for i := 2; i <= 6; i++ {
		if rc.keys[i] != rc.keys[1] || rc.keys[1] == rc.keys[0] {
			t.Errorf("the keys are %q", rc.keys[:8])
			break
		}
	}
}

// When the server stays away the sink gives up, keeps its position, and sends
// again what was not flushed.
func TestGivesUp(t *testing.T) {
	rc := newReceiver(t)
	w := waltest.Random(2, waltest.Options{}, 256<<10)
	fsys := crashfs.New()
	s := start(t, fsys, w, rc.URL, nil)
	if err := deliver(t, s, w, w.Options().Start+100<<10); err != nil {
		t.Fatal(err)
	}
	flushed, err := s.Flush(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var failing []func(http.ResponseWriter, *http.Request)
	for range 20 {
		failing = append(failing, answer(502))
	}
	rc.mu.Lock()
	rc.ways = append([]func(http.ResponseWriter, *http.Request){nil}, failing...) // one batch gets through
	rc.mu.Unlock()
	s.Kill()
	fsys = fsys.Kill()

	s = start(t, fsys, w, rc.URL, func(s *sink) { s.post.giveUp = 20 * time.Millisecond })
	err = deliver(t, s, w, w.End())
	if err == nil {
		_, err = s.Flush(t.Context())
	}
	if err == nil || sdk.IsPermanent(err) || !strings.Contains(err.Error(), "502") || !strings.Contains(err.Error(), "given up") {
		t.Fatalf("against a server that answers 502: %v", err)
	}
	s.Kill()
	rc.mu.Lock()
	rc.ways = nil
	rc.mu.Unlock()

	s = start(t, fsys.Kill(), w, rc.URL, nil)
	if at := s.Result().Position.LSN; at != flushed {
		t.Fatalf("%s was flushed, the sink came back at %s", flushed, at)
	}
	if err := deliver(t, s, w, w.End()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	received(t, rc, w)
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// What a person must mend is not tried again, and the token is in no error.
func TestPermanent(t *testing.T) {
	for name, way := range map[string]func(http.ResponseWriter, *http.Request){
		"401 Unauthorized": answer(401), "404 Not Found": answer(404), "400 Bad Request": answer(400),
	} {
		rc := newReceiver(t, way)
		w := waltest.Random(3, waltest.Options{}, 10<<10)
		s := start(t, crashfs.New(), w, rc.URL, nil)
		if err := deliver(t, s, w, w.End()); err != nil {
			t.Fatal(err)
		}
		_, err := s.Flush(t.Context())
		if !sdk.IsPermanent(err) || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
		if len(rc.keys) != 1 {
			t.Errorf("%s: %d requests", name, len(rc.keys))
		}
	}
}

func TestValidate(t *testing.T) {
	for path, c := range map[string]config{
		"url":           {URL: "example.org/hook", Batch: 1, Timeout: 1},
		"batch_records": {URL: "https://example.org", Batch: 0, Timeout: 1},
		"timeout":       {URL: "https://example.org", Batch: 1},
	} {
		if wrong := c.Validate(); len(wrong) != 1 || wrong[0].Path[0] != path || wrong[0].Warning {
			t.Errorf("%+v: %v, want one of %s", c, wrong, path)
		}
	}
	c := config{URL: "http://example.org", Token: "t", Batch: 1, Timeout: 1}
	if wrong := c.Validate(); len(wrong) != 1 || !wrong[0].Warning {
		t.Errorf("a token without TLS: %v", wrong)
	}
}
