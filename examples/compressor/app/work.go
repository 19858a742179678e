package app

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/pollackq/pollack/httpapi/outbound"
	"github.com/pollackq/pollack/jobqueue"
)

const (
	fetchTimeout = time.Minute            // of one try
	fetchTurn    = 500 * time.Millisecond // until a fetch that has to wait for others comes again
)

// fetchPauses are the pauses between tries to fetch a file.
var fetchPauses = []time.Duration{time.Second, 4 * time.Second}

// work does a job. What is said of the files, and the output itself, are written under the same lease, the output last: a job that was interrupted before
// that is done again from the beginning, and one that has been completed is never touched again.
func (a *App) work(ctx context.Context, d *jobqueue.Delivery) error {
	a.config.Logger.Info("begun", "id", d.Key, "delivery", d.Deliveries)
	if text := d.Tags[refusedTag]; text != "" {
		return jobqueue.Permanent("invalid_json", errors.New(text))
	}
	if d.Tags[fetchTag] != "" {
		select {
		case a.fetching <- struct{}{}:
			defer func() { <-a.fetching }()
		default:
			return d.Release(ctx, &jobqueue.ReleaseOptions{Delay: fetchTurn, Uncounted: true})
		}
	}
	in, err := a.input(ctx, d)
	if err != nil {
		return err
	}
	select {
	case a.compressing <- struct{}{}:
		defer func() { <-a.compressing }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if len(in) == 0 {
		return jobqueue.Permanent("empty", errors.New("the file is empty"))
	}
	out, f, err := a.compress(ctx, d.Name, in)
	if err != nil {
		return err
	}
	text, err := json.Marshal(f)
	if err != nil {
		return err
	}
	if err := d.Progress(ctx, 1, string(text)); err != nil {
		return err
	}
	if err := d.Complete(ctx, jobqueue.NewResult{ContentType: f.Output.MIME, Data: out}); err != nil {
		return err
	}
	a.config.Logger.Info("completed", "id", d.Key, "input", f.Input.Size, "output", f.Output.Size)
	return nil
}

// input returns the file.
func (a *App) input(ctx context.Context, d *jobqueue.Delivery) ([]byte, error) {
	p, err := d.Payload(ctx)
	if err != nil || d.Tags[fetchTag] == "" {
		return p, err
	}
	in, _, err := outbound.Fetch(ctx, a.config.Client, string(p), maxInput)
	switch {
	case err == nil || ctx.Err() != nil:
		return in, err
	case errors.Is(err, outbound.ErrTooLarge):
		return nil, jobqueue.Permanent("too_large", fmt.Errorf("the file has more than %d bytes", maxInput))
	case worthRetrying(err) && d.Deliveries <= len(fetchPauses):
		a.config.Logger.Warn("a fetch failed; it will be tried again", "id", d.Key, "error", err)
		return nil, jobqueue.RetryAfter(fetchPauses[d.Deliveries-1], err)
	}
	a.config.Logger.Warn("a fetch failed", "id", d.Key, "error", err)
	return nil, jobqueue.Permanent("fetch_failed", errors.New("the file could not be fetched: "+outbound.Problem(err)))
}

// worthRetrying reports whether the same fetch may succeed later: after failures of the network and of servers.
func worthRetrying(err error) bool {
	var status *outbound.StatusError
	switch {
	case errors.Is(err, outbound.ErrForbidden):
		return false
	case errors.As(err, &status):
		return status.Status >= 500 || status.Status == http.StatusTooManyRequests || status.Status == http.StatusRequestTimeout
	}
	return true
}

// compress returns the output for an input, and what is to be said of both. An image that would grow is its own output.
func (a *App) compress(ctx context.Context, name string, in []byte) (out []byte, f *files, err error) {
	k := kindOf(name, in)
	if name == "" {
		name = "input." + k.format
	}
	switch k.mime {
	case "image/jpeg":
		out, err = a.image(func() ([]byte, error) { return smallerJPEG(ctx, in) })
	case "image/png":
		out, err = a.image(func() ([]byte, error) { return smallerPNG(ctx, in) })
	default:
		out, err = gzipped(ctx, in)
	}
	if err != nil {
		return nil, nil, err
	}
	f = &files{Input: describe(name, k, in)}
	switch {
	case !k.isImage():
		f.Output = describe(withGz(name), gzipKind, out)
	case len(out) >= len(in):
		out, f.Output = in, f.Input
	default:
		f.Output = describe(name, k, out)
	}
	return out, f, nil
}

// image runs fn while no other image is worked on.
func (a *App) image(fn func() ([]byte, error)) ([]byte, error) {
	a.images.Lock()
	defer a.images.Unlock()
	return fn()
}

func describe(name string, k kind, p []byte) fileInfo {
	sum := sha1.Sum(p)
	return fileInfo{Name: name, Type: k.class, Format: k.format, MIME: k.mime, Size: int64(len(p)), SHA1: hex.EncodeToString(sum[:])}
}

func gzipped(ctx context.Context, in []byte) ([]byte, error) {
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(z, &reader{ctx, bytes.NewReader(in)}); err != nil {
		return nil, err
	}
	err = z.Close()
	return out.Bytes(), err
}

// A reader ends with its context, so that a shutdown need not wait for the end of a file.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p[:min(len(p), 64<<10)])
}

// A writer does likewise.
type writer struct {
	ctx context.Context
	w   io.Writer
}

func (w *writer) Write(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return w.w.Write(p)
}
