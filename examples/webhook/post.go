package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/walplex/walplex/sdk"
)

// Pauses between two tries double from the first to the longest, and are a random
// part of that, so that many sinks do not come back to a server at once.
const (
	firstPause   = 100 * time.Millisecond
	longestPause = 15 * time.Second
)

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 64 << 10

// poster sends requests until the server has taken them.
type poster struct {
	url, token string
	client     *http.Client
	pause      time.Duration // before the second try
	giveUp     time.Duration // the time for all tries
	log        *slog.Logger
}

// send returns without an error when the server has answered 2xx. An answer that
// another try does not change is a permanent error.
func (p *poster) send(ctx context.Context, key string, body []byte) error {
	deadline := time.Now().Add(p.giveUp)
	for try, pause := 1, p.pause; ; try, pause = try+1, min(2*pause, longestPause) {
		after, err := p.once(ctx, key, body)
		if err == nil || sdk.IsPermanent(err) || ctx.Err() != nil {
			return err
		}
		wait := max(after, pause/2+rand.N(pause/2+1))
		if time.Now().Add(wait).After(deadline) {
			return fmt.Errorf("given up after %d tries: %w", try, err)
		}
		p.log.Warn("a batch was not taken; trying again", "batch", key, "try", try, "in", wait.String(), "error", err.Error())
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// once is one try. after is the pause that the server asks for, 0 none.
func (p *poster) once(ctx context.Context, key string, body []byte) (after time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(body))
	if err != nil {
		return 0, sdk.Permanent(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", key)
	if p.token != "" {
		req.Header.Set("Authorization", "Bearer "+p.token)
	}
	res, err := p.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(res.Body, maxAnswer)) // for the error's text; and the connection is used again
	if res.StatusCode/100 == 2 {
		return 0, nil
	}
	line, _, _ := strings.Cut(string(answer), "\n")
	err = fmt.Errorf("%s answers %s: %.200s", p.url, res.Status, line)
	if !passing(res.StatusCode) {
		return 0, sdk.Permanentf("%w; correct url or token, or the server", err)
	}
	if s, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && s > 0 {
		after = min(time.Duration(s)*time.Second, longestPause)
	}
	return after, err
}

// passing reports whether a status may be another one at the next try.
func passing(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests, http.StatusConflict:
		return true
	}
	return status/100 == 5
}
