package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// A NewUpload is content to be sent ahead, to complete a job with.
type NewUpload struct {
	Filename    string        // the server takes the safe part of it into the object key
	ContentType string        // what it is sent as must be the same, if this is given
	Size        int64         // exactly, in bytes; -1: any size that the server takes
	Expires     time.Duration // forgotten after that unless it has been used, from a second to 7 days; an hour by default
}

// An Upload is where to send content to, and what it is called then. Whoever has the URL can send it: it may be given to others, who need no
// credentials.
type Upload struct {
	ObjectKey   string    `json:"object_key"` // for CompleteWith
	PutURL      string    `json:"put_url"`
	Expires     time.Time `json:"expires_at"`
	ContentType string    `json:"-"` // as prepared
}

// PrepareUpload announces content that will be sent with PutUpload, by this program or another.
func (c *Client) PrepareUpload(ctx context.Context, n NewUpload) (*Upload, error) {
	l := call{method: http.MethodPost, path: "/v1/uploads"}
	fields := map[string]any{"filename": n.Filename, "content_type": n.ContentType}
	if n.Size >= 0 {
		fields["size"] = n.Size
	}
	if n.Expires != 0 {
		fields["expires_seconds"] = n.Expires.Seconds()
	}
	if err := l.send(fields); err != nil {
		return nil, err
	}
	u := &Upload{ContentType: n.ContentType}
	if _, err := c.ask(ctx, l, u); err != nil {
		return nil, err
	}
	base, err := url.Parse(c.base + "/")
	if err == nil {
		base, err = base.Parse(u.PutURL)
	}
	if err != nil || u.ObjectKey == "" || u.PutURL == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, errors.New("client: POST /v1/uploads: the answer has no object_key and put_url")
	}
	u.PutURL = base.String()
	return u, nil
}

// PutUpload sends the content of an upload: what body has from where it stands to its end, as NewJob.Body, or nothing if it is nil. The server takes it once: ErrWrongState says that another
// call has written the upload, ErrInvalid and ErrTooLarge that body is not as prepared, ErrExpired that the time is over. Neither Options.Token nor
// Options.Header are sent with it.
func (c *Client) PutUpload(ctx context.Context, u *Upload, body io.Reader) error {
	at, err := url.Parse(u.PutURL)
	if err != nil || at.Scheme != "http" && at.Scheme != "https" || at.Host == "" {
		return errors.New("client: the upload has no URL to put it to")
	}
	l := call{method: http.MethodPut, path: at.EscapedPath(), signed: u.PutURL, header: http.Header{}}
	if u.ContentType != "" {
		l.header.Set("Content-Type", u.ContentType)
	}
	if l.body = uploadBytes(nil); body != nil {
		if l.body, err = uploadReader(body); err != nil {
			return fmt.Errorf("client: body: %w", err)
		}
	}
	maybe := false // an attempt before may have written it
	return c.repeat(ctx, l, func() error {
		_, finish, err := c.attempt(ctx, l)
		switch {
		case err == nil:
			finish()
			return nil
		case maybe && errors.Is(err, ErrWrongState):
			return nil
		}
		var e *Error
		maybe = maybe || !errors.As(err, &e) || !e.nothingHappened()
		return err
	})
}
