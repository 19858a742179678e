package httpapi

import (
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pollackq/pollack/jobqueue"
)

const (
	uploadQueue   = "uploads"          // of each account, for those of PrepareUpload
	maxUploadTime = 7 * 24 * time.Hour // until they expire
	maxFileName   = 200                // bytes: an object key is short enough for a name of package jobqueue
)

type prepareBody struct {
	Filename    string   `json:"filename"`
	ContentType string   `json:"content_type"`
	Size        *int64   `json:"size"`
	Expires     *float64 `json:"expires_seconds"`
}

// prepared is the answer to PrepareUpload.
type prepared struct {
	ObjectKey string    `json:"object_key"`
	PutURL    string    `json:"put_url"`
	Expires   time.Time `json:"expires_at"`
}

// PrepareUpload announces content that the caller will send ahead, to complete a job with later: "filename", "content_type", "size" (which may be left
// out: any up to the broker's MaxPayload) and "expires_seconds" (1 to 604,800; an hour). It answers 201 with "object_key", the upload's id and the safe
// part of the file name, "put_url", and "expires_at". The upload is in the caller's queue "uploads", and needs ActionSubmit on it.
func (h *Handler) PrepareUpload(w http.ResponseWriter, r *http.Request) {
	h.handle(w, r, func(c *call) error {
		if err := c.allow(ActionSubmit, uploadQueue); err != nil {
			return err
		}
		var b prepareBody
		if err := c.decode(&b); err != nil {
			return err
		}
		n := jobqueue.NewUpload{Name: safeName(b.Filename), ContentType: b.ContentType, Size: -1}
		if b.Size != nil {
			if n.Size = *b.Size; n.Size < 0 {
				return invalid("size: cannot be negative")
			}
		}
		if b.Expires != nil {
			d, ok := seconds(*b.Expires)
			if !ok || d < time.Second || d > maxUploadTime {
				return invalid("expires_seconds: is not from 1 to 604800")
			}
			n.Expires = d
		}
		u, err := c.broker.Queue(uploadQueue).Prepare(r.Context(), n)
		if err != nil {
			return err
		}
		at := (&url.URL{Path: h.opts.Prefix + "/v1/uploads/" + objectKey(u)}).EscapedPath()
		return c.answer(http.StatusCreated, prepared{objectKey(u), h.opts.BaseURL + h.UploadURL(u, at), u.Expires})
	})
}

// UploadURL returns a URL for PutUpload on a path of the user's own, for an upload that jobqueue.Queue.Prepare has returned: the path, as it stands in
// URLs, with a signed query that is good until the upload expires. What is signed is the method, PUT, and the upload: not the path, which a proxy may
// change.
func (h *Handler) UploadURL(u *jobqueue.Upload, path string) string {
	id := u.ID.String()
	q := h.signer.Sign(uploading(http.MethodPut, id), u.Expires.Add(time.Second-time.Microsecond)) // not before the upload itself
	q.Set("upload", id)
	return path + "?" + q.Encode()
}

// uploading is what the signature of an upload's URL is for.
func uploading(method, id string) string { return method + " upload " + id }

// PutUpload takes the content of the upload that the query of a URL from UploadURL, or PrepareUpload, names. It asks for no credentials but the
// signature there: 403 "bad_signature", and 410 "url_expired" when the time is over or the upload has been used. Content-Type, if it is sent and one was
// prepared, and size must be as prepared. It answers 204; once the upload is written 409 "wrong_state", also to those who sent the same.
func (h *Handler) PutUpload(w http.ResponseWriter, r *http.Request) {
	h.handleOpen(w, r, func(c *call) error { return c.putUpload(func(*jobqueue.Upload) bool { return true }) })
}

// putPrepared is PutUpload on the path of this package's own, which has the object key in it.
func (h *Handler) putPrepared(w http.ResponseWriter, r *http.Request) {
	h.handleOpen(w, r, func(c *call) error {
		return c.putUpload(func(u *jobqueue.Upload) bool { return r.PathValue("id")+"/"+r.PathValue("filename") == objectKey(u) })
	})
}

func (c *call) putUpload(here func(*jobqueue.Upload) bool) error {
	u, err := c.signedUpload()
	if err != nil {
		return err
	}
	if !here(u) {
		return errBadSignature
	}
	limit := u.Size
	if limit < 0 {
		limit = c.h.broker.MaxPayload()
	}
	if err := c.asPrepared(u, limit); err != nil {
		return err
	}
	b := c.body(limit)
	if _, err := c.broker.PutUpload(c.r.Context(), u.ID, b); err != nil {
		if p := b.problem(); p != nil {
			return p
		}
		return ifGone(err, errURLExpired)
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// signedUpload returns the upload that the request's query names, once its signature has been checked.
func (c *call) signedUpload() (*jobqueue.Upload, error) {
	q := c.query()
	ids := q.values["upload"]
	if q.err != nil || len(ids) != 1 {
		return nil, errBadSignature
	}
	if err := c.h.signer.Check(uploading(c.r.Method, ids[0]), q.values); err != nil {
		return nil, err
	}
	id, err := jobqueue.ParseID(ids[0])
	if err != nil { // signed by another program with the same key
		return nil, errBadSignature
	}
	u, err := c.broker.Upload(c.r.Context(), id)
	return u, ifGone(err, errURLExpired)
}

// asPrepared holds what the head of a request says of its body against the upload.
func (c *call) asPrepared(u *jobqueue.Upload, limit int64) error {
	kinds := c.r.Header.Values("Content-Type")
	n := c.r.ContentLength
	switch {
	case u.Written:
		return nil // PutUpload says so
	case len(kinds) > 1 || len(kinds) == 1 && u.ContentType != "" && !sameType(kinds[0], u.ContentType):
		return invalid(fmt.Sprintf("Content-Type: %q was prepared", u.ContentType))
	case n > limit:
		return bodyTooLarge(limit)
	case n >= 0 && n < u.Size:
		return invalid(fmt.Sprintf("size: there are %d bytes, %d were prepared", n, u.Size))
	}
	return nil
}

// sameType reports whether two content types are the same but for their spelling.
func sameType(a, b string) bool {
	kindA, inA, errA := mime.ParseMediaType(a)
	kindB, inB, errB := mime.ParseMediaType(b)
	return a == b || errA == nil && errB == nil && kindA == kindB && maps.Equal(inA, inB)
}

// ifGone returns an error, or p in place of one that says that the upload is not there.
func ifGone(err error, p *Problem) error {
	if errors.Is(err, jobqueue.ErrNotFound) {
		return p
	}
	return err
}

// completeWith completes a job with an upload of the caller's account.
func (c *call) completeWith(j *jobqueue.Job, t jobqueue.Token, objectKey, contentType string) error {
	u, err := c.upload(objectKey)
	if err != nil {
		return err
	}
	out, err := c.broker.Complete(c.r.Context(), j.ID, t, jobqueue.NewResult{Upload: u, ContentType: contentType})
	return c.settled(out, ifGone(err, errNoUpload))
}

// upload returns the upload that an object key names. One that is not there may have been used by this very call before: only Complete knows.
func (c *call) upload(key string) (*jobqueue.Upload, error) {
	text, _, _ := strings.Cut(key, "/")
	id, err := jobqueue.ParseID(text)
	if err != nil {
		return nil, errNoUpload
	}
	u, err := c.broker.Upload(c.r.Context(), id)
	switch {
	case errors.Is(err, jobqueue.ErrNotFound):
		return &jobqueue.Upload{ID: id}, nil
	case err == nil && objectKey(u) != key:
		return nil, errNoUpload
	}
	return u, err
}

func objectKey(u *jobqueue.Upload) string { return u.ID.String() + "/" + u.Name }

// safeName returns what of a file name can stand in paths, headers and texts without meaning anything there: the last part of a path, what is printable of
// it, shortened in front of the extension.
func safeName(s string) string {
	s = s[strings.LastIndexAny(s, `/\`)+1:]
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
	if s = strings.TrimSpace(s); len(s) > maxFileName {
		ext := path.Ext(s)
		if len(ext) > maxFileName/4 {
			ext = ""
		}
		s = strings.TrimSpace(strings.ToValidUTF8(s[:maxFileName-len(ext)], "")) + ext
	}
	if strings.Trim(s, ". ") == "" {
		return "file"
	}
	return s
}
