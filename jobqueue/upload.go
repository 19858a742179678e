package jobqueue

import (
	"context"
	"errors"
	"io"
	"time"
)

// A NewUpload is content to be sent ahead of what will need it: a result that is to be written from elsewhere, in a request of its own.
type NewUpload struct {
	Key         string            // its name within the queue for its account, which no job has either; at most MaxName bytes; "": its id
	Name        string            // for people: a file name; at most MaxName bytes
	ContentType string            // at most MaxName bytes
	Size        int64             // exactly, in bytes; -1: whatever comes, up to Options.MaxPayload
	Tags        map[string]string // bounds as for a job's
	Account     string            // whom it belongs to. Only a house queue can have uploads for others than its own account
	Expires     time.Duration     // it is forgotten after that unless it has become a result: 1 hour; up to 100 years
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

// Prepare announces an upload: it can then be written once (Broker.PutUpload), and used as a job's result (NewResult.Upload), until it
// expires. It is no job: it is not listed, counted, delivered or admitted. Errors: ErrKeyReused if the key names something already,
// ErrQueueClosed, ErrTooLarge if the size is over Options.MaxPayload, ErrInvalid, ErrStoreFull, ErrShutdown.
func (q *Queue) Prepare(ctx context.Context, u NewUpload) (*Upload, error) {
	return nil, errors.ErrUnsupported
}

// Upload returns what is known of an upload. ErrNotFound: there is none, it has expired or become a result, or it is another account's.
func (b *Broker) Upload(ctx context.Context, id ID) (*Upload, error) {
	return nil, errors.ErrUnsupported
}

// UploadByKey returns the upload of a key, of the broker's account if it is narrowed to one, else of the queue's. Otherwise it is like
// Upload.
func (b *Broker) UploadByKey(ctx context.Context, queue QueueName, key string) (*Upload, error) {
	return nil, errors.ErrUnsupported
}

// PutUpload writes an upload: all of body, which is read to its end and never held in memory whole. Of several writers the first that
// comes to its end is the one; what was cut short has written nothing. Errors: ErrNotFound, also when it expires meanwhile;
// ErrWrongState if it is written already; ErrTooLarge if there is more than was prepared, ErrInvalid if less; what reading body
// returned.
func (b *Broker) PutUpload(ctx context.Context, id ID, body io.Reader) (*Upload, error) {
	return nil, errors.ErrUnsupported
}

// OpenUpload opens what was written. ErrWrongState: nothing has been yet. ErrNotFound is as for Upload.
func (b *Broker) OpenUpload(ctx context.Context, id ID) (*Content, error) {
	return nil, errors.ErrUnsupported
}

// KeepUpload has an upload expire d from now at the earliest; it never shortens its time. d is at most 100 years.
func (b *Broker) KeepUpload(ctx context.Context, id ID, d time.Duration) (*Upload, error) {
	return nil, errors.ErrUnsupported
}
