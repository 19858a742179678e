package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// A Content is a payload or result that is being read. Close it.
type Content struct {
	io.ReadCloser
	Size        int64 // of the whole, in bytes; -1 if the server did not say
	Offset      int64 // where this part begins
	Length      int64 // of this part, in bytes; -1 if the server did not say
	ContentType string
	ETag        string
}

// A Range is a part of a payload or result.
type Range struct {
	Offset int64 // negative: so many bytes before the end
	Length int64 // 0: to the end
}

// Payload opens what a job was submitted with: a part of it, or with a nil Range all. It is streamed: memory does not grow with its size.
func (c *Client) Payload(ctx context.Context, id string, r *Range) (*Content, error) {
	return c.open(ctx, jobPath(id)+"/payload", r)
}

// Result opens the result of a job that has succeeded with one: a part of it, or with a nil Range all. It is streamed.
func (c *Client) Result(ctx context.Context, id string, r *Range) (*Content, error) {
	return c.open(ctx, jobPath(id)+"/result", r)
}

func (c *Client) open(ctx context.Context, path string, r *Range) (*Content, error) {
	l := call{method: http.MethodGet, path: path, header: http.Header{}}
	// Without this the transport would ask for gzip, and sizes and ranges would be those of something else.
	l.header.Set("Accept-Encoding", "identity")
	if h, err := r.header(); err != nil {
		return nil, err
	} else if h != "" {
		l.header.Set("Range", h)
	}
	var out *Content
	err := c.repeat(ctx, l, func() error {
		resp, finish, err := c.attempt(ctx, l)
		if err != nil {
			return err
		}
		out = &Content{
			ReadCloser: &stream{resp.Body, finish},
			Size:       resp.ContentLength, Length: resp.ContentLength,
			ContentType: resp.Header.Get("Content-Type"), ETag: resp.Header.Get("ETag"),
		}
		if resp.StatusCode == http.StatusPartialContent {
			return out.place(resp.Header.Get("Content-Range"))
		}
		if l.header.Get("Range") != "" {
			finish()
			return &final{fmt.Errorf("client: GET %s: the server does not serve ranges", path)}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (r *Range) header() (string, error) {
	switch {
	case r == nil || *r == Range{}:
		return "", nil
	case r.Length < 0 || r.Offset < 0 && r.Length > 0:
		return "", fmt.Errorf("client: range %+v: want a length from the front, or all from so many bytes before the end", *r)
	case r.Offset < 0:
		return "bytes=" + strconv.FormatInt(r.Offset, 10), nil
	case r.Length == 0:
		return fmt.Sprintf("bytes=%d-", r.Offset), nil
	}
	return fmt.Sprintf("bytes=%d-%d", r.Offset, r.Offset+r.Length-1), nil
}

// place reads a Content-Range. The server may be any, so that what it says has to be a place.
func (c *Content) place(header string) error {
	const bits = 62 // sums stay within an int64
	place, isBytes := strings.CutPrefix(strings.TrimSpace(header), "bytes ")
	span, whole, _ := strings.Cut(place, "/")
	first, last, _ := strings.Cut(span, "-")
	from, err := strconv.ParseUint(first, 10, bits)
	to, err2 := strconv.ParseUint(last, 10, bits)
	size, err3 := strconv.ParseUint(whole, 10, bits)
	if whole == "*" {
		size, err3 = to+1, nil
	}
	if err := errors.Join(err, err2, err3); err != nil || !isBytes || from > to || to >= size {
		c.Close()
		return &final{fmt.Errorf("client: Content-Range %q is not the place of a part", header)}
	}
	c.Offset, c.Length, c.Size = int64(from), int64(to-from+1), int64(size)
	if whole == "*" {
		c.Size = -1
	}
	return nil
}

// A stream is the body of an answer that ends its request when it is closed.
type stream struct {
	io.Reader
	finish func()
}

func (s *stream) Close() error {
	s.finish()
	return nil
}
