package httpapi

import (
	"net/http"
	"net/http/httptest"
	"time"
)

// What the fuzz targets look at by itself.
var (
	Disposition = disposition
	SafeType    = safeType
	SafeName    = safeName
)

// A PollRead is what a poll reads of its query and its preference.
type PollRead struct {
	Wait, Lease time.Duration
	Max         int
	Payload     bool
	Err         error
}

// ReadPoll reads a poll as a handler with such a MaxWait does.
func ReadPoll(r *http.Request, most time.Duration) PollRead {
	c := &call{h: &Handler{opts: Options{MaxWait: most}}, w: httptest.NewRecorder(), r: r}
	p, err := c.pollParameters()
	return PollRead{p.wait, p.lease, p.max, p.payload, err}
}

// ReadKey reads the Idempotency-Key.
func ReadKey(r *http.Request) (string, error) { return (&call{r: r}).idempotencyKey() }
