package storagetest

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"

	"github.com/pollackq/pollack/storage"
)

// show formats a job, or what else a store returned, for a message.
func show(v any) string {
	switch v := v.(type) {
	case nil:
		return "nothing"
	case *storage.Job:
		if v == nil {
			return "no job"
		}
		s := v.Status
		progress := "none"
		if s.Progress != nil {
			progress = fmt.Sprint(*s.Progress)
			s.Progress = nil
		}
		return fmt.Sprintf("%+v %+v progress %s", *v.Spec, s, progress)
	case []*storage.Job:
		return fmt.Sprint(ids(v))
	case []byte:
		if len(v) > 40 {
			return fmt.Sprintf("%q and so on, %d bytes", v[:40], len(v))
		}
		return fmt.Sprintf("%q", v)
	default:
		return fmt.Sprintf("%+v", v)
	}
}

// lines formats contents, one fact a line.
func (c *contents) lines() []string {
	var l []string
	for _, q := range c.Queues {
		l = append(l, fmt.Sprintf("queue %q: %+v", q.Record.QueueName, *q.Record))
		l = append(l, fmt.Sprintf("queue %q: next position %d, counts %v, oldest %v, ready %v", q.Record.QueueName, q.Next, q.Counts, q.Oldest, ids(q.Ready)))
		for _, j := range q.Jobs {
			l = append(l, fmt.Sprintf("job %s payload %v %s result %v %s", show(j.Job), j.HasPayload, show([]byte(j.Payload)), j.HasResult, show([]byte(j.Result))))
		}
	}
	l = append(l, fmt.Sprintf("due %v, next %v", ids(c.Due), c.NextDue))
	for _, s := range c.Chunks {
		l = append(l, "chunk "+show([]byte(s)))
	}
	return l
}

// diff returns where got differs from c, "" if it does not.
func (c *contents) diff(got *contents) string {
	if reflect.DeepEqual(c, got) {
		return ""
	}
	have, want := got.lines(), c.lines()
	var b bytes.Buffer
	n := 0
	for _, l := range want {
		if !slices.Contains(have, l) && n < 6 {
			fmt.Fprintf(&b, "missing: %s\n", l)
			n++
		}
	}
	for _, l := range have {
		if !slices.Contains(want, l) && n < 12 {
			fmt.Fprintf(&b, "wrong:   %s\n", l)
			n++
		}
	}
	if n == 0 {
		return "they differ in something that is not shown, such as the location of a time, or nil against empty"
	}
	return b.String()
}
