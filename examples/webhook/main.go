// Command walplex-sink-webhook is a sink for Walplex: it sends the WAL's records
// to an HTTP server, in batches, each at least once.
package main

import (
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/durable"
)

func main() { sdk.Serve(definition(durable.OS{})) }

type config struct {
	URL       string        `walplex:"url,required" doc:"where batches are sent to: POST, JSON"`
	Token     string        `walplex:"token,sensitive" doc:"sent as Authorization: Bearer …"`
	Directory string        `walplex:"directory" format:"path" default:"webhook" doc:"where position.json is kept; made when missing"`
	Batch     int           `walplex:"batch_records" default:"500" doc:"the most records that one request has"`
	Timeout   time.Duration `walplex:"timeout" default:"10s" doc:"how long the server may take for one request"`
	GiveUp    time.Duration `walplex:"give_up" default:"1m" doc:"how long a request is tried; then walplex starts the sink again"`
}

// Validate says what the schema cannot.
func (c *config) Validate() (wrong []sdk.ConfigError) {
	if u, err := url.Parse(c.URL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		wrong = append(wrong, sdk.ConfigError{Path: []any{"url"}, Summary: "Not an address to send to", Detail: "write http://… or https://…"})
	} else if u.Scheme == "http" && c.Token != "" {
		wrong = append(wrong, sdk.ConfigError{Path: []any{"url"}, Summary: "The token is sent in the clear", Detail: "use https", Warning: true})
	}
	if c.Batch < 1 || c.Batch > maxBatch {
		wrong = append(wrong, sdk.ConfigError{Path: []any{"batch_records"}, Summary: "Not a number of records for a request", Detail: "write 1 to 10000"})
	}
	if c.Timeout <= 0 {
		wrong = append(wrong, sdk.ConfigError{Path: []any{"timeout"}, Summary: "No time for a request", Detail: `write a duration such as "10s"`})
	}
	return wrong
}

// maxBatch bounds what is kept of one request, in records.
const maxBatch = 10_000

// definition: MaxRecord(0), because of a large record its last fragment says all
// that is sent.
func definition(fsys durable.FS) *sdk.Definition {
	return sdk.Define("webhook", func(c *config) sdk.Sink {
		return &sink{fsys: fsys, config: c, post: &poster{
			url: c.URL, token: c.Token, giveUp: c.GiveUp, pause: firstPause,
			client: &http.Client{Timeout: c.Timeout, CheckRedirect: noRedirect},
		}}
	}, sdk.Records(), sdk.MaxRecord(0))
}

// noRedirect: a redirected POST loses its body, or takes the token elsewhere.
func noRedirect(*http.Request, []*http.Request) error {
	return errors.New("the server redirects; name the final address")
}
