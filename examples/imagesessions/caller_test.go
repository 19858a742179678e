package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/pollackq/pollack/internal/proc"
)

// A caller speaks to a process, with a token.
type caller struct {
	t     *testing.T
	url   string
	token string
}

// try makes a request and returns its answer, or an error if there was none.
func (c *caller) try(method, path string, body io.Reader) (status int, header http.Header, answer []byte, err error) {
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.url+path, body)
	if err != nil {
		return 0, nil, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	client := http.Client{Timeout: proc.Limit, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, answer, err
}

// want makes a request that must be answered so.
func (c *caller) want(status int, method, path string, body []byte) (http.Header, []byte) {
	c.t.Helper()
	got, header, answer, err := c.try(method, path, bytes.NewReader(body))
	if err != nil || got != status {
		c.t.Fatalf("%s %s: got %d %s, %v; want %d", method, path, got, answer, err, status)
	}
	return header, answer
}

func (c *caller) open() (session string) {
	c.t.Helper()
	_, p := c.want(201, "POST", "/v1/sessions", []byte(`{"tags": {"user_id": "usr_abc123"}}`))
	var v struct {
		ID string `json:"session_id"`
	}
	c.read(p, &v)
	return v.ID
}

// An image is what add and poll tell of one.
type image struct {
	ID    string            `json:"image_id"`
	Index int               `json:"image_index"`
	Name  string            `json:"filename"`
	Size  int               `json:"size_bytes"`
	Tags  map[string]string `json:"tags"`
}

func (c *caller) add(session string, p []byte) (i image) {
	c.t.Helper()
	_, answer := c.want(201, "POST", "/v1/sessions/"+session+"/images?filename=photo.jpg", p)
	c.read(answer, &i)
	return i
}

// poll polls what must be there.
func (c *caller) poll(session, query string) (i image, token string) {
	c.t.Helper()
	header, answer := c.want(200, "GET", "/v1/sessions/"+session+"/poll"+query, nil)
	c.read(answer, &i)
	return i, header.Get("Lease-Token")
}

func (c *caller) read(p []byte, v any) {
	c.t.Helper()
	if err := json.Unmarshal(p, v); err != nil {
		c.t.Fatalf("%v: %s", err, p)
	}
}

// picture is an image that tells its number, and is kept apart from its job.
func picture(i int) []byte {
	return append(fmt.Appendf(nil, "GIF89a %d ", i), bytes.Repeat([]byte{byte(i)}, 400_000)...)
}
