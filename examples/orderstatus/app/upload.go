package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/pollackq/pollack/httpapi/outbound"
	"github.com/pollackq/pollack/httpapi/statuspoll"
	"github.com/pollackq/pollack/jobqueue"
)

const (
	uploadLimit = time.Minute // for one request to the platform
	uploadFor   = time.Hour   // how long a platform that does not answer is tried
	maxPause    = time.Minute // between two attempts
	maxPrepared = 64 << 10    // bytes of what prepare answers
	maxKey      = 512         // bytes of an object key, which with its put_url must fit into a progress message when all is escaped
)

// An upload is how far a file has been sent ahead.
type upload struct {
	Since time.Time `json:"since"` // when it was begun
	Tries int       `json:"tries"` // that came to nothing
	prepared
}

// prepared is what the platform's prepare answers. Without a put_url, prepare is to be asked.
type prepared struct {
	ObjectKey string    `json:"object_key"`
	PutURL    string    `json:"put_url"`
	Expires   time.Time `json:"expires_at"` // of PutURL; zero if never
}

// sendAhead uploads the video of an order and ends it with the object key: POST {"order_id","filename","mime_type","size"} to PrepareURL, PUT of the
// file to the put_url. What prepare answered is noted before it is used, so that an attempt that failed, or died, is repeated at the same put_url until
// that expires or is refused. The platform may have got the file twice, or have prepared for one that never comes.
func (a *App) sendAhead(ctx context.Context, o order, d *jobqueue.Delivery, s *state) error {
	leave, err := a.enterLarge(ctx, o)
	if err != nil {
		return err
	}
	defer leave()
	video := avi(o.Size)
	if s.Upload == nil {
		s.Upload = &upload{Since: s.At}
	}
	u := s.Upload
	if u.PutURL == "" || !u.Expires.IsZero() && !time.Now().Before(u.Expires) {
		u.prepared = prepared{}
		if u.prepared, err = a.prepare(ctx, d.Key, len(video)); err != nil {
			return a.tryLater(ctx, o, d, s, err)
		}
		if err := s.note(ctx, d, o); err != nil {
			return err
		}
	}
	if err := a.put(ctx, u.PutURL, video); err != nil {
		return a.tryLater(ctx, o, d, s, err)
	}
	return complete(ctx, d, &statuspoll.Answer{
		OutputType: o.Want, Files: []statuspoll.File{{ObjectKey: u.ObjectKey, Filename: videoName, MIMEType: videoType}},
	})
}

// prepare asks the platform where to upload the file.
func (a *App) prepare(ctx context.Context, orderID string, size int) (prepared, error) {
	var p prepared
	body, err := json.Marshal(struct {
		OrderID  string `json:"order_id"`
		Filename string `json:"filename"`
		MIMEType string `json:"mime_type"`
		Size     int    `json:"size"`
	}{orderID, videoName, videoType, size})
	if err != nil {
		return p, err
	}
	header := http.Header{"Accept": {"application/json"}}
	maps.Copy(header, a.config.Header)
	answer, err := send(ctx, a.own, http.MethodPost, a.config.PrepareURL, header, "application/json", body)
	if err != nil {
		return p, err
	}
	if err := json.Unmarshal(answer, &p); err != nil {
		return prepared{}, &refusal{problem: "answered no JSON object with object_key, put_url and expires_at"}
	}
	if p.ObjectKey == "" || len(p.ObjectKey) > maxKey {
		return prepared{}, &refusal{problem: fmt.Sprintf("answered no object_key of 1 to %d bytes", maxKey)}
	}
	if _, err := outbound.CheckURL(p.PutURL, plain(a.config.PrepareURL)); err != nil {
		return prepared{}, &refusal{problem: "answered no put_url that can be used: " + err.Error()}
	}
	return p, nil
}

// put sends the file. The URL is its own credential.
func (a *App) put(ctx context.Context, url string, file []byte) error {
	client := a.others
	if host(url) == host(a.config.PrepareURL) {
		client = a.own
	}
	_, err := send(ctx, client, http.MethodPut, url, http.Header{}, videoType, file)
	return err
}

// A refusal is an answer of the platform that is of no use.
type refusal struct {
	problem string
	status  int           // 0 if it was 2xx
	pause   time.Duration // that it asks for
}

func (e *refusal) Error() string { return e.problem }

// send makes a request, on a connection of its own, and returns the body of a 2xx answer. Any other is a *refusal.
func send(ctx context.Context, c *http.Client, method, url string, header http.Header, contentType string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, uploadLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Close = true
	req.Header = header
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("User-Agent", outbound.UserAgent)
	resp, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return nil, &refusal{"answered " + outbound.StatusText(resp.StatusCode), resp.StatusCode, outbound.RetryAfter(resp.Header, maxPause)}
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxPrepared+1))
	if err == nil && len(answer) > maxPrepared {
		err = &refusal{problem: fmt.Sprintf("answered more than %d bytes", maxPrepared)}
	}
	return answer, err
}

var (
	// Answers to a PUT after which another upload is prepared: its time is over, or it was written by an attempt that did not learn it.
	used = []int{http.StatusForbidden, http.StatusNotFound, http.StatusConflict, http.StatusGone}
	// Answers after which the same is tried again, as after those from 500 on.
	passing = []int{http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests}
)

// tryLater gives an order back whose upload came to nothing, to be tried again after a pause that grows; or fails it, when that is of no use.
func (a *App) tryLater(ctx context.Context, o order, d *jobqueue.Delivery, s *state, err error) error {
	if ctx.Err() != nil { // interrupted: the next process goes on
		return ctx.Err()
	}
	u, what, no := s.Upload, "prepare", new(refusal)
	if u.PutURL != "" {
		what = "the put_url"
	}
	refused := errors.As(err, &no)
	problem := outbound.Problem(err)
	if refused {
		problem = no.problem
	}
	again := u.PutURL != "" && slices.Contains(used, no.status)
	if again {
		u.prepared = prepared{}
	}
	a.config.Logger.Warn("an upload came to nothing", "order", d.Key, "at", what, "error", err)
	final := refused && !again && no.status < http.StatusInternalServerError && !slices.Contains(passing, no.status)
	if final || errors.Is(err, outbound.ErrForbidden) || time.Since(u.Since) >= uploadFor {
		return fail(ctx, d, codeUpload, "The platform did not take the video: "+what+": "+problem+".")
	}
	pause := min(time.Second<<min(u.Tries, 10), maxPause)
	u.Tries++
	return s.rest(ctx, d, o, max(pause, no.pause))
}

// plain reports whether a URL is without TLS, which is then taken of put_urls, too.
func plain(u string) bool { return strings.HasPrefix(strings.ToLower(u), "http://") }

func host(u string) string {
	parsed, err := url.Parse(u)
	if err != nil {
		return ""
	}
	return parsed.Hostname()
}
