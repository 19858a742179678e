package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

func init() { children["http-client"] = httpClient }

type clientQuestion struct {
	URL, Work string
	Callers   int
	Span      time.Duration
}

type clientAnswer struct {
	Requests, Acked int64
	Took            time.Duration
}

// httpClient is the child that polls and acks.
func httpClient([]string) error {
	transport := &http.Transport{}
	return answer(func(q clientQuestion) (clientAnswer, error) {
		transport.MaxIdleConnsPerHost = q.Callers // the same each time: it is asked to warm up, and then again
		c := &pollClient{client: &http.Client{Transport: transport}, url: q.URL}
		work := map[string]func(more func() bool) error{"poll, ack": c.pollAndAck, "ack and take the next": c.ackAndTakeNext}[q.Work]
		if work == nil {
			return clientAnswer{}, fmt.Errorf("there is no work %q", q.Work)
		}
		var all sync.WaitGroup
		errs := make(chan error, q.Callers)
		begun := time.Now()
		for range q.Callers {
			all.Go(func() {
				if err := work(func() bool { return time.Since(begun) < q.Span }); err != nil {
					errs <- err
				}
			})
		}
		all.Wait()
		took := time.Since(begun)
		if len(errs) > 0 {
			return clientAnswer{}, <-errs
		}
		return clientAnswer{Requests: c.requests.Load(), Acked: c.acked.Load(), Took: took}, nil
	})
}

// A pollClient counts what its callers do.
type pollClient struct {
	client          *http.Client
	url             string
	requests, acked atomic.Int64
}

func (c *pollClient) pollAndAck(more func() bool) error {
	for more() {
		job, err := c.poll()
		if err == nil {
			err = c.ack(job)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// ackAndTakeNext has one request a job but for the first and the last, which count, too.
func (c *pollClient) ackAndTakeNext(more func() bool) error {
	job, err := c.poll()
	for err == nil && more() {
		job, err = c.ackPoll(job)
	}
	if err != nil {
		return err
	}
	return c.ack(job)
}

func (c *pollClient) poll() ([]byte, error) {
	r, err := http.NewRequest("GET", c.url+pollPath, nil)
	if err != nil {
		return nil, err
	}
	job, err := c.do(r)
	if err == nil && !bytes.Contains(job, []byte(payloadBegins)) {
		err = fmt.Errorf("a polled job came without its payload: %s", job)
	}
	return job, err
}

func (c *pollClient) ack(job []byte) error {
	r, err := ackRequest(c.url, job)
	if err != nil {
		return err
	}
	outcome, err := c.do(r)
	if err == nil && !bytes.Equal(outcome, []byte(`{"outcome":"acked"}`)) {
		err = fmt.Errorf("an ack was answered %s", outcome)
	}
	c.acked.Add(1)
	return err
}

func (c *pollClient) ackPoll(job []byte) ([]byte, error) {
	r, err := ackPollRequest(c.url, job)
	if err != nil {
		return nil, err
	}
	next, err := c.do(r)
	if err == nil && (!bytes.Contains(next, []byte(`"outcome":"acked"`)) || !bytes.Contains(next, []byte(payloadBegins))) {
		err = fmt.Errorf("a poll with an ack was answered %s", next)
	}
	c.acked.Add(1)
	return next, err
}

func (c *pollClient) do(r *http.Request) ([]byte, error) {
	c.requests.Add(1)
	return do(c.client, r)
}

const payloadBegins = `"payload":{"at":`

func do(client *http.Client, r *http.Request) ([]byte, error) {
	resp, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s was answered %s: %s", r.Method, r.URL, resp.Status, body)
	}
	return body, err
}

// ackRequest acks a polled job. Finding what it needs costs the client little, so that what the servers cost shows.
func ackRequest(url string, polled []byte) (*http.Request, error) {
	id, token, err := leaseOf(polled)
	if err != nil {
		return nil, err
	}
	return postJSON(url+"/v1/jobs/"+id+"/ack", `{"lease_token":"`+token+`"}`)
}

// ackPollRequest acks a polled job and takes the next.
func ackPollRequest(url string, polled []byte) (*http.Request, error) {
	id, token, err := leaseOf(polled)
	if err != nil {
		return nil, err
	}
	return postJSON(url+pollPath, `{"acks":[{"id":"`+id+`","lease_token":"`+token+`"}]}`)
}

func postJSON(url, body string) (*http.Request, error) {
	r, err := http.NewRequest("POST", url, strings.NewReader(body))
	if err == nil {
		r.Header.Set("Content-Type", "application/json")
	}
	return r, err
}

// leaseOf finds the job and the token in the answer of a poll, with acks or without.
func leaseOf(polled []byte) (id, token string, err error) {
	if _, jobs, ok := bytes.Cut(polled, []byte(`"jobs":`)); ok {
		polled = jobs
	}
	id, ok := member(polled, "id")
	token, okToken := member(polled, "lease_token")
	if !ok || !okToken {
		err = fmt.Errorf("a poll was answered without a job: %s", polled)
	}
	return id, token, err
}

// member finds a string of a JSON object that has no other member of that name further in.
func member(object []byte, name string) (string, bool) {
	_, after, ok := bytes.Cut(object, []byte(`"`+name+`":"`))
	value, _, closed := bytes.Cut(after, []byte(`"`))
	return string(value), ok && closed
}
