package outbound

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
)

// UserAgent is what requests of this library to strangers call themselves.
const UserAgent = "pollack"

// ErrTooLarge says that an answer's body has more bytes than it may have.
var ErrTooLarge = errors.New("answer is too large")

// A StatusError says that an answer has another status than it was to have.
type StatusError struct {
	Status int
}

func (e *StatusError) Error() string { return "answered " + StatusText(e.Status) }

// StatusText returns a status with its usual name: "404 Not Found". The name that a server gives it may be anything.
func StatusText(status int) string {
	if name := http.StatusText(status); name != "" {
		return fmt.Sprintf("%d %s", status, name)
	}
	return fmt.Sprintf("status %d", status)
}

// Fetch gets a URL and returns the body and the Content-Type of the answer, as they were sent. The client is one of NewClient's. Errors: of
// CheckURL and of the client (ErrForbidden and those of the network), a *StatusError unless the status is 200, ErrTooLarge if the body has
// more than max bytes. They may tell of the network what strangers are not to know: tell them what Problem says.
func Fetch(ctx context.Context, c *http.Client, url string, max int64) (body []byte, contentType string, err error) {
	u, err := CheckURL(url, true) // whether plain HTTP is allowed is the client's business
	if err != nil {
		return nil, "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, "", err
	}
	req.Header.Set("User-Agent", UserAgent)
	resp, err := c.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, "", &StatusError{resp.StatusCode}
	}
	if resp.ContentLength > max {
		return nil, "", ErrTooLarge
	}
	body, err = io.ReadAll(io.LimitReader(resp.Body, min(max, math.MaxInt64-1)+1))
	if err != nil {
		return nil, "", fmt.Errorf("outbound: body: %w", err)
	}
	if int64(len(body)) > max {
		return nil, "", ErrTooLarge
	}
	return body, resp.Header.Get("Content-Type"), nil
}
