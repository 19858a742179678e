package client

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"net/http"
	"time"
)

// An upload is what a request sends. Once the call has returned nothing of it is read any more.
type upload struct {
	data   []byte    // this,
	reader io.Reader // or this from where it stands
	start  int64     // where it stood, if it is a Seeker
	size   int64     // bytes, -1 if that is not known
	sent   []*sending
}

var (
	errNoRewind = errors.New("the body cannot be read again")
	errSettled  = errors.New("the call is over")
)

func uploadBytes(p []byte) *upload { return &upload{data: p, size: int64(len(p))} }

// uploadReader sends what is left of r. If it is a Seeker the size is known beforehand, and the upload can be repeated.
func uploadReader(r io.Reader) (*upload, error) {
	u := &upload{reader: r, size: -1}
	s, ok := r.(io.Seeker)
	if !ok {
		return u, nil
	}
	var err error
	if u.start, err = s.Seek(0, io.SeekCurrent); err != nil {
		return u, nil // such as a pipe, which is a *os.File all the same
	}
	return u, u.rewind()
}

// rewind makes ready for another attempt.
func (u *upload) rewind() error {
	if u.reader == nil {
		return nil
	}
	s, ok := u.reader.(io.Seeker)
	if !ok {
		return errNoRewind
	}
	end, err := s.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	u.size = max(end-u.start, 0)
	_, err = s.Seek(u.start, io.SeekStart)
	return err
}

// attach makes the upload the body of a request whose answer may take so long once it is sent.
func (u *upload) attach(req *http.Request, dog *watchdog, answer time.Duration) {
	if u.size == 0 {
		req.Body = http.NoBody
		return
	}
	open := func() (io.ReadCloser, error) {
		s := &sending{r: u.reader, dog: dog, answer: answer, gate: make(chan struct{}, 1)}
		if u.reader == nil {
			s.r = bytes.NewReader(u.data)
		}
		u.sent = append(u.sent, s)
		return s, nil
	}
	req.Body, _ = open()
	req.ContentLength = u.size
	if u.reader == nil {
		req.GetBody = open
	}
}

// settle sees to it that nothing is read any more, and returns the error of the caller's reader if it had one. It waits for a read that is going on, as
// net/http itself does.
func (u *upload) settle() error {
	var err error
	for _, s := range u.sent {
		s.gate <- struct{}{}
		err = cmp.Or(err, s.err)
	}
	u.sent = nil
	return err
}

// A sending is the body of one attempt.
type sending struct {
	r      io.Reader
	dog    *watchdog
	answer time.Duration
	gate   chan struct{} // holds one while r is read, and for good when it no longer may be
	err    error         // of r, guarded by gate
}

func (s *sending) Read(p []byte) (int, error) {
	select {
	case s.gate <- struct{}{}:
	default:
		return 0, errSettled
	}
	defer func() { <-s.gate }()
	s.dog.rest()
	n, err := s.r.Read(p)
	if err != nil {
		s.dog.within(s.answer)
		if err != io.EOF {
			s.err = err
		}
	} else {
		s.dog.within(s.dog.timeout)
	}
	return n, err
}

func (s *sending) Close() error { return nil }
