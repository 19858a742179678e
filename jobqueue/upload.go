package jobqueue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"time"

	"github.com/pollackq/pollack/storage"
)

// A NewUpload is content to be sent ahead: it is written by itself, maybe by somebody else, and becomes the result of a job later.
type NewUpload struct {
	Key         string            // its name within the queue for its account, which no job has either; at most MaxName bytes; "": its id
	Name        string            // for people: a file name; at most MaxName bytes
	ContentType string            // at most MaxName bytes
	Size        int64             // exactly, in bytes; -1: whatever comes, up to Options.MaxPayload
	Tags        map[string]string // bounds as for a job's
	Account     string            // whom it belongs to. Only a house queue can have uploads for others than its own account
	Expires     time.Duration     // it is forgotten after that, unless it has become a result: 1 hour; up to 100 years
}

// An Upload is what is known of an upload at one moment.
type Upload struct {
	ID          ID
	Queue       QueueName
	Account     string // whom it belongs to
	Key         string // its name; its id if it was given none
	Name        string
	ContentType string
	Size        int64 // in bytes: what it is to have (-1 if that is open), and once it is written what it has
	Tags        map[string]string
	Created     time.Time
	Expires     time.Time // when it is forgotten
	Written     bool      // its content is there, and never changes
}

// Prepare announces an upload: it can then be written once (Broker.PutUpload) and used as the result of a job (NewResult.Upload), until
// it expires. It is no job: it is neither listed nor delivered nor admitted, and stands in no backlog. A queue that is closed afterwards
// keeps it, a queue that is deleted does not. Errors: ErrKeyReused if the key names something already, ErrQueueClosed, ErrTooLarge if
// the size is over Options.MaxPayload, ErrInvalid, ErrStoreFull, ErrShutdown; after ErrOutcomeUnknown prepare another one.
func (q *Queue) Prepare(ctx context.Context, u NewUpload) (*Upload, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if q.b.ShuttingDown() {
		return nil, ErrShutdown
	}
	account, err := u.check(q)
	if err != nil {
		return nil, err
	}
	if u.Expires == 0 {
		u.Expires = uploadTime
	}
	if u.Tags = maps.Clone(u.Tags); len(u.Tags) == 0 {
		u.Tags = nil
	}
	var j *storage.Job
	named := storage.Key{Queue: q.name, Account: account, Name: u.Key}
	err = q.b.update(ctx, storage.Reads{Queues: []QueueName{q.name}, Keys: []storage.Key{named}}, func(s *step) error {
		if err := s.takes(q.name); err != nil {
			return err
		}
		spec := storage.Spec{
			ID: storage.NewID(s.now), Queue: q.name, Account: account, Key: u.Key, Created: s.now,
			Name: u.Name, ContentType: u.ContentType, Tags: u.Tags, Size: u.Size,
		}
		if spec.Key == "" {
			spec.Key = spec.ID.String()
		}
		if err := s.unnamed(spec.KeyOf()); err != nil {
			return err
		}
		st := storage.Status{State: storage.Staged, Version: 1, Due: s.now.Add(u.Expires).Truncate(time.Microsecond)}
		j, err = s.add(&storage.Job{Spec: &spec, Status: st}, nil)
		return err
	})
	if err != nil {
		return nil, err
	}
	return uploadOf(j), nil
}

// check demands that all is within bounds, and returns whose the upload is.
func (u *NewUpload) check(q *Queue) (account string, err error) {
	if err := checkQueueName(q.name); err != nil {
		return "", err
	}
	if account, err = q.owner(u.Account); err != nil {
		return "", err
	}
	for _, f := range [...]struct{ name, value string }{{"name", u.Name}, {"content_type", u.ContentType}, {"key", u.Key}} {
		if err := checkString(f.name, f.value, MaxName); err != nil {
			return "", err
		}
	}
	if err := checkTags(u.Tags); err != nil {
		return "", err
	}
	if u.Size < -1 {
		return "", invalid("size", "%d is neither a number of bytes nor -1", u.Size)
	}
	if u.Size > q.b.opts.MaxPayload {
		return "", tooLarge("upload", q.b.opts.MaxPayload)
	}
	return account, checkUploadTime(u.Expires)
}

func checkUploadTime(d time.Duration) error {
	if d < 0 || d > yearLimit || d > 0 && d < time.Microsecond {
		return invalid("expires", "%v is not from a microsecond to 100 years", d)
	}
	return nil
}

// unnamed demands that nothing has that key.
func (s *step) unnamed(k storage.Key) error {
	j, err := s.tx.JobByKey(k)
	if err == nil {
		_, err = s.advance(j)
	}
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	if err == nil {
		err = ErrKeyReused
	}
	return err
}

// Upload returns what is known of an upload. ErrNotFound: there is none, it has expired or become a result, or it is another account's.
func (b *Broker) Upload(ctx context.Context, id ID) (*Upload, error) {
	return b.viewUpload(ctx, storage.Reads{Jobs: []ID{id}}, func(r storage.Reader) (*storage.Job, error) { return r.Job(id) })
}

// UploadByKey returns the upload of a key, of the broker's account if it is narrowed to one, else of the queue's. Otherwise it is like
// Upload.
func (b *Broker) UploadByKey(ctx context.Context, queue QueueName, key string) (*Upload, error) {
	if err := checkQueueName(queue); err != nil {
		return nil, err
	}
	if err := checkString("key", key, MaxName); err != nil {
		return nil, err
	}
	k := storage.Key{Queue: queue, Account: queue.Account, Name: key}
	if b.scoped {
		k.Account = b.account
	}
	return b.viewUpload(ctx, storage.Reads{Keys: []storage.Key{k}}, func(r storage.Reader) (*storage.Job, error) { return r.JobByKey(k) })
}

func (b *Broker) viewUpload(ctx context.Context, reads storage.Reads, get func(storage.Reader) (*storage.Job, error)) (*Upload, error) {
	var j *storage.Job
	err := b.view(ctx, reads, func(r storage.Reader) (err error) {
		if j, err = get(r); err == nil {
			err = b.isUpload(r, j)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return uploadOf(j), nil
}

// PutUpload writes an upload: with all that body has, which is read to its end and never held in memory whole. Of several writers the
// first that comes to its end is the one, and what was cut short has written nothing. Errors: ErrNotFound, also if it expires meanwhile;
// ErrWrongState if it is written already; ErrTooLarge if body has more than was prepared, ErrInvalid if less; the error of reading it.
// After ErrOutcomeUnknown Upload tells.
func (b *Broker) PutUpload(ctx context.Context, id ID, body io.Reader) (*Upload, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var j *storage.Job
	err := b.view(ctx, storage.Reads{Jobs: []ID{id}}, func(r storage.Reader) (err error) {
		j, err = b.unwritten(r, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	prepared, limit := j.Size, j.Size
	if prepared < 0 {
		limit = b.opts.MaxPayload
	}
	v, err := b.readValue(ctx, j.Queue, body, limit, "upload", value{looks: []ID{id}, wanted: func(s *step) error {
		_, err := b.unwritten(s.tx, id)
		return err
	}})
	if err != nil {
		return nil, err
	}
	if v.size < prepared {
		err = invalid("size", "there are %d bytes, %d were prepared", v.size, prepared)
	} else {
		reads := storage.Reads{Jobs: []ID{id}, Ends: true}
		if v.blob != (ID{}) {
			reads.Jobs = append(reads.Jobs, v.blob)
		}
		err = b.update(ctx, reads, func(s *step) (err error) {
			if j, err = b.unwritten(s.tx, id); err == nil {
				j, err = s.writeUpload(j, v)
			}
			return err
		})
	}
	if err != nil {
		if v.blob != (ID{}) && !errors.Is(err, ErrOutcomeUnknown) {
			b.unstage(ctx, v.blob, v.madeQueue)
		}
		return nil, err
	}
	return uploadOf(j), nil
}

// writeUpload makes a value that has been read an upload's content, which is kept as a job's payload is. The record is added once more, so
// that a store which is full refuses it as it refuses a new job.
func (s *step) writeUpload(j *storage.Job, v value) (*storage.Job, error) {
	if err := s.adopt(v.blob); err != nil {
		return nil, err
	}
	if err := s.tx.DeleteJob(j); err != nil {
		return nil, err
	}
	spec, st := *j.Spec, j.Status
	spec.Size, spec.Blob = v.size, v.blob
	st.Version++
	st.Finished = s.now
	return s.add(&storage.Job{Spec: &spec, Status: st}, v.data)
}

// OpenUpload opens what was written. ErrWrongState: nothing has been yet. ErrNotFound is as for Upload. What is large can be read on when it
// has become a result.
func (b *Broker) OpenUpload(ctx context.Context, id ID) (*Content, error) {
	c := &Content{ctx: ctx, c: b.core, number: -1}
	err := b.view(ctx, storage.Reads{Jobs: []ID{id}, Payloads: true}, func(r storage.Reader) error {
		j, small, err := b.written(r, id)
		if err == nil {
			c.contentType, c.size, c.blob, c.chunk = j.ContentType, j.Size, j.Blob, small
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// KeepUpload has an upload expire d from now at the earliest, d being at most 100 years; it never shortens its time. Errors: ErrNotFound,
// ErrInvalid.
func (b *Broker) KeepUpload(ctx context.Context, id ID, d time.Duration) (*Upload, error) {
	if err := checkUploadTime(d); err != nil {
		return nil, err
	}
	var j *storage.Job
	err := b.update(ctx, storage.Reads{Jobs: []ID{id}, Ends: true}, func(s *step) (err error) {
		if j, err = b.upload(s.tx, id); err != nil {
			return err
		}
		st := j.Status
		if st.Due = s.now.Add(d).Truncate(time.Microsecond); !st.Due.After(j.Due) {
			return nil
		}
		st.Version++
		j = j.With(st)
		return s.set(j)
	})
	if err != nil {
		return nil, err
	}
	return uploadOf(j), nil
}

// upload returns the record of an upload: a job in state Staged that has a key.
func (b *Broker) upload(r storage.Reader, id ID) (*storage.Job, error) {
	j, err := r.Job(id)
	if err != nil {
		return nil, err
	}
	return j, b.isUpload(r, j)
}

// isUpload demands that a record is that of an upload which the broker may know of and which has not expired.
func (b *Broker) isUpload(r storage.Reader, j *storage.Job) error {
	if j.State != storage.Staged || j.Key == "" || !b.sees(j.Account) {
		return ErrNotFound
	}
	return asOf(j, r)
}

// unwritten returns an upload that is still to be written.
func (b *Broker) unwritten(r storage.Reader, id ID) (*storage.Job, error) {
	j, err := b.upload(r, id)
	if err == nil && isWritten(j) {
		err = fmt.Errorf("%w: the upload has been written already", ErrWrongState)
	}
	return j, err
}

// written returns an upload that has been written, with its content if that is no blob.
func (b *Broker) written(r storage.Reader, id ID) (j *storage.Job, small []byte, err error) {
	j, err = b.upload(r, id)
	if err == nil && !isWritten(j) {
		err = fmt.Errorf("%w: the upload has not been written yet", ErrWrongState)
	}
	if err == nil && j.Blob == (ID{}) {
		small, err = r.Payload(j)
	}
	return j, small, err
}

func isWritten(j *storage.Job) bool { return !j.Finished.IsZero() }

// useUpload ends an upload, whose content is the caller's from then on.
func (s *step) useUpload(b *Broker, id ID) (j *storage.Job, small []byte, err error) {
	j, small, err = b.written(s.tx, id)
	if err == nil && j.Size > s.opts.MaxResult {
		err = tooLarge("result", s.opts.MaxResult)
	}
	if err == nil {
		err = s.forget(j)
	}
	return j, small, err
}

func uploadOf(j *storage.Job) *Upload {
	return &Upload{
		ID: j.ID, Queue: j.Queue, Account: j.Account, Key: j.Key, Name: j.Name, ContentType: j.ContentType, Size: j.Size, Tags: j.Tags,
		Created: j.Created, Expires: j.Due, Written: isWritten(j),
	}
}
