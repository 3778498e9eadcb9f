package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/walplex/walplex/host/internal/httplimit"
	"github.com/walplex/walplex/host/internal/status"
)

// Limits of a client.
const (
	maxAnswer     = 16 << 20 // bytes
	statusTimeout = 10 * time.Second
)

// Client talks to the host behind a socket.
type Client struct {
	path string
	http *http.Client
}

// NewClient makes a client of the socket; it connects with each request.
func NewClient(path string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}
	return &Client{path: path, http: &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
}

// AnswerError is a host's answer that it has not done what it was asked.
type AnswerError struct {
	Code int // HTTP's
	Text string
}

func (e *AnswerError) Error() string { return e.Text }

// Invalid reports whether the answer was that the new configuration is wrong.
func (e *AnswerError) Invalid() bool { return e.Code == http.StatusUnprocessableEntity }

// Status asks how the host stands. raw is the answer as it came, with what a
// newer host may add.
func (c *Client) Status(ctx context.Context) (report status.Report, raw []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	raw, err = c.do(ctx, http.MethodGet, "/v1/status")
	if err != nil {
		return report, nil, err
	}
	if err = json.Unmarshal(raw, &report); err != nil {
		return report, nil, fmt.Errorf("the host at %s answers what is no status: %w", c.path, err)
	}
	if report.Version != status.Version {
		return report, nil, fmt.Errorf("the host at %s answers a status of version %d, this walplex reads version %d: use the host's own", c.path, report.Version, status.Version)
	}
	return report, raw, nil
}

// Reload has the host read its configuration again and answers what changed. An
// [*AnswerError] says why nothing did.
func (c *Client) Reload(ctx context.Context) (changes []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, ReloadTimeout+httplimit.WriteTimeout)
	defer cancel()
	raw, err := c.do(ctx, http.MethodPost, "/v1/reload")
	if err != nil {
		return nil, err
	}
	var a reloadAnswer
	if err := json.Unmarshal(raw, &a); err != nil {
		return nil, fmt.Errorf("the host at %s answers what is no summary of a reload: %w", c.path, err)
	}
	return a.Changes, nil
}

func (c *Client) do(ctx context.Context, method, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://walplex"+path, bytes.NewReader(nil))
	if err != nil {
		return nil, err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, c.unreachable(ctx, err)
	case len(body) > maxAnswer:
		return nil, fmt.Errorf("the host at %s answers more than %d bytes", c.path, maxAnswer)
	case res.StatusCode == http.StatusOK:
		return body, nil
	}
	var e errorAnswer
	if json.Unmarshal(body, &e) != nil || e.Error == "" {
		e.Error = fmt.Sprintf("the host at %s answers %s", c.path, res.Status)
	}
	return nil, &AnswerError{Code: res.StatusCode, Text: e.Error}
}

// unreachable says what to do when nobody answers.
func (c *Client) unreachable(ctx context.Context, err error) error {
	hint := ""
	switch {
	case errors.Is(err, fs.ErrNotExist):
		hint = ": there is no such socket; does a host run, and is this the path of host.control in its configuration?"
	case errors.Is(err, syscall.ECONNREFUSED):
		hint = ": the host that has made this socket does not run any more"
	case errors.Is(err, fs.ErrPermission):
		hint = ": permission denied; only the host's user and root may ask"
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		hint = ": it has not answered in time; does its process hang?"
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		hint = ": it has closed the connection; only the host's user and root may ask"
	default:
		hint = ": " + err.Error()
	}
	return fmt.Errorf("no walplex host answers at %s%s", c.path, hint)
}
