package statuspoll

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/pollackq/pollack/jobqueue"
)

// Endpoint returns a status endpoint, to be served by httpapi.Handler.Func with credentials checked. The path value "order_id" is the Key of a job in
// the queue, which belongs to the caller; there being none is 404. A job that has not ended is processing, one that was ended with Complete is completed
// with that answer, and any other end is failed, with the failure's message.
//
// It reads the store once, and computes nothing. Only an answer of more than jobqueue.InlineLimit bytes takes more reads, one for each 64 KiB, which are
// made as the client takes it.
func Endpoint(queue jobqueue.QueueName) func(w http.ResponseWriter, r *http.Request, b *jobqueue.Broker) error {
	return func(w http.ResponseWriter, r *http.Request, b *jobqueue.Broker) error {
		j, err := jobOf(r.Context(), b, queue, r.PathValue("order_id"))
		if err != nil {
			return err
		}
		if res := j.Result; res != nil && res.IsJSON() && res.Size > jobqueue.InlineLimit {
			return stream(w, r, b, j.ID)
		}
		body, err := stored(j)
		if err != nil {
			return err
		}
		writeHeader(w, int64(len(body)))
		w.Write(body)
		return nil
	}
}

// stored returns the answer that a job stands for. What it was completed with is taken as it is.
func stored(j *jobqueue.Job) ([]byte, error) {
	a := Answer{Status: Processing, Progress: j.Progress}
	switch j.State {
	case jobqueue.Succeeded:
		if j.Result != nil && j.Result.IsJSON() && len(j.Result.Data) > 0 {
			return j.Result.Data, nil
		}
		a = Answer{Status: Failed, ErrorMessage: "The order ended without a result."}
	case jobqueue.Canceled:
		a = Answer{Status: Failed, ErrorMessage: "The order was canceled."}
	case jobqueue.Failed:
		a = Answer{Status: Failed, ErrorMessage: j.Failure.Message}
		rules := Writing()
		rules.mend(&a)
	}
	return a.MarshalJSON()
}

// stream answers a large result. If that fails in the middle the client sees that the answer was cut off, since its length was announced.
func stream(w http.ResponseWriter, r *http.Request, b *jobqueue.Broker, id jobqueue.ID) error {
	c, err := b.Result(r.Context(), id)
	if err != nil {
		return err
	}
	defer c.Close()
	writeHeader(w, c.Size())
	if r.Method == http.MethodHead {
		return nil
	}
	ctl, start := http.NewResponseController(w), time.Now()
	chunk := make([]byte, chunkSize)
	for sent := int64(0); ; {
		n, err := c.Read(chunk)
		ctl.SetWriteDeadline(start.Add(patience + time.Duration(sent/slowest)*time.Second)) // where that is not supported the server's own holds
		if _, werr := w.Write(chunk[:n]); werr != nil || err != nil {
			return nil
		}
		sent += int64(n)
	}
}

const (
	chunkSize = 64 << 10
	patience  = 30 * time.Second // how long a client may take for an answer, and a second more for every
	slowest   = 16 << 10         // bytes
)

func writeHeader(w http.ResponseWriter, size int64) {
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Content-Length", strconv.FormatInt(size, 10))
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusOK)
}

// Complete ends a job with a completed answer, whose Status may be left out. One that breaks a rule of Writing is a *RuleError, and the job stays as it
// is. The broker's MaxResult must allow the answer: ErrTooLarge.
func Complete(ctx context.Context, d *jobqueue.Delivery, a *Answer) error {
	final := *a
	if final.Status == "" {
		final.Status = Completed
	}
	if final.Status != Completed {
		return broken(RuleStatus, "status", "must be completed")
	}
	rules := Writing()
	if err := rules.Check(&final); err != nil {
		return err
	}
	body, err := final.MarshalJSON()
	if err != nil {
		return err
	}
	if int64(len(body)) > rules.MaxBody {
		return rules.bodyTooLarge()
	}
	return d.Complete(ctx, jobqueue.NewResult{ContentType: "application/json", Data: body})
}
